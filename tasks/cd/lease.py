"""An environment's lock: a Kubernetes Lease, for flows and command line alike, and the fence around who holds it.

A Lease alone stops nobody who was stopped himself in the middle of a write. So a holder writes with a token that is
bound to a Secret (KEP-1205); who takes over from somebody that may still live deletes that Secret first, and waits
until the API server refuses its tokens.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from interlock.cd import lock as form
from interlock.cd.control import ACCOUNT, FENCE
from interlock.cd.lock import MARGIN_SECONDS, SECONDS, Process, Standing, standing
from interlock.cd.objects import Body, annotation, identify, uid
from interlock.errors import ClusterError, Conflict, LockHeld
from tasks.cd.cluster import Cluster
from tasks.common.effect import effect

CACHED_SECONDS = 12.0
"""An API server believes a token for 10 s without looking again; and its copy of the Secret may be a little old."""
_TOKEN_SECONDS = 3600
_DRAIN_SECONDS = 15.0
_API = "coordination.k8s.io/v1"


def holder() -> str:
    """Who we are: host and process."""
    return f"{socket.gethostname()}/{os.getpid()}"


class Lock:
    """A held lock. It is renewed in the background; whoever writes asks first whether it is held still.

    What a run writes, it writes with `writer`.
    """

    writer: Cluster

    def __init__(self, cluster: Cluster, body: Body, *, since: float) -> None:
        self._cluster = cluster
        self._body = body
        self._renewed = since
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lock", daemon=True)
        self._thread.start()

    @property
    def holder(self) -> str:
        return str(self._body["spec"]["holderIdentity"])

    @property
    def lost(self) -> bool:
        """Whether somebody else has it, or may have it: the last renewal is too old."""
        return self._ended.is_set() or time.monotonic() - self._renewed > SECONDS - MARGIN_SECONDS

    def require_held(self) -> None:
        """LockHeld when somebody else may have taken the lock."""
        if self.lost:
            raise LockHeld(f"{_subject(self._body)}: we do not hold it any more", hint="run it again")

    def renew(self) -> None:
        """Before each batch of writes; LockHeld when somebody else has it."""
        self._put(lambda body: form.renewed(body, now=_now()))

    def _put(self, change: Callable[[Body], Body]) -> None:
        """Write the Lease as its own successor, as long as it is ours: an answer may be lost on its way."""
        self.require_held()
        with self._guard:
            while True:
                began = time.monotonic()
                try:
                    self._body = self._cluster.replace(change(self._body), manager="interlock")
                except Conflict as error:
                    self._body = self._as_it_is(error)
                except ClusterError as error:
                    if not error.transient or self.lost:
                        raise
                else:
                    self._renewed = began
                    return

    def _as_it_is(self, error: Conflict) -> Body:
        """The Lease in the cluster, when it is of our term; LockHeld when it is somebody else's."""
        metadata, spec = self._body["metadata"], self._body["spec"]
        live = self._cluster.get(self._cluster.resource(_API, "Lease"), metadata["name"], metadata["namespace"])
        term = ("holderIdentity", "leaseTransitions", "acquireTime")
        if live is None or any((live.get("spec") or {}).get(part) != spec.get(part) for part in term):
            self._ended.set()
            raise LockHeld(f"{_subject(self._body)}: somebody else took it", hint="run it again") from error
        return live

    def _keep(self) -> None:
        while not self._ended.wait(SECONDS / 4):
            with suppress(ClusterError, LockHeld):  # who writes finds out by the age of the last renewal
                self.renew()

    def arm(self, fence: _Fence, tell: Callable[[str], None]) -> None:
        """Make sure that nobody who had the lock before can write, then get the means to do so.

        That costs one request, and some seconds only after a holder that may still live.
        """
        known = annotation(self._body, form.FENCE_UID)
        doubtful = bool(annotation(self._body, form.UNFENCED))
        if known and not doubtful:
            with suppress(_Unbound):
                self.writer = fence.writer(known)
                return
        # A Lease that was deleted, or a Secret that was exchanged: who did it, and who still holds what?
        if doubtful or known or fence.uid():
            tell(f"{_subject(self._body)}: its last holder may still live; waiting until its token is refused")
            fence.tear_down()
        made = fence.put_up()
        self._put(lambda body: form.fenced(body, made, now=_now()))
        self.writer = fence.writer(made)

    def release(self) -> None:
        """Give it back when nothing of ours is under way any more; else, or when that fails, it ends by itself."""
        self._ended.set()
        self._thread.join()
        writer = getattr(self, "writer", None)
        if writer is None or writer.end(_DRAIN_SECONDS):
            with suppress(ClusterError):
                self._cluster.replace(form.given_back(self._body), manager="interlock")


# the fence -------------------------------------------------------------------------------------------


class _Unbound(LockHeld):
    """The Secret that our tokens are bound to is gone."""


