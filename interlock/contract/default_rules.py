"""The rules that hold when nobody says otherwise, and the stricter set that an environment can choose.

After the Pod Security Standards of Kubernetes (kubernetes.io/docs/concepts/security/pod-security-standards): BASELINE
has each of their baseline's controls, RESTRICTED what their "restricted" asks for beyond it.
"""

from __future__ import annotations

from dataclasses import replace

from interlock.contract.rules import Rule

_CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
_SYSCTLS = (
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
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_PROFILES = ("RuntimeDefault", "Localhost")
_VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
_SERVERS = ("Deployment", "StatefulSet", "DaemonSet")
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_ALL = "([pod] + containers).all"
"""The settings of a pod stand for those of its containers, and each container may have its own."""
_WINDOWS = 'pod.?os.?name.orValue("") == "windows"'

_OWN_USERS = "pod.?hostUsers.orValue(true) == false"
"""In a user namespace root is nobody on the node: the standards let pass there what is harmless then."""


def _in(names: tuple[str, ...]) -> str:
    return f"in {list(names)!r}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(name for name in names if name)


_BASELINE: tuple[Rule, ...] = (
    Rule(
        "no-host-process",
        f"{_ALL}(x, !x.?securityContext.?windowsOptions.?hostProcess.orValue(false))",
        message="a HostProcess container is a process of its Windows node",
        pods=True,
    ),
    Rule(
        "no-host-namespaces",
        "!pod.?hostNetwork.orValue(false) && !pod.?hostPID.orValue(false) && !pod.?hostIPC.orValue(false)",
        message="hostNetwork, hostPID and hostIPC show a container what is its node's",
        pods=True,
    ),
    Rule(
        "no-privileged",
        "containers.all(c, !c.?securityContext.?privileged.orValue(false))",
        message="a privileged container owns its node",
        pods=True,
    ),
    Rule(
        "no-added-capabilities",
        f"containers.all(c, c.?securityContext.?capabilities.?add.orValue([]).all(a, a {_in(_CAPABILITIES)}))",
        message=f"capabilities may be added only among {_listed(_CAPABILITIES)}",
        pods=True,
    ),
    Rule(
        "no-host-path",
        "pod.?volumes.orValue([]).all(v, !has(v.hostPath))",
        message="a hostPath volume reaches into the node",
        pods=True,
    ),
    Rule(
        "no-host-ports",
        "containers.all(c, c.?ports.orValue([]).all(p, p.?hostPort.orValue(0) == 0))",
        message="a hostPort takes a port of the node; a Service reaches pods without it",
        pods=True,
    ),
    Rule(
        "no-probe-hosts",
        "containers.all(c, [c.?livenessProbe, c.?readinessProbe, c.?startupProbe, c.?lifecycle.?postStart, "
        "c.?lifecycle.?preStop].all(h, "
        'h.?httpGet.?host.orValue("") == "" && h.?tcpSocket.?host.orValue("") == ""))',
        message="`host` in a probe or hook makes the node ask somebody else; without it, the pod itself is asked",
        pods=True,
    ),
    Rule(
        "no-app-armor-override",
        f'{_ALL}(x, x.?securityContext.?appArmorProfile.?type.orValue("RuntimeDefault") {_in(_PROFILES)}) && '
        f'pod_metadata.?annotations.orValue({{}}).all(k, !k.startsWith("{_APP_ARMOR}") || '
        'pod_metadata.annotations[k] in ["", "runtime/default"] || '
        'pod_metadata.annotations[k].startsWith("localhost/"))',
        message="AppArmor may not be switched off: the profile is RuntimeDefault or Localhost",
        pods=True,
    ),
    Rule(
        "no-selinux-override",
        f'{_ALL}(x, x.?securityContext.?seLinuxOptions.?type.orValue("") {_in(_SELINUX_TYPES)} && '
        'x.?securityContext.?seLinuxOptions.?user.orValue("") == "" && '
        'x.?securityContext.?seLinuxOptions.?role.orValue("") == "")',
        message=f"SELinux: the type may be {_listed(_SELINUX_TYPES)}, and neither user nor role may be set",
        pods=True,
    ),
    Rule(
        "no-unmasked-proc",
        f'{_OWN_USERS} || containers.all(c, c.?securityContext.?procMount.orValue("Default") == "Default")',
        message="procMount must be Default: /proc shows what is the node's otherwise",
        pods=True,
    ),
    Rule(
        "no-unconfined-seccomp",
        f'{_ALL}(x, x.?securityContext.?seccompProfile.?type.orValue("RuntimeDefault") {_in(_PROFILES)})',
        message="seccomp may not be switched off: the profile is RuntimeDefault or Localhost",
        pods=True,
    ),
    Rule(
        "no-unsafe-sysctls",
        f"pod.?securityContext.?sysctls.orValue([]).all(s, s.name {_in(_SYSCTLS)})",
        message=f"only safe sysctls may be set: {_listed(_SYSCTLS)}",
        pods=True,
    ),
)

_BESIDE: tuple[Rule, ...] = (
    Rule(
        "no-privilege-escalation",
        "containers.all(c, !c.?securityContext.?allowPrivilegeEscalation.orValue(false))",
        message="allowPrivilegeEscalation lets a process gain more rights than its parent",
        pods=True,
    ),
    Rule(
        "requests",
        '["cpu", "memory"].all(r, pod.?resources.?requests[?r].hasValue() || containers.all(c, '
        "c.?resources.?requests[?r].hasValue() || c.?resources.?limits[?r].hasValue()))",
        message="every container, also those that run before the others, must request cpu and memory, "
        "so that a node has room for it",
        pods=True,
    ),
    Rule(
        "readiness",
        "!pod.?containers.orValue([]).exists(c, c.?ports.orValue([]).size() > 0) || "
        "pod.containers.exists(c, has(c.readinessProbe))",
        message="pods with a port must have a readinessProbe, or a roll-out sends requests to what is not there yet",
        kinds=_SERVERS,
    ),
)

_RESTRICTED: tuple[Rule, ...] = (
    Rule(
        "restricted-volumes",
        f'pod.?volumes.orValue([]).all(v, v.all(k, k == "name" || k {_in(_VOLUMES)}))',
        message=f"a volume may be of {_listed(_VOLUMES)}",
        pods=True,
    ),
    Rule(
        "restricted-escalation",
        f"{_WINDOWS} || containers.all(c, c.?securityContext.?allowPrivilegeEscalation.orValue(true) == false)",
        message="every container must say allowPrivilegeEscalation: false",
        pods=True,
    ),
    Rule(
        "restricted-non-root",
        f"{_OWN_USERS} || pod.?securityContext.?runAsNonRoot.orValue(true) && containers.all(c, "
        "c.?securityContext.?runAsNonRoot.or(pod.?securityContext.?runAsNonRoot).orValue(false))",
        message="runAsNonRoot must be true, for the pod or for each of its containers",
        pods=True,
    ),
    Rule(
        "restricted-user",
        f"{_OWN_USERS} || {_ALL}(x, x.?securityContext.?runAsUser.orValue(1) != 0)",
        message="runAsUser may not be 0",
        pods=True,
    ),
    Rule(
        "restricted-seccomp",
        f"{_WINDOWS} || containers.all(c, "
        "c.?securityContext.?seccompProfile.?type.or(pod.?securityContext.?seccompProfile.?type).orValue("
        f'"Unconfined") {_in(_PROFILES)})',
        message="the seccompProfile must be RuntimeDefault or Localhost, for the pod or for each of its containers",
        pods=True,
    ),
    Rule(
        "restricted-capabilities",
        f'{_WINDOWS} || containers.all(c, "ALL" in c.?securityContext.?capabilities.?drop.orValue([]) && '
        'c.?securityContext.?capabilities.?add.orValue([]).all(a, a == "NET_BIND_SERVICE"))',
        message="every container must drop ALL capabilities, and may add NET_BIND_SERVICE only",
        pods=True,
    ),
)


def _built_in(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(replace(rule, built_in=True) for rule in rules)


BASELINE = _built_in(_BASELINE)
DEFAULTS = (*BASELINE, *_built_in(_BESIDE))
RESTRICTED = _built_in(_RESTRICTED)
