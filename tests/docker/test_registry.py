"""What the registry keeps must be what was scanned, and a login must not leak."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from interlock.contract.host import Registry
from interlock.errors import DockerError, HostConfigError, RegistryError
from sandbox.parts import registry as part
from sandbox.parts.docker import Docker
from tasks.ci.images import daemon, pull_image, push_image
from tasks.common.registry import Login, confirm_image, find_image, read_login


@pytest.fixture
def host(registry: part.Registry) -> Registry:
    return Registry(host=registry.place.registry, auth=part.credentials(registry.place, "ci"), insecure=True)


@pytest.fixture
def small(docker_daemon: Docker) -> str:
    """The id of an image with nothing in it."""
    with daemon(docker_daemon.docker_host) as client:
        return client.images.build(fileobj=_dockerfile())[0].id or ""


def _dockerfile() -> io.BytesIO:
    return io.BytesIO(f"FROM scratch\nLABEL mark={os.urandom(8).hex()}\n".encode())


def test_what_is_pushed_is_found_and_is_what_was_scanned(host: Registry, docker_daemon: Docker, small: str) -> None:
    """By tag and by digest, with the digest computed from the manifest's own bytes."""
    repository, url = f"{host.host}/test/small", docker_daemon.docker_host
    assert find_image.fn(host, repository=repository, tag="il-none") is None

    pushed = push_image.fn(url, small, repository=repository, tag="il-1", auth=host.auth)

    found = find_image.fn(host, repository=repository, tag="il-1")
    assert found is not None
    assert (found.digest, found.config) == (pushed, small)
    confirm_image.fn(host, repository=repository, image_digest=pushed, image_id=small)
    assert pull_image.fn(url, repository=repository, digest=pushed, auth=host.auth).id == small


def test_an_exchanged_image_is_found_out(host: Registry, docker_daemon: Docker, small: str) -> None:
    """Between scan and push somebody may have put another one in its place."""
    repository = f"{host.host}/test/small"
    pushed = push_image.fn(docker_daemon.docker_host, small, repository=repository, tag="il-2", auth=host.auth)

    with pytest.raises(RegistryError, match="is not the image that was scanned"):
        confirm_image.fn(host, repository=repository, image_digest=pushed, image_id="sha256:" + "1" * 64)
    with pytest.raises(RegistryError, match="does not have it"):
        confirm_image.fn(host, repository=repository, image_digest="sha256:" + "1" * 64, image_id=small)


def test_a_wrong_login_is_told_without_the_password(
    host: Registry, docker_daemon: Docker, small: str, tmp_path: Path
) -> None:
    """By the API and by the daemon."""
    (tmp_path / "auth").write_text("ci:wr0ng-passw0rd\n")
    wrong = host.model_copy(update={"auth": tmp_path / "auth"})
    repository = f"{host.host}/test/small"

    with pytest.raises(RegistryError) as refused:
        find_image.fn(wrong, repository=repository, tag="il-1")
    with pytest.raises(DockerError) as pushing:
        push_image.fn(docker_daemon.docker_host, small, repository=repository, tag="il-9", auth=wrong.auth)

    assert "401" in str(refused.value)
    assert "wr0ng" not in str(refused.value) + str(pushing.value)


def test_another_registry_is_refused(host: Registry) -> None:
    """A binding cannot send CI's login elsewhere."""
    with pytest.raises(HostConfigError, match=r"a binding asks for images at evil\.example"):
        find_image.fn(host, repository="evil.example/shop", tag="il-1")


def test_a_registry_that_is_away_is_told(tmp_path: Path) -> None:
    """Trying again may help."""
    with pytest.raises(RegistryError) as caught:
        find_image.fn(Registry(host="127.0.0.1:1", insecure=True), repository="127.0.0.1:1/shop", tag="x")

    assert caught.value.transient


def test_a_login_hides_its_password(tmp_path: Path) -> None:
    """And a file of another form is told."""
    (tmp_path / "auth").write_text("ci:s3cret\n")

    login = read_login(tmp_path / "auth")

    assert login == Login("ci", "s3cret")
    assert "s3cret" not in repr(login)
    (tmp_path / "auth").write_text("no colon")
    with pytest.raises(HostConfigError, match="one line"):
        read_login(tmp_path / "auth")
    with pytest.raises(HostConfigError, match="cannot be read"):
        read_login(tmp_path / "none")
    assert read_login(None) is None
