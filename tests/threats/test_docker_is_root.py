"""Whoever reaches a Docker daemon is root on its host: reads every key, signs what he likes.

Number: 14
Defence: evidence is signed by a process of another user that does not start where it can reach Docker, reads its key
alone and judges for itself (tasks/ci/signer.py); builds and tests get no socket, and interlock.yaml cannot ask for
mounts (interlock/contract/models.py, tasks/ci/tests.py); a CD host has no Docker client at all.
Not defended: CI's worker itself, which builds: who takes it over has that host. Keep the signer, and CD, on others.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from interlock.contract.models import Tests
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.docker import Docker
from sandbox.users import as_user, user
from tasks.ci.images import daemon
from tests.docker.conftest import Walk
from tests.docker.signing import SignerProcess, signer_beside
from tests.docker.test_containers import GOOD, Run, write
from tests.docker.test_containers import build as build  # noqa: PLC0414 - fixtures of that file
from tests.docker.test_containers import run as run  # noqa: PLC0414
from tests.docker.test_signer import ended

BASE = "interlock.sandbox/python:3.11"


@pytest.fixture
def signer(walk: Walk) -> Iterator[SignerProcess]:
    """One that is not started yet; its key lies in a file of its user's."""
    with signer_beside(walk) as made:
        yield made


def mounted(docker: Docker, file: Path) -> bytes:
    """What a container reads that somebody started with the host's files in it."""
    with daemon(docker.docker_host) as client:
        said: bytes = client.containers.run(
            BASE, ["cat", f"/host{file}"], volumes={"/": {"bind": "/host", "mode": "ro"}}, user="0", remove=True
        )
    return said


def test_reading_the_signers_key_succeeds_through_the_daemon(
    signer: SignerProcess, docker_daemon: Docker, base_image: BaseImage
) -> None:
    """A file that CI's own user cannot read: with the socket, one container away."""
    key = signer.folder / "shop.key"
    command = as_user(user(signer.place, "ci"), ["cat", key])
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0

    assert b"PRIVATE KEY" in mounted(docker_daemon, key)


def test_a_signer_that_reaches_docker_is_refused(signer: SignerProcess, docker_daemon: Docker) -> None:
    """It ends by itself, and says why."""
    signer.run(groups=(docker_daemon.group,))

    assert "can reach" in ended(signer)


LOOK = """
import pathlib, socket, stat
for path in pathlib.Path("/").rglob("*"):
    try:
        if not str(path).startswith(("/proc", "/sys")) and stat.S_ISSOCK(path.stat().st_mode):
            raise SystemExit(f"there is {path}")
    except OSError:
        continue
assert not pathlib.Path("/host").exists()
"""


def test_the_tests_of_a_component_reach_no_socket(run: Run) -> None:
    """In the container there is none, and none of the host's files."""
    result = run(f"{LOOK}\n{write(GOOD)}")

    assert result.problems == ()


@pytest.mark.parametrize(
    "asked",
    [
        {"volumes": ["/:/host"]},
        {"mounts": [{"source": "/var/run/docker.sock", "target": "/var/run/docker.sock"}]},
        {"privileged": True},
        {"network": "host"},
        {"user": "0"},
        {"services": {"db": {"image": f"a/b@sha256:{'1' * 64}", "volumes": ["/:/host"]}}},
        {"services": {"db": {"image": f"a/b@sha256:{'1' * 64}", "privileged": True}}},
    ],
    ids=str,
)
def test_an_interlock_yaml_that_asks_for_the_host_is_refused(asked: dict[str, object]) -> None:
    """There is no word for it."""
    assert Tests.model_validate({"command": ("true",)})
    with pytest.raises(ValidationError, match="not permitted"):
        Tests.model_validate({"command": ("true",), **asked})
