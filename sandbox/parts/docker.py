"""A Docker daemon: the one that answers already, else one of our own without any network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import httpx

from sandbox.cgroups import limit_processes, remove_cgroups
from sandbox.debian import provide_packages
from sandbox.part import Daemon, Report, clean_environment, wait_until
from sandbox.place import Place
from sandbox.users import user

_PROCESSES = 1024
_DEFAULT_SOCKET = Path("/var/run/docker.sock")


class Docker:
    """Builds images and runs their tests. Who reaches its socket is as good as root: only CI's user does."""

    name = "docker"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "docker.log"
        self.folder = place.state / "docker"
        self._daemon = Daemon("docker", self.log)

    @property
    def socket(self) -> Path:
        """The socket in use; known once the part is provided."""
        found = self.folder / "found"
        return Path(found.read_text()) if found.exists() else self.place.docker_socket

    @property
    def docker_host(self) -> str:
        """What belongs into DOCKER_HOST."""
        return f"unix://{self.socket}"

    @property
    def address(self) -> str:
        return self.docker_host

    @property
    def group(self) -> int:
        """The group that may use the socket."""
        return self.socket.stat().st_gid

    @property
    def _is_ours(self) -> bool:
        return self.socket == self.place.docker_socket

    def provide(self, report: Report) -> None:
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if found := _find_daemon():
            report(self.name, f"found a daemon at {found}")
            (self.folder / "found").write_text(str(found))
        elif shutil.which("dockerd") is None:
            provide_packages(("docker.io",), report=report)

    def start(self) -> None:
        if not self._is_ours:
            return
        # A build has no limit of its own on processes, and one that forks for ever must stop somewhere.
        limit_processes(f"{self.place.cgroup}/docker", _PROCESSES)
        config = self.folder / "daemon.json"
        config.write_text(json.dumps(self._config()))
        self._daemon.start(["dockerd", "--config-file", config], env=clean_environment(HOME=str(self.folder)))

    def _config(self) -> dict[str, object]:
        """No bridge and no rules: builds and tests have no network, and the machine's own stays untouched."""
        return {
            "hosts": [f"unix://{self.place.docker_socket}"],
            "group": str(user(self.place, "ci").id),
            "data-root": str(self.folder / "data"),
            "exec-root": str(self.folder / "exec"),
            "pidfile": str(self.folder / "docker.pid"),
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "ip-forward": False,
            "cgroup-parent": f"/{self.place.cgroup}/docker",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "shutdown-timeout": 2,
        }

    def wait(self, seconds: float) -> None:
        daemon = self._daemon if self._is_ours else None
        wait_until(lambda: answers(self.socket), subject=f"docker at {self.socket}", seconds=seconds, daemon=daemon)

    def stop(self) -> None:
        self._daemon.stop()

    def sweep(self) -> None:
        remove_cgroups(f"{self.place.cgroup}/docker")


def answers(socket: Path) -> bool:
    """A Docker daemon listens there."""
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=5) as client:
            return client.get("http://docker/_ping").status_code == 200
    except httpx.TransportError:
        return False


def _find_daemon() -> Path | None:
    """The first that answers on a socket which a group other than root's may use, since CI's user is not root."""
    host = os.environ.get("DOCKER_HOST", "")
    named = [Path(host.removeprefix("unix://"))] if host.startswith("unix://") else []
    for socket in (*named, _DEFAULT_SOCKET):
        if socket.is_socket() and socket.stat().st_gid != 0 and answers(socket):
            return socket
    return None
