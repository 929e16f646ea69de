"""A real control plane with an environment in it, and the same objects as files for kubectl."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.cd.control import control_manifests
from interlock.cd.inventory import Inventory
from interlock.cd.objects import Body
from interlock.cd.order import course
from interlock.cd.plan import Action, Plan, Scope
from interlock.cd.record import part_of
from interlock.contract.manifest import Manifest
from interlock.contract.render import Identity, Rendered
from sandbox.supervisor import Sandbox
from sandbox.terminal import Terminal
from tasks.cd import apply, inspect, lease, rollout
from tasks.cd.cluster import Cluster, connect
from tasks.cd.observe import Observer, Patience
from tasks.cd.release_jobs import Keeping
from tasks.cd.rollout import Watching

KINDS = {"ConfigMap": "v1", "ServiceAccount": "v1", "Service": "v1", "Deployment": "apps/v1"}
"""What is made, in equal parts, with its apiVersion."""


@dataclass
class Ground:
    """One environment in a namespace of its own."""

    cluster: Cluster
    kubeconfig: Path
    namespace: str
    scope: Scope
    folder: Path
    inventory: Inventory

    def rendered(self, bodies: Sequence[Body], fingerprints: Sequence[str] = ()) -> Rendered:
        """With the fingerprints that a render is kept with, if they are given."""
        known = fingerprints or [""] * len(bodies)
        manifests = (Manifest(body, "shop", {}, mark) for body, mark in zip(bodies, known, strict=True))
        return Rendered(self.scope.environment, tuple(manifests), ())

    def plan(self, rendered: Rendered) -> Plan:
        """As the flows make it."""
        return inspect.make_plan.fn(self.cluster, rendered, self.inventory, self.scope, self._memory)

    @property
    def _memory(self) -> Path:
        return self.folder / "verdicts.json"

    def forget(self) -> None:
        """Every cache is lost."""
        self._memory.unlink(missing_ok=True)

    def sync(self, rendered: Rendered) -> None:
        """Plan and apply, as a deploy does it, without record and receipts."""
        plan = self.plan(rendered)
        assert not plan.stops, plan.stops[:3]
        inventory = apply.intents(plan, self.inventory, self.scope)
        uids: dict[Identity, str] = {}
        control, manager = self.scope.control_namespace, self.scope.manager
        with lease.held(self.cluster, namespace=control, name=manager, who="bench") as lock:
            order = course(plan.having(Action.CREATE, Action.CHANGE), {})
            given: Any = {"inventory": inventory, "scope": self.scope, "lock": lock}
            for stage in (order.definitions, order.foundations):
                uids |= apply.apply_stage.fn(self.cluster, stage, name=stage.name, **given).uids
            watching = Watching(Observer(self.cluster, Patience(60)), lambda _: None, lambda: False)
            keeping = Keeping(lambda _: None, lambda _: None, lambda _: inventory)
            rolled = rollout.apply_applications.fn(
                self.cluster, order.units, (), watching=watching, keeping=keeping, **given
            )
            assert not rolled.failed, rolled.failed
        self.inventory = inventory.noted({**uids, **rolled.uids})

    def remove(self) -> None:
        """Delete the namespace with all that is in it, and wait: its end would slow what comes next."""
        kind = self.cluster.resource("v1", "Namespace")
        self.cluster.request("DELETE", kind.path(name=self.namespace))
        while self.cluster.get(kind, self.namespace) is not None:
            time.sleep(0.5)

    def files(self, bodies: Sequence[Body]) -> Path:
        """The same objects as kubectl reads them: one file a kind."""
        shutil.rmtree(self.folder / "files", ignore_errors=True)
        (self.folder / "files").mkdir(parents=True)
        for kind in KINDS:
            items = [body for body in bodies if body["kind"] == kind]
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
            (self.folder / "files" / f"{kind}.json").write_text(text)
        return self.folder / "files"


@contextmanager
def control_plane() -> Iterator[Sandbox]:
    """etcd, API server and controllers for the length of a block."""
    with Sandbox.open(name=f"bench-{secrets.token_hex(3)}", parts=("kubernetes",), report=Terminal()) as sandbox:
        yield sandbox


@contextmanager
def environment(sandbox: Sandbox, folder: Path) -> Iterator[Ground]:
    """A new environment, with nothing in it, which nobody else uses."""
    mark = secrets.token_hex(6)
    namespace, control = f"b{mark}", f"b{mark}-control"
    kubeconfig = sandbox.place.kubeconfig
    with connect(kubeconfig) as cluster:
        for body in control_manifests(control_namespace=control, namespaces=[namespace]):
            cluster.apply(body, manager="bench")
        scope = Scope(
            environment="bench",
            environment_id=mark,
            commit="0" * 40,
            control_namespace=control,
            part_of=part_of(mark, control),
            undo=True,
            again=False,
            namespaces=(namespace,),
        )
        yield Ground(cluster, kubeconfig, namespace, scope, folder / mark, Inventory.of())


def bodies(namespace: str, count: int, *, value: str = "1") -> list[Body]:
    """`count` objects in equal parts of KINDS, none of which makes a controller work. `value` is in the ConfigMaps."""
    made: list[Body] = []
    for number in range(count // len(KINDS)):
        name = f"web-{number:05}"
        made += (_config_map(name, value), _object("v1", "ServiceAccount", name), _service(name), _deployment(name))
    return [{**body, "metadata": {**body["metadata"], "namespace": namespace}} for body in made]


def _object(version: str, kind: str, name: str) -> Body:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"app": name}}}


def _config_map(name: str, value: str) -> Body:
    return {**_object("v1", "ConfigMap", name), "data": {"value": value, "name": name}}


def _service(name: str) -> Body:
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {**_object("v1", "Service", name), "spec": spec}


def _deployment(name: str) -> Body:
    container = {
        "name": "web",
        "image": "registry.example/web@sha256:" + "1a" * 32,
        "ports": [{"containerPort": 8080}],
        "env": [{"name": "GREETING", "value": "hello"}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "paused": True, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {**_object("apps/v1", "Deployment", name), "spec": spec}


def split(bodies: Sequence[Body], count: int) -> tuple[list[Body], list[Body]]:
    """The first `count` ConfigMaps, and all else."""
    chosen = [body for body in bodies if body["kind"] == "ConfigMap"][:count]
    names = {body["metadata"]["name"] for body in chosen}
    return chosen, [body for body in bodies if body["kind"] != "ConfigMap" or body["metadata"]["name"] not in names]


def with_value(config_maps: Sequence[Body], value: str) -> list[Body]:
    """The same ConfigMaps with another value."""
    return [{**body, "data": {**body["data"], "value": value}} for body in config_maps]
