"""Parts that stop, fill up, go back in time, change or refuse in the middle of an environment's life."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest
import urllib3

from interlock.cd.objects import Body, uid
from interlock.cd.plan import Action
from interlock.errors import Blocked, ClusterError, GitError, InterlockError, Refused
from sandbox.parts.kubernetes import authority, authority_certificate
from sandbox.place import Place
from sandbox.supervisor import Sandbox
from tasks.cd import cluster as requests
from tasks.common.effect import Effect
from tests.cluster.worlds import USER, Recorder, World, config_map

P = ParamSpec("P")
R = TypeVar("R")


class Meanwhile(Recorder):
    """Does something just before a step is taken for the first time."""

    def __init__(self, step: str, do: Callable[[], object]) -> None:
        super().__init__()
        self._before, self._do = step, do

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if effect.name == self._before and effect.name not in self.steps:
            await asyncio.to_thread(self._do)
        return await super().step(effect, *args, **kwargs)


APPLY = "apply applications"


async def _converges(world: World) -> None:
    await world.deploy()
    live = world.get("ConfigMap", "c")
    assert live is not None
    assert live["data"] == {"a": "2"}
    plan = await world.plan()
    assert plan.empty
    assert not plan.drifted
    record = world.stored().record
    assert record is not None
    assert record.deployed == world.head == world.mark()["deployed"]


async def _begun(world: World) -> None:
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "2"}))
    world.push_objects("new", config_map("new", {"a": "1"}))


# the API server --------------------------------------------------------------------------------------


async def test_the_api_server_dies_in_the_middle_of_a_run(
    world: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with etcd and all: the run names what it could not do, nothing is in sync, and the next one converges."""
    monkeypatch.setattr(requests, "PATIENCE", 0.5)
    await _begun(world)
    try:
        with pytest.raises(InterlockError, match="no answer from https://127"):
            await world.deploy(Meanwhile(APPLY, lambda: sandbox.kill("kubernetes")))
        with pytest.raises(ClusterError, match="no answer from https://127"):
            await world.plan()
    finally:
        sandbox.revive("kubernetes")
    monkeypatch.undo()
    await _converges(world)


def _apiserver(place: Place) -> int:
    """Its process, found by the port that is this sandbox's alone."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"/kube-apiserver") and f"--secure-port={place.apiserver_port}".encode() in words:
            return int(folder.name)
    raise AssertionError("no kube-apiserver")


async def test_a_run_gets_over_an_api_server_that_hangs_for_a_while(
    world: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped for some seconds while objects are written: what may be repeated is, and the run ends well."""
    await _begun(world)
    world.remove("new")
    monkeypatch.setattr(requests, "_TIMEOUT", urllib3.Timeout(connect=1, read=1))
    pid = _apiserver(sandbox.place)

    def freeze() -> None:
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(4, os.kill, (pid, signal.SIGCONT)).start()

    outcome = await world.deploy(Meanwhile(APPLY, freeze))

    assert outcome.said == "deployed"
    monkeypatch.undo()
    await _converges(world)


# etcd ------------------------------------------------------------------------------------------------


def _alarm(place: Place, action: str) -> None:
    """etcd's own alarm for a full database, by its gateway on the socket that only root enters."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(place.kubeconfig.parent / "etcd" / "clients.sock:0"))
    connection = http.client.HTTPConnection("etcd")
    connection.sock = sock
    body = json.dumps({"action": action, "memberID": "0", "alarm": "NOSPACE"})
    connection.request("POST", "/v3/maintenance/alarm", body=body)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    assert answer.status == 200, said


@pytest.mark.parametrize("step", [APPLY, "take the lock"])
async def test_etcd_is_full(world: World, sandbox: Sandbox, step: str) -> None:
    """Nothing can be written: the run says so and what helps, a plan still tells the state, the next run converges."""
    await _begun(world)
    try:
        with pytest.raises(InterlockError, match="database space exceeded") as error:
            await world.deploy(Meanwhile(step, lambda: _alarm(sandbox.place, "ACTIVATE")))
        assert "defragment" in str(error.value) or step == APPLY
        assert not (await world.plan()).empty
    finally:
        _alarm(sandbox.place, "DEACTIVATE")
    await _converges(world)


def back_up_etcd(sandbox: Sandbox) -> None:
    """A copy of its data, taken while it is down."""
    sandbox.kill("kubernetes")
    try:
        shutil.copytree(_data(sandbox), _data(sandbox).with_name("backup"))
    finally:
        sandbox.revive("kubernetes")


def restore_etcd(sandbox: Sandbox) -> None:
    """Everything goes back to the copy."""
    sandbox.kill("kubernetes")
    try:
        shutil.rmtree(_data(sandbox))
        _data(sandbox).with_name("backup").rename(_data(sandbox))
    finally:
        sandbox.revive("kubernetes")


def _data(sandbox: Sandbox) -> Path:
    return sandbox.place.kubeconfig.parent / "etcd" / "data"


async def test_etcd_was_restored_from_a_backup(world: World, sandbox: Sandbox) -> None:
    """Versions go backwards: the record contradicts the host, which stops everything; nothing is taken from memory."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    back_up_etcd(sandbox)
    world.push_objects("c", config_map("c", {"a": "2"}))
    await world.deploy()
    assert (await world.resync()).said == "in sync"
    restore_etcd(sandbox)

    with pytest.raises(Refused) as refused:
        await world.deploy()
    assert refused.value.rule == "record-mismatch"
    assert world.get("ConfigMap", "c")["data"] == {"a": "1"}  # type: ignore[index]

    # The backup is the truth now: what this host remembers is removed, as the error says.
    (world.host.state / "marks" / "dev.json").unlink()
    await _converges(world)


