"""Each part is the real thing and keeps what the others rely on."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import docker
import httpx
import pytest
from docker.models.images import Image

from sandbox.parts import registry as registry_part
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.docker import Docker
from sandbox.parts.registry import Registry
from sandbox.parts.trivy import Trivy
from sandbox.supervisor import Sandbox
from sandbox.trivy_database import ADVISORIES, CANARY, Advisory, write_database
from sandbox.users import user

LABEL = "interlock.sandbox.test"


def account(registry: Registry, name: str) -> tuple[str, str]:
    user_name, _, password = registry_part.credentials(registry.place, name).read_text().partition(":")
    return user_name, password


@pytest.mark.parametrize("credentials", [None, ("ci", "wrong"), ("nobody", ""), ("", "")])
def test_the_registry_knows_nobody_without_a_password(registry: Registry, credentials: tuple[str, str] | None) -> None:
    """Without an account's password the registry answers 401."""
    assert httpx.get(f"{registry.address}/v2/", auth=credentials).status_code == 401


@pytest.mark.parametrize("name", registry_part.ACCOUNTS)
def test_every_registry_account_is_known(registry: Registry, name: str) -> None:
    """CI's, the node's and the signer's account open the registry."""
    assert httpx.get(f"{registry.address}/v2/", auth=account(registry, name)).status_code == 200


def test_registry_credentials_belong_to_their_readers(registry: Registry) -> None:
    """CI's and the signer's passwords are readable by their users alone, the node's by root alone."""
    owners = {}
    for name in registry_part.ACCOUNTS:
        status = registry_part.credentials(registry.place, name).stat()
        owners[name] = (status.st_uid, oct(status.st_mode & 0o777))
    assert owners == {
        "ci": (user(registry.place, "ci").id, "0o600"),
        "node": (0, "0o600"),
        "signer": (user(registry.place, "signer").id, "0o600"),
    }


@pytest.fixture
def client(docker_daemon: Docker) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_daemon.docker_host)
    yield client
    client.close()


@pytest.fixture
def image(client: docker.DockerClient, base_image: BaseImage) -> Iterator[Image]:
    """An image that is built on the base image, and removed afterwards."""
    text = f"FROM {base_image.address}\nRUN echo built > /built\nLABEL {LABEL}=1\nUSER 65532\n".encode()
    image, _ = client.images.build(fileobj=context(Dockerfile=text), custom_context=True, rm=True)
    yield image
    client.images.remove(image.id or "", force=True)


def context(**files: bytes) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    return archive


def test_an_image_is_built_pushed_with_a_login_and_pulled_by_digest(
    client: docker.DockerClient, image: Image, registry: Registry
) -> None:
    """What Docker builds reaches the registry with CI's account, and comes back by its digest with the node's."""
    repository = f"{registry.place.registry}/shop"
    image.tag(repository, tag="1")
    name, password = account(registry, "ci")
    lines = client.images.push(
        repository, tag="1", auth_config={"username": name, "password": password}, stream=True, decode=True
    )
    [digest] = [line["aux"]["Digest"] for line in lines if "aux" in line]
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    url = f"{registry.address}/v2/shop/manifests/{digest}"
    manifest = httpx.get(url, auth=account(registry, "node"), headers=accept)
    assert manifest.json()["config"]["digest"] == image.id
    assert httpx.delete(url, auth=account(registry, "ci")).status_code == 202


def test_a_push_without_a_login_is_refused(client: docker.DockerClient, image: Image, registry: Registry) -> None:
    """Docker cannot push into the registry without an account."""
    repository = f"{registry.place.registry}/shop"
    image.tag(repository, tag="2")
    lines = client.images.push(repository, tag="2", auth_config={"username": "ci", "password": "wrong"}, stream=True)
    assert b"authentication" in b"".join(lines)


def test_our_own_docker_gives_containers_no_network(
    docker_daemon: Docker, client: docker.DockerClient, base_image: BaseImage
) -> None:
    """A container of our own daemon has nothing but its loopback."""
    if docker_daemon.socket != docker_daemon.place.docker_socket:
        pytest.skip("this machine's own Docker daemon is used, whose network is not ours")
    said = client.containers.run(base_image.address, ["cat", "/proc/net/dev"], remove=True).decode()
    assert [line.split(":")[0].strip() for line in said.splitlines()[2:]] == ["lo"]


def test_only_ci_reaches_docker(docker_daemon: Docker) -> None:
    """The socket is its group's, and the group is one that CI's worker gets and CD's does not."""
    status = docker_daemon.socket.stat()
    assert (status.st_uid, oct(status.st_mode & 0o777)) == (0, "0o660")
    assert docker_daemon.group not in {0, user(docker_daemon.place, "cd").id}


