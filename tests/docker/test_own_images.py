"""Interlock's own two images: released by its own CI from wheels in the build context, and started."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.ci.release import ReleaseOutcome, release_order
from images.collect import HALVES, collect
from interlock.contract import layout
from sandbox.parts.baseimage import WorkerBaseImage
from sandbox.place import cache_root
from tasks.ci.images import Client, daemon
from tests.docker import service
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder

pytestmark = pytest.mark.timeout(1500)
_PUSH_BYTES = 30 << 20
WAIVED = """\
format: 1
waivers:
  - finding: aws-access-key-id@/opt/interlock/lib/python3.11/site-packages/apprise/plugins/ses.py
    component: "*"
    reason: an example in a comment of a package that Prefect needs
    owner: ada
    ends: "2099-01-01"
"""


@dataclass(frozen=True)
class Built:
    walk: Walk
    outcome: ReleaseOutcome
    recorder: Recorder

    def image(self, half: str) -> str:
        """By digest, as it was released."""
        return next(each.image for each in self.outcome.components if each.component == f"interlock-{half}")


@pytest.fixture(scope="module")
async def built(
    new_walk: Callable[[Path, Path], Walk],
    worker_base: WorkerBaseImage,
    scanner_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Built:
    """The application repository that `make images` lays out, pushed and released."""
    folder = tmp_path_factory.mktemp("own")
    walk = new_walk(folder, scanner_cache)
    walk.environments.push(_applications(walk))
    collect(folder / "context", cache_root() / "images-wheels")
    _push(walk, folder / "context")
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.delenv("KUBECONFIG", raising=False)
        outcome = await release_order(recorder, walk.host, "shop", None)
    return Built(walk, outcome, recorder)


def _applications(walk: Walk) -> dict[str, bytes | None]:
    """One for each half, with the one component that it has."""
    tree = walk.environments.read()
    head, _, entry = tree.text(layout.BINDINGS).partition("  - ")
    names = [f"interlock-{half}" for half in HALVES]
    bound = (
        entry.replace(": web\n", f": {name}\n")
        .replace(": shop\n    env", f": {name}\n    env")
        .replace("/web\n", f"/{name}\n")
        for name in names
    )
    signers = tree.text(layout.SIGNERS).replace("environments/dev/shop/", "environments/dev/*/")
    files: dict[str, bytes | None] = {
        layout.BINDINGS: f"{head}{''.join(f'  - {each}' for each in bound)}".encode(),
        layout.SIGNERS: signers.encode(),
    }
    files[layout.WAIVERS] = WAIVED.encode()
    for name in names:
        files[layout.application(name)] = tree.files[layout.application("shop")]
        files[layout.shared_values(name)] = tree.files[layout.shared_values("shop")]
        files[layout.values("dev", name)] = tree.files[layout.values("dev", "shop")]
    return files | dict.fromkeys(
        (layout.application("shop"), layout.shared_values("shop"), layout.values("dev", "shop"))
    )


def _push(walk: Walk, folder: Path) -> None:
    """In pieces that a git server takes; what says how it is built comes last."""
    files: dict[str, bytes | None] = {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    last = dict.fromkeys(service.files()) | {name: files.pop(name) for name in list(files) if "wheels/" not in name}
    batch: dict[str, bytes | None] = {}
    for name, content in files.items():
        if sum(len(each or b"") for each in batch.values()) + len(content or b"") > _PUSH_BYTES:
            walk.application.push(batch)
            batch = {}
        batch[name] = content
    walk.application.push(batch | last)


def test_both_are_released_by_our_own_ci(built: Built) -> None:
    """Their tests, run inside of them, find neither half's SDK in the other, and every program that is started."""
    released = {each.component: each.image for each in built.outcome.written}

    assert sorted(released) == ["interlock-cd", "interlock-ci"]
    assert all("@sha256:" in image for image in released.values())
    told = sorted(report.title for report in built.recorder.reports if report.key == "tests")
    assert [title.partition(",")[0] for title in told] == [
        "Tests of interlock-cd: passed (6 passed",
        "Tests of interlock-ci: passed (6 passed",
    ]


