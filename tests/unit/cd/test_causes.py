"""What a workload's own pods say about why it waits."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd.causes import CRASH_PATIENCE, CRASHES, PATIENCE, Cause, Crash, Surroundings, explain, said, suspects
from interlock.cd.objects import Body

REVISION = "deployment.kubernetes.io/revision"


def _object(kind: str, name: str, *, owner: str = "", status: object = None, **metadata: object) -> Body:
    version = "v1" if kind in {"Pod", "PersistentVolumeClaim"} else "apps/v1"
    owners = [{"uid": owner, "controller": True}] if owner else []
    named = {"name": name, "namespace": "shop", "uid": name, "ownerReferences": owners, **metadata}
    return {"apiVersion": version, "kind": kind, "metadata": named, "spec": {}, "status": status or {}}


def _pod(
    name: str = "web-1-a", *, owner: str = "web-1", status: dict[str, Any] | None = None, **metadata: object
) -> Body:
    return _object("Pod", name, owner=owner, status={"phase": "Pending", **(status or {})}, **metadata)


def _container(state: dict[str, Any], *, name: str = "web", **more: object) -> dict[str, Any]:
    return {"name": name, "state": state, "ready": False, **more}


def _in(container: dict[str, Any], kind: str = "containerStatuses") -> dict[str, Any]:
    return {kind: [container]}


WEB = _object("Deployment", "web", annotations={REVISION: "2"})
NEW = _object("ReplicaSet", "web-1", owner="web", annotations={REVISION: "2"})
OLD = _object("ReplicaSet", "web-0", owner="web", annotations={REVISION: "1"})
IMAGE = f"r/web@sha256:{'0' * 64}"
NOT_FOUND = f'failed to pull and unpack image "{IMAGE}": failed to resolve image: {IMAGE}: not found'
PULL = {
    "waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{IMAGE}": ErrImagePull: {NOT_FOUND}'}
}
ENDED = {"exitCode": 137, "reason": "OOMKilled"}
LOOP = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}
CONFIG = {
    "waiting": {"reason": "CreateContainerConfigError", "message": "couldn't find key port in ConfigMap shop/web"}
}
UNSCHEDULED = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu.",
        }
    ]
}


def _event(about: str, reason: str, message: str, *, kind: str = "Warning", at: str = "2026-01-01T00:00:00Z") -> Body:
    return {"type": kind, "reason": reason, "message": message, "lastTimestamp": at, "metadata": {"name": f"{about}.1"}}


@pytest.mark.parametrize(
    ("status", "events", "said_"),
    [
        (UNSCHEDULED, (), "not scheduled: 0/3 nodes are available: 3 Insufficient cpu."),
        (_in(_container(PULL, image=IMAGE)), (), "container web: cannot pull r/web@sha256:000000000000: not found"),
        (
            _in(_container({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}, image=IMAGE)),
            (_event("web-1-a", "Failed", f'Failed to pull image "{IMAGE}": failed to authorize: 403 Forbidden'),),
            "container web: cannot pull r/web@sha256:000000000000: failed to authorize: 403 Forbidden",
        ),
        (
            _in(_container({"waiting": {"reason": "InvalidImageName", "message": "couldn't parse"}}, image="R:R")),
            (),
            "container web: cannot pull R:R: couldn't parse",
        ),
        (
            _in(_container(LOOP, lastState={"terminated": ENDED}, restartCount=3)),
            (),
            "container web ended with exit code 137 (OOMKilled), 3 restarts",
        ),
        (
            _in(_container({"terminated": {"exitCode": 2, "reason": "Error", "message": "a password"}})),
            (),
            "container web ended with exit code 2",
        ),
        (
            _in(_container(CONFIG)),
            (),
            "container web: CreateContainerConfigError: couldn't find key port in ConfigMap shop/web",
        ),
        (_in(_container({"running": {}})), (), "container web runs and is not ready"),
        (
            _in(_container({"running": {}}, lastState={"terminated": ENDED}, restartCount=1)),
            (_event("web-1-a", "Unhealthy", "503"),),
            "container web runs and is not ready: 503; before, it ended with exit code 137 (OOMKilled), 1 restart",
        ),
        (
            _in(_container({"running": {}}, name="migrate"), "initContainerStatuses"),
            (),
            "init container migrate has not ended yet",
        ),
        (
            _in(_container(LOOP, name="migrate", lastState={"terminated": {"exitCode": 1}}), "initContainerStatuses"),
            (),
            "init container migrate ended with exit code 1",
        ),
        (
            _in(_container({"waiting": {"reason": "ContainerCreating"}})),
            (
                _event("web-1-a", "FailedMount", "old", at="2026-01-01T00:00:00Z"),
                _event("web-1-a", "FailedMount", 'secret "tls" not found', at="2026-01-01T00:01:00Z"),
                _event("web-1-a", "Pulled", "fine", kind="Normal", at="2026-01-01T00:02:00Z"),
            ),
            'FailedMount: secret "tls" not found',
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, (), "Evicted: low on memory"),
        (
            {
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": "gate"}
                ]
            },
            (),
            "gate",
        ),
    ],
)
def test_a_pod_says_what_keeps_it_from_being_ready(
    status: dict[str, Any], events: tuple[Body, ...], said_: str
) -> None:
    """The first thing that is wrong, with the cluster's own message, on one line that no terminal obeys."""
    around = Surroundings.of([NEW, _pod(status=status)], {"web-1-a": events})
    assert explain(WEB, around)[0].line == f"pod web-1-a: {said_}"


