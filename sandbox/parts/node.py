"""A real node: containerd, kubelet and kube-proxy on a small machine of their own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.authority import write_private
from sandbox.debian import provide_packages
from sandbox.golang import provide_binaries
from sandbox.image import program_image, write_archive
from sandbox.machine import Machine, remove_cgroups, remove_link, sbin_environment
from sandbox.part import Daemon, Report, wait_until
from sandbox.parts.kubernetes import api_get, authority, authority_certificate, node_kubeconfig
from sandbox.place import Place

NODE_NAME = "node"
PAUSE_IMAGE = "interlock.sandbox/pause:1"
PACKAGES = ("runc", "containernetworking-plugins", "nftables", "iptables", "iproute2")
CNI_PROGRAMS = "/usr/lib/cni"
_NEVER = datetime.max.replace(tzinfo=UTC)
NFTABLES_KERNEL = (5, 13)  # older ones get iptables rules


class Node:
    """One node that pulls from the sandbox's registry and runs containers. It reaches this machine and nothing else."""

    name = "node"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.needs: Sequence[str] = ("kubernetes", "registry")
        self.log = place.logs / "kubelet.log"
        self.folder = place.state / "node"
        self._machine = Machine(place)
        self._started = _NEVER
        self._containerd = Daemon("containerd", place.logs / "containerd.log")
        self._kubelet = Daemon("kubelet", self.log)
        self._proxy = Daemon("kube-proxy", place.logs / "kube-proxy.log")

    @property
    def address(self) -> str:
        return self.place.node_address

    def provide(self, report: Report) -> None:
        provide_packages(PACKAGES, report=report)
        for module in ("node", "containerd", "pause"):
            provide_binaries(module, report=report)

    def start(self) -> None:
        pause = provide_binaries("pause", report=_silent) / "pause"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._machine.start(init=pause)
        write_archive(program_image(pause.read_bytes()), name=PAUSE_IMAGE, path=self.folder / "pause.tar")
        self._start_containerd()
        # kubelet gives up at once when containerd does not answer, and its first pod needs the pause image.
        wait_until(self._has_pause_image, subject="containerd", seconds=30, daemon=self._containerd)
        self._started = datetime.now(UTC).replace(microsecond=0)
        self._start_kubernetes()

    def _start_containerd(self) -> None:
        programs = provide_binaries("containerd", report=_silent)
        _write_containerd(self.place, self.folder)
        command: list[str | Path] = [programs / "containerd", "--config", self.folder / "containerd.toml"]
        self._run(self._containerd, command, programs=programs)

    def _start_kubernetes(self) -> None:
        programs = provide_binaries("node", report=_silent)
        _write_kubelet(self.place, self.folder)
        _write_proxy(self.place, self.folder)
        self._run(
            self._kubelet,
            [
                programs / "kubelet",
                f"--config={self.folder}/kubelet.json",
                f"--kubeconfig={self.folder}/kubelet.kubeconfig",
                f"--root-dir={self.folder}/kubelet",
                f"--cert-dir={self.folder}/keys",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={self.place.node_address}",
            ],
            programs=programs,
        )
        self._run(self._proxy, [programs / "kube-proxy", f"--config={self.folder}/proxy.json"], programs=programs)

    def _run(self, daemon: Daemon, command: Sequence[str | Path], *, programs: Path) -> None:
        env = sbin_environment()
        env["PATH"] = f"{programs}:{env['PATH']}"
        daemon.start([*self._machine.enter(), *command], env=env, cwd=self.folder)

    def wait(self, seconds: float) -> None:
        """Until pods can be scheduled here."""
        wait_until(self._is_ready, subject="the node to be Ready", seconds=seconds, log=self.log)
        write_registry_hosts(self.place, self.folder)

    def _has_pause_image(self) -> bool:
        """Import it, as soon as containerd takes it."""
        if not (self.folder / "containerd.sock").exists():
            return False
        ctr = f"{provide_binaries('containerd', report=_silent)}/ctr"
        words = (
            f"--address {self.folder}/containerd.sock --namespace k8s.io images import --local {self.folder}/pause.tar"
        )
        return subprocess.run([ctr, *words.split()], capture_output=True, check=False).returncode == 0

    def _is_ready(self) -> bool:
        for daemon in (self._containerd, self._kubelet, self._proxy):
            daemon.check()
        node = api_get(self.place, f"/api/v1/nodes/{NODE_NAME}")
        return node is not None and _takes_pods(node, since=self._started)

    def stop(self) -> None:
        """The machine's end is the end of every process on it, containers too."""
        self._started = _NEVER
        self._machine.stop()
        for daemon in (self._proxy, self._kubelet, self._containerd):
            daemon.stop()
        self.sweep()

    def sweep(self) -> None:
        remove_link(self.place)
        remove_cgroups(self.place)


