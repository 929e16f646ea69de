"""A small machine for the node: namespaces of its own, a link to this machine, a root of control groups.

Its processes, mounts and network live exactly as long as its first process. What lies outside of that are the
control groups, which `sweep` removes, and the empty folders of `HIDDEN`, which stay: removing one would also
take it from a sandbox that still runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sandbox.part import Daemon, SandboxError, clean_environment, wait_until
from sandbox.place import Place

PREFIX_LENGTH = 30  # of the link's subnet
CONTROLLERS = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}
# Folders with fixed names that the node's programs write to; each machine sees its own there.
HIDDEN = ("/run/containerd", "/var/lib/kubelet", "/var/lib/cni", "/var/log/containers")
# What kubelet would set for the whole machine. It reads these values as set already, and leaves the real ones alone.
SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


class Machine:
    """One per sandbox. `enter` gives the words to put before a command that is to run inside."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.state / "node" / "machine"
        self._holder = Daemon("node machine", place.logs / "node-machine.log")

    def start(self, *, init: Path) -> None:
        """Needs root. `init` is its first process: a program that sleeps and reaps orphans."""
        remove_link(self.place)
        self.folder.mkdir(parents=True, exist_ok=True)
        up = self.folder / "up"
        up.unlink(missing_ok=True)
        fstab = self._write_fstab()
        make_cgroups(self.place)
        inside = 'mount --all --fstab "$1" && touch "$2" && exec "$3"'
        self._holder.start([*_UNSHARE, "sh", "-c", inside, "sh", fstab, up, init], env=sbin_environment())
        wait_until(up.exists, subject="the node's namespaces", seconds=10, daemon=self._holder)
        self._connect()

    def check(self) -> None:
        self._holder.check()

    def stop(self) -> None:
        """End its first process; the kernel ends every other with it, and takes the mounts and the network down."""
        self._holder.stop(seconds=5)
        remove_link(self.place)

    def enter(self) -> list[str]:
        spaces = f"/proc/{self._pid}/ns"
        return ["nsenter", f"--net={spaces}/net", f"--mount={spaces}/mnt", f"--pid={spaces}/pid_for_children"]

    @property
    def _pid(self) -> int:
        if self._holder.process is None:
            raise SandboxError("the node's machine is not up; start it first")
        return self._holder.process.pid

    def _write_fstab(self) -> Path:
        binds = {}
        for hidden in map(Path, HIDDEN):
            hidden.mkdir(parents=True, exist_ok=True)
            own = self.folder / str(hidden).strip("/").replace("/", "-")
            own.mkdir(exist_ok=True)
            binds[hidden] = own
        for name, value in SYSCTLS.items():
            own = self.folder / name.replace("/", ".")
            own.write_text(f"{value}\n")
            binds[Path("/proc/sys") / name] = own
        fstab = self.folder / "fstab"
        fstab.write_text("".join(f"{own} {target} none bind 0 0\n" for target, own in binds.items()))
        return fstab

    def _connect(self) -> None:
        """A veth pair; routes on this side, so that its processes reach pods and Services through the node."""
        place, link = self.place, self.place.link
        _batch(
            [],
            f"link add {link} type veth peer name eth0 netns {self._pid}",
            f"address add {place.host_address}/{PREFIX_LENGTH} dev {link}",
            f"link set {link} up",
            f"route add {place.pod_cidr} via {place.node_address} dev {link} src {place.host_address}",
            f"route add {place.service_cidr} via {place.node_address} dev {link} src {place.host_address}",
        )
        _batch(
            self.enter(),
            "link set lo up",
            f"address add {place.node_address}/{PREFIX_LENGTH} dev eth0",
            "link set eth0 up",
            # kube-proxy rewrites what goes to a Service; a route must be there for it to get that far.
            f"route add {place.service_cidr} dev eth0 src {place.node_address}",
        )
        forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
        _run([*self.enter(), "sh", "-c", forward], subject="forwarding in the node's network")


_UNSHARE = (
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child=SIGKILL",
    "--mount-proc",
    "--propagation=private",
)


def remove_link(place: Place) -> None:
    """Remove the host's end of the link, and with it the routes; harmless when there is none."""
    if Path("/sys/class/net", place.link).exists():
        # It may be going away by itself at this moment, together with a network namespace that just ended.
        subprocess.run(["ip", "link", "delete", place.link], env=sbin_environment(), capture_output=True, check=False)
    wait_until(
        lambda: not Path("/sys/class/net", place.link).exists(),
        subject=f"link {place.link} to go away",
        seconds=5,
    )


def make_cgroups(place: Place) -> None:
    """The root of the node's control groups, in every hierarchy that this machine mounts."""
    for version, mount in cgroup_mounts():
        group = mount / place.cgroup
        group.mkdir(exist_ok=True)
        if version == "cgroup2":
            _delegate(mount)
        elif (group / "cpuset.cpus").exists():
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (group / setting).write_text((mount / setting).read_text())


def _delegate(mount: Path) -> None:
    """Let groups below the root of a version 2 hierarchy have those of its controllers that kubelet uses."""
    there = set((mount / "cgroup.controllers").read_text().split()) & CONTROLLERS
    try:
        (mount / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(there)))
    except OSError as error:
        raise SandboxError(
            f"control groups: {mount} may not pass {', '.join(sorted(there))} on ({error.strerror}); "
            "run on a machine, or in a container that sees the machine's control groups (--cgroupns=host)"
        ) from error


def remove_cgroups(place: Place) -> None:
    """Kill what still runs in this sandbox's control groups, then remove them, leaves first."""
    for _, mount in cgroup_mounts():
        root = mount / place.cgroup
        deadline = time.monotonic() + 5
        while root.exists():
            _empty(root)
            if time.monotonic() > deadline:
                raise SandboxError(f"control group {root}: still in use after 5 s; see {root}/cgroup.procs")
            time.sleep(0.02)


def _empty(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        for pid in _processes(Path(folder)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(OSError):  # a process takes a moment to die; the caller comes again
            Path(folder).rmdir()


def _processes(group: Path) -> list[int]:
    """Those in the group; a 0 stands for a process outside of our PID namespace, which is not ours to kill."""
    try:
        return [pid for pid in map(int, (group / "cgroup.procs").read_text().split()) if pid != 0]
    except OSError:
        return []


def cgroup_mounts() -> Iterator[tuple[str, Path]]:
    """Version ("cgroup" or "cgroup2") and place of every hierarchy that this machine mounts."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind in {"cgroup", "cgroup2"}:
            yield kind, Path(target)


def _batch(enter: Sequence[str], *commands: str) -> None:
    """Several `ip` commands in one go; the first that fails ends it."""
    _run([*enter, "ip", "-batch", "-"], subject="the node's link", text="\n".join(commands))


def _run(command: Sequence[str], *, subject: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False, env=sbin_environment())
    if done.returncode != 0:
        raise SandboxError(f"{subject}: {' '.join(command[-3:])} failed: {done.stderr.strip()}\n{text or ''}")


def sbin_environment() -> dict[str, str]:
    """Debian keeps ip, mount's friends and nft in sbin, which is not on everybody's path."""
    inherited = clean_environment()
    return {**inherited, "PATH": f"{inherited['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"}
