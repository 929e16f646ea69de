"""Real parts for the tests that ask for them, started together once per run, before the first test.

A test asks by naming a fixture of PARTS, or `sandbox` itself for stopping and starting parts.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Collection, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from xdist.scheduler import LoadScopeScheduling

from sandbox.debian import provide_packages
from sandbox.part import Part, SandboxError, tail
from sandbox.pipeline import PARTS as PIPELINE_PARTS
from sandbox.supervisor import Sandbox
from sandbox.terminal import Terminal
from tasks.common import redaction

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from sandbox.parts.baseimage import BaseImage, WorkerBaseImage
    from sandbox.parts.buildkit import BuildKit
    from sandbox.parts.cosign import Cosign
    from sandbox.parts.docker import Docker
    from sandbox.parts.git import Git
    from sandbox.parts.kubernetes import Kubernetes
    from sandbox.parts.kwok import Kwok
    from sandbox.parts.nginx import Nginx
    from sandbox.parts.node import Node
    from sandbox.parts.referrers import Referrers
    from sandbox.parts.registry import Registry
    from sandbox.parts.sops import Sops
    from sandbox.parts.trivy import Trivy

PARTS = {
    "git_server": "git",
    "registry": "registry",
    "docker_daemon": "docker",
    "base_image": "baseimage",
    "worker_base": "workerbase",
    "trivy_database": "trivy",
    "cluster": "kubernetes",
    "node": "node",
    "cosign": "cosign",
    "referrers_registry": "referrers",
    "buildkit_daemon": "buildkit",
    "sops_program": "sops",
    "nginx_program": "nginx",
    "kwok_program": "kwok",
}
WHOLE = "pipeline"
"""The fixture that starts, and stops, all parts of a pipeline."""
_OPEN = pytest.StashKey[Sandbox]()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell: what tests start would ignore Ctrl-C too, and some of them are about it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
_LOG_LINES = 30
_HOME = str(Path.home())


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Open one sandbox around all tests.

    Here and not in a fixture, because building a part may take minutes, which no test's timeout should count.
    """
    wanted = _wanted(session.items)
    if wanted is None or session.config.option.collectonly or _missing():
        return (yield)
    with Sandbox.open(name=f"test-{os.getpid()}", parts=(), report=Terminal()) as sandbox:
        session.config.stash[_OPEN] = sandbox
        if hasattr(session.config, "workerinput"):
            # One of several processes with a sandbox each: which tests come here is not known yet.
            sandbox.provide(*wanted)
        else:
            _start_together(sandbox, wanted, session.config)
        return (yield)


