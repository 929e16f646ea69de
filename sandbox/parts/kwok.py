"""Simulated nodes (kwok): the scheduler places pods on them, and they become ready and go; no container ever runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from interlock.cd.objects import Body
from sandbox.golang import MODULES, provide_binaries
from sandbox.part import Daemon, Report, SandboxError, Unstarted
from sandbox.place import Place
from tasks.cd.cluster import Cluster

LABEL = {"type": "kwok"}
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
"""Nothing comes onto a simulated node that does not ask for one: the cluster may have real nodes and other users."""
_MINE = ("kwok.x-k8s.io/node", "fake")
_READY_SECONDS, _EMPTY_SECONDS = 60.0, 30.0
_LEASE_SECONDS = 40


class Kwok(Unstarted):
    """The program is there; who wants nodes asks `simulated` for them."""

    name = "kwok"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.log = place.logs / "kwok.log"

    def provide(self, report: Report) -> None:
        provide_binaries("kwok", report=report)


def command(kubeconfig: Path, *, report: Report) -> Sequence[str | Path]:
    """What plays the kubelet of nodes that carry its annotation, and of no others."""
    return [
        provide_binaries("kwok", report=report) / "kwok",
        f"--kubeconfig={kubeconfig}",
        f"--config={MODULES / 'kubernetes' / 'kwok-stages.yaml'}",
        f"--manage-nodes-with-annotation-selector={'='.join(_MINE)}",
        # Without leases the cluster takes the nodes for lost after 50 s, and their pods are not ready for ever.
        f"--node-lease-duration-seconds={_LEASE_SECONDS}",
    ]


def node(name: str) -> Body:
    room = {"cpu": "8", "memory": "16Gi", "pods": "110"}
    labels = {**LABEL, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": dict([_MINE])},
        "spec": {"taints": [TAINT]},
        "status": {"capacity": room, "allocatable": room},
    }


@contextmanager
def simulated(
    admin: Cluster, kubeconfig: Path, folder: Path, *, names: Sequence[str], report: Report
) -> Iterator[None]:
    """Nodes of these names in a cluster, for the length of a block. SandboxError when they do not become ready."""
    daemon = Daemon("kwok", folder / "kwok.log")
    daemon.start(command(kubeconfig, report=report), cwd=folder)
    made: list[str] = []
    try:
        for name in names:
            admin.create(node(name), manager="kwok")
            made.append(name)
        _wait_until_ready(admin, names, daemon)
        report("kwok", f"{len(names)} simulated nodes are ready: {', '.join(names)}")
        yield
        _wait_until_empty(admin, names)
    finally:
        for name in made:
            admin.request("DELETE", admin.resource("v1", "Node").path(name=name))
        daemon.stop()


def _wait_until_ready(admin: Cluster, names: Sequence[str], daemon: Daemon) -> None:
    until = time.monotonic() + _READY_SECONDS
    while not all(_is_ready(admin, name) for name in names):
        daemon.check()
        if time.monotonic() > until:
            raise SandboxError(
                f"kwok: the nodes are not ready after {_READY_SECONDS:g} s\n{daemon.log.read_text()[-2000:]}"
            )
        time.sleep(0.2)


def _is_ready(admin: Cluster, name: str) -> bool:
    live = admin.get(admin.resource("v1", "Node"), name)
    conditions = (live or {}).get("status", {}).get("conditions", ())
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def _wait_until_empty(admin: Cluster, names: Sequence[str]) -> None:
    """Pods that are deleted go by kwok's hand; after its end only the cluster's own cleaning would take them."""
    until = time.monotonic() + _EMPTY_SECONDS
    pods = admin.resource("v1", "Pod")
    while any(pod["spec"].get("nodeName") in names for pod in admin.list(pods)) and time.monotonic() < until:
        time.sleep(0.5)