def test_a_pod_that_is_only_starting_gives_no_cause() -> None:
    """Nothing is said while an image is pulled, or a sidecar runs."""
    sidecar = _in(_container({"running": {}}, name="proxy", started=True), "initContainerStatuses")
    status = {**sidecar, **_in(_container({"waiting": {"reason": "ContainerCreating"}}))}
    assert explain(WEB, Surroundings.of([NEW, _pod(status=status)])) == ()


def test_old_pods_and_others_are_not_blamed() -> None:
    """Only pods of the newest template, found by owner UID: no old one, no foreign one, none that is on its way out."""
    broken = _in(_container(PULL))
    others = [
        _pod("web-0-a", owner="web-0", status=broken),
        _pod("web-1-z", owner="web-1", status=broken, deletionTimestamp="t"),
        _pod("alone", owner="", status=broken, labels={"app": "web"}),
    ]
    assert explain(WEB, Surroundings.of([NEW, OLD, *others])) == ()
    stateful = _object("StatefulSet", "db", status={"updateRevision": "db-2"})
    pods = [
        _pod(f"db-{n}", owner="db", status=_in(_container(CONFIG)), labels={"controller-revision-hash": f"db-{n}"})
        for n in (1, 2)
    ]
    assert [cause.subject for cause in explain(stateful, Surroundings.of(pods))] == ["pod db-2"]
    daemon = _object("DaemonSet", "log", annotations={"deprecated.daemonset.template.generation": "2"})
    pods = [
        _pod(f"log-{n}", owner="log", status=_in(_container(CONFIG)), labels={"pod-template-generation": str(n)})
        for n in (1, 2)
    ]
    assert [cause.subject for cause in explain(daemon, Surroundings.of(pods))] == ["pod log-2"]


def test_a_quota_is_told_by_who_makes_the_pods() -> None:
    """A ReplicaSet's refusal comes through to its Deployment; for other kinds an event tells."""
    refused = {
        "conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota: q'}
        ]
    }
    full = {**NEW, "status": refused}
    assert explain(WEB, Surroundings.of([full]))[0].line == (
        'ReplicaSet web-1: no pod can be made: pods "x" is forbidden: exceeded quota: q'
    )
    stateful = _object("StatefulSet", "db")
    around = Surroundings.of([], {"db": (_event("db", "FailedCreate", "exceeded quota: q"),)})
    assert explain(stateful, around)[0].line == "StatefulSet db: FailedCreate: exceeded quota: q"


