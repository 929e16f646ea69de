"""Whether an environment's lock may be taken: by what its Lease says, and by how long it has been seen not to change.

No clock of another machine is ever compared with ours: the times in a Lease are for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from interlock.cd.objects import Body, annotation

SECONDS = 20
"""How long a lock outlives the last sign of life of a holder that nobody can look for."""
MARGIN_SECONDS = 3.0
"""A holder stops so long before its end, and a successor waits so long after it."""
PROCESS = "interlock/process"
"""The Lease's annotation that says which process holds it."""
FENCE_UID = "interlock/fence"
"""The UID of the Secret that the holders' tokens are bound to."""
UNFENCED = "interlock/unfenced"
"""Set while a former holder may still have a token that is good."""


class Standing(Enum):
    FREE = auto()
    """Given back, or never taken."""
    DEAD = auto()
    """Its holder ran on this machine, and is no more."""
    EXPIRED = auto()
    """Its holder gave no sign of life for too long. It may live all the same, and write: it has to be fenced off."""
    HELD = auto()


@dataclass(frozen=True)
class Process:
    """A process on one boot of one machine. `started` is in clock ticks after the boot, as /proc has it."""

    boot: str
    namespace: str
    """Its PID namespace: another one's numbers mean nothing here."""
    user: int
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.boot}/{self.namespace}/{self.user}/{self.pid}/{self.started}"

    @classmethod
    def read(cls, text: str) -> Process | None:
        try:
            boot, namespace, user, pid, started = text.split("/")
            return cls(boot, namespace, int(user), int(pid), int(started))
        except ValueError:
            return None

    def can_see(self, other: Process) -> bool:
        """Whether it would find the other one if that lives: /proc may hide another user's processes."""
        return (self.boot, self.namespace, self.user) == (other.boot, other.namespace, other.user)


def holder_process(lease: Body) -> Process | None:
    return Process.read(annotation(lease, PROCESS))


def standing(lease: Body, *, dead: bool, unchanged: float) -> Standing:
    """`dead`: its process was looked for where it must be, and is gone. `unchanged`: for how many seconds we have seen
    the Lease without any change.
    """
    spec: Mapping[str, Any] = lease.get("spec") or {}
    if not spec.get("holderIdentity"):
        return Standing.FREE
    if dead:
        return Standing.DEAD
    lasts = spec.get("leaseDurationSeconds") or SECONDS
    return Standing.EXPIRED if unchanged >= lasts + MARGIN_SECONDS else Standing.HELD


def taken(lease: Body, *, who: str, process: str, now: str, unfenced: bool) -> Body:
    """The Lease of a new term. That it is `unfenced` stays said until the new holder has seen to it."""
    spec = lease.get("spec") or {}
    notes = {PROCESS: process} | ({UNFENCED: "true"} if unfenced or annotation(lease, UNFENCED) else {})
    fresh = {"acquireTime": now, "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
    return _noted({**lease, "spec": {**spec, **fresh, "holderIdentity": who}}, notes, now)


def renewed(lease: Body, *, now: str) -> Body:
    return _noted(lease, {}, now)


def fenced(lease: Body, uid: str, *, now: str) -> Body:
    """The Lease when every token but those bound to the Secret with this UID is worth nothing."""
    return _noted(lease, {FENCE_UID: uid, UNFENCED: None}, now)


def given_back(lease: Body) -> Body:
    spec = {**lease["spec"], "holderIdentity": "", "renewTime": None, "acquireTime": None}
    return {**_noted(lease, {PROCESS: None}, ""), "spec": spec}


def _noted(lease: Body, notes: Mapping[str, str | None], now: str) -> Body:
    metadata = lease["metadata"]
    merged = {**(metadata.get("annotations") or {}), **notes}
    kept = {name: value for name, value in merged.items() if value is not None}
    spec = {**(lease.get("spec") or {}), "leaseDurationSeconds": SECONDS, "renewTime": now}
    return {**lease, "metadata": {**metadata, "annotations": kept}, "spec": spec}