class _Fence:
    """The Secret in the control namespace, and tokens that are worth something as long as it is there."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._secrets = cluster.resource("v1", "Secret")

    def uid(self) -> str:
        """The UID of the one that is there; nothing when there is none."""
        live = self._cluster.get(self._secrets, FENCE, self._namespace)
        return uid(live) if live else ""

    def put_up(self) -> str:
        metadata = {"name": FENCE, "namespace": self._namespace}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}
        return uid(self._cluster.create(body, manager="interlock"))

    def tear_down(self) -> None:
        """Delete it, and wait until its tokens are refused: a token of our own shows when.

        Other API servers than the one that we speak to may believe a token as long, so it is never less than that.
        """
        live = self._cluster.get(self._secrets, FENCE, self._namespace)
        probe = None
        if live:
            with suppress(_Unbound):
                probe = self.writer(uid(live))
                _ask(probe)  # so that it is remembered as long as any token of the old holder
            self._cluster.delete(identify({**live, "apiVersion": "v1", "kind": "Secret"}), uid=uid(live))
        until = time.monotonic() + CACHED_SECONDS
        while time.monotonic() < until or (probe and not _refused(probe)):
            if time.monotonic() > until + 60:
                raise LockHeld(
                    f"lock in {self._namespace}: the former holder's token is accepted although its Secret is gone",
                    hint="does the API server run with --service-account-lookup=false?",
                )
            time.sleep(0.5)

    def writer(self, fence: str) -> Cluster:
        """The cluster, asked with tokens that are bound to the Secret of this UID."""
        return self._cluster.bearing(lambda: self._token(fence))

    def _token(self, fence: str) -> str:
        """_Unbound when the Secret is gone or another: nothing can be written under it any more."""
        bound = {"apiVersion": "v1", "kind": "Secret", "name": FENCE, "uid": fence}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _TOKEN_SECONDS, "boundObjectRef": bound},
        }
        path = self._cluster.resource("v1", "ServiceAccount").path(self._namespace, ACCOUNT) + "/token"
        try:
            made = self._cluster.request("POST", path, body=body, subject=f"token of {ACCOUNT}", repeatable=True)
        except ClusterError as error:
            if error.status == 409 or (error.status == 404 and FENCE in error.message):
                raise _Unbound(f"lock in {self._namespace}: somebody else took it", hint="run it again") from error
            if error.status == 404:
                hint = "`interlock bootstrap cluster ENV`, run by an administrator, makes it"
                raise ClusterError(error.message, status=404, hint=hint) from error
            raise
        return str(made["status"]["token"])


def _ask(probe: Cluster) -> None:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    probe.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body, repeatable=True)


def _refused(probe: Cluster) -> bool:
    try:
        _ask(probe)
    except LockHeld:
        return True
    except ClusterError as error:
        if error.status == 401:
            return True
        raise
    return False


# taking it -------------------------------------------------------------------------------------------


class _Watch:
    """For how long we have seen a Lease unchanged, by our own clock."""

    def __init__(self) -> None:
        self._version = ""
        self._since = 0.0

    def unchanged(self, live: Body) -> float:
        version, now = live["metadata"]["resourceVersion"], time.monotonic()
        if version != self._version:
            self._version, self._since = version, now
        return now - self._since


def acquire(
    cluster: Cluster,
    *,
    namespace: str,
    name: str,
    who: str,
    watch: _Watch | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Lock:
    """Take the lock now. LockHeld names its holder and since when."""
    resource = cluster.resource(_API, "Lease")
    live = cluster.get(resource, name, namespace)
    unfenced = live is not None and _require_takeable(live, watch or _Watch())
    base = live or {"apiVersion": _API, "kind": "Lease", "metadata": {"name": name, "namespace": namespace}}
    body = form.taken(base, who=who, process=_process(), now=_now(), unfenced=unfenced)
    began = time.monotonic()
    try:
        lock = Lock(cluster, (cluster.replace if live else cluster.create)(body, manager="interlock"), since=began)
    except Conflict:
        raise LockHeld(f"lock {namespace}/{name}: somebody took it just now", hint="try again in a moment") from None
    try:
        lock.arm(_Fence(cluster, namespace), tell)
    except BaseException:
        lock.release()
        raise
    return lock


@effect(name="take the lock", retries=2)
def take(cluster: Cluster, *, namespace: str, name: str, who: str, seconds: float, tell: Callable[[str], None]) -> Lock:
    """Take the lock, or wait for it so long; LockHeld then. `tell` hears who has it."""
    deadline, watch = time.monotonic() + seconds, _Watch()
    while True:
        try:
            return acquire(cluster, namespace=namespace, name=name, who=who, watch=watch, tell=tell)
        except LockHeld as held_by:
            if time.monotonic() > deadline:
                raise
            tell(held_by.message)
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


def _require_takeable(live: Body, watch: _Watch) -> bool:
    """Whether its former holder has to be fenced off; LockHeld when it is somebody's."""
    found = standing(live, dead=_dead(form.holder_process(live)), unchanged=watch.unchanged(live))
    if found is Standing.HELD:
        spec = live["spec"]
        raise LockHeld(
            f"{_subject(live)}: held by {spec['holderIdentity']} since {spec.get('acquireTime') or spec['renewTime']}",
            hint="wait for it; if that run was killed on another machine, its lock ends "
            f"{SECONDS + MARGIN_SECONDS:.0f} s after its last sign of life",
        )
    return found is Standing.EXPIRED


def _subject(live: Body) -> str:
    return f"lock {live['metadata']['namespace']}/{live['metadata']['name']}"


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# processes -------------------------------------------------------------------------------------------

_PROC = Path("/proc")


def _process() -> str:
    """This process, for whoever looks for it later; nothing where there is no /proc."""
    try:
        return str(_ourselves())
    except (OSError, ValueError):
        return ""


def _ourselves() -> Process:
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    namespace = str((_PROC / "self/ns/pid").stat().st_ino)
    return Process(boot, namespace, os.geteuid(), os.getpid(), _started(os.getpid()) or 0)


def _started(pid: int) -> int | None:
    """When it began, in clock ticks after the boot; None when it is no more, or only waits to be reaped."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = text.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(rest[18])


def _dead(process: Process | None) -> bool:
    """Whether it would be found if it lived, and is not."""
    try:
        return process is not None and _ourselves().can_see(process) and _started(process.pid) != process.started
    except (OSError, ValueError):
        return False
