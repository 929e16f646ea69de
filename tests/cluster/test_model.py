"""A model of two environments' life, run at random against the real order and the real API server (hypothesis).

Git changes, objects move between applications and a namespace between environments, CD runs and dies between any two
writes; meanwhile somebody edits, deletes and replaces objects, copies labels, forges managers, strips claims and keeps
objects from going. The objects are ConfigMaps, a Secret whose manifest has a finalizer, a Deployment, and a
PriorityClass, which has no namespace.

INTERLOCK_MODEL_STEPS says about how many steps are taken; without it as many as a test run has time for. With
INTERLOCK_MODEL_MINUTES no further life begins after that time, however many steps there were.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar, cast

import pytest
import yaml
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from flows.cd import receipts, removal, scope, walk
from interlock.cd.control import ACCOUNT, Subject, control_manifests
from interlock.cd.host import CdHost
from interlock.cd.inventory import Entry
from interlock.cd.lock import PROCESS
from interlock.cd.objects import PART_OF, Body, Resource, uid
from interlock.cd.receipts import Entry as Receipt
from interlock.cd.receipts import Statement, make
from interlock.cd.record import part_of
from interlock.cd.reports import Outcome
from interlock.contract import layout, repository, signature
from interlock.contract.render import render
from interlock.contract.tree import Tree
from interlock.contract.verification import Verified
from interlock.errors import GitError, HostConfigError, InputError, InterlockError, LockHeld, Refused
from sandbox.parts.kubernetes import Kubernetes, client_kubeconfig
from sandbox.place import Place
from sandbox.supervisor import Sandbox
from tasks.cd import approvals, ledger, proofs, record
from tasks.cd.cluster import Cluster, connect
from tasks.cd.newer import NewerCommit
from tasks.cd.rules import hold_to_rules
from tasks.common.effect import Effect
from tasks.common.environment_repository import VerifiedHead, fetch_verified, read_verified
from tasks.common.render import render_environment
from tests.cluster.worlds import USER, Recorder, deployment, new_id, wait_for_rights
from tests.git.conftest import Key

P = ParamSpec("P")
R = TypeVar("R")
STEPS_OF_ONE = 40
LIVES_AT_ONCE = 20
FEW = 200
STEPS = int(os.environ.get("INTERLOCK_MODEL_STEPS", FEW))
MINUTES = float(os.environ.get("INTERLOCK_MODEL_MINUTES", "inf"))
RECEIPTS_KEY = signature.generate_key("cd")[0]
ENVIRONMENTS = ("dev", "prod")
APPS = ("left", "right")
"""Of `dev`; `prod` has one, `only`."""
SHARED = ("p", "q")
"""In the namespace that is either environment's; all others are of `dev`."""
STAYS, SEALED = "example.org/stays", "example.org/sealed"
CLASS = "PriorityClass"
names = st.sampled_from(("a", "b", "c", *SHARED, "s", "w", "k"))
inside = st.sampled_from(("a", "b", "c", *SHARED, "s", "w"))
environments = st.sampled_from(ENVIRONMENTS)
apps = st.sampled_from(APPS)
values = st.sampled_from(("1", "2", "3"))


# kinds -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How objects of a kind are made, read and meddled with. `value` is what Git says, and all that it says."""

    api_version: str
    kind: str
    make: Callable[[str, str], Body]
    value: Callable[[Body], str]
    edits: tuple[Body, ...]
    """Merge patches that change what Git says, or add what it does not."""


def _map(name: str, value: str) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value}}


def _secret(name: str, value: str) -> Body:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"v": value}}


def _web(name: str, value: str) -> Body:
    body = deployment(name)
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "V", "value": value}]
    return body


def _class(name: str, value: str) -> Body:
    named = {"apiVersion": "scheduling.k8s.io/v1", "kind": CLASS, "metadata": {"name": name}}
    return {**named, "value": 7, "description": value}


def _data(live: Body) -> str:
    found = {key: base64.b64decode(text).decode() for key, text in live["data"].items()}
    return found["v"] if found.keys() == {"v"} else str(found)


def _plain_data(live: Body) -> str:
    return str(live["data"]["v"] if live["data"].keys() == {"v"} else live["data"])


def _environment(live: Body) -> str:
    containers = live["spec"]["template"]["spec"]["containers"]
    return str(containers[0]["env"][0]["value"] if len(containers) == 1 else [each["name"] for each in containers])


