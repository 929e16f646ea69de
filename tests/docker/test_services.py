"""What tests may have beside them, and that neither builds nor tests reach anything else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from interlock.ci.host import BuildKit as Settings
from interlock.ci.junit import TestRun
from interlock.contract.host import Registry as Account
from interlock.contract.models import BuildRules, Component, Tests
from interlock.errors import InputError
from sandbox.parts import registry as registry_part
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.buildkit import BuildKit
from sandbox.parts.docker import Docker
from sandbox.parts.registry import Registry
from tasks.ci import services
from tasks.ci.buildx import Via
from tasks.ci.images import Client, build_image, daemon, push_image, read_recipe
from tasks.ci.tests import run_tests
from tasks.ci.workspace import sweep

BASE = "interlock.sandbox/python:3.11"
GOOD = "open('/tmp/junit.xml', 'w').write('<testsuite><testcase name=\"a\"/></testsuite>')\n"
Run = Callable[..., TestRun]


@pytest.fixture(scope="module")
def image(docker_daemon: Docker, base_image: BaseImage, registry: Registry) -> str:
    """The base image by its digest in the registry."""
    repository, auth = f"{registry.place.registry}/service", registry_part.credentials(registry.place, "ci")
    with daemon(docker_daemon.docker_host) as client:
        found = str(client.images.get(BASE).id)
    pushed = push_image.fn(docker_daemon.docker_host, found, repository=repository, tag="1", auth=auth)
    return f"{repository}@{pushed}"


@pytest.fixture
def client(docker_daemon: Docker) -> Iterator[Client]:
    with daemon(docker_daemon.docker_host) as client:
        yield client


@pytest.fixture
def run(docker_daemon: Docker, image: str) -> Run:
    """Runs a Python program as tests, beside these services of the base image."""

    def make(program: str, services: dict[str, dict[str, object]], **more: object) -> TestRun:
        declared = {name: {"image": image, **service} for name, service in services.items()}
        tests = Tests.model_validate({"command": ("python", "-c", program), "services": declared, **more})
        return run_tests.fn(docker_daemon.docker_host, image, tests, run="test")

    return make


WEB = {"command": ("python", "-m", "http.server", "8000"), "port": 8000}
ASK = "import urllib.request\nprint(urllib.request.urlopen('http://db:8000/etc/hostname').read().decode().strip())\n"


def left(client: Client) -> list[object]:
    mine: dict[str, str | list[str] | bool] = {"label": "interlock.run"}
    return [*client.containers.list(all=True, filters=mine), *client.networks.list(filters=mine)]


def test_tests_reach_a_service_by_its_name(run: Run, image: str, client: Client) -> None:
    """Once it answers; what it was is told, and nothing of it is left."""
    found = run(ASK + GOOD, {"db": WEB})

    assert found.problems == ()
    assert found.log == ("db",)
    assert found.services == (image,)
    assert left(client) == []


def test_a_command_may_say_that_a_service_is_ready(run: Run) -> None:
    """Nothing is begun before it does."""
    slow = (
        "import time, http.server as h; time.sleep(2); open('/tmp/up', 'w'); "
        "h.test(h.SimpleHTTPRequestHandler, port=8000)"
    )
    service = {"command": ("python", "-c", slow), "ready": ("test", "-e", "/tmp/up"), "variables": {"A": "1"}}

    assert run("import time; time.sleep(0.5)\n" + ASK + GOOD, {"db": service}).problems == ()


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (
            {"command": ("sh", "-c", "echo no disk; exit 3"), "port": 1},
            "service db ended with exit code 3: no disk",
        ),
        ({"command": ("sleep", "60"), "port": 1, "ready_seconds": 1}, "the service db was not ready in 1 s"),
        ({**WEB, "image": "127.0.0.1:1/none@sha256:" + "0" * 64}, "the image of the service db cannot be had"),
    ],
    ids=["ends", "slow", "missing"],
)
def test_a_service_that_does_not_come_keeps_tests_from_passing(
    run: Run, client: Client, service: dict[str, object], said: str
) -> None:
    """With its last words; the other services go too."""
    try:
        problems = run(GOOD, {"other": WEB, "db": service}).problems
    except Exception as error:
        problems = (str(error),)

    assert said in problems[0]
    assert left(client) == []


LISTEN = """
import json, os, socket
def tries(family, address):
    try:
        with socket.socket(family) as s:
            s.settimeout(1)
            s.connect(address)
        return True
    except OSError:
        return False
