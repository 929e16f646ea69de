"""Requests through a faulty proxy: what is sent again, what is not, and what a run makes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import urllib3
import yaml

from interlock.cd.objects import Body, identify, uid
from interlock.errors import Blocked, ClusterError
from sandbox.supervisor import Sandbox
from tasks.cd import cluster as requests
from tasks.cd.cluster import Cluster, connect
from tests.cluster.faulty import through
from tests.cluster.worlds import World, config_map
from tests.faulty import Failure, Fault, Proxy

BUSY = Fault("refuse", status=429, retry_after="1", message="too many requests", reason="TooManyRequests")
PASSING = [
    Fault("reset"),
    Fault("lost"),
    Fault("half"),
    Fault("refuse", status=500),
    Fault("refuse", status=503),
    Fault("refuse", status=504),
]


def _again(fault: Fault, **change: Any) -> Fault:
    return replace(fault, **change)


@pytest.fixture
def proxy(world: World, sandbox: Sandbox) -> Iterator[Proxy]:
    """Between CD's host and the API server; the administrator goes by himself."""
    with through(sandbox.place, world.config.parent / "cd.kubeconfig") as proxy:
        yield proxy


@pytest.fixture
def site(world: World, proxy: Proxy) -> Iterator[Cluster]:
    with connect(world.config.parent / "cd.kubeconfig") as found:
        yield found


def _made(world: World, name: str) -> Body:
    return {**config_map(name, {"a": "1"}), "metadata": {"name": name, "namespace": world.namespace}}


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.failure}-{fault.status}")
def test_a_read_is_sent_again(world: World, site: Cluster, proxy: Proxy, fault: Fault) -> None:
    """Whatever happens to an answer on its way, a LIST is whole in the end."""
    for n in range(3):
        world.admin.create(_made(world, f"c{n}"), manager="admin")
    proxy.add(_again(fault, method="GET", path="configmaps", times=2))

    found = site.list(site.resource("v1", "ConfigMap"), world.namespace)

    assert {"c0", "c1", "c2"} <= {body["metadata"]["name"] for body in found}
    assert proxy.asked("GET", "configmaps") == 3


@pytest.mark.parametrize("failure", ["reset", "lost", "half"])
def test_a_write_that_names_its_object_is_sent_again(
    world: World, site: Cluster, proxy: Proxy, failure: Failure
) -> None:
    """An apply with a UID, and a delete by UID, may be repeated: the object is as wanted, then gone."""
    live = world.admin.create(_made(world, "c"), manager="admin")
    named = {**_made(world, "c"), "data": {"a": "2"}}
    named["metadata"]["uid"] = uid(live)
    proxy.add(Fault(failure, method="PATCH"), Fault(failure, method="DELETE"))

    site.apply(named, manager="me", force=True)
    assert world.get("ConfigMap", "c")["data"] == {"a": "2"}  # type: ignore[index]
    site.delete(identify(live), uid=uid(live))
    assert world.get("ConfigMap", "c") is None
    assert (proxy.asked("PATCH", ""), proxy.asked("DELETE", "")) == (2, 2)


@pytest.mark.parametrize("failure", ["reset", "lost", "half"])
def test_another_write_is_sent_once(world: World, site: Cluster, proxy: Proxy, failure: Failure) -> None:
    """Whether a create reached the server is not known: who asked for it is told so, and decides."""
    proxy.add(Fault(failure, method="POST"))

    with pytest.raises(ClusterError, match=f"ConfigMap/{world.namespace}/c: no answer from") as error:
        site.create(_made(world, "c"), manager="me")

    assert error.value.transient
    assert proxy.asked("POST", "") == 1


def test_what_the_server_did_not_begin_is_sent_again(world: World, site: Cluster, proxy: Proxy) -> None:
    """429 says that nothing was done, so even a create is repeated, and not before the time that it names."""
    proxy.add(_again(BUSY, method="POST"))
    began = time.monotonic()

    site.create(_made(world, "c"), manager="me")

    assert time.monotonic() - began >= 1
    assert proxy.asked("POST", "") == 2


