"""An environment's lock: a Kubernetes Lease, for flows and command line alike."""

from __future__ import annotations

import datetime as dt
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from interlock.cd.objects import Body
from interlock.errors import ClusterError, Conflict, LockHeld
from tasks.cd.cluster import Cluster
from tasks.common.effect import effect

SECONDS = 20
"""How long a lock outlives a holder that was killed."""
_SKEW_SECONDS = 3.0
"""How far two hosts' clocks may be apart."""
_API = "coordination.k8s.io/v1"


def holder() -> str:
    """Who we are: host and process."""
    return f"{socket.gethostname()}/{os.getpid()}"


class Lock:
    """A held lock. It is renewed in the background; whoever writes asks first whether it is held still."""

    def __init__(self, cluster: Cluster, body: Body) -> None:
        self._cluster = cluster
        self._body = body
        self._renewed = time.monotonic()
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lock", daemon=True)
        self._thread.start()

    @property
    def holder(self) -> str:
        return str(self._body["spec"]["holderIdentity"])

    def require_held(self) -> None:
        """LockHeld when the last renewal is so old that somebody else may have taken the lock."""
        if self._ended.is_set() or time.monotonic() - self._renewed > SECONDS - _SKEW_SECONDS:
            raise LockHeld(f"{_subject(self._body)}: we do not hold it any more", hint="run it again")

    def renew(self) -> None:
        """Before each batch of writes; LockHeld when somebody else has it."""
        self.require_held()
        with self._guard:
            started = time.monotonic()
            try:
                self._body = self._cluster.replace(_held(self._body, self.holder), manager="interlock")
            except Conflict as error:
                self._ended.set()
                raise LockHeld(f"{_subject(self._body)}: somebody else took it", hint="run it again") from error
            self._renewed = started

    def _keep(self) -> None:
        while not self._ended.wait(SECONDS / 4):
            with suppress(ClusterError, LockHeld):  # who writes finds out by the age of the last renewal
                self.renew()

    def release(self) -> None:
        """Give it back; when that fails it ends by itself."""
        self._ended.set()
        self._thread.join()
        spec = {**self._body["spec"], "holderIdentity": "", "renewTime": None, "acquireTime": None}
        with suppress(ClusterError):
            self._cluster.replace({**self._body, "spec": spec}, manager="interlock")


def acquire(cluster: Cluster, *, namespace: str, name: str, who: str) -> Lock:
    """Take the lock now. LockHeld names its holder and since when."""
    resource = cluster.resource(_API, "Lease")
    live = cluster.get(resource, name, namespace)
    try:
        if live is None:
            metadata = {"name": name, "namespace": namespace}
            made = _held({"apiVersion": _API, "kind": "Lease", "metadata": metadata, "spec": {}}, who, fresh=True)
            return Lock(cluster, cluster.create(made, manager="interlock"))
        _require_free(live)
        return Lock(cluster, cluster.replace(_held(live, who, fresh=True), manager="interlock"))
    except Conflict:
        raise LockHeld(f"lock {namespace}/{name}: somebody took it just now", hint="try again in a moment") from None


@effect(name="take the lock", retries=2)
def take(cluster: Cluster, *, namespace: str, name: str, who: str, seconds: float, tell: Callable[[str], None]) -> Lock:
    """Take the lock, or wait for it so long; LockHeld then. `tell` hears who has it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return acquire(cluster, namespace=namespace, name=name, who=who)
        except LockHeld as taken:
            if time.monotonic() > deadline:
                raise
            tell(taken.message)
        time.sleep(1)


@effect(name="give the lock back")
def give_back(lock: Lock) -> None:
    lock.release()


@contextmanager
def held(cluster: Cluster, *, namespace: str, name: str, who: str) -> Iterator[Lock]:
    """The lock for the length of a block."""
    lock = acquire(cluster, namespace=namespace, name=name, who=who)
    try:
        yield lock
    finally:
        lock.release()


def _require_free(live: Body) -> None:
    spec: dict[str, Any] = live.get("spec") or {}
    if not (who := spec.get("holderIdentity")):
        return
    renewed = dt.datetime.fromisoformat(spec["renewTime"])
    age = (dt.datetime.now(dt.UTC) - renewed).total_seconds()
    if age < spec.get("leaseDurationSeconds", SECONDS) + _SKEW_SECONDS:
        raise LockHeld(
            f"{_subject(live)}: held by {who} since {spec.get('acquireTime') or spec['renewTime']}",
            hint=f"wait for it; if that run was killed, its lock ends {SECONDS} s after its last sign of life",
        )


def _held(live: Body, who: str, *, fresh: bool = False) -> Body:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {**(live.get("spec") or {}), "holderIdentity": who, "leaseDurationSeconds": SECONDS, "renewTime": now}
    if fresh:
        spec |= {"acquireTime": now, "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
    return {**live, "spec": spec}


def _subject(live: Body) -> str:
    return f"lock {live['metadata']['namespace']}/{live['metadata']['name']}"
