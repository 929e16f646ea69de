"""How far an environment is: the record in its cluster, the mark on CD's host, and what both must say."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, TypeVar

from interlock.cd.inventory import Inventory, encode
from interlock.cd.objects import Body, annotation
from interlock.contract.canonical import canonical
from interlock.errors import LedgerCut, Refused


@dataclass(frozen=True)
class Record:
    """In the control namespace. `pending` is a commit whose sync began and is not known to have ended healthy."""

    environment_id: str
    verified: str | None = None
    deployed: str | None = None
    pending: str | None = None
    shards: int = 1
    removed: bool = False
    """A tombstone was carried out: the environment owns nothing any more."""
    allowed: str = ""
    """The allowance by which the pending commit's sync began over the budget; empty when it needed none."""
    covered: str = ""
    """The marks of the changes that it is of, one behind the other."""
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By application that owns objects: those that it waits for, also when Git does not have it any more."""
    receipts: int = 0
    """A checkpoint of the ledger: how many receipts it has of this environment, at least."""
    receipt: str = ""
    """The digest of the last of these; empty in what an older version wrote."""


@dataclass(frozen=True)
class Mark:
    """On CD's host. It is written before the record: after a crash between the two, the record has the `previous`."""

    environment_id: str
    verified: str | None = None
    deployed: str | None = None
    previous_verified: str | None = None
    previous_deployed: str | None = None
    receipts: int = 0
    """How many receipts the ledger has of this environment, at least."""
    receipt: str = ""
    """The digest of the last of these; empty in what an older version wrote."""
    refused: str | None = None
    """The head that was refused last, so that it is told to the ledger once."""
    drift: str | None = None
    """Digest of the drift that was told to the ledger last."""
    held: str | None = None
    """Digest of the plan that was held back last, and of why."""
    planned: str | None = None
    """Digest of the plan that the ledger was told last to have been looked at."""
    frozen: bool = False
    """The ledger was told that the environment is frozen, and not yet that it no longer is."""
    weakened: str | None = None
    """Digest of what the ledger was told last to be gone from the lock in the API server."""

    @property
    def at(self) -> tuple[str | None, str | None]:
        """Where the environment stands by it."""
        return self.verified, self.deployed

    def ahead(self, record: Record | None, *, verified: str | None = None, deployed: str | None = None) -> Mark:
        """The mark before the record is written to say the same."""
        return replace(
            self,
            verified=verified or self.verified,
            deployed=deployed or self.deployed,
            previous_verified=record.verified if record else None,
            previous_deployed=record.deployed if record else None,
        )


T = TypeVar("T", Record, Mark)
_MARK = 16
"""Characters of the mark of one change."""
_LATER = frozenset(
    {"removed", "allowed", "covered", "after", "receipts", "receipt", "held", "planned", "frozen", "weakened"}
)
"""Fields that a record or a mark of an older version has not."""


def write(value: Record | Mark) -> bytes:
    return canonical({"format": 1, **asdict(value)})


def read(model: type[T], data: str | bytes, *, subject: str) -> T:
    """What `write` wrote; Refused when it is anything else."""
    try:
        value: dict[str, Any] = json.loads(data)
        known = {each.name for each in fields(model)}
        sound = value.pop("format") == 1 and known - _LATER <= value.keys() <= known
        if "after" in value:
            value["after"] = {name: tuple(others) for name, others in value["after"].items()}
    except (ValueError, KeyError, AttributeError, TypeError):
        sound = False
    if not sound:
        raise Refused(
            f"{subject} is not a record of format 1",
            rule="record-damaged",
            hint="remove it: the next run verifies everything again from the root pin",
        )
    return model(**value)


def remembered_order(
    after: Mapping[str, tuple[str, ...]], applications: Collection[str], record: Record | None, owners: Collection[str]
) -> Mapping[str, tuple[str, ...]]:
    """Who waits for whom: as Git says, and of applications that Git does not have any more as it said last, as long as
    they own something. What goes together goes in this order, backwards.
    """
    left = {
        name: others
        for name, others in (record.after if record else {}).items()
        if name in owners and name not in applications
    }
    return {**left, **after}


@dataclass(frozen=True)
class Known:
    """Where verification begins: `since` None is the root pin. `must_contain` has to be in what is verified then."""

    since: str | None
    deployed: str | None
    pending: str | None
    must_contain: frozenset[str] = frozenset()
    allowed: str = ""
    covered: str = ""

    def began(self, commit: str, allowance: str) -> frozenset[str]:
        """The marks of the changes with which a sync of this commit began by this allowance; none when it did not."""
        if not allowance or (self.pending, self.allowed) != (commit, allowance):
            return frozenset()
        return frozenset(self.covered[at : at + _MARK] for at in range(0, len(self.covered), _MARK))