MAPS = Kind("v1", "ConfigMap", _map, _plain_data, ({"data": {"v": "evil"}}, {"data": {"more": "1"}}, {"data": None}))
SECRETS = Kind(
    "v1", "Secret", _secret, _data, ({"stringData": {"v": "evil"}}, {"stringData": {"more": "1"}}, {"data": None})
)
DEPLOYMENTS = Kind(
    "apps/v1",
    "Deployment",
    _web,
    _environment,
    (
        {"spec": {"minReadySeconds": 5}},
        {"spec": {"template": {"metadata": {"annotations": {"evil": "1"}}}}},
        {"spec": {"revisionHistoryLimit": 3}},
    ),
)
CLASSES = Kind(
    "scheduling.k8s.io/v1",
    CLASS,
    _class,
    lambda live: str(live["description"]),
    ({"description": "evil"}, {"metadata": {"labels": {"evil": "1"}}}, {"description": None}),
)
_KINDS = {"s": SECRETS, "w": DEPLOYMENTS, "k": CLASSES}


def kind_of(name: str) -> Kind:
    """By the last part: `copy-w` is of the kind of `w`."""
    return _KINDS.get(name.rpartition("-")[2], MAPS)


class Died(BaseException):
    """What SIGKILL is to a process: nothing more is sent."""


class Deaths:
    """Lets the run die before or after its n-th write. Wraps the one function that every request goes through."""

    def __init__(self, once: Callable[..., Any]) -> None:
        self._once = once
        self._guard = threading.Lock()
        self.victim: Path | None = None
        self.writes_left = 0
        self.after = False
        self.dead = False

    def plan(self, victim: Path, writes: int, *, after: bool) -> None:
        self.victim, self.writes_left, self.after, self.dead = victim, writes, after, False

    def end(self) -> None:
        self.victim = None

    def request(self, cluster: Cluster, client: Any, method: str, url: str, **more: Any) -> Any:
        if cluster._kubeconfig != self.victim:
            return self._once(cluster, client, method, url, **more)
        write = method != "GET" and "dryRun" not in url and "review" not in url
        with self._guard:
            if self.dead:
                raise Died
            self.writes_left -= write
            last = write and self.writes_left == 0
            self.dead = last and not self.after
        if self.dead:
            raise Died
        answer = self._once(cluster, client, method, url, **more)
        if last:
            self.dead = True
            raise Died
        return answer


class Shortcut(Recorder):
    """The order's steps, all real but git's: the commit is the model's, and receipts are kept here."""

    def __init__(self, model: Model, environment: str) -> None:
        super().__init__()
        self._model, self._environment = model, environment

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        model, name = self._model, self._environment
        receipts = model.receipts[name]
        instead = {
            fetch_verified.name: model.head,
            read_verified.name: model.head,
            render_environment.name: lambda: render(model.head().repository, name),
            hold_to_rules.name: lambda: args[0],  # the plan as it is: there is no older commit in git to read
            ledger.append.name: lambda: model.append(name, cast("Statement", args[1])),
            ledger.read.name: lambda: (),  # no receipt tells of objects that were let go
            ledger.tail.name: lambda: tuple(receipts[-cast("int", kwargs.get("most", 12)) :]),
            ledger.numbered.name: lambda: tuple(receipts),
        }
        if effect.name in instead:
            return cast("R", instead[effect.name]())  # type: ignore[no-untyped-call]
        return await super().step(effect, *args, **kwargs)


