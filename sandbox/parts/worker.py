"""The two halves' workers, the webhook receiver and the signer: our own programs, each as a user of its own.

They start on request, after somebody has written the host config into the folder that `half_folder` makes.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import httpx

from sandbox.http import LOCAL
from sandbox.part import Daemon, Report, SandboxError, clean_environment, wait_until
from sandbox.parts.docker import Docker
from sandbox.parts.prefect import Prefect
from sandbox.place import Place
from sandbox.users import as_user, own_folder, user

Role = Literal["ci", "cd", "receiver", "signer"]
_BIN = Path(sys.prefix) / "bin"


def half_folder(place: Place, role: Role) -> Path:
    """`STATE/<role>`: root's, so that the role cannot change its host config, and readable by no other role.

    In it are `home` and `tmp`, the role's own. The host config belongs there as `<role>.yaml`, written by
    `write_private(path, text, owner=0, group=user(place, role).id)`.
    """
    account = user(place, role)
    folder = place.state / role
    folder.mkdir(exist_ok=True)
    os.chown(folder, 0, account.id)
    folder.chmod(0o750)
    own_folder(folder / "home", account)
    own_folder(folder / "tmp", account)
    return folder


class _Program:
    """One `interlock` command that keeps running."""

    def __init__(self, place: Place, *, name: str, role: Role, arguments: Sequence[str], needs: Sequence[str]) -> None:
        self.place = place
        self.name = name
        self.role: Role = role
        self.needs = needs
        self.log = place.logs / f"{name}.log"
        self._arguments = arguments
        self._daemon = Daemon(name, self.log)
        self._began = datetime.now(UTC)

    @property
    def config(self) -> Path:
        """What it reads as INTERLOCK_CONFIG."""
        return self.place.state / self.role / f"{self.role}.yaml"

    def provide(self, report: Report) -> None:
        if not self.config.exists():
            raise SandboxError(f"{self.name}: no host config at {self.config}; write it, then start this part")

    def start(self) -> None:
        folder = half_folder(self.place, self.role)
        self._began = datetime.now(UTC)
        command = as_user(
            user(self.place, self.role),
            [str(_BIN / "interlock"), *self._arguments],
            groups=self._groups(),
        )
        self._daemon.start(command, env=self._environment(folder), cwd=folder / "home")

    def _groups(self) -> list[int]:
        return []

    def _environment(self, folder: Path) -> dict[str, str]:
        return clean_environment(
            PATH=f"{_BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            HOME=str(folder / "home"),
            TMPDIR=str(folder / "tmp"),
            INTERLOCK_CONFIG=str(self.config),
            PREFECT_API_URL=Prefect(self.place).api_url,
        )

    def stop(self) -> None:
        self._daemon.stop()

    def sweep(self) -> None:
        """Everything it has is in the state folder."""


class _Worker(_Program):
    """Answers when Prefect has heard from it since its start."""

    @property
    def address(self) -> str:
        return f"pool interlock-{self.role}"

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"{self.name} in Prefect", seconds=seconds, daemon=self._daemon)

    def _answers(self) -> bool:
        try:
            pools = [pool["name"] for pool in self._ask("work_pools/filter")]
            return any(self._is_heard_in(pool) for pool in pools if pool.startswith(f"interlock-{self.role}"))
        except httpx.HTTPError:
            return False

    def _ask(self, path: str) -> list[dict[str, Any]]:
        answer = LOCAL.post(f"{Prefect(self.place).api_url}/{path}", json={}, timeout=5)
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    def _is_heard_in(self, pool: str) -> bool:
        workers = self._ask(f"work_pools/{pool}/workers/filter")
        return any(datetime.fromisoformat(worker["last_heartbeat_time"]) > self._began for worker in workers)


class CiWorker(_Worker):
    """Has Docker, the registry's password and no cluster."""

    def __init__(self, place: Place) -> None:
        needs = ("prefect", "docker")
        super().__init__(place, name="worker-ci", role="ci", arguments=("worker", "ci"), needs=needs)

    def _groups(self) -> list[int]:
        return [Docker(self.place).group]

    def _environment(self, folder: Path) -> dict[str, str]:
        return super()._environment(folder) | {"DOCKER_HOST": Docker(self.place).docker_host}


class CdWorker(_Worker):
    """Has the cluster and no Docker."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, name="worker-cd", role="cd", arguments=("worker", "cd"), needs=("prefect",))


class Receiver(_Program):
    """`interlock receive` on 127.0.0.1, where the git server's hook sends webhooks."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, name="receiver", role="receiver", arguments=("receive",), needs=("prefect",))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.place.receiver_port}"

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"receiver at {self.address}", seconds=seconds, daemon=self._daemon)

    def _answers(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.place.receiver_port)) == 0


class Signer(_Program):
    """`interlock signer`: has the attestation keys, and reaches neither Docker nor Prefect."""

    def __init__(self, place: Place) -> None:
        needs = ("git", "registry")
        super().__init__(place, name="signer", role="signer", arguments=("signer",), needs=needs)

    @property
    def address(self) -> str:
        return f"unix://{self.place.signer_socket}"

    def start(self) -> None:
        own_folder(self.place.signer_socket.parent, user(self.place, "signer"), mode=0o755)
        super().start()

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"signer at {self.address}", seconds=seconds, daemon=self._daemon)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.place.signer_socket)) == 0