def test_what_several_pods_say_is_said_once() -> None:
    """A hundred pods with the same trouble are one line; different troubles are at most three."""
    same = [_pod(f"web-1-{n:03}", status=UNSCHEDULED) for n in range(100)]
    causes = explain(WEB, Surroundings.of([NEW, *same]))
    assert [cause.subject for cause in causes] == ["pod web-1-099 and 99 more"]
    crashing = [
        _pod(f"web-1-{n}", status=_in(_container(LOOP, lastState={"terminated": ENDED}, restartCount=n)))
        for n in (3, 2)
    ]
    assert [cause.subject for cause in explain(WEB, Surroundings.of([NEW, *crashing]))] == ["pod web-1-3 and 1 more"]
    different = [_pod(f"web-1-{n}", status={"reason": f"R{n}"}) for n in range(9)]
    assert len(explain(WEB, Surroundings.of([NEW, *different]))) == 3


@pytest.mark.parametrize(
    ("container", "final"),
    [
        (_container({"waiting": {"reason": "InvalidImageName", "message": "bad"}}), 0.0),
        (_container(PULL), PATIENCE),
        (_container({"waiting": {"reason": "ErrImagePull", "message": "dial tcp: i/o timeout"}}), None),
        (_container({"waiting": {"reason": "ErrImagePull", "message": "503 Service Unavailable"}}), None),
        (_container(LOOP, lastState={"terminated": ENDED}, restartCount=CRASHES - 1), None),
        (_container(LOOP, lastState={"terminated": ENDED}, restartCount=CRASHES), CRASH_PATIENCE),
        (_container(CONFIG), None),
    ],
)
def test_what_does_not_get_better_by_itself_is_told_apart(container: dict[str, Any], final: float | None) -> None:
    """What the registry refuses and what crashes again and again is final; what may pass or come later is not."""
    assert explain(WEB, Surroundings.of([NEW, _pod(status=_in(container))]))[0].final == final


def test_a_crash_names_whose_log_tells_more() -> None:
    """The run before, while the container waits or runs again; the run itself, where it just ended."""
    pod = _pod(status=_in(_container(LOOP, lastState={"terminated": ENDED}, restartCount=3)))
    assert explain(WEB, Surroundings.of([NEW, pod]))[0].crash == Crash("shop", "web-1-a", "web", 3, previous=True)
    pod = _pod(status=_in(_container({"terminated": ENDED})))
    assert explain(WEB, Surroundings.of([NEW, pod]))[0].crash == Crash("shop", "web-1-a", "web", 0, previous=False)


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (("panic: no config", "goroutine 1 [running]:", "exit"), "; its log: panic: no config"),
        (("one", "two"), "; its log: two"),
        ((), ""),
    ],
)
def test_the_line_of_a_log_that_tells_most_is_named(log: tuple[str, ...], line: str) -> None:
    """The last one about an error, or the very last."""
    crash = Crash("shop", "web-1-a", "web", 0, previous=False)
    around = Surroundings.of([NEW, _pod(status=_in(_container({"terminated": ENDED})))], logs={crash: log})
    assert explain(WEB, around)[0].line == f"pod web-1-a: container web ended with exit code 137 (OOMKilled){line}"


def test_few_are_asked_about() -> None:
    """Events are asked for of the object, of who makes its pods, and of two troubled pods at most."""
    pods = [_pod(f"web-1-{n}", status=UNSCHEDULED) for n in range(50)]
    assert suspects(WEB, Surroundings.of([NEW, OLD, *pods])) == ("web", "web-1", "web-1-9", "web-1-8")


def test_words_from_outside_are_bounded() -> None:
    """One line, cut, with what turns or hides text as an escape."""
    assert said("a\n\tb\x1b[2J\u202e") == "a b\\x1b[2J\\u202e"
    assert len(said("x" * 10_000)) == 400
    assert Cause("pod a", "b").line == "pod a: b"