# Longest first, so that the processes end at about the same time. They are four on two cores: much is waiting.
ORDER = (
    "pipeline",
    "cluster faults",
    "cluster plans",
    "cluster",
    "docker",
    "threats",
    "prefect",
    "sandbox",
    "unit",
    "git",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By folder, in ORDER; within a folder as they were."""
    items.sort(key=lambda item: ORDER.index(folder) if (folder := _folder(item.nodeid)) in ORDER else len(ORDER))


THREATS_TO_A_CLUSTER = (
    "adopted_stranger",
    "blind_prune",
    "changed_below",
    "drift_shield",
    "foreign_endpoints",
    "hidden_injection",
    "sleeping_worker",
)
ALONGSIDE = {
    "tests/sandbox/test_parts.py": "docker",
    "tests/cluster/test_health.py": "sandbox",
    **{f"tests/threats/test_{name}.py": "cluster" for name in THREATS_TO_A_CLUSTER},
    **{
        f"tests/threats/test_{name}.py": "docker"
        for name in ("builder_references", "dependency_confusion", "docker_is_root")
    },
    **{f"tests/cluster/test_{name}.py": "cluster faults" for name in ("outages", "model", "faults", "requests")},
    **{
        f"tests/cluster/test_{name}.py": "cluster plans"
        for name in ("corpus", "conflicts", "immutable", "predict", "take_over", "validate", "plan_command", "roll")
    },
}
"""Files that go with another folder, which starts the same parts: a Docker daemon, a node. The cluster's are in three
pieces, each with a control plane of its own: much of what they do is waiting."""


def _folder(nodeid: str) -> str:
    """`tests/docker/test_check.py::test_x` goes with `docker`."""
    return ALONGSIDE.get(nodeid.partition("::")[0], nodeid.split("/")[1])


class FolderScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist ships no types
    """Tests of one folder share parts that take seconds to start, so they stay in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return _folder(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FolderScheduling:
    """Whatever `--dist` says: a folder is the smallest piece that is handed out, in our ORDER."""
    config.option.loadscopereorder = False
    return FolderScheduling(config, log)


def _wanted(items: Iterable[pytest.Item]) -> set[str] | None:
    """The parts that the selected tests ask for; None when they need no sandbox at all."""
    names = {name for item in items for name in getattr(item, "fixturenames", ())}
    parts = _parts(names)
    return parts if parts or "sandbox" in names else None


def _parts(fixtures: Collection[str]) -> set[str]:
    parts = {part for fixture, part in PARTS.items() if fixture in fixtures}
    return parts | {*PIPELINE_PARTS} if WHOLE in fixtures else parts


def _missing() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "real parts need root on Linux; run the tests with sudo or in a privileged container"
    return None


def _start_together(sandbox: Sandbox, names: set[str], config: pytest.Config) -> None:
    """Side by side is faster. What fails here is tried again, and reported, by the tests that ask for it."""
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        try:
            sandbox.start(*names)
        except SandboxError as error:
            sandbox.report("tests", f"failed to start all parts: {str(error).splitlines()[0]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the end of the log of every part that the test uses."""
    report = yield
    if report.failed and (sandbox := item.config.stash.get(_OPEN, None)):
        for part in sorted(_parts(getattr(item, "fixturenames", ()))):
            report.sections.append((f"log of {part}", tail(sandbox.log(part), _LOG_LINES)))
    return report


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """What a test's secrets were is not masked in another's words."""
    yield
    redaction.forget()


@pytest.fixture(scope="session")
def sandbox(pytestconfig: pytest.Config) -> Sandbox:
    """The run's own sandbox: its place, and `start`, `kill`, `revive`, `restart`, `call` for parts."""
    if reason := _missing():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return pytestconfig.stash[_OPEN]


def _started(sandbox: Sandbox, name: str) -> Part:
    """With the home that the run began with: in a test's own one, every part would be built anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", _HOME)
        sandbox.start(name)
        return sandbox.part(name)


@pytest.fixture(scope="session")
def git_server(sandbox: Sandbox) -> Git:
    """The git server; make repositories of your own with `sandbox.parts.git.create_repository`."""
    return cast("Git", _started(sandbox, "git"))


@pytest.fixture(scope="session")
def registry(sandbox: Sandbox) -> Registry:
    """The registry at `sandbox.place.registry`."""
    return cast("Registry", _started(sandbox, "registry"))


@pytest.fixture(scope="session")
def docker_daemon(sandbox: Sandbox) -> Docker:
    """A Docker daemon at its `docker_host`."""
    return cast("Docker", _started(sandbox, "docker"))


@pytest.fixture(scope="session")
def base_image(sandbox: Sandbox) -> BaseImage:
    """The example's base image, in the Docker daemon."""
    return cast("BaseImage", _started(sandbox, "baseimage"))


@pytest.fixture(scope="session")
def worker_base(sandbox: Sandbox) -> WorkerBaseImage:
    """The base of Interlock's own images, in the Docker daemon."""
    return cast("WorkerBaseImage", _started(sandbox, "workerbase"))


@pytest.fixture(scope="session")
def trivy_database(sandbox: Sandbox) -> Trivy:
    """Trivy's program and a small real vulnerability database."""
    return cast("Trivy", _started(sandbox, "trivy"))


@pytest.fixture(scope="session")
def cluster(sandbox: Sandbox) -> Kubernetes:
    """A Kubernetes control plane; its administrator's kubeconfig is `sandbox.place.kubeconfig`."""
    return cast("Kubernetes", _started(sandbox, "kubernetes"))


@pytest.fixture(scope="session")
def node(cluster: Kubernetes, sandbox: Sandbox) -> Node:
    """A node of the cluster that runs containers."""
    return cast("Node", _started(sandbox, "node"))


@pytest.fixture(scope="session")
def kwok_program(sandbox: Sandbox) -> Kwok:
    """What plays the kubelet of simulated nodes."""
    return cast("Kwok", _started(sandbox, "kwok"))


@pytest.fixture(scope="session")
def cosign(sandbox: Sandbox) -> Cosign:
    """The real cosign, in its versions 2 and 3."""
    return cast("Cosign", _started(sandbox, "cosign"))


@pytest.fixture(scope="session")
def sops_program(sandbox: Sandbox) -> Sops:
    """The real sops and age."""
    return cast("Sops", _started(sandbox, "sops"))


@pytest.fixture(scope="session")
def nginx_program(sandbox: Sandbox) -> Nginx:
    """The real nginx."""
    return cast("Nginx", _started(sandbox, "nginx"))


@pytest.fixture(scope="session")
def referrers_registry(sandbox: Sandbox) -> Referrers:
    """A registry that lists referrers by itself, without accounts."""
    return cast("Referrers", _started(sandbox, "referrers"))


@pytest.fixture(scope="session")
def buildkit_daemon(sandbox: Sandbox) -> BuildKit:
    """BuildKit's own daemon, and buildx."""
    return cast("BuildKit", _started(sandbox, "buildkit"))


# For the module and not the session: while it is there, no other event loop runs in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium: the machine's own."""
    from playwright.sync_api import sync_playwright

    if shutil.which("chromium") is None:
        provide_packages(("chromium",), report=Terminal())
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield browser
        browser.close()
