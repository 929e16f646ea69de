"""Where the record and the inventory are kept: ConfigMaps in the control namespace, and a mark in CD's state folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from interlock.cd import record as form
from interlock.cd.inventory import Inventory, decode
from interlock.cd.objects import Body, identify, uid
from interlock.cd.record import Mark, Record
from interlock.errors import Conflict, Overtaken, Refused
from tasks.cd.cluster import Cluster
from tasks.common.effect import effect
from tasks.common.file_lock import guarded
from tasks.common.whole_file import write_whole


@dataclass(frozen=True)
class Stored:
    """What the control namespace has. Written only as the successor of what was read: two writers cannot both win."""

    control_namespace: str
    environment_id: str
    record: Record | None
    inventory: Inventory
    version: str = ""
    """The record's resourceVersion as it was read."""


@effect(name="read record", retries=3)
def read_stored(cluster: Cluster, *, control_namespace: str, environment_id: str) -> Stored:
    """Record and inventory; a missing shard is Refused, because a shorter inventory would forget objects."""
    found = _get(cluster, form.record_name(environment_id), control_namespace)
    if found is None:
        return Stored(control_namespace, environment_id, None, Inventory.of())
    text = (found.get("data") or {}).get("record.json", "")
    record = form.read(Record, text, subject=f"ConfigMap/{control_namespace}/{form.record_name(environment_id)}")
    if record.environment_id != environment_id:
        raise Refused(f"the record in {control_namespace} is of {record.environment_id}", rule="record-mismatch")
    shards = [_shard(cluster, name, control_namespace) for name in form.shard_names(environment_id, record.shards)]
    version = found["metadata"]["resourceVersion"]
    return Stored(control_namespace, environment_id, record, decode(shards), version)


def _shard(cluster: Cluster, name: str, namespace: str) -> str:
    found = _get(cluster, name, namespace)
    if found is None:
        raise Refused(
            f"ConfigMap/{namespace}/{name}: a part of the inventory is missing",
            rule="record-damaged",
            hint="restore the control namespace from a backup; nothing was changed",
        )
    return str((found.get("binaryData") or {}).get("entries", ""))


@effect(name="write inventory", retries=3)
def write_inventory(cluster: Cluster, stored: Stored, inventory: Inventory, record: Record) -> Stored:
    """Store an inventory, then the record that points to it. Unchanged parts are not written.

    The ApplySet's parent names the union of before and after first, as KEP-3659 asks.
    """
    names = stored.control_namespace, stored.environment_id
    _write_parent(cluster, form.parent(names[1], names[0], stored.inventory, inventory))
    for body in form.shard_maps(inventory, stored.environment_id, stored.control_namespace):
        _put(cluster, body)
    written = _put_record(cluster, stored, replace(record, shards=inventory.shards))
    if inventory.shards != stored.inventory.shards:
        _remove_shards(cluster, stored)
    return replace(written, inventory=inventory)


class Keeper:
    """What is stored, for steps that add to it while others run. One of them at a time."""

    def __init__(self, cluster: Cluster, stored: Stored) -> None:
        self._cluster = cluster
        self._guard = threading.Lock()
        self.stored = stored

    def keep(self, change: Callable[[Inventory], Inventory]) -> None:
        """Store an inventory that follows the one that is stored."""
        with self._guard:
            record = self.stored.record
            assert record is not None  # noqa: S101 - written before the first object
            inventory = change(self.stored.inventory)
            self.stored = write_inventory.fn(self._cluster, self.stored, inventory, record)


@effect(name="write inventory", retries=3)
def keep(keeper: Keeper, change: Callable[[Inventory], Inventory]) -> None:
    """The same, as a step of its own."""
    keeper.keep(change)


def _remove_shards(cluster: Cluster, stored: Stored) -> None:
    """The parts of an inventory of another size, which no record points to any more."""
    for name in form.shard_names(stored.environment_id, stored.inventory.shards):
        if old := _get(cluster, name, stored.control_namespace):
            cluster.delete(identify(old), uid=uid(old))


@effect(name="narrow parent", retries=3)
def narrow_parent(cluster: Cluster, stored: Stored) -> None:
    """After pruning the parent names exactly what there is."""
    _write_parent(cluster, form.parent(stored.environment_id, stored.control_namespace, stored.inventory))


@effect(name="write record", retries=3)
def write_record(cluster: Cluster, stored: Stored, record: Record) -> Stored:
    """Store how far the environment is; Conflict when another run has written it since we read it."""
    return _put_record(cluster, stored, record)


def _put_record(cluster: Cluster, stored: Stored, record: Record) -> Stored:
    """The record follows the one that was read. Written twice, an answer that was lost is found again."""
    if record == stored.record:
        return stored
    body = form.record_map(record, stored.control_namespace)
    body["metadata"] |= {"resourceVersion": stored.version} if stored.version else {}
    try:
        done = (cluster.replace if stored.version else cluster.create)(body, manager="interlock")
    except Conflict:
        live = _get(cluster, body["metadata"]["name"], stored.control_namespace)
        if live is None or _part(live, "data") != body["data"]:
            raise
        done = live
    return replace(stored, record=record, version=done["metadata"]["resourceVersion"])


def _write_parent(cluster: Cluster, body: Body) -> None:
    metadata = body["metadata"]
    live = _get(cluster, metadata["name"], metadata["namespace"])
    if live is not None:
        form.require_own_parent(live)
    _put(cluster, body)


def _get(cluster: Cluster, name: str, namespace: str) -> Body | None:
    return cluster.get(cluster.resource("v1", "ConfigMap"), name, namespace)


def _put(cluster: Cluster, body: Body) -> None:
    """Make or replace a ConfigMap; nothing is sent when it is as it ought to be."""
    metadata = body["metadata"]
    live = _get(cluster, metadata["name"], metadata["namespace"])
    if live is None:
        cluster.create(body, manager="interlock")
    elif any(_part(live, part) != _part(body, part) for part in ("data", "binaryData", "labels", "annotations")):
        version = live["metadata"]["resourceVersion"]
        cluster.replace({**body, "metadata": {**metadata, "resourceVersion": version}}, manager="interlock")


def _part(body: Body, name: str) -> object:
    return (body["metadata"] if name in {"labels", "annotations"} else body).get(name) or {}


# mark ------------------------------------------------------------------------------------------------


def _mark_path(state: Path, environment: str) -> Path:
    return state / "marks" / f"{environment}.json"


def read_mark(state: Path, environment: str) -> Mark | None:
    """The host's own mark; None when there is none."""
    path = _mark_path(state, environment)
    try:
        return form.read(Mark, path.read_bytes(), subject=str(path))
    except FileNotFoundError:
        return None


def write_mark(state: Path, environment: str, mark: Mark, *, after: Mark | None = None) -> Mark:
    """Replace the mark as a whole: a crash leaves the old one or the new one.

    With `after`, only what still stands where that one did: Overtaken when another run has moved on meanwhile.
    """
    path = _mark_path(state, environment)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with guarded(path.with_suffix(".lock")):
        now = read_mark(state, environment) if after else None
        if now and after and now.at != after.at:
            raise Overtaken(f"environment {environment}: another run has moved it on meanwhile", hint="run it again")
        write_whole(path, form.write(mark))
    return mark