async def test_a_version_that_is_given_anew_is_not_remembered(world: World, sandbox: Sandbox) -> None:
    """Restored without a deploy in between, an object may get a version that was found good with another content."""
    world.push_objects("c", config_map("c", {"a": "2"}))
    await world.deploy()
    back_up_etcd(sandbox)
    for n in range(300):  # so that the cluster's clock of versions is far ahead of the backup's
        world.merge(world.path("configmaps", "base"), {"metadata": {"annotations": {"n": str(n)}}})
    await world.resync()
    restore_etcd(sandbox)
    memory = world.host.state / "verdicts" / "dev.json"
    known = json.loads(memory.read_text())
    world.merge(world.path("configmaps", "c"), {"data": {"a": "evil"}})
    live = world.get("ConfigMap", "c")
    assert live is not None
    # As if the version of this very write had been remembered for the good content before the restore.
    known["known"][uid(live)] = f"{live['metadata']['resourceVersion']} {known['known'][uid(live)].partition(' ')[2]}"
    memory.write_text(json.dumps(known))

    assert {item.identity.name for item in (await world.plan()).writes} == {"c"}
    assert (await world.resync()).said == "drift undone"
    await _converges(world)


# definitions -----------------------------------------------------------------------------------------

GROUP, VERSION = "outages.example.org", "outages.example.org/v1"
RBAC = "rbac.authorization.k8s.io/v1"