def test_a_busy_server_is_asked_less_at_once(world: World, site: Cluster, proxy: Proxy) -> None:
    """After 429 fewer requests are in flight; good answers give them back."""
    most = site.throttle.slots
    proxy.add(_again(BUSY, retry_after="0"))
    maps = site.resource("v1", "ConfigMap")
    site.list(maps, world.namespace)
    assert site.throttle.slots < most
    for _ in range(60):
        site.get(maps, "none", world.namespace)
    assert site.throttle.slots == most


def test_patience_ends(world: World, site: Cluster, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stays broken ends with the object, the cause and the status, not in an endless wait."""
    monkeypatch.setattr(requests, "PATIENCE", 1.0)
    monkeypatch.setattr(requests, "BUSY_PATIENCE", 0.5)
    maps = site.resource("v1", "ConfigMap")
    proxy.add(Fault("refuse", times=100, status=500, message="etcd leader changed"))
    with pytest.raises(ClusterError, match=r"ConfigMap in t\w+: etcd leader changed \(500\)"):
        site.list(maps, world.namespace)
    proxy.clear()
    proxy.add(_again(BUSY, times=100, retry_after="0"))
    with pytest.raises(ClusterError, match=r"too many requests \(429\)"):
        site.list(maps, world.namespace)


def test_a_slow_server_is_not_waited_for_without_end(
    world: World, site: Cluster, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that takes longer than the limit is no answer, and a read is asked again."""
    maps = site.resource("v1", "ConfigMap")
    monkeypatch.setattr(requests, "_TIMEOUT", urllib3.Timeout(connect=5, read=0.5))
    proxy.add(Fault("slow", seconds=3))

    site.list(maps, world.namespace)

    assert proxy.asked("GET", "configmaps") == 2


GONE_SERVICE = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": "v1.broken.example.org"},
    "spec": {
        "group": "broken.example.org",
        "version": "v1",
        "groupPriorityMinimum": 1000,
        "versionPriority": 10,
        "service": {"namespace": "default", "name": "nobody"},
    },
}


async def test_a_broken_aggregated_api_stops_only_what_is_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs nothing of it is deployed; an object of it is unknown, with the cause, and nothing is written."""
    monkeypatch.setattr(requests, "PATIENCE", 0.5)
    world.admin.apply(GONE_SERVICE, manager="admin")
    try:
        await world.deploy()
        world.push_objects(
            "widget",
            {"apiVersion": "broken.example.org/v1", "kind": "Widget", "metadata": {"name": "w"}},
            config_map("beside", {"a": "1"}),
        )
        with pytest.raises(
            Blocked, match=r"Widget/t\w+/w: unknown: cannot be read: broken.example.org/v1: service unavailable \(503\)"
        ):
            await world.deploy()
        plan = await world.plan()
        assert {(item.identity.name, item.action.value) for item in plan.items} >= {
            ("base", "unchanged"),
            ("beside", "create"),
            ("w", "unknown"),
        }
        assert world.get("ConfigMap", "beside") is None
        world.remove("widget")
        world.push_objects("beside", config_map("beside", {"a": "1"}))
        await world.deploy()
        assert world.get("ConfigMap", "beside") is not None
    finally:
        world.delete("/apis/apiregistration.k8s.io/v1/apiservices/v1.broken.example.org")


EXPIRED = Fault(
    "refuse",
    path="continue=",
    status=410,
    reason="Expired",
    message="The provided continue parameter is too old to display a consistent list result.",
)


def test_a_list_whose_version_was_forgotten_starts_again(
    world: World, site: Cluster, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410 on a later page: the whole LIST is read again; nothing is missing, nothing is there twice."""
    monkeypatch.setattr(requests, "PAGE", 2)
    for n in range(5):
        world.admin.create(_made(world, f"c{n}"), manager="admin")
    proxy.add(_again(EXPIRED, skip=1))

    found = site.list(site.resource("v1", "ConfigMap"), world.namespace)

    names = [body["metadata"]["name"] for body in found]
    assert len(names) == len(set(names))
    assert {f"c{n}" for n in range(5)} <= set(names)