@pytest.mark.parametrize(("half", "other"), [("ci", "kubernetes"), ("cd", "docker")])
def test_a_half_has_not_the_others_sdk(built: Built, half: str, other: str) -> None:
    """Importing it inside the image fails, and its own does not."""
    sdk = {"ci": "docker", "cd": "kubernetes"}[half]

    with daemon(built.walk.host.docker) as client:
        says = {name: _run(client, built.image(half), "python", "-c", f"import {name}") for name in (sdk, other)}

    assert says[sdk] == (0, "")
    assert says[other][0] == 1
    assert f"No module named '{other}'" in says[other][1]


@pytest.mark.parametrize("half", HALVES)
def test_it_starts_as_a_worker(built: Built, half: str) -> None:
    """As nobody's root, with an init that takes over orphans; it says that it lives, and ends when it is told to."""
    with daemon(built.walk.host.docker) as client, _started(client, built, half) as container:
        _wait_until(lambda: container.exec_run(["interlock", "alive", half]).exit_code == 0)
        inside = json.loads(container.exec_run(["python", "-c", _LOOK]).output)
        container.reload()
        health = container.attrs["Config"]["Healthcheck"]["Test"]
        container.stop(timeout=60)
        code = container.wait()["StatusCode"]
        log = container.logs().decode()

    assert inside["first"] == "tini"
    assert inside["user"] == 10001
    assert inside["zombies"] == []
    assert health == ["CMD", "interlock", "alive", half]
    assert code in (0, 143), log
    assert "Traceback" not in log


_LOOK = """
import json, os, subprocess, time
from pathlib import Path
subprocess.run(["sh", "-c", "(sh -c 'sleep 0.2' &)"], check=True)
time.sleep(1)
states = [each.read_text().rpartition(")")[2].split()[0] for each in Path("/proc").glob("[0-9]*/stat")]
print(json.dumps({"first": Path("/proc/1/comm").read_text().strip(), "user": os.getuid(),
    "zombies": [each for each in states if each == "Z"]}))
"""


def _run(client: Client, image: str, *command: str) -> tuple[int, str]:
    container = client.containers.create(image, entrypoint=list(command), command=[], network_mode="none")
    try:
        container.start()
        code = int(container.wait(timeout=120)["StatusCode"])
        return code, container.logs().decode().strip()
    finally:
        container.remove(force=True, v=True)


@contextmanager
def _started(client: Client, built: Built, half: str) -> Iterator[Any]:
    """With a host's file, and Prefect away: it waits."""
    folder = built.walk.host.state.parent / f"etc-{half}"
    folder.mkdir(mode=0o755)
    (folder / f"{half}.yaml").write_text(_host_file(built.walk, half))
    container = client.containers.create(
        built.image(half),
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": ""},
        volumes={str(folder): {"bind": "/etc/interlock", "mode": "ro"}},
    )
    try:
        container.start()
        yield container
    finally:
        container.remove(force=True, v=True)


def _host_file(walk: Walk, half: str) -> str:
    said = json.loads(walk.host.model_dump_json(exclude_none=True)) | {"state": "/var/lib/interlock"}
    if half == "cd":
        said = {name: said[name] for name in ("format", "prefect", "state", "environment_repository", "signing")}
        said["ledger"] = {**said["environment_repository"], "name": "ledger"}
        del said["ledger"]["root"]
        said["clusters"] = {"sandbox": {"kubeconfig": "/etc/interlock/cd.kubeconfig"}}
        said["environments"] = {
            "dev": {"cluster": "sandbox", "namespaces": ["shop"], "control_namespace": "interlock-dev"}
        }
    return json.dumps(said)


def _wait_until(holds: Callable[[], bool], *, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(1)