def _definition(**properties: Body) -> Body:
    spec = {"type": "object", "properties": {"size": {"type": "integer"}, **properties}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def _define(world: World, **properties: Body) -> None:
    """Install the definition, and wait until the server acts on it."""
    world.admin.apply(_definition(**properties), manager="admin", force=True)
    probe = {"apiVersion": VERSION, "kind": "Gadget", "metadata": {"name": "probe", "namespace": world.namespace}}
    probe["spec"] = dict.fromkeys(properties, "x") | {"size": 1}
    for _ in range(150):
        try:
            made = world.admin.create(probe, manager="admin", dry_run=True)
        except ClusterError:
            made = {}
        if made.get("spec", {}).keys() == {"size", *properties}:
            return
        time.sleep(0.1)
    raise AssertionError("the definition does not take effect")


@pytest.fixture
def gadgets(impatient_world: World) -> Iterator[World]:
    """A world with a custom kind that CD may write, gone after the test."""
    world = impatient_world
    role = {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "gadgets", "namespace": world.namespace}}
    rules = [{"apiGroups": [GROUP], "resources": ["gadgets"], "verbs": ["*"]}]
    subjects = [
        {"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "ServiceAccount", "name": "interlock", "namespace": world.control},
    ]
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gadgets"}
    world.admin.apply({**role, "rules": rules}, manager="admin")
    world.admin.apply({**role, "kind": "RoleBinding", "roleRef": ref, "subjects": subjects}, manager="admin")
    _define(world, color={"type": "string"})
    yield world
    try:
        world.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{GROUP}")
    except ClusterError as error:
        assert error.status == 404


def _gadget(**spec: object) -> Body:
    return {"apiVersion": VERSION, "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec}


def _actions(plan: Any) -> dict[str, Action]:
    return {item.identity.name: item.action for item in plan.items if item.identity.kind == "Gadget"}


async def test_a_definition_that_vanishes_and_comes_back(gadgets: World) -> None:
    """Without its kind the object cannot be made, and is named; with it again, it is made anew and owned."""
    world = gadgets
    world.push_objects("g", _gadget(size=1))
    await world.deploy()
    first = world.get("Gadget", "g", VERSION)
    assert first is not None
    world.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{GROUP}")
    await asyncio.sleep(2)

    world.push_objects("c", config_map("c", {"a": "1"}))
    with pytest.raises(InterlockError, match=r"Gadget/t\w+/g: .*no such kind"):
        await world.deploy()

    _define(world, color={"type": "string"})
    await world.deploy()
    again = world.get("Gadget", "g", VERSION)
    assert again is not None
    entries = {identity.name: entry.uid for identity, entry in world.inventory().entries.items()}
    assert entries["g"] == uid(again) != uid(first)


async def test_a_definition_that_forgets_a_field_is_noticed(gadgets: World) -> None:
    """Nobody wrote the object, and its version is the same; but what Git declares does not live any more."""
    world = gadgets
    world.push_objects("g", _gadget(size=1, color="red"))
    await world.deploy()
    assert _actions(await world.plan()) == {"g": Action.UNCHANGED}
    assert _actions(await world.plan()) == {"g": Action.UNCHANGED}

    _define(world)

    assert _actions(await world.plan()) != {"g": Action.UNCHANGED}


async def test_a_definition_with_another_default_is_no_drift(gadgets: World) -> None:
    """A field that the server fills in as it reads is its own, and nobody's change."""
    world = gadgets
    world.push_objects("g", _gadget(size=1))
    await world.deploy()
    assert _actions(await world.plan()) == {"g": Action.UNCHANGED}

    _define(world, color={"type": "string"}, shape={"type": "string", "default": "round"})

    live = world.get("Gadget", "g", VERSION)
    assert live is not None
    assert live["spec"] == {"size": 1, "shape": "round"}
    assert _actions(await world.plan()) == {"g": Action.UNCHANGED}


# webhooks --------------------------------------------------------------------------------------------


class _Admission(BaseHTTPRequestHandler):
    seconds = 0.0

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.seconds)
        said = {"uid": asked["request"]["uid"], "allowed": False, "status": {"message": "not on a Friday"}}
        body = json.dumps({"apiVersion": asked["apiVersion"], "kind": "AdmissionReview", "response": said}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _webhook(world: World, place: Place, *, seconds: float) -> Iterator[None]:
    """A real admission webhook over the environment's ConfigMaps that says no, or takes its time over it."""
    folder = world.config.parent
    authority(place).server("admission", hosts=["127.0.0.1"]).write(folder / "admission")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "admission.crt", folder / "admission.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Admission", (_Admission,), {"seconds": seconds}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name = f"refuses-{world.namespace}"
    trusted = base64.b64encode(authority_certificate(place).read_bytes()).decode()
    hook = {
        "name": "refuses.example.org",
        "clientConfig": {"url": f"https://127.0.0.1:{server.server_address[1]}/", "caBundle": trusted},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
        "failurePolicy": "Fail",
    }
    configuration = {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": name}, "webhooks": [hook]}
    world.admin.apply({"apiVersion": "admissionregistration.k8s.io/v1", **configuration}, manager="admin")
    try:
        _wait_for_webhook(world)
        yield
    finally:
        world.delete(f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}")
        server.shutdown()
        server.server_close()


def _wait_for_webhook(world: World) -> None:
    probe = {**config_map("probe", {}), "metadata": {"name": "probe", "namespace": world.namespace}}
    for _ in range(100):
        try:
            world.admin.create(probe, manager="admin", dry_run=True)
        except ClusterError:
            return
        time.sleep(0.1)
    raise AssertionError("the webhook is not asked")


@pytest.mark.parametrize(
    ("seconds", "cause"), [(0.0, "denied the request: not on a Friday"), (3.0, "failed calling webhook")]
)
async def test_an_admission_webhook_refuses_or_times_out(
    world: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, *, seconds: float, cause: str
) -> None:
    """The object and the webhook's words are told, nothing is called in sync, and without it the next run converges."""
    monkeypatch.setattr(requests, "PATIENCE", 0.5)
    await _begun(world)
    with _webhook(world, sandbox.place, seconds=seconds):
        with pytest.raises(InterlockError, match=rf"ConfigMap/\w+/\w+: .*{cause}"):
            await world.deploy()
        record = world.stored().record
        assert record is not None
        assert record.deployed != world.head
    await _converges(world)


# git -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["write a receipt", APPLY, "write record"])
async def test_the_git_server_goes_away_in_the_middle_of_a_run(world: World, step: str) -> None:
    """Neither commits nor receipts can be had: the run ends with git's words, and the next one converges."""
    await _begun(world)
    served = world.repository.bare.parent
    away = served.with_name("away")
    try:
        with pytest.raises((GitError, Blocked)):
            await world.deploy(Meanwhile(step, lambda: served.rename(away)))
    finally:
        if away.exists():
            away.rename(served)
    await _converges(world)
