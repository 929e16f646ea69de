"""Where one sandbox lives: its folder, its addresses, its ports; all derived from its name and slot."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

STATE_ROOT = Path(os.environ.get("INTERLOCK_SANDBOX_STATE", "/var/lib/interlock-sandbox"))
SLOTS = 60


def cache_root() -> Path:
    """The folder for what is built once and used by every sandbox of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "interlock"


@dataclass(frozen=True)
class Place:
    """One sandbox. Two with different slots share no port, subnet, cgroup or socket.

    `slot` is 0 to 59: ports are 21000 + 50·slot … (below
    the range that the kernel gives to outgoing connections), the node's link 172.31.(200 + slot).0/30,
    pods 10.(130 + slot).0.0/17, services 10.(130 + slot).128.0/20.
    """

    name: str
    slot: int

    @property
    def state(self) -> Path:
        """Everything this sandbox writes; removed by `down`. Mode 0755, so that the workers' users can pass."""
        return STATE_ROOT / self.name

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def port(self, offset: int) -> int:
        return 21000 + 50 * self.slot + offset

    # Offsets are listed here so that no two parts can choose the same one.
    @property
    def etcd_port(self) -> int:
        return self.port(0)

    @property
    def etcd_peer_port(self) -> int:
        return self.port(1)

    @property
    def apiserver_port(self) -> int:
        return self.port(2)

    @property
    def controller_manager_port(self) -> int:
        return self.port(3)

    @property
    def scheduler_port(self) -> int:
        return self.port(4)

    @property
    def kubelet_port(self) -> int:
        return self.port(5)

    @property
    def registry_port(self) -> int:
        return self.port(10)

    @property
    def git_port(self) -> int:
        return self.port(11)

    @property
    def prefect_port(self) -> int:
        return self.port(12)

    @property
    def receiver_port(self) -> int:
        return self.port(13)

    @property
    def referrers_port(self) -> int:
        return self.port(14)

    @property
    def host_address(self) -> str:
        """This machine as seen from the node: the API server and the registry listen here too."""
        return f"172.31.{200 + self.slot}.1"

    @property
    def node_address(self) -> str:
        return f"172.31.{200 + self.slot}.2"

    @property
    def pod_cidr(self) -> str:
        return f"10.{130 + self.slot}.0.0/17"

    @property
    def service_cidr(self) -> str:
        return f"10.{130 + self.slot}.128.0/20"

    @property
    def first_service_address(self) -> str:
        """The address of the `kubernetes` Service; the API server's certificate must name it."""
        return f"10.{130 + self.slot}.128.1"

    @property
    def registry(self) -> str:
        """The registry's name in image references. On loopback, so that any Docker daemon speaks plain HTTP to it."""
        return f"127.0.0.1:{self.registry_port}"

    @property
    def cgroup(self) -> str:
        """Root of this sandbox's control groups, relative to each hierarchy's mount."""
        return f"interlock-{self.name}"

    @property
    def link(self) -> str:
        """Name of the host's end of the node's veth pair (15 characters at most)."""
        return f"ilk{self.slot}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; 0600. For tests and for people, never for a worker."""
        return self.state / "kubernetes" / "admin.kubeconfig"

    @property
    def signer_socket(self) -> Path:
        """In a folder of its own, which belongs to the signer's user and lets others pass."""
        return self.state / "signing" / "signer.sock"

    @property
    def docker_socket(self) -> Path:
        return self.state / "docker.sock"