def test_a_part_of_a_list_is_never_given(
    world: World, site: Cluster, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A LIST that never comes to its end is an error."""
    monkeypatch.setattr(requests, "PAGE", 2)
    for n in range(5):
        world.admin.create(_made(world, f"c{n}"), manager="admin")
    proxy.add(_again(EXPIRED, times=100))
    with pytest.raises(ClusterError, match="too old") as error:
        site.list(site.resource("v1", "ConfigMap"), world.namespace)
    assert error.value.status == 410
    assert proxy.asked("GET", "continue=") == requests.LISTS


def test_an_expired_token_is_read_again(world: World, sandbox: Sandbox) -> None:
    """Tokens in files are renewed by others: a 401 reads the file again, once for each request."""
    folder = world.config.parent
    config = yaml.safe_load(sandbox.place.kubeconfig.read_text())
    config["users"][0]["user"] = {"tokenFile": "token"}
    (folder / "token.kubeconfig").write_text(yaml.safe_dump(config))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "t", "namespace": world.namespace}}
    world.admin.create(account, manager="admin")
    path = f"/api/v1/namespaces/{world.namespace}/serviceaccounts/t/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    (folder / "token").write_text("expired")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}

    with connect(folder / "token.kubeconfig") as site:
        with pytest.raises(ClusterError, match="has it expired") as error:
            site.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
        assert error.value.status == 401
        (folder / "token").write_text(world.admin.request("POST", path, body=body)["status"]["token"])
        said = site.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
    assert said["status"]["userInfo"]["username"] == f"system:serviceaccount:{world.namespace}:t"


# whole runs ------------------------------------------------------------------------------------------

BUSY_RUN = _again(BUSY, times=3, retry_after="0")
SLOW_RUN = Fault("slow", seconds=1, times=3)
RUNS = [
    *(("GET", _again(fault, times=3)) for fault in PASSING),
    *((method, fault) for method in ("GET", "PATCH", "DELETE") for fault in (BUSY_RUN, SLOW_RUN)),
    *((method, Fault("lost", times=3)) for method in ("PATCH", "DELETE")),
]


@pytest.mark.parametrize(
    ("method", "fault"), RUNS, ids=lambda v: v if isinstance(v, str) else f"{v.failure}-{v.status}"
)
async def test_a_run_gets_over_passing_faults(world: World, proxy: Proxy, method: str, fault: Fault) -> None:
    """Three faults in a row, of reads or of writes, and the environment is as Git says."""
    world.push_objects("old", config_map("old", {"a": "1"}))
    await world.deploy()
    world.remove("old")
    world.push_objects("new", config_map("new", {"a": "1"}))
    world.push_objects("base", config_map("base", {"a": "2"}))
    proxy.add(_again(fault, method=method, path=world.namespace, skip=1 if method == "GET" else 0))

    await world.deploy()

    assert world.get("ConfigMap", "base")["data"] == {"a": "2"}  # type: ignore[index]
    assert world.get("ConfigMap", "new") is not None
    assert world.get("ConfigMap", "old") is None
    assert (await world.plan()).empty


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE", "PUT"])
async def test_a_run_that_meets_a_lasting_fault_names_it_and_the_next_one_converges(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The run ends with the object and the cause; it never calls the environment in sync; after the fault it is."""
    monkeypatch.setattr(requests, "PATIENCE", 0.5)
    world.push_objects("old", config_map("old", {"a": "1"}))
    await world.deploy()
    world.remove("old")
    world.push_objects("new", config_map("new", {"a": "1"}))
    proxy.add(Fault("refuse", method=method, path=f"{world.namespace}.*configmaps", times=10_000, message="disk full"))

    with pytest.raises((ClusterError, Blocked), match=r"ConfigMap.*disk full \(503\)"):
        await world.deploy()
    record = world.stored().record
    assert record is not None
    assert record.deployed != world.head
    proxy.clear()
    await world.deploy()

    assert world.get("ConfigMap", "new") is not None
    assert world.get("ConfigMap", "old") is None
    assert (await world.plan()).empty