class Model(RuleBasedStateMachine):
    place: Place
    deaths: Deaths

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        Key.make(Path(self.folder.name) / "key")
        self.ids = {name: new_id() for name in ENVIRONMENTS}
        self.spaces = {name: f"m{identifier}" for name, identifier in self.ids.items()}
        self.controls = {name: f"{space}-control" for name, space in self.spaces.items()}
        self.shared = f"{self.spaces['dev']}-shared"
        self.parts = {name: part_of(self.ids[name], self.controls[name]) for name in ENVIRONMENTS}
        self.admin = connect(self.place.kubeconfig)
        self.owner = "dev"
        """Of the shared namespace."""
        self.git: dict[str, tuple[str, str]] = {}
        self.commits: list[str] = []
        self.receipts: dict[str, list[Receipt]] = {name: [] for name in ENVIRONMENTS}
        self.theirs: dict[str, tuple[str, str]] = {}
        """What somebody else made: name and content by UID."""
        self.replaced: set[str] = set()
        """UIDs of what somebody put in the place of ours: CD may take it, and never deletes it."""
        self.why = ""
        """What the last run that was stopped said."""
        self.tampered: set[str] = set()
        """Names of ours of which somebody took away the label or the claims: CD may keep them."""

    @initialize()
    def begin(self) -> None:
        subject = Subject("User", USER)
        for name in ENVIRONMENTS:
            given = [self.spaces[name], self.shared]
            for body in control_manifests(control_namespace=self.controls[name], namespaces=given, subject=subject):
                self.admin.apply(body, manager="admin")
        self._give_classes()
        self.kubeconfig = Path(self.folder.name) / "cd.kubeconfig"
        client_kubeconfig(self.place, user=USER, path=self.kubeconfig, owner_uid=0)
        wait_for_rights(self.kubeconfig, *self.controls.values(), *self.spaces.values(), self.shared)
        self._commit()

    def _give_classes(self) -> None:
        rule_ = {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"]}
        rules = [{**rule_, "verbs": ["get", "create", "patch", "delete"]}]
        subjects = [Subject("User", USER), Subject("ServiceAccount", ACCOUNT, self.controls["dev"])]
        group, named = "rbac.authorization.k8s.io", {"metadata": {"name": self.shared}}
        bound = {
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": self.shared},
            "subjects": [each.body for each in subjects],
        }
        for kind, part in (("ClusterRole", {"rules": rules}), ("ClusterRoleBinding", bound)):
            self.admin.apply({"apiVersion": f"{group}/v1", "kind": kind, **named, **part}, manager="admin")

    def teardown(self) -> None:
        for name in (*self.spaces.values(), *self.controls.values(), self.shared):
            self.admin.request("DELETE", f"/api/v1/namespaces/{name}")
        for name, body in self._live().items():
            self._finalizers(name, body, [])
        for plural in ("clusterrolebindings", "clusterroles"):
            self.admin.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{plural}/{self.shared}")
        if self._one("k"):
            self.admin.request("DELETE", self._path("k"))
        self.admin.__exit__()
        self.folder.cleanup()

    # where things are --------------------------------------------------------------------------------

    def _space(self, name: str) -> str:
        last = name.rpartition("-")[2]
        return (
            "" if last == "k" else self.shared if last in SHARED else self.spaces["prod" if last == "prod" else "dev"]
        )

    def _full(self, name: str) -> str:
        """Its name in the cluster: what is in no namespace shares the cluster with other runs of the model."""
        return f"{name}-{self.ids['dev']}" if kind_of(name) is CLASSES else name

    def _resource(self, name: str) -> Resource:
        return self.admin.resource(kind_of(name).api_version, kind_of(name).kind)

    def _path(self, name: str) -> str:
        return self._resource(name).path(self._space(name), self._full(name))

    def _environment_of(self, name: str) -> str:
        return self.owner if self._space(name) == self.shared else "dev"

    def _made(self, name: str, value: str) -> Body:
        """An object as anybody makes it, with its namespace."""
        body = kind_of(name).make(self._full(name), value)
        space = {"namespace": self._space(name)} if self._space(name) else {}
        return {**body, "metadata": {**body["metadata"], **space}}

    def _declared(self, name: str, value: str) -> Body:
        """As Git has it."""
        body = self._made(name, value)
        return {**body, "metadata": {**body["metadata"], "finalizers": [SEALED]}} if name == "s" else body

    # git ---------------------------------------------------------------------------------------------

    def _wanted(self) -> dict[tuple[str, str], dict[str, str]]:
        """By environment and application: the values by name."""
        found: dict[tuple[str, str], dict[str, str]] = {("dev", app): {f"base-{app}": "0"} for app in APPS}
        found["prod", "only"] = {"base-prod": "0"}
        for name, (app, value) in sorted(self.git.items()):
            environment = self._environment_of(name)
            found[environment, "only" if environment == "prod" else app][name] = value
        return found

    def _commit(self) -> None:
        self.commits.append(secrets.token_hex(20))
        files = {
            layout.ENVIRONMENTS: f'format: 1\nid: "{self.ids["dev"]}"\n',
            layout.SIGNERS: yaml.safe_dump({"format": 1, "signers": [SIGNER]}),
            layout.BINDINGS: "format: 1\nbindings: []\n",
            layout.GATE: "format: 1\n",
        }
        for name, identifier in self.ids.items():
            spaces = [self.spaces[name], *([self.shared] if name == self.owner else [])]
            file = {"format": 1, "id": identifier, "cluster": "sandbox", "namespaces": spaces, "health_seconds": 1}
            file |= {"cluster_kinds": [CLASS]} if name == "dev" else {}
            files[layout.environment(name)] = yaml.safe_dump(file)
        for (environment, app), wanted in self._wanted().items():
            bodies = [self._declared(name, value) for name, value in wanted.items()]
            files[f"{layout.manifests(environment, app)}/all.yaml"] = yaml.safe_dump_all(bodies)
        tree = Tree.of({path: text.encode() for path, text in files.items()}, commit=self.commits[-1])
        passed = tuple(Verified(commit, "ada", "SHA256:0", "Change", ()) for commit in self.commits)
        self._head = VerifiedHead(self.commits[-1], tree, repository.read(tree), cast("Any", passed))

    def head(self) -> VerifiedHead:
        return self._head

    def append(self, environment: str, statement: Statement) -> Receipt:
        kept = self.receipts[environment]
        previous, now = kept[-1] if kept else None, dt.datetime.now(dt.UTC)
        kept.append(make(statement, previous=previous, now=now, private_key=RECEIPTS_KEY))
        return kept[-1]

    def _changed(self, *deployed: str) -> None:
        self._commit()
        for environment in deployed:
            self._try(environment)

    @rule(name=names, app=apps, value=values, deployed=st.booleans())
    def declare(self, name: str, app: str, value: str, deployed: bool) -> None:
        self.git[name] = (app, value)
        self._changed(*([self._environment_of(name)] if deployed else []))

    @rule(name=names, stays=st.booleans(), deployed=st.booleans())
    def drop(self, name: str, stays: bool, deployed: bool) -> None:
        """What leaves Git may have a finalizer whose controller does not live."""
        if name in self.git and stays:
            self.keep(name, stays=True)
        self.git.pop(name, None)
        self._changed(*([self._environment_of(name)] if deployed else []))

    @rule(name=names, value=values, deployed=st.booleans())
    def hand_over(self, name: str, value: str, deployed: bool) -> None:
        """In one commit to the other application, sometimes with another content."""
        if name in self.git:
            self.git[name] = (APPS[1 - APPS.index(self.git[name][0])], value)
            self._changed(*([self._environment_of(name)] if deployed else []))

    @rule(deployed=st.sampled_from(((), ("dev",), ("prod",), ("dev", "prod"), ("prod", "dev"))))
    def move(self, deployed: tuple[str, ...]) -> None:
        """The shared namespace, with all that Git has in it, becomes the other environment's in one commit."""
        self.owner = ENVIRONMENTS[1 - ENVIRONMENTS.index(self.owner)]
        self._changed(*deployed)

    # runs --------------------------------------------------------------------------------------------

    @property
    def host(self) -> CdHost:
        folder = self.folder.name
        remote = {"url": "http://127.0.0.1:1/x.git", "auth": f"{folder}/auth"}
        root = {"commit": "0" * 40, "keys": [SIGNER["key"]]}
        given = {
            name: {
                "cluster": "sandbox",
                "namespaces": [self.spaces[name], self.shared],
                "control_namespace": self.controls[name],
                "cluster_kinds": [CLASS] if name == "dev" else [],
            }
            for name in ENVIRONMENTS
        }
        return CdHost.model_validate_json(
            json.dumps(
                {
                    "format": 1,
                    "prefect": "http://127.0.0.1:1/api",
                    "state": f"{folder}/state",
                    "environment_repository": {"name": "environments", **remote, "root": root},
                    "ledger": {"name": "ledger", **remote},
                    "signing": {"signer": "cd", "key": f"{folder}/key"},
                    "clusters": {"sandbox": {"kubeconfig": str(self.kubeconfig)}},
                    "environments": given,
                }
            )
        )

    def _run(self, environment: str, *, upkeep: bool = False) -> Outcome:
        async def order() -> Outcome:
            presenter = Shortcut(self, environment)
            async with walk.opened(presenter, self.host, environment, what="deploy", actor="model") as site:
                return await walk.reconcile(site, upkeep=upkeep)

        return asyncio.run(order())

    def _try(self, environment: str, *, upkeep: bool = False) -> str:
        """How a run ends: it may be stopped by what others did, never by what CD has written itself."""
        try:
            return self._run(environment, upkeep=upkeep).said
        except (Refused, LockHeld, HostConfigError, InputError, GitError):
            raise
        except InterlockError as error:
            self.why = error.message
            return type(error).__name__

    @rule(environment=environments)
    def deploy(self, environment: str) -> None:
        self._try(environment)

    @rule(environment=environments)
    def resync(self, environment: str) -> None:
        self._try(environment, upkeep=True)

    @rule(environment=environments, writes=st.integers(1, 16), after=st.booleans())
    def die(self, environment: str, writes: int, after: bool) -> None:
        """A run ends at its n-th write, which the server has seen or not; whatever it held stays as it is."""
        self.deaths.plan(self.kubeconfig, writes, after=after)
        try:
            self._try(environment)
        except Died:
            self._bury(environment)
        finally:
            self.deaths.end()

    def _bury(self, environment: str) -> None:
        """Our own process lives on, so the Lease is made to name one that does not."""
        name, control = f"interlock-{self.ids[environment]}", self.controls[environment]
        lease = self.admin.get(self.admin.resource(LEASE, "Lease"), name, control)
        if lease and (process := (lease["metadata"].get("annotations") or {}).get(PROCESS)):
            lease["metadata"]["annotations"][PROCESS] = process.rpartition("/")[0] + "/1"
            self.admin.replace(lease, manager="admin")

    # others ------------------------------------------------------------------------------------------

    def _live(self) -> dict[str, Body]:
        own, found = self.spaces["dev"], dict[str, Body]()
        for kind, space in (
            (MAPS, own),
            (MAPS, self.shared),
            (MAPS, self.spaces["prod"]),
            (SECRETS, own),
            (DEPLOYMENTS, own),
        ):
            for body in self.admin.list(self.admin.resource(kind.api_version, kind.kind), space):
                found[body["metadata"]["name"]] = body
        found.pop("kube-root-ca.crt", None)
        return {**found, **({"k": live} if (live := self._one("k")) else {})}

    def _one(self, name: str) -> Body | None:
        return self.admin.get(self._resource(name), self._full(name), self._space(name))

    def _written(self, name: str, body: Body | None) -> None:
        """Somebody wrote an object: when it is his own, this is how it has to stay."""
        if body and (uid(body) in self.theirs):
            self.theirs[uid(body)] = (name, content(body))

    def _merge(self, name: str, patch: Body, manager: str = "kubectl-edit") -> None:
        path, kind, query = self._path(name), "application/merge-patch+json", {"fieldManager": manager}
        made = self.admin._exchange("PATCH", path, query=query, body=patch, content=kind, subject=path)[1]
        self._written(name, made)

    def _finalizers(self, name: str, body: Body, wanted: list[str]) -> None:
        if body["metadata"].get("finalizers", []) != wanted:
            self._merge(name, {"metadata": {"finalizers": wanted}})

    def _make(self, name: str, body: Body, *, manager: str = "somebody") -> None:
        made = self.admin.create(body, manager=manager)
        self.theirs[uid(made)] = (name, content(made))

    @rule(name=names, number=st.integers(0, 2))
    def edit(self, name: str, number: int) -> None:
        if self._one(name):
            self._merge(name, kind_of(name).edits[number])

    @rule(name=names)
    def delete(self, name: str) -> None:
        if live := self._one(name):
            self.admin.request("DELETE", self._path(name))
            if not live["metadata"].get("finalizers"):
                self.theirs.pop(uid(live), None)
            else:
                self._written(name, self._one(name))

    @rule(name=names, in_place_of_ours=st.booleans())
    def make(self, name: str, in_place_of_ours: bool) -> None:
        """An object of a name that Git may want too, or in the place of one that is deleted first."""
        live = self._one(name)
        if live and in_place_of_ours and not live["metadata"].get("finalizers"):
            self.delete(name)
            live = None
        if live is None:
            self._make(name, self._made(name, "theirs"))
            if name in self._known():
                self.replaced.add(next(u for u, (n, _) in self.theirs.items() if n == name))

    @rule(name=inside)
    def copy(self, name: str) -> None:
        """A controller that copies labels and annotations to what it makes, as some do."""
        live = self._one(name)
        if live and self._one(f"copy-{name}") is None:
            copied = {key: live["metadata"].get(key) or {} for key in ("labels", "annotations")}
            body = self._made(f"copy-{name}", "copied")
            self._make(f"copy-{name}", {**body, "metadata": {**body["metadata"], **copied}}, manager="copier")

    @rule(name=inside, environment=environments)
    def forge(self, name: str, environment: str) -> None:
        """An object that says it is ours: by label, and by the name of our field manager."""
        if self._one(f"forged-{name}") is None:
            body = self._made(f"forged-{name}", "forged")
            body["metadata"] |= {"labels": {PART_OF: self.parts[environment]}}
            made = self.admin.apply(body, manager=f"interlock-{self.ids[environment]}").body
            self.theirs[uid(made)] = (f"forged-{name}", content(made))

    @rule(name=names, environment=environments)
    def claim(self, name: str, environment: str) -> None:
        """Somebody writes under our field manager's name."""
        if live := self._one(name):
            body = self._made(name, "claimed")
            body["metadata"] |= {"uid": uid(live), "annotations": {"claimed": "1"}}
            made = self.admin.apply(body, manager=f"interlock-{self.ids[environment]}", force=True).body
            self._written(name, made)
            self.tampered.add(name)

    @rule(name=names)
    def strip(self, name: str) -> None:
        """Who wrote which field is forgotten."""
        if self._one(name):
            self._merge(name, {"metadata": {"managedFields": [{}]}})
            self.tampered.add(name)

    @rule(name=names)
    def unlabel(self, name: str) -> None:
        if self._one(name):
            self._merge(name, {"metadata": {"labels": {PART_OF: None}}})
            self.tampered.add(name)

    @rule(name=names, stays=st.booleans())
    def keep(self, name: str, stays: bool) -> None:
        """A finalizer whose controller does not live, or comes back."""
        live = self._one(name)
        if live is None or (stays and "deletionTimestamp" in live["metadata"]):
            return
        self._finalizers(name, live, [STAYS] if stays else [])
        if "deletionTimestamp" in live["metadata"]:
            self.theirs.pop(uid(live), None)

    # what must hold ----------------------------------------------------------------------------------

    def _inventory(self, environment: str) -> Mapping[str, Entry]:
        control, identifier = self.controls[environment], self.ids[environment]
        read = record.read_stored.fn(self.admin, control_namespace=control, environment_id=identifier)
        return {identity.name.removesuffix(f"-{self.ids['dev']}"): e for identity, e in read.inventory.entries.items()}

    def _known(self) -> frozenset[str]:
        """What either environment says that it owns."""
        return frozenset(name for environment in ENVIRONMENTS for name in self._inventory(environment))

    @invariant()
    def nothing_of_others_is_touched_and_nothing_of_ours_forgotten(self) -> None:
        live = self._live()
        by_uid = {uid(body): body for body in live.values()}
        for theirs, (name, before) in self.theirs.items():
            assert theirs in by_uid, f"{name} of somebody else was deleted"
            touched = content(by_uid[theirs]) != before
            assert not touched or theirs in self.replaced, f"{name} of somebody else was written"
        known = self._known()
        for name, body in live.items():
            ours = body["metadata"].get("labels", {}).get(PART_OF) in self.parts.values()
            if ours and uid(body) not in self.theirs:
                assert name in known, f"{name} was made by us, and is in no inventory"

    @rule()
    def settle(self) -> None:
        """When nobody interferes any more, some runs later everything is as Git says."""
        ends: list[str] = []
        while ends[-2:] != ["in sync", "in sync"] and len(ends) < 40:
            self._nobody_interferes()
            ends += [self._try(environment) for environment in ENVIRONMENTS]
        assert ends[-2:] == ["in sync", "in sync"], (ends, self.why)
        self._is_as_git_says()

    def _nobody_interferes(self) -> None:
        for name, body in self._live().items():
            going = "deletionTimestamp" in body["metadata"]
            kept = [SEALED] if SEALED in body["metadata"].get("finalizers", ()) and not going else []
            self._finalizers(name, body, kept)
            if going:
                self.theirs.pop(uid(body), None)
            elif uid(body) in self.theirs and name in self.git:
                adopted = uid(body) in self.replaced and name in self._inventory(self._environment_of(name))
                if not adopted:
                    self.admin.request("DELETE", self._path(name))
                    del self.theirs[uid(body)]

    def _is_as_git_says(self) -> None:
        live = self._live()
        adopted = {name for name, body in live.items() if uid(body) in self.replaced}
        left: set[str] = set()
        every: set[str] = set()
        for environment in ENVIRONMENTS:
            known = self._inventory(environment)
            shares = (wanted for (of, _), wanted in self._wanted().items() if of == environment)
            wanted = {name: value for share in shares for name, value in share.items()}
            for name, value in wanted.items():
                if name not in adopted:  # what was there before us may hold more
                    assert kind_of(name).value(live[name]) == value, name
                assert known[name].uid == uid(live[name]), name
                assert live[name]["metadata"]["labels"][PART_OF] == self.parts[environment], name
            left |= known.keys() - wanted.keys()
            every |= wanted.keys()
        assert left <= adopted | self.tampered, "left in an inventory"
        ours = {
            n for n, b in live.items() if b["metadata"].get("labels", {}).get(PART_OF) and uid(b) not in self.theirs
        }
        assert ours - every <= left, "made by us, and neither in Git nor kept"
        # What is as Git says again was seen to.
        self.tampered &= left


def content(body: Body) -> str:
    """All of an object that anybody writes, and who claims it; not what the cluster's controllers write."""
    metadata = {
        k: v for k, v in body["metadata"].items() if k not in {"managedFields", "resourceVersion", "generation"}
    }
    notes = {
        k: v for k, v in (metadata.get("annotations") or {}).items() if not k.startswith("deployment.kubernetes.io")
    }
    claims = {(c.get("manager"), c.get("operation")) for c in body["metadata"].get("managedFields") or ()}
    rest = {key: value for key, value in body.items() if key not in {"metadata", "status", "apiVersion", "kind"}}
    others = sorted(claim for claim in claims if claim[0] != "kube-controller-manager")
    return json.dumps([{**metadata, "annotations": notes}, others, rest], sort_keys=True)


LEASE = "coordination.k8s.io/v1"
SIGNER = {
    "name": "ada",
    "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDJUYApYwzUiy2dTH94dUNtZP2n8QR/33tes2E6jnnpN",
    "writes": ["**"],
    "approves": True,
    "machine": False,
}


@pytest.fixture
def model(cluster: Kubernetes, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Model]]:
    """The machine, for this run's cluster; what does not go is not waited for."""
    deaths = Deaths(Cluster._once)

    def once(cluster: Cluster, *args: Any, **more: Any) -> Any:
        return deaths.request(cluster, *args, **more)

    monkeypatch.setattr(Cluster, "_once", once)
    monkeypatch.setattr(removal, "PRUNE_SECONDS", 0.3)
    monkeypatch.setattr(NewerCommit, "__call__", lambda _: False)  # there is no git server to ask
    # Nor commits before this one: none of them asks for evidence, approvals or a budget.
    monkeypatch.setattr(proofs, "older_attesters", lambda *_, **__: ())
    monkeypatch.setattr(approvals, "asks", lambda *_, **__: False)
    monkeypatch.setattr(scope, "read_older_environments", lambda *_, **__: ())
    monkeypatch.setattr(receipts, "_signed", lambda _, decision: decision.head.new_commits)
    Model.place, Model.deaths = sandbox.place, deaths
    yield Model


@pytest.mark.timeout(max(600, 3 * STEPS))
def test_whatever_happens_it_converges(model: type[Model]) -> None:
    """Nothing that we own is forgotten, nothing that we do not own is touched, and in the end all is as Git says."""
    lives, began = max(1, STEPS // STEPS_OF_ONE), time.monotonic()
    for lived in range(0, lives, LIVES_AT_ONCE):
        if lived and time.monotonic() - began > MINUTES * 60:
            sys.stderr.write(f"{lived} of {lives} lives, {lived * STEPS_OF_ONE} steps, in {MINUTES:g} minutes\n")
            return
        go_through(model, min(LIVES_AT_ONCE, lives - lived))


def go_through(model: type[Model], lives: int) -> None:
    """So many lives of an environment, others each time: the first is the simplest, which everybody has seen."""
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=lives + 1,
            stateful_step_count=STEPS_OF_ONE,
            deadline=None,
            database=None,
            derandomize=STEPS == FEW,  # a test run takes the same steps every time, a long search others
            phases=(Phase.generate,),  # each try costs seconds: the steps that failed are printed as they were
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