def test_the_base_image_runs_python_s_own_tests_and_servers(client: docker.DockerClient, base_image: BaseImage) -> None:
    """The standard library is there as far as a small service and its tests need it, and `python` is a name for it."""
    code = "import http.server, json, ssl, sqlite3, unittest.mock, xml.etree.ElementTree, zipfile; print('ok')"
    said = client.containers.run(base_image.address, ["python", "-c", code], remove=True, network_mode="none")
    assert said == b"ok\n"


def scan(trivy: Trivy, *words: str, cache: Path | None = None) -> list[tuple[str, str, str]]:
    """Package, advisory and severity of every finding."""
    flags = ["--cache-dir", str(cache or trivy.cache), "--skip-db-update", "--skip-java-db-update", "--offline-scan"]
    command = [str(trivy.program), *words, "--scanners", "vuln", "--format", "json", "--quiet", *flags]
    results = json.loads(subprocess.run(command, capture_output=True, check=True).stdout).get("Results") or []
    found = [finding for result in results for finding in result.get("Vulnerabilities") or []]
    return sorted((each["PkgName"], each["VulnerabilityID"], each["Severity"]) for each in found)


def test_trivy_finds_what_the_database_says(trivy_database: Trivy, tmp_path: Path) -> None:
    """The real scanner reads our database: versions inside the bounds are found, fixed ones are not."""
    (tmp_path / "requirements.txt").write_text("requests==2.31.0\njinja2==3.1.3\nPyYAML==5.3.1\nurllib3==2.0.6\n")
    assert scan(trivy_database, "fs", str(tmp_path)) == [
        ("PyYAML", "CVE-2020-14343", "CRITICAL"),
        ("jinja2", "CVE-2024-34064", "MEDIUM"),
    ]


def test_every_advisory_is_found(trivy_database: Trivy, tmp_path: Path) -> None:
    """A package just below its fixed version has each advisory on libraries that is in the database."""
    versions = {"requests": "2.19.1", "jinja2": "2.10", "urllib3": "1.26.16", "pyyaml": "5.3.1"}
    (tmp_path / "requirements.txt").write_text("".join(f"{name}=={v}\n" for name, v in versions.items()))
    lock = {"lockfileVersion": 3, "packages": {"": {}, "node_modules/lodash": {"version": "4.17.20"}}}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    found = {(identity, severity) for _, identity, severity in scan(trivy_database, "fs", str(tmp_path))}
    assert found == {(each.id, each.severity) for each in ADVISORIES if not each.ecosystem.startswith("debian")}


def test_the_base_image_is_clean(trivy_database: Trivy, docker_daemon: Docker, base_image: BaseImage) -> None:
    """No advisory of the sandbox's database is about the base image."""
    words = ("image", "--image-src", "docker", "--docker-host", docker_daemon.docker_host, base_image.address)
    assert scan(trivy_database, *words) == []


def test_the_database_says_how_old_it_is(trivy_database: Trivy, tmp_path: Path) -> None:
    """Trivy reports the day that the database was written for, so that a stale one can be told."""
    old = datetime.now(UTC) - timedelta(days=400)
    write_database(tmp_path, now=old)
    command = [str(trivy_database.program), "version", "--format", "json", "--cache-dir", str(tmp_path)]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert datetime.fromisoformat(said["VulnerabilityDB"]["UpdatedAt"][:19] + "+00:00") == old.replace(microsecond=0)


def test_a_database_of_many_pages_is_read(trivy_database: Trivy, tmp_path: Path) -> None:
    """Buckets longer than a page are found by the real reader, from the first key to the last."""
    many = [
        Advisory(
            id=f"CVE-2000-{number:05}",
            ecosystem="pip",
            package=f"package-{number:05}",
            vulnerable=("<2.0",),
            patched=("2.0",),
            severity="HIGH",
            title="x" * 300,
        )
        for number in range(2000)
    ]
    write_database(tmp_path / "cache", advisories=many)
    (tmp_path / "requirements.txt").write_text("package-00000==1.0\npackage-00777==1.0\npackage-01999==1.0\n")
    found = scan(trivy_database, "fs", str(tmp_path), cache=tmp_path / "cache")
    assert [identity for _, identity, _ in found] == ["CVE-2000-00000", "CVE-2000-00777", "CVE-2000-01999"]


def test_a_broken_database_does_not_answer(sandbox: Sandbox, trivy_database: Trivy) -> None:
    """The part's own check fails as soon as the canary is not found any more."""
    write_database(trivy_database.cache, advisories=[each for each in ADVISORIES if each.id != CANARY.id])
    try:
        [answer] = [answer for answer in sandbox.status() if answer.part == "trivy"]
        assert (answer.answers, CANARY.id in answer.problem) == (False, True)
    finally:
        write_database(trivy_database.cache)