def knows(name):
    try:
        return bool(socket.getaddrinfo(name, 80))
    except OSError:
        return False
gateways = [line.split()[2] for line in open("/proc/net/route")][1:]
addresses = ADDRESSES + [".".join(str(int(each[at:at + 2], 16)) for at in (6, 4, 2, 0)) for each in gateways]
print("SEEN " + json.dumps({
    "reached": [a for a in addresses if tries(socket.AF_INET, (a, PORT))],
    "abstract": tries(socket.AF_UNIX, "\\0" + NAME),
    "names": [n for n in ("example.org", "host.docker.internal") if knows(n)],
    "sockets": [p for p in SOCKETS if os.path.exists(p)],
    "canary": [k for k, v in os.environ.items() if CANARY in v],
    "tried": len(addresses),
}))
"""


@pytest.fixture
def spy(docker_daemon: Docker, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A program that looks for what listens on this host: by TCP as Prefect and the registry do, by a socket's file as
    Docker and the signer do, by an abstract socket; and for what this process has in its environment."""
    found = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    addresses = ["127.0.0.1", "127.0.0.11", *(each for each in found if ":" not in each)]
    secret = os.urandom(8).hex()
    monkeypatch.setenv("PREFECT_API_URL", f"http://user:{secret}@127.0.0.1/api")
    monkeypatch.setenv("REGISTRY_AUTH", secret)
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("0.0.0.0", 0)))  # noqa: S104 - as the registry does
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0interlock-{secret}")
        abstract.listen()
        sockets = [
            str(docker_daemon.socket),
            "/var/run/docker.sock",
            str(registry_part.credentials(registry.place, "ci")),
        ]
        yield (
            LISTEN.replace("ADDRESSES", repr(addresses))
            .replace("PORT", str(server.getsockname()[1]))
            .replace("NAME", repr(f"interlock-{secret}"))
            .replace("SOCKETS", repr(sockets))
            .replace("CANARY", repr(secret))
        )


