"""The controls of Kubernetes' Pod Security Standards as pods: what each forbids, and what it lets pass.

Held against our rules with literals, and against the API server's own admission (tests/cluster).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from interlock.contract.default_rules import BASELINE, RESTRICTED

Level = Literal["baseline", "restricted"]
CONTROLS: Mapping[str, frozenset[str]] = {
    "baseline": frozenset(rule.name for rule in BASELINE),
    "restricted": frozenset(rule.name for rule in RESTRICTED),
}
IMAGE = "registry.example/web@sha256:" + "1a" * 32
_HARDENED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Case:
    """A pod that holds to "restricted" but for what is changed: of the pod, or of one of its containers."""

    level: Level
    rule: str
    allowed: bool
    pod: Mapping[str, Any]
    container: Mapping[str, Any]
    where: str = "containers"
    annotations: Mapping[str, str] | None = None
    also: str = ""
    """Another rule that such a pod cannot but break."""

    def __str__(self) -> str:
        changed = " ".join(map(str, filter(None, (self.pod, self.container, self.annotations))))
        return f"{self.rule}-{'allowed' if self.allowed else 'forbidden'}-{self.where}-{changed}"

    def manifest(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"containers": [_container("web")], **copy.deepcopy(dict(self.pod))}
        if self.where == "containers":
            spec["containers"] = [_merged(_container("web"), self.container)]
        else:
            spec[self.where] = [_merged(_container("first"), self.container)]
        metadata: dict[str, Any] = {"name": "web", "annotations": dict(self.annotations or {})}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _container(name: str) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "securityContext": copy.deepcopy(dict(_HARDENED))}


def _merged(base: Any, over: Any) -> Any:
    """Mappings merge, everything else replaces, None takes away."""
    if not isinstance(base, dict) or not isinstance(over, Mapping):
        return copy.deepcopy(over)
    made = {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}
    return {key: value for key, value in made.items() if value is not None}


def _of_containers(level: Level, rule: str, *, allowed: bool, **settings: Any) -> Iterator[Case]:
    """The same in the containers and in those that run before them."""
    for where in ("containers", "initContainers"):
        yield Case(level, rule, allowed, {}, {"securityContext": settings}, where)


def _of_both(level: Level, rule: str, *, allowed: bool, **settings: Any) -> Iterator[Case]:
    """The same for the pod too."""
    yield Case(level, rule, allowed, {"securityContext": settings}, {})
    yield from _of_containers(level, rule, allowed=allowed, **settings)


def _baseline() -> Iterator[Case]:
    b: Level = "baseline"
    for allowed in (True, False):
        yield from _of_containers(
            b,
            "no-privileged",
            allowed=allowed,
            privileged=not allowed,
            **({} if allowed else {"allowPrivilegeEscalation": None}),
        )
        yield from _of_both(
            b,
            "no-unconfined-seccomp",
            allowed=allowed,
            seccompProfile={"type": "RuntimeDefault" if allowed else "Unconfined"},
        )
        yield from _of_both(
            b,
            "no-app-armor-override",
            allowed=allowed,
            appArmorProfile={"type": "RuntimeDefault" if allowed else "Unconfined"},
        )
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            yield Case(b, "no-host-namespaces", allowed, {field: not allowed}, {})
        yield Case(
            b,
            "no-host-path",
            allowed,
            {"volumes": [{"name": "v", **({"emptyDir": {}} if allowed else {"hostPath": {"path": "/"}})}]},
            {},
        )
    yield Case(b, "no-host-process", True, {"securityContext": {"windowsOptions": {"hostProcess": False}}}, {})
    # The server takes such a pod only in its node's network.
    yield Case(
        b,
        "no-host-process",
        False,
        {"hostNetwork": True, "securityContext": {"windowsOptions": {"hostProcess": True}}},
        {},
        also="no-host-namespaces",
    )
    yield from _of_containers(
        b, "no-added-capabilities", allowed=True, capabilities={"add": ["CHOWN", "NET_BIND_SERVICE"]}
    )
    yield from _of_containers(b, "no-added-capabilities", allowed=False, capabilities={"add": ["SYS_ADMIN"]})
    yield from _of_containers(b, "no-added-capabilities", allowed=False, capabilities={"add": ["CHOWN", "NET_RAW"]})
    yield from _of_containers(b, "no-unmasked-proc", allowed=True, procMount="Default")
    yield Case(b, "no-unmasked-proc", False, {}, {"securityContext": {"procMount": "Unmasked"}})
    yield Case(b, "no-unmasked-proc", True, {"hostUsers": False}, {"securityContext": {"procMount": "Unmasked"}})
    for port, allowed in ((0, True), (80, False)):
        for where in ("containers", "initContainers"):
            yield Case(b, "no-host-ports", allowed, {}, {"ports": [{"containerPort": 80, "hostPort": port}]}, where)
    for type_, allowed in (("container_t", True), ("container_engine_t", True), ("", True), ("spc_t", False)):
        yield from _of_both(b, "no-selinux-override", allowed=allowed, seLinuxOptions={"type": type_, "level": "s0"})
    yield from _of_both(b, "no-selinux-override", allowed=False, seLinuxOptions={"user": "system_u"})
    yield from _of_both(b, "no-selinux-override", allowed=False, seLinuxOptions={"role": "system_r"})
    yield from _sysctls()
    yield from _hosts()
    for profile, allowed in (("runtime/default", True), ("localhost/mine", True), ("unconfined", False)):
        annotations = {"container.apparmor.security.beta.kubernetes.io/web": profile}
        yield Case(b, "no-app-armor-override", allowed, {}, {}, annotations=annotations)


def _sysctls() -> Iterator[Case]:
    safe = (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
    for name in (*safe, "kernel.msgmax", "net.core.somaxconn"):
        settings = {"sysctls": [{"name": name, "value": "1"}]}
        yield Case("baseline", "no-unsafe-sysctls", name in safe, {"securityContext": settings}, {})


def _hosts() -> Iterator[Case]:
    for host in ("", "elsewhere.example.org"):
        for how in ({"httpGet": {"port": 80, "host": host}}, {"tcpSocket": {"port": 80, "host": host}}):
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                yield Case("baseline", "no-probe-hosts", not host, {}, {probe: how})
            for hook in ("postStart", "preStop"):
                yield Case("baseline", "no-probe-hosts", not host, {}, {"lifecycle": {hook: how}})


def _restricted() -> Iterator[Case]:
    r: Level = "restricted"
    volumes: tuple[tuple[bool, Mapping[str, Any]], ...] = (
        (True, {"configMap": {"name": "c"}}),
        (True, {"projected": {"sources": []}}),
        (True, {"persistentVolumeClaim": {"claimName": "c"}}),
        (False, {"nfs": {"server": "s", "path": "/"}}),
        (False, {"iscsi": {"targetPortal": "p", "iqn": "iqn.2001-04.a:b", "lun": 0}}),
    )
    for allowed, volume in volumes:
        yield Case(r, "restricted-volumes", allowed, {"volumes": [{"name": "v", **volume}]}, {})
    yield from _of_containers(r, "restricted-escalation", allowed=True, allowPrivilegeEscalation=False)
    yield from _of_containers(r, "restricted-escalation", allowed=False, allowPrivilegeEscalation=None)
    yield from _of_containers(r, "restricted-escalation", allowed=False, allowPrivilegeEscalation=True)
    yield from _of_containers(r, "restricted-non-root", allowed=False, runAsNonRoot=None)
    yield from _of_containers(r, "restricted-non-root", allowed=False, runAsNonRoot=False)
    yield Case(r, "restricted-non-root", False, {"securityContext": {"runAsNonRoot": False}}, {})
    yield Case(
        r,
        "restricted-non-root",
        True,
        {"securityContext": {"runAsNonRoot": True}},
        {"securityContext": {"runAsNonRoot": None}},
    )
    yield Case(r, "restricted-non-root", True, {"hostUsers": False}, {"securityContext": {"runAsNonRoot": None}})
    yield Case(r, "restricted-user", True, {"hostUsers": False}, {"securityContext": {"runAsUser": 0}})
    yield from _of_both(r, "restricted-user", allowed=True, runAsUser=1000)
    yield from _of_both(r, "restricted-user", allowed=False, runAsUser=0)
    yield from _of_containers(r, "restricted-seccomp", allowed=False, seccompProfile=None)
    yield Case(
        r,
        "restricted-seccomp",
        True,
        {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
        {"securityContext": {"seccompProfile": None}},
    )
    yield from _of_containers(
        r, "restricted-capabilities", allowed=True, capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    )
    yield from _of_containers(
        r, "restricted-capabilities", allowed=False, capabilities={"drop": ["ALL"], "add": ["CHOWN"]}
    )
    yield from _of_containers(r, "restricted-capabilities", allowed=False, capabilities={"drop": ["NET_RAW"]})


CASES = (*_baseline(), *_restricted())
