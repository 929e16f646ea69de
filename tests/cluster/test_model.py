"""A model of an environment's life, run at random against the real order and the real API server (hypothesis).

Git changes, objects move between applications, CD runs and dies between any two writes; meanwhile somebody edits,
deletes and replaces objects, copies labels, forges managers, strips claims and keeps objects from going.

INTERLOCK_MODEL_STEPS says about how many steps are taken; without it as many as a test run has time for.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar, cast

import pytest
import yaml
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from flows.cd import removal, walk
from interlock.cd.control import Subject, control_manifests
from interlock.cd.host import CdHost
from interlock.cd.lock import PROCESS
from interlock.cd.objects import PART_OF, Body, uid
from interlock.cd.record import part_of
from interlock.cd.reports import Outcome
from interlock.contract import layout, repository
from interlock.contract.render import render
from interlock.contract.tree import Tree
from interlock.errors import GitError, HostConfigError, InputError, InterlockError, LockHeld, Refused
from sandbox.parts.kubernetes import Kubernetes, client_kubeconfig
from sandbox.place import Place
from sandbox.supervisor import Sandbox
from tasks.cd import ledger, record
from tasks.cd.cluster import Cluster, connect
from tasks.cd.newer import NewerCommit
from tasks.cd.rules import hold_to_rules
from tasks.common.effect import Effect
from tasks.common.environment_repository import VerifiedHead, fetch_verified, read_verified
from tasks.common.render import render_environment
from tests.cluster.worlds import USER, Recorder

P = ParamSpec("P")
R = TypeVar("R")
STEPS_OF_ONE = 40
STEPS = int(os.environ.get("INTERLOCK_MODEL_STEPS", "200"))
NAMES = ("a", "b", "c")
APPS = ("left", "right")
names = st.sampled_from(NAMES)
apps = st.sampled_from(APPS)
values = st.sampled_from(("1", "2", "3"))


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

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        instead = {
            fetch_verified.name: self._model.head,
            read_verified.name: self._model.head,
            render_environment.name: lambda: render(self._model.head().repository, "dev"),
            hold_to_rules.name: lambda: args[0],  # the plan as it is: there is no older commit in git to read
            ledger.append.name: self._model.append,
            ledger.read.name: lambda: (),  # no receipt tells of objects that were let go
            ledger.last.name: lambda: self._model.receipts[-1] if self._model.receipts else None,
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
        self.id = uuid.uuid4().hex[:12]
        self.namespace, self.control = f"m{self.id}", f"m{self.id}-control"
        self.admin = connect(self.place.kubeconfig)
        self.maps = self.admin.resource("v1", "ConfigMap")
        self.part_of = part_of(self.id, self.control)
        self.git: dict[str, tuple[str, str]] = {}
        self.commits: list[str] = []
        self.receipts: list[Any] = []
        self.theirs: dict[str, tuple[str, str]] = {}
        """What somebody else made: name and resourceVersion by UID."""
        self.replaced: set[str] = set()
        """UIDs of what somebody put in the place of ours: CD may take it, and never deletes it."""
        self.tampered: set[str] = set()
        """Names of ours of which somebody took away the label or the claims: CD may keep them."""

    @initialize()
    def begin(self) -> None:
        subject = Subject("User", USER)
        for body in control_manifests(control_namespace=self.control, namespaces=[self.namespace], subject=subject):
            self.admin.apply(body, manager="admin")
        self.kubeconfig = Path(self.folder.name) / "cd.kubeconfig"
        client_kubeconfig(self.place, user=USER, path=self.kubeconfig, owner_uid=0)
        self._commit()

    def teardown(self) -> None:
        for name in (self.namespace, self.control):
            self.admin.request("DELETE", f"/api/v1/namespaces/{name}")
        for body in self._live().values():
            self._finalizers(body, [])
        self.admin.__exit__()
        self.folder.cleanup()

    # git ---------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        self.commits.append(secrets.token_hex(20))
        files = {
            layout.ENVIRONMENTS: f'format: 1\nid: "{self.id}"\n',
            layout.SIGNERS: yaml.safe_dump({"format": 1, "signers": [SIGNER]}),
            layout.BINDINGS: "format: 1\nbindings: []\n",
            layout.GATE: "format: 1\n",
            layout.environment("dev"): (
                f'format: 1\nid: "{self.id}"\ncluster: sandbox\nnamespaces: [{self.namespace}]\ndrift: undo\n'
                "health_seconds: 10\n"
            ),
        }
        for app in APPS:
            wanted = {name: value for name, (owner, value) in self.git.items() if owner == app}
            bodies = [_map(f"base-{app}", "0"), *(_map(name, value) for name, value in sorted(wanted.items()))]
            files[f"{layout.manifests('dev', app)}/all.yaml"] = yaml.safe_dump_all(bodies)
        tree = Tree.of({path: text.encode() for path, text in files.items()}, commit=self.commits[-1])
        passed = tuple(SimpleNamespace(commit=commit) for commit in self.commits)
        self._head = VerifiedHead(self.commits[-1], tree, repository.read(tree), cast("Any", passed))

    def head(self) -> VerifiedHead:
        return self._head

    def append(self) -> Any:
        number = len(self.receipts) + 1
        self.receipts.append(SimpleNamespace(receipt=SimpleNamespace(number=number), digest=f"sha256:{number:064x}"))
        return self.receipts[-1]

    def _changed(self, deployed: bool) -> None:
        self._commit()
        if deployed:
            self._try()

    @rule(name=names, app=apps, value=values, deployed=st.booleans())
    def declare(self, name: str, app: str, value: str, deployed: bool) -> None:
        self.git[name] = (app, value)
        self._changed(deployed)

    @rule(name=names, stays=st.booleans(), deployed=st.booleans())
    def drop(self, name: str, stays: bool, deployed: bool) -> None:
        """What leaves Git may have a finalizer whose controller does not live."""
        if name in self.git and stays:
            self.keep(name, stays=True)
        self.git.pop(name, None)
        self._changed(deployed)

    @rule(name=names, value=values, deployed=st.booleans())
    def hand_over(self, name: str, value: str, deployed: bool) -> None:
        """In one commit to the other application, sometimes with another content."""
        if name in self.git:
            self.git[name] = (APPS[1 - APPS.index(self.git[name][0])], value)
            self._changed(deployed)

    # runs --------------------------------------------------------------------------------------------

    @property
    def host(self) -> CdHost:
        folder = self.folder.name
        remote = {"url": "http://127.0.0.1:1/x.git", "auth": f"{folder}/auth"}
        root = {"commit": "0" * 40, "keys": [SIGNER["key"]]}
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
                    "environments": {
                        "dev": {
                            "cluster": "sandbox",
                            "namespaces": [self.namespace],
                            "control_namespace": self.control,
                        }
                    },
                }
            )
        )

    def _run(self, *, upkeep: bool = False) -> Outcome:
        async def order() -> Outcome:
            async with walk.opened(Shortcut(self), self.host, "dev", what="deploy", actor="model") as site:
                return await walk.reconcile(site, upkeep=upkeep)

        return asyncio.run(order())

    def _try(self, *, upkeep: bool = False) -> str:
        """How a run ends: it may be stopped by what others did, never by what CD has written itself."""
        try:
            return self._run(upkeep=upkeep).said
        except (Refused, LockHeld, HostConfigError, InputError, GitError):
            raise
        except InterlockError as error:
            return type(error).__name__

    @rule()
    def deploy(self) -> None:
        self._try()

    @rule()
    def resync(self) -> None:
        self._try(upkeep=True)

    @rule(writes=st.integers(1, 16), after=st.booleans())
    def die(self, writes: int, after: bool) -> None:
        """A run ends at its n-th write, which the server has seen or not; whatever it held stays as it is."""
        self.deaths.plan(self.kubeconfig, writes, after=after)
        try:
            self._try()
        except Died:
            self._bury()
        finally:
            self.deaths.end()

    def _bury(self) -> None:
        """Our own process lives on, so the Lease is made to name one that does not."""
        lease = self.admin.get(self.admin.resource(LEASE, "Lease"), f"interlock-{self.id}", self.control)
        if lease and (process := (lease["metadata"].get("annotations") or {}).get(PROCESS)):
            lease["metadata"]["annotations"][PROCESS] = process.rpartition("/")[0] + "/1"
            self.admin.replace(lease, manager="admin")

    # others ------------------------------------------------------------------------------------------

    def _live(self) -> dict[str, Body]:
        found = self.admin.list(self.maps, self.namespace)
        return {body["metadata"]["name"]: body for body in found if body["metadata"]["name"] != "kube-root-ca.crt"}

    def _one(self, name: str) -> Body | None:
        return self.admin.get(self.maps, name, self.namespace)

    def _written(self, body: Body | None) -> None:
        """Somebody wrote an object: when it is his own, this is how it has to stay."""
        if body and (uid(body) in self.theirs):
            self.theirs[uid(body)] = (body["metadata"]["name"], body["metadata"]["resourceVersion"])

    def _merge(self, name: str, patch: Body, manager: str = "kubectl-edit") -> None:
        path = self.maps.path(self.namespace, name)
        kind, query = "application/merge-patch+json", {"fieldManager": manager}
        self._written(self.admin._exchange("PATCH", path, query=query, body=patch, content=kind, subject=path)[1])

    def _finalizers(self, body: Body, wanted: list[str]) -> None:
        if body["metadata"].get("finalizers", []) != wanted:
            self._merge(body["metadata"]["name"], {"metadata": {"finalizers": wanted}})

    def _create(self, body: Body, *, manager: str = "somebody") -> None:
        made = self.admin.create(
            {**body, "metadata": {**body["metadata"], "namespace": self.namespace}}, manager=manager
        )
        self.theirs[uid(made)] = (made["metadata"]["name"], made["metadata"]["resourceVersion"])

    @rule(name=names, data=st.sampled_from(({"v": "evil"}, {"foreign": "1"}, {"v": None})))
    def edit(self, name: str, data: Mapping[str, str | None]) -> None:
        if self._one(name):
            self._merge(name, {"data": data})

    @rule(name=names)
    def delete(self, name: str) -> None:
        if live := self._one(name):
            self.admin.request("DELETE", self.maps.path(self.namespace, name))
            if not live["metadata"].get("finalizers"):
                self.theirs.pop(uid(live), None)
            else:
                self._written(self._one(name))

    @rule(name=names, in_place_of_ours=st.booleans())
    def make(self, name: str, in_place_of_ours: bool) -> None:
        """An object of a name that Git may want too, or in the place of one that is deleted first."""
        live = self._one(name)
        if live and in_place_of_ours and not live["metadata"].get("finalizers"):
            self.delete(name)
            live = None
        if live is None:
            self._create(_map(name, "theirs"))
            if any(identity.name == name for identity in self._inventory()):
                self.replaced.add(next(u for u, (n, _) in self.theirs.items() if n == name))

    @rule(name=names)
    def copy(self, name: str) -> None:
        """A controller that copies labels and annotations to what it makes, as some do."""
        live = self._one(name)
        if live and self._one(f"copy-{name}") is None:
            copied = {key: live["metadata"].get(key) or {} for key in ("labels", "annotations")}
            body = _map(f"copy-{name}", "copied")
            self._create({**body, "metadata": {**body["metadata"], **copied}}, manager="copier")

    @rule(name=names)
    def forge(self, name: str) -> None:
        """An object that says it is ours: by label, and by the name of our field manager."""
        if self._one(f"forged-{name}") is None:
            body = _map(f"forged-{name}", "forged")
            body["metadata"] |= {"labels": {PART_OF: self.part_of}, "namespace": self.namespace}
            made = self.admin.apply(body, manager=f"interlock-{self.id}").body
            self.theirs[uid(made)] = (made["metadata"]["name"], made["metadata"]["resourceVersion"])

    @rule(name=names)
    def claim(self, name: str) -> None:
        """Somebody writes under our field manager's name."""
        if live := self._one(name):
            body = _map(name, "claimed")
            body["data"]["more"] = "1"
            body["metadata"] |= {"namespace": self.namespace, "uid": uid(live)}
            self._written(self.admin.apply(body, manager=f"interlock-{self.id}", force=True).body)
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
        self._finalizers(live, ["example.org/stays"] if stays else [])
        if "deletionTimestamp" in live["metadata"]:
            self.theirs.pop(uid(live), None)

    # what must hold ----------------------------------------------------------------------------------

    def _inventory(self) -> Mapping[Any, Any]:
        read = record.read_stored.fn(self.admin, control_namespace=self.control, environment_id=self.id)
        return read.inventory.entries

    @invariant()
    def nothing_of_others_is_touched(self) -> None:
        live = {uid(body): body for body in self._live().values()}
        for theirs, (name, version) in self.theirs.items():
            assert theirs in live, f"{name} of somebody else was deleted"
            touched = live[theirs]["metadata"]["resourceVersion"] != version
            assert not touched or theirs in self.replaced, f"{name} of somebody else was written"

    @invariant()
    def nothing_of_ours_is_forgotten(self) -> None:
        known = {identity.name for identity in self._inventory()}
        for name, body in self._live().items():
            ours = body["metadata"].get("labels", {}).get(PART_OF) == self.part_of
            if ours and uid(body) not in self.theirs:
                assert name in known, f"{name} was made by us, and is in no inventory"

    @rule()
    def settle(self) -> None:
        """When nobody interferes any more, some runs later everything is as Git says."""
        for name, body in self._live().items():
            self._finalizers(body, [])
            if uid(body) in self.theirs and uid(body) not in self.replaced and name in self.git:
                self.admin.request("DELETE", self.maps.path(self.namespace, name))
                del self.theirs[uid(body)]
        ends = [self._try() for _ in range(2)]
        while ends[-1] != "in sync" and len(ends) < 6:
            ends.append(self._try())
        assert ends[-1] == "in sync", ends
        self._is_as_git_says()

    def _is_as_git_says(self) -> None:
        wanted = {name: value for name, (_, value) in self.git.items()} | {f"base-{app}": "0" for app in APPS}
        live, known = self._live(), {identity.name: entry for identity, entry in self._inventory().items()}
        adopted = {name for name, body in live.items() if uid(body) in self.replaced}
        for name, value in wanted.items():
            assert live[name]["data"] == {"v": value} or name in adopted, name
            assert live[name]["data"]["v"] == value, name
            assert known[name].uid == uid(live[name]), name
            assert live[name]["metadata"]["labels"][PART_OF] == self.part_of, name
        left = known.keys() - wanted.keys()
        assert left <= adopted | self.tampered, "left in the inventory"
        ours = {
            n for n, b in live.items() if b["metadata"].get("labels", {}).get(PART_OF) and uid(b) not in self.theirs
        }
        assert ours - wanted.keys() <= left, "made by us, and neither in Git nor kept"
        # What is as Git says again was seen to.
        self.tampered &= left