def agreed(
    record: Record | None,
    mark: Mark | None,
    *,
    environment: str,
    receipts: int,
    digests: Mapping[int, str] = MappingProxyType({}),
) -> Known:
    """What record, mark and ledger say together; Refused (`record-mismatch`) when they contradict each other.

    `digests` are those of the ledger's newest receipts and of those that record and mark remember, by their numbers.

    A loss of record or mark is no contradiction: everything is verified anew from the root pin, and what the other
    one knows must be part of it.
    """
    _require_receipts(environment, mark, "this host", receipts, digests)
    _require_receipts(environment, record, "the cluster's record", receipts, digests)
    if record is None or mark is None:
        left = [value for known in (record, mark) if known for value in (known.verified, known.deployed) if value]
        known = record or mark
        deployed = known.deployed if known else None
        pending, allowed, covered = (record.pending, record.allowed, record.covered) if record else (None, "", "")
        return Known(None, deployed, pending, frozenset(left), allowed, covered)
    if record.environment_id != mark.environment_id:
        raise _mismatch(environment, f"its id is {record.environment_id} in the cluster and {mark.environment_id} here")
    for name, there, here in (
        ("verified", record.verified, (mark.verified, mark.previous_verified)),
        ("deployed", record.deployed, (mark.deployed, mark.previous_deployed)),
    ):
        if there not in here:
            raise _mismatch(environment, f"{name} is {_short(there)} in the cluster and {_short(here[0])} on this host")
    return Known(mark.verified, mark.deployed, record.pending, allowed=record.allowed, covered=record.covered)


def _require_receipts(
    environment: str, keeper: Record | Mark | None, name: str, receipts: int, digests: Mapping[int, str]
) -> None:
    """The ledger has what a checkpoint remembers: neither cut, nor written anew."""
    if keeper is None:
        return
    if receipts < keeper.receipts:
        raise _cut(environment, f"the ledger has {receipts} receipts, {name} has seen {keeper.receipts}")
    if keeper.receipt and digests.get(keeper.receipts) != keeper.receipt:
        raise _cut(environment, f"receipt {keeper.receipts} in the ledger is not the one that {name} has seen")


def _cut(environment: str, what: str) -> LedgerCut:
    return LedgerCut(
        f"environment {environment}: {what}",
        rule="record-mismatch",
        hint="`interlock ledger verify` says which receipts; bring the ledger's branch back to have them again",
    )


def require_contained(known: Known, verified: Collection[str], *, environment: str) -> None:
    """After a loss: what was verified or deployed before has to be in the history that was verified now."""
    if missing := sorted(known.must_contain - set(verified)):
        raise _mismatch(environment, f"{_short(missing[0])} was verified before and is not in the branch's history")


def _mismatch(environment: str, what: str) -> Refused:
    return Refused(
        f"environment {environment}: {what}",
        rule="record-mismatch",
        hint="somebody turned one of them back: find out who, then remove the wrong one; "
        "the next run verifies everything again from the root pin",
    )


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "nothing"


# as objects ------------------------------------------------------------------------------------------

TOOLING = "interlock/v1"
_SET = "applyset.kubernetes.io"


def parent_name(environment_id: str) -> str:
    return f"interlock-{environment_id}"


def part_of(environment_id: str, control_namespace: str) -> str:
    """The ApplySet's id (KEP-3659), made of its parent's name, namespace, kind and group."""
    text = f"{parent_name(environment_id)}.{control_namespace}.ConfigMap."
    hashed = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    return f"applyset-{hashed}-v1"


def parent(environment_id: str, control_namespace: str, *inventories: Inventory) -> Body:
    """The ApplySet's parent. Before an apply it names the union of what was and what will be."""
    kinds = sorted({kind for inventory in inventories for kind in inventory.group_kinds})
    namespaces = sorted({name for inventory in inventories for name in inventory.namespaces} - {control_namespace})
    body = _config_map(parent_name(environment_id), control_namespace)
    body["metadata"]["labels"] = {f"{_SET}/id": part_of(environment_id, control_namespace)}
    body["metadata"]["annotations"] = {
        f"{_SET}/tooling": TOOLING,
        f"{_SET}/contains-group-kinds": ",".join(kinds),
        f"{_SET}/additional-namespaces": ",".join(namespaces),
    }
    return body


def require_own_parent(live: Body) -> None:
    """Another tool's set of the same name is not ours to change."""
    tooling = annotation(live, f"{_SET}/tooling")
    if tooling.partition("/")[0] != "interlock":
        name, namespace = live["metadata"]["name"], live["metadata"]["namespace"]
        raise Refused(
            f"ConfigMap/{namespace}/{name} belongs to {tooling or 'an unknown tool'}",
            rule="foreign-parent",
            hint="the control namespace must be the environment's own",
        )


def record_name(environment_id: str) -> str:
    return f"{parent_name(environment_id)}-record"


def record_map(record: Record, control_namespace: str) -> Body:
    body = _config_map(record_name(record.environment_id), control_namespace)
    return {**body, "data": {"record.json": write(record).decode()}}


def shard_names(environment_id: str, count: int) -> tuple[str, ...]:
    """With the count in it: a larger inventory is written beside the old one before the record points to it."""
    return tuple(f"{parent_name(environment_id)}-inventory-{count}-{index}" for index in range(count))


def shard_maps(inventory: Inventory, environment_id: str, control_namespace: str) -> tuple[Body, ...]:
    names = shard_names(environment_id, inventory.shards)
    return tuple(
        {**_config_map(name, control_namespace), "binaryData": {"entries": text}}
        for name, text in zip(names, encode(inventory), strict=True)
    )


def _config_map(name: str, namespace: str) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}