def seen(lines: list[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        next(line for line in lines if line.startswith("SEEN ")).removeprefix("SEEN ")
    )
    assert int(str(found.pop("tried"))) >= 3
    return found


NOTHING = {"reached": [], "abstract": False, "names": [], "sockets": [], "canary": []}


def test_tests_with_services_reach_nothing_else(run: Run, spy: str) -> None:
    """The network has no address of the host, and names go nowhere. Without services there is no network at all."""
    assert seen(list(run(ASK + spy + GOOD, {"db": WEB}).log)) == NOTHING
    assert seen(list(run(spy + GOOD, {}).log)) == NOTHING


def test_a_service_reaches_nothing_else(run: Run, spy: str) -> None:
    """What it saw is asked of it by the tests."""
    program = (
        spy.replace("print(", "open('/s', 'w').write(")
        + "\nimport http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
    )
    ask = "import urllib.request\nprint(urllib.request.urlopen('http://db:8000/s').read().decode())\n"

    found = run(ask + GOOD, {"db": {"command": ("python", "-c", program), "port": 8000, "ready_seconds": 60}})

    assert seen(list(found.log)) == NOTHING


@pytest.fixture(params=["classic", "docker", "buildkitd"])
def via(request: pytest.FixtureRequest, buildkit_daemon: BuildKit, registry: Registry) -> Via | None:
    """Each builder; None is the classic one."""
    address = buildkit_daemon.address if request.param == "buildkitd" else None
    settings = Settings(buildx=buildkit_daemon.buildx, address=address)
    login = registry_part.credentials(registry.place, "ci")
    account = Account(host=registry.place.registry, auth=login, insecure=True)
    return None if request.param == "classic" else Via(settings, account, namespace="spy")


def test_a_build_reaches_nothing(docker_daemon: Docker, via: Via | None, image: str, spy: str, tmp_path: Path) -> None:
    """Neither address nor socket nor variable of its host, whoever builds."""
    (tmp_path / "spy.py").write_text(spy)
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nCOPY spy.py /spy.py\nRUN python /spy.py\n")
    said: list[str] = []

    build_image.fn(
        docker_daemon.docker_host,
        tmp_path,
        Component(tests=Tests(command=("true",))),
        tag="interlock-test/spy:1",
        labels={},
        seconds=300,
        say=said.append,
        via=via,
    )

    assert seen([line[line.find("SEEN ") :] for line in said if "SEEN {" in line]) == NOTHING


def test_a_spy_that_is_let_see_sees(client: Client, spy: str, image: str) -> None:
    """Else the tests above would prove nothing."""
    found = client.containers.run(image, ["python", "-c", spy], network_mode="host", remove=True).decode()

    everything = seen(found.splitlines())
    assert "127.0.0.1" in str(everything["reached"])
    assert everything["abstract"]


def test_what_killed_tests_left_is_swept(docker_daemon: Docker, client: Client, image: str, tmp_path: Path) -> None:
    """Service and network, by the label of a run that nobody holds."""
    service = Tests.model_validate({"command": ("x",), "services": {"db": {"image": image, **WEB}}}).services["db"]
    network = services._network(client, "interlock-left", "dead")
    services._start(client, "db", service, network="interlock-left", run="dead")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "dead.lock").touch()
    assert len(left(client)) == 2

    sweep.fn(tmp_path, docker_daemon.docker_host)

    assert left(client) == []
    assert network not in [each.id for each in client.networks.list()]


def test_policy_says_which_images_services_may_have(tmp_path: Path, image: str) -> None:
    """Before anything is built."""
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\n")
    component = Component.model_validate(
        {"tests": {"command": ("x",), "services": {"db": {"image": image, "port": 1}}}}
    )

    read_recipe(tmp_path, component, [BuildRules(images=("*",))])
    with pytest.raises(InputError, match="policy does not let the service db have"):
        read_recipe(tmp_path, component, [BuildRules(images=("interlock.sandbox/*",))])


def test_further_commands_run_beside_the_same_services(run: Run) -> None:
    """Each in a container of its own; one that fails keeps all from passing."""
    again = {"command": ("python", "-c", ASK + GOOD)}

    assert run(ASK + GOOD, {"db": WEB}, more={"again": again}).problems == ()
    problems = run(ASK + GOOD, {"db": WEB}, more={"again": {"command": ("false",)}}).problems
    assert problems == ("again: the tests left no report at /tmp/junit.xml (the test command ended with exit code 1)",)


def test_coverage_is_read_beside_the_report(run: Run) -> None:
    """From another folder, too; a report that was promised and is missing keeps tests from passing."""
    cover = "<coverage><class filename='a.py'><lines><line number='1' hits='1'/></lines></class></coverage>"
    write = f"open('/reports/c.xml', 'w').write({cover!r})\n"

    found = run(GOOD + write, {}, coverage="/reports/c.xml")
    missing = run(GOOD, {}, coverage="/reports/c.xml")

    assert found.problems == ()
    assert found.coverage is not None
    assert found.coverage.summary == "100.0 % of 1 lines"
    assert len(missing.problems) == 1
    assert "left no report at /reports/c.xml" in missing.problems[0]