LEASE = "coordination.k8s.io/v1"
SIGNER = {
    "name": "ada",
    "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDJUYApYwzUiy2dTH94dUNtZP2n8QR/33tes2E6jnnpN",
    "writes": ["**"],
    "approves": True,
    "machine": False,
}


def _map(name: str, value: str) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value}}


@pytest.fixture
def model(cluster: Kubernetes, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Model]]:
    """The machine, for this run's cluster; what does not go is not waited for."""
    deaths = Deaths(Cluster._once)

    def once(cluster: Cluster, *args: Any, **more: Any) -> Any:
        return deaths.request(cluster, *args, **more)

    monkeypatch.setattr(Cluster, "_once", once)
    monkeypatch.setattr(removal, "PRUNE_SECONDS", 0.3)
    monkeypatch.setattr(NewerCommit, "__call__", lambda _: False)  # there is no git server to ask
    Model.place, Model.deaths = sandbox.place, deaths
    yield Model


@pytest.mark.timeout(max(300, STEPS))
def test_whatever_happens_it_converges(model: type[Model]) -> None:
    """Nothing that we own is forgotten, nothing that we do not own is touched, and in the end all is as Git says."""
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=max(1, STEPS // STEPS_OF_ONE),
            stateful_step_count=STEPS_OF_ONE,
            deadline=None,
            database=None,
            phases=(Phase.generate,),  # each try costs seconds: the steps that failed are printed as they were
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