def _takes_pods(node: Mapping[str, Any], *, since: datetime) -> bool:
    """Ready and without taints; said after `since`, because what a killed node said last still stands there."""
    for condition in node["status"].get("conditions", []):
        if condition["type"] == "Ready" and condition["status"] == "True":
            return datetime.fromisoformat(condition["lastHeartbeatTime"]) >= since and not node["spec"].get("taints")
    return False


def _silent(part: str, message: str) -> None:
    """Where reports go when there is nothing left to provide."""


def _write_containerd(place: Place, folder: Path) -> None:
    (folder / "containerd.toml").write_text(_CONTAINERD.format(folder=folder, cni=CNI_PROGRAMS, pause=PAUSE_IMAGE))
    networks = folder / "networks"
    networks.mkdir(exist_ok=True)
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": place.pod_cidr}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(folder / "addresses"),
    }
    plugins = [{"type": "ptp", "ipam": addresses}, {"type": "portmap", "capabilities": {"portMappings": True}}]
    network = {"cniVersion": "1.0.0", "name": "sandbox", "plugins": plugins}
    (networks / "10-sandbox.conflist").write_text(json.dumps(network))
    write_registry_hosts(place, folder)


# restrict_oom_score_adj: root in a container may not lower a process's score, and runc would fail.
_CONTAINERD = """\
version = 3
root = "{folder}/containerd"
state = "{folder}/containerd-state"
disabled_plugins = ["io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
address = "{folder}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/containerd-opt"

[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
tolerate_missing_hugetlb_controller = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{cni}"]
conf_dir = "{folder}/networks"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{folder}/registries"
"""


def write_registry_hosts(place: Place, folder: Path) -> None:
    """Tell containerd where images named 127.0.0.1:PORT are, seen from the node, with the node's own account.

    containerd reads this at every pull, so it may be written again when the registry made its account later.
    """
    hosts = folder / "registries" / place.registry
    hosts.mkdir(parents=True, exist_ok=True)
    url = f"http://{place.host_address}:{place.registry_port}"
    lines = [f'server = "{url}"', f'[host."{url}"]', 'capabilities = ["pull", "resolve"]']
    account = place.state / "registry" / "node.auth"
    if account.exists():
        basic = base64.b64encode(account.read_bytes().strip()).decode()
        lines += [f'[host."{url}".header]', f'Authorization = "Basic {basic}"']
    write_private(hosts / "hosts.toml", "\n".join([*lines, ""]).encode())


def _write_kubelet(place: Place, folder: Path) -> None:
    keys = folder / "keys"
    keys.mkdir(exist_ok=True, mode=0o700)
    serving = authority(place).server(f"system:node:{NODE_NAME}", hosts=[NODE_NAME, place.node_address])
    serving.write(keys / "kubelet")
    (folder / "resolv.conf").write_text("")
    user = f"system:node:{NODE_NAME}"
    node_kubeconfig(place, user=user, groups=["system:nodes"], path=folder / "kubelet.kubeconfig")
    (folder / "kubelet.json").write_text(json.dumps(_kubelet_config(place, folder)))


def _kubelet_config(place: Place, folder: Path) -> dict[str, object]:
    """Quick to notice changes, and nothing that a full disk or a slow machine would make it throw away."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority_certificate(place))},
        },
        "authorization": {"mode": "Webhook"},
        "address": place.node_address,
        "port": place.kubelet_port,
        "tlsCertFile": str(folder / "keys" / "kubelet.crt"),
        "tlsPrivateKeyFile": str(folder / "keys" / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "resolvConf": str(folder / "resolv.conf"),
        # The cluster has no DNS server: a pod's lookup is refused at once, where an unused address would time out.
        "clusterDNS": ["127.0.0.1"],
        "clusterDomain": "cluster.local",
        "serializeImagePulls": False,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "10s"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": dict.fromkeys(_EVICTION_SIGNALS, "0%"),
    }


_EVICTION_SIGNALS = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
)


def _write_proxy(place: Place, folder: Path) -> None:
    node_kubeconfig(place, user="system:kube-proxy", path=folder / "proxy.kubeconfig")
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(folder / "proxy.kubeconfig")},
        "mode": "nftables" if _kernel() >= NFTABLES_KERNEL else "iptables",
        "clusterCIDR": place.pod_cidr,
        "hostnameOverride": NODE_NAME,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        # Zero leaves the machine's limits as they are.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    (folder / "proxy.json").write_text(json.dumps(config))


def _kernel() -> tuple[int, int]:
    major, minor, *_ = os.uname().release.split(".")
    return int(major), int("".join(filter(str.isdigit, minor)))
