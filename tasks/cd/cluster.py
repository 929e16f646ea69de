"""The API server, by its REST paths on kept-alive connections. The only module that imports `kubernetes`."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

import orjson
import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException

from interlock.cd.living import Living, Page, decoded, page
from interlock.cd.objects import Body, Resource, group_of, subject
from interlock.contract import strict_yaml
from interlock.contract.canonical import encoded
from interlock.contract.kinds import cluster_kind
from interlock.contract.render import Identity
from interlock.errors import ClusterError, Conflict, FormatError, HostConfigError
from tasks.cd.connection import Connection
from tasks.cd.throttle import Throttle, pauses, retry_after
from tasks.common.redaction import know

CONNECTIONS = 8
"""Requests in flight at once: more does not make an API server faster."""
PAGE = 2500
"""Objects in one answer: few round trips, and an answer of some megabytes."""
LISTS = 3
"""How often a LIST starts again when the server has forgotten the version that its pages are of."""
PATIENCE = 15.0
"""Seconds for which a request is sent again that found no server, or lost its answer."""
BUSY_PATIENCE = 60.0
"""The same, of a server that answers and asks for less."""
WATCHES = 16
"""Watches that are open at once, on connections of their own."""
WATCH_GRACE = 15.0
"""Seconds that a server may take to end a watch whose time is over."""
_MOST_REFUSAL = 1 << 16
_TIMEOUT = urllib3.Timeout(connect=5, read=60)
_JSON = "application/json"
_METADATA = f"{_JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{_JSON}"
_HEADS = f"{_JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{_JSON}"
_DISCOVERY = f"{_JSON};as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2,{_JSON}"
_APPLY = "application/apply-patch+yaml"
_JSON_PATCH = "application/json-patch+json"
_SCHEMA = re.compile(
    r"failed to create typed patch object .*?: (?P<field>\.[^:]+): "
    r"(?P<problem>field not declared in schema|duplicate entries|expected \w+)"
)
_NEVER_READ = re.compile(r"failed to convert new object .*?: error decoding from json: ")


@dataclass(frozen=True)
class Applied:
    """The object as the server has it now, and whether the request made it."""

    body: Body
    created: bool


@dataclass(frozen=True)
class Listed:
    """All objects of a kind, each decoded when somebody asks for it, and the version that the list is of."""

    objects: tuple[Living, ...]
    version: str

    @property
    def bodies(self) -> tuple[Body, ...]:
        return tuple(each.body for each in self.objects)


@dataclass(frozen=True)
class Kinds:
    """What a cluster serves, and the groups of which that cannot be told: an aggregated API that does not answer."""

    found: tuple[Resource, ...]
    unknown: frozenset[str]


@dataclass(frozen=True)
class Changes:
    """What changed, oldest first: the object as it is now, and whether it is gone. `version` is where to go on."""

    found: tuple[tuple[Body, bool], ...]
    version: str


class Cluster:
    """One API server. Its methods may be called from many threads.

    What a busy server refuses unseen (429), and what never reached it, is sent again. What may be repeated without
    harm is also sent again after a lost or broken answer or a passing failure of the server: reads, dry runs, and
    writes that name the UID of the one object that they are for. All of it within a bound, with jitter.
    `access` gives the client, and a new one when the server does not know the credential any more (401).
    """

    def __init__(self, access: Callable[[], ApiClient], server: str, kubeconfig: Path) -> None:
        self._access = access
        self._kubeconfig = kubeconfig
        self._client = access()
        self._server = server.rstrip("/")
        self._resources: dict[tuple[str, str], Resource] = {}
        self._asking = threading.Lock()
        self._renewing = threading.Lock()
        self._ended = False
        self._told: tuple[str, float] = ("", 0.0)
        self.throttle = Throttle(CONNECTIONS + 1)
        self._prefix = urlsplit(self._server).path
        self._pools: dict[ApiClient, urllib3.HTTPConnectionPool] = {}
        self._beside: dict[urllib3.PoolManager, urllib3.PoolManager] = {}

    def bearing(self, token: Callable[[], str]) -> Cluster:
        """The same server, asked with tokens instead of the kubeconfig's credential; a new one after each refusal."""
        found = Cluster(lambda: _client(self._kubeconfig, token()), self._server, self._kubeconfig)
        found._resources = self._resources
        return found

    def end(self, seconds: float) -> bool:
        """Send nothing more, and wait for what is under way; False when that takes longer."""
        self._ended = True
        return self.throttle.drained(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for manager in (self._client.rest_client.pool_manager, *self._beside.values()):
            manager.clear()

    def resource(self, api_version: str, kind: str) -> Resource:
        """The kind as it is served; ClusterError 404 when it is not. Kinds that were found are remembered."""
        found = self._discovered(api_version, kind) or self._discover(api_version).get((api_version, kind))
        if found is None:
            raise ClusterError(
                f"{api_version} {kind}: the cluster has no such kind",
                status=404,
                hint="is its CustomResourceDefinition installed, and the version right?",
            )
        return found

    def _discovered(self, api_version: str, kind: str) -> Resource | None:
        return self._resources.get((api_version, kind))

    def _discover(self, api_version: str) -> Mapping[tuple[str, str], Resource]:
        with self._asking:
            group, _, version = api_version.rpartition("/")
            root = f"/apis/{group}/{version}" if group else f"/api/{version}"
            try:
                served = self.request("GET", root, subject=api_version).get("resources") or ()
            except ClusterError as error:
                if error.status != 404:
                    raise
                served = ()
            for entry in served:
                if "/" not in entry["name"]:
                    found = Resource(group, version, entry["kind"], entry["name"], entry["namespaced"])
                    self._resources[(api_version, entry["kind"])] = found
        return self._resources

    @cached_property
    def version(self) -> str:
        """The API server's own."""
        return str(self.request("GET", "/version")["gitVersion"])

    @cached_property
    def username(self) -> str:
        """Who we are for the API server."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = self.request("POST", path, body=body, subject="our own name", repeatable=True)
        return str(answer["status"]["userInfo"]["username"])

    @property
    def clock(self) -> dt.datetime | None:
        """What the API server's clock says now, by its last answer; None when none of its answers said."""
        said, at = self._told
        try:
            told = parsedate_to_datetime(said)
        except ValueError:
            return None
        return told + dt.timedelta(seconds=time.monotonic() - at) if told.tzinfo else None

    @property
    def server(self) -> str:
        return self._server

    def preferred(self, group: str, kind: str) -> Resource:
        """The kind at the version of it that the group prefers, for an object that we only know by its identity."""
        for (api_version, name), found in list(self._resources.items()):
            if name == kind and group_of(api_version) == group:
                return found
        if not group:
            return self.resource("v1", kind)
        served = self.request("GET", f"/apis/{group}")
        first = served["preferredVersion"]["groupVersion"]
        for version in (first, *(each["groupVersion"] for each in served["versions"])):  # not every kind has the first
            if other := self._discovered(version, kind) or self._discover(version).get((version, kind)):
                return other
        return self.resource(first, kind)

    def kinds(self) -> Kinds:
        """Every kind whose objects can be listed, at the version that its group prefers; asked anew each time."""
        found: list[Resource] = []
        unknown: set[str] = set()
        for root in ("/api", "/apis"):
            answer = self.request("GET", root, subject="the kinds that are served", accept=_DISCOVERY)
            if "items" not in answer:  # a server that has no discovery of all at once
                return Kinds(tuple(found), frozenset({"every group"}))
            for group in answer["items"]:
                name, versions = group["metadata"].get("name", ""), group.get("versions") or []
                unknown |= {name} if any(each.get("freshness") == "Stale" for each in versions) else set()
                found += _listable(name, versions)
        known = {(each.group, each.kind) for each in list(self._resources.values())}
        self._resources |= {(r.api_version, r.kind): r for r in found if (r.group, r.kind) not in known}
        return Kinds(tuple(found), frozenset(unknown))

    def groups(self) -> frozenset[str]:
        """The names of the API groups that are served, beside the core's."""
        return frozenset(str(group["name"]) for group in self.request("GET", "/apis")["groups"])

    def heads(self, resource: Resource, namespace: str = "") -> Listed:
        """As `listed`, of each object only its metadata; a server that fails is not asked again and again."""
        return self._pages(resource, namespace, accept=_HEADS, patient=False)

    def list(self, resource: Resource, namespace: str = "") -> tuple[Body, ...]:
        """All objects of a kind, in one namespace or everywhere, as of one moment.

        When the server has forgotten that moment before the last page (410), the whole LIST starts again.
        """
        return self.listed(resource, namespace).bodies

    def listed(self, resource: Resource, namespace: str = "") -> Listed:
        """As `list`, with the version that it is of."""
        for _ in range(LISTS - 1):
            try:
                return self._pages(resource, namespace)
            except ClusterError as error:
                if error.status != 410:
                    raise
        return self._pages(resource, namespace)

    def changes(self, resource: Resource, namespace: str, *, since: str, seconds: int) -> Changes:
        """What came after a version, watched for so long. ClusterError 410 when the server has forgotten the version.

        Nothing that happens between two such calls is missed, and none of them costs more than what has changed.
        """
        query = {
            "watch": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(seconds),
            "allowWatchBookmarks": "true",
        }
        what = f"{resource.kind} in {namespace}"
        with self.opened(resource.path(namespace), query=query, subject=what, seconds=seconds + WATCH_GRACE) as answer:
            return _changes(answer.data, since, what)

    @contextmanager
    def opened(
        self, path: str, *, query: Mapping[str, str], subject: str, seconds: float
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """An answer that is read as it comes, on a connection beside those that writes go through.

        It ends when nothing comes for so many seconds. Failures are ClusterErrors, and nothing is sent again.
        """
        client = self._client
        manager = client.rest_client.pool_manager
        if manager not in self._beside:
            kept = {**manager.connection_pool_kw, "maxsize": WATCHES, "block": True}
            self._beside[manager] = urllib3.PoolManager(**kept)
        url = self._server + _quoted(path, subject) + f"?{urlencode(query)}"
        timeout = urllib3.Timeout(connect=5, read=seconds)
        with _translated(subject, self._server):
            answer = self._beside[manager].request(
                "GET",
                url,
                headers={**client.default_headers, "Accept": "application/json, */*"},
                timeout=timeout,
                retries=False,
                preload_content=False,
            )
            try:
                if answer.status >= 400:
                    raise refusal(subject, answer.status, answer.read(_MOST_REFUSAL))
                yield answer
            finally:
                answer.close()

    def _pages(self, resource: Resource, namespace: str, *, accept: str = _JSON, patient: bool = True) -> Listed:
        found: list[Living] = []
        subject = f"{resource.kind} in {namespace}" if namespace else f"{resource.kind} in the whole cluster"
        query = {"limit": str(PAGE)}
        while True:
            read: Page = self._exchange(
                "GET",
                resource.path(namespace),
                query=query,
                subject=subject,
                accept=accept,
                repeatable=patient,
                decode=lambda data: page(data, resource),
            )[1]
            found += read.items
            if not read.metadata.more:
                return Listed(tuple(found), read.metadata.version)
            query = {"limit": str(PAGE), "continue": read.metadata.more}

    def get(self, resource: Resource, name: str, namespace: str = "") -> Body | None:
        """The object, or None when the server says that there is none."""
        try:
            found: Body = self.request("GET", resource.path(namespace, name), subject=_named(resource, namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise
        return found

    def find(self, identity: Identity) -> Body | None:
        return self.get(self.preferred(identity.group, identity.kind), identity.name, identity.namespace)

    def apply(
        self, body: Body, *, manager: str, force: bool = False, dry_run: bool = False, brief: bool = False
    ) -> Applied:
        """Server-side apply. Conflict when another manager has a field and `force` does not say to take it.

        With `brief` the answer holds only the object's metadata, from servers that can say so.
        """
        resource, namespace, name = self._addressed(body)
        # Every field is held against the schema anyway. Beyond that the server would look for keys that are there
        # twice, by reading the body once more.
        query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Ignore", **_dry(dry_run)}
        status, answer = self._exchange(
            "PATCH",
            resource.path(namespace, name),
            query=query,
            body=body,
            content=_APPLY,
            accept=_METADATA if brief else _JSON,
            subject=_named(resource, namespace, name),
            repeatable=dry_run or "uid" in body["metadata"],
        )
        return Applied(answer, status == 201)

    def create(self, body: Body, *, manager: str, dry_run: bool = False) -> Body:
        """Make an object that must not exist yet; Conflict (409) when it does."""
        resource, namespace, name = self._addressed(body)
        query = {"fieldManager": manager, **_dry(dry_run)}
        made: Body = self.request(
            "POST",
            resource.path(namespace),
            query=query,
            body=body,
            subject=_named(resource, namespace, name),
            repeatable=dry_run,
        )
        return made

    def patch(self, identity: Identity, patch: Sequence[Body], *, manager: str, dry_run: bool = False) -> Body:
        """Apply a JSON Patch; ClusterError 422 when one of its tests does not hold."""
        resource = self.preferred(identity.group, identity.kind)
        patched: Body = self._exchange(
            "PATCH",
            resource.path(identity.namespace, identity.name),
            query={"fieldManager": manager, **_dry(dry_run)},
            body=patch,
            content=_JSON_PATCH,
            subject=subject(identity),
            repeatable=dry_run,
        )[1]
        return patched

    def replace(self, body: Body, *, manager: str, dry_run: bool = False) -> Body:
        """Replace the version that the body's resourceVersion names; Conflict when that is not the newest."""
        resource, namespace, name = self._addressed(body)
        replaced: Body = self.request(
            "PUT",
            resource.path(namespace, name),
            query={"fieldManager": manager, **_dry(dry_run)},
            body=body,
            subject=_named(resource, namespace, name),
        )
        return replaced

    def _addressed(self, body: Body) -> tuple[Resource, str, str]:
        """Where a body is written. ClusterError for a namespace that the kind has not: the server would pass over it,
        and something of one environment would hold in the whole cluster.
        """
        resource = self.resource(body["apiVersion"], body["kind"])
        name, namespace = body["metadata"]["name"], body["metadata"].get("namespace", "")
        if namespace and not resource.namespaced:
            raise ClusterError(
                f"{_named(resource, namespace, name)}: the cluster has no {resource.kind} in a namespace, "
                "and an environment owns only what is in its namespaces",
                status=422,
                hint="whoever owns the cluster applies it, or gives the environment such kinds "
                f"(`cluster_kinds`: {cluster_kind(resource.group, resource.kind)})",
            )
        if resource.namespaced and not namespace:
            raise ClusterError(
                f"{_named(resource, namespace, name)}: every {resource.kind} of the cluster is in a namespace",
                status=422,
                hint=f"take {cluster_kind(resource.group, resource.kind)} out of `cluster_kinds`",
            )
        return resource, namespace, name

    def delete(
        self, identity: Identity, *, uid: str, version: str = "", foreground: bool = False, dry_run: bool = False
    ) -> None:
        """Delete the object of this UID, and of this resourceVersion if one is given; already gone is done.

        Its dependants follow, or go first with `foreground`. Conflict when it is another object or version.
        """
        resource = self.preferred(identity.group, identity.kind)
        policy = "Foreground" if foreground else "Background"
        preconditions = {"uid": uid, **({"resourceVersion": version} if version else {})}
        # With a body the server reads no query: a dry run that is asked for there deletes.
        dry = {"dryRun": ["All"]} if dry_run else {}
        try:
            self.request(
                "DELETE",
                resource.path(identity.namespace, identity.name),
                body={"preconditions": preconditions, "propagationPolicy": policy, **dry},
                subject=_named(resource, identity.namespace, identity.name),
                repeatable=True,
            )
        except ClusterError as error:
            if error.status != 404:
                raise

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        subject: str = "",
        repeatable: bool = False,
        accept: str = _JSON,
        patient: bool = True,
    ) -> Any:
        """One request and its decoded answer; every failure is a ClusterError that names `subject`."""
        return self._exchange(
            method,
            path,
            query=query or {},
            body=body,
            subject=subject or path,
            repeatable=repeatable or (method == "GET" and patient),
            accept=accept,
        )[1]

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        subject: str,
        body: object = None,
        content: str = _JSON,
        repeatable: bool = False,
        accept: str = _JSON,
        decode: Callable[[bytes], Any] = decoded,
    ) -> tuple[int, Any]:
        target = _quoted(path, subject) + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = content
            data = encoded(body)
        tries = _Tries(repeatable)
        while True:
            client = self._client
            try:
                return self._once(client, method, target, headers=headers, data=data, subject=subject, decode=decode)
            except ClusterError as error:
                if error.status == 401 and tries.renew():
                    self._renew(client)
                elif (pause := tries.pause(error)) is None:
                    raise
                else:
                    time.sleep(pause)

    def _once(
        self,
        client: ApiClient,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        data: bytes | None,
        subject: str,
        decode: Callable[[bytes], Any],
    ) -> tuple[int, Any]:
        headers = {**client.default_headers, **headers}
        with self.throttle as started, _translated(subject, self._server):
            if self._ended:
                raise ClusterError(f"{subject}: the run that asks has ended")
            # The server's pool itself: finding it by the address costs more than the request.
            pool = self._pools.get(client) or self._pools.setdefault(client, _pool_of(client, self._server))
            answer = pool.urlopen(
                method, self._prefix + target, body=data, headers=headers, timeout=_TIMEOUT, retries=False
            )
            self._told = (answer.headers.get("Date", ""), time.monotonic())
            if answer.status == 429:
                self.throttle.slow_down(started, retry_after(answer.headers.get("Retry-After")))
            else:
                self.throttle.bore()
            if answer.status < 300:
                return answer.status, decode(answer.data)
        raise refusal(subject, answer.status, answer.data)

    def _renew(self, client: ApiClient) -> None:
        """Read the credential again, unless another thread has done so since `client` was taken."""
        with self._renewing:
            if self._client is client:
                self._client = self._access()


class _Tries:
    """Whether, and after what pause, one request is sent again."""

    def __init__(self, repeatable: bool) -> None:
        self._repeatable = repeatable
        self._renewed = False
        self._pauses = pauses(PATIENCE)
        self._until = time.monotonic() + BUSY_PATIENCE

    def renew(self) -> bool:
        """Whether a refused credential may be read again: once."""
        first, self._renewed = not self._renewed, True
        return first

    def pause(self, error: ClusterError) -> float | None:
        """Seconds to wait; None when it is not sent again. A busy server's own pause is kept by the throttle."""
        if error.status == 429:
            return 0.0 if time.monotonic() < self._until else None
        again = error.transient and (self._repeatable or error.unseen)
        return next(self._pauses, None) if again else None


def refusal(subject: str, status: int, data: bytes) -> ClusterError:
    """The server's Status object as our error. It may quote what we sent, but never a Secret's data."""
    try:
        value: Any = json.loads(data)
        said, reason = str(value.get("message", "")), str(value.get("reason", "refused"))
    except (ValueError, AttributeError):
        said, reason = _plain(data), "refused"
    # An object that does not fit the schema is answered with 500, though trying again never helps.
    schema = _SCHEMA.search(said)
    if schema or _NEVER_READ.search(said):
        status = 422
    known = next((words for words in _HINTS if words in said), "")
    if subject.startswith("Secret/"):
        said = f"{schema['field']}: {schema['problem']}" if schema else reason
    said = said or reason
    transient = known != _FULL and (status == 429 or status >= 500)
    hint = _NOT_ACCEPTED if status == 401 else _HINTS.get(known, "")
    said = f"{subject}: {said} ({status})"
    if status == 409:
        return Conflict(said, status=status, transient=transient, hint=hint, fields=_contested(data))
    return ClusterError(said, status=status, transient=transient, hint=hint)


def _contested(data: bytes) -> tuple[str, ...]:
    """The fields that the server says other managers have."""
    try:
        causes: Any = json.loads(data)["details"]["causes"]
        return tuple(str(cause["field"]) for cause in causes if cause.get("reason") == "FieldManagerConflict")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _changes(data: bytes, since: str, subject: str) -> Changes:
    """A watch's answer: a line for each event (API concepts, "Efficient detection of changes")."""
    found: list[tuple[Body, bool]] = []
    version = since
    for line in data.splitlines():
        event = decoded(line)
        body = event["object"]
        if event["type"] == "ERROR":
            raise refusal(subject, int(body.get("code") or 500), orjson.dumps(body))
        version = str(body["metadata"]["resourceVersion"])
        if event["type"] != "BOOKMARK":
            found.append((body, event["type"] == "DELETED"))
    return Changes(tuple(found), version)


@contextmanager
def _translated(subject: str, server: str) -> Iterator[None]:
    try:
        yield
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ClusterError(
                f"{subject}: {server} is not the server that the kubeconfig's authority vouches for",
                hint="is its certificate-authority the cluster's, and its server's name right?",
            ) from error
        raise ClusterError(
            f"{subject}: no answer from {server}: {type(error).__name__}",
            hint="is the cluster up?",
            transient=True,
            unseen=isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError),
        ) from error
    except (ApiException, ValueError) as error:
        raise ClusterError(f"{subject}: {server} did not answer with JSON", transient=True) from error


def _plain(data: bytes) -> str:
    """What a proxy or an aggregator says in plain text; nothing of a page."""
    line = data[:200].decode(errors="replace").strip().partition("\n")[0]
    return line if line.isprintable() and not line.startswith("<") else ""


_FULL = "database space exceeded"
_NOT_ACCEPTED = "the kubeconfig's certificate or token is not accepted: has it expired?"
_HINTS = {
    "is forbidden: User": "`interlock bootstrap cluster ENV`, run by an administrator, gives CD what it needs",
    _FULL: "etcd is full and takes no writes: compact and defragment it, then disarm its NOSPACE alarm",
}


def _listable(group: str, versions: Sequence[Body]) -> Iterator[Resource]:
    """Of each kind the first version that has it, as the server prefers them."""
    seen: set[str] = set()
    for version in versions:
        for each in version.get("resources") or ():
            kind = (each.get("responseKind") or {}).get("kind", "")
            if kind and each["resource"] not in seen and "list" in (each.get("verbs") or ()):
                seen.add(each["resource"])
                yield Resource(group, version["version"], kind, each["resource"], each["scope"] == "Namespaced")


def _named(resource: Resource, namespace: str, name: str) -> str:
    return "/".join(part for part in (resource.kind, namespace, name) if part)


def _quoted(path: str, subject: str) -> str:
    """A path for a URL. What others wrote may be a part of it, and must not lead to another place."""
    if {"", ".", ".."} & set(path.split("/")[1:]):
        raise ClusterError(f"{subject}: there can be no such object", status=404)
    return quote(path, safe="/:")


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


# connection ------------------------------------------------------------------------------------------


def connect(kubeconfig: Path) -> Cluster:
    """A connection from a kubeconfig's fields.

    Only an https server, its authority, and a client certificate or a token are taken. A program to run
    (`exec`, `auth-provider`), a proxy, or verification switched off is refused: HostConfigError.
    """
    return Cluster(lambda: _client(kubeconfig), _server(kubeconfig, _entries(kubeconfig)[0]), kubeconfig)


def _client(kubeconfig: Path, bearer: str = "") -> ApiClient:
    """With the kubeconfig's credential, or as the `bearer` of a token instead."""
    cluster, user = _entries(kubeconfig)
    user = {"token": bearer} if bearer else user
    server = _server(kubeconfig, cluster)
    configuration = Configuration(host=server, proxy="", no_proxy="*")
    client = ApiClient(configuration)
    client.user_agent = "interlock"
    client.rest_client.pool_manager = urllib3.PoolManager(
        maxsize=CONNECTIONS + 1,  # and the lock, which is renewed while all of them write
        block=True,
        ssl_context=_context(kubeconfig, cluster, user),
        server_hostname=cluster.get("tls-server-name"),
    )
    if token := _content(kubeconfig, user, "token", encoded=False):
        know(token.strip())
        client.default_headers["Authorization"] = f"Bearer {token.decode().strip()}"
    return client


def _pool_of(client: ApiClient, server: str) -> urllib3.HTTPConnectionPool:
    found: urllib3.HTTPConnectionPool = client.rest_client.pool_manager.connection_from_url(server)
    found.ConnectionCls = Connection
    return found


def _server(kubeconfig: Path, cluster: Mapping[str, Any]) -> str:
    server = str(cluster.get("server", ""))
    if urlsplit(server).scheme != "https":
        raise HostConfigError(f"{kubeconfig}: the server must be an https address, not {server!r}")
    return server


_CLUSTER_FIELDS = {"server", "certificate-authority", "certificate-authority-data", "tls-server-name"}
_USER_FIELDS = {
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "token",
    "tokenFile",
}


def _entries(kubeconfig: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The current context's cluster and user, with nothing in them that we do not take."""
    try:
        value: Any = strict_yaml.load(kubeconfig.read_text(), path=str(kubeconfig)).value
        current = _entry(value["contexts"], value["current-context"])["context"]
        cluster = _entry(value["clusters"], current["cluster"])["cluster"]
        user = _entry(value["users"], current["user"])["user"]
    except OSError as error:
        raise HostConfigError(f"{kubeconfig}: {error.strerror}") from error
    except (FormatError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise HostConfigError(f"{kubeconfig} is not a kubeconfig: {type(error).__name__}: {error}") from None
    for entry, allowed in ((cluster, _CLUSTER_FIELDS), (user, _USER_FIELDS)):
        if extra := sorted(set(entry) - allowed):
            raise HostConfigError(
                f"{kubeconfig}: {', '.join(extra)} is not taken from a kubeconfig",
                hint="give a client certificate or a token; no program is run, and no check is switched off",
            )
    return cluster, user


def _entry(entries: Any, name: str) -> Any:
    return next(entry for entry in [*entries, {}] if entry.get("name", name) == name)


def _context(kubeconfig: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    authority = _content(kubeconfig, cluster, "certificate-authority")
    certificate, key = (_content(kubeconfig, user, name) for name in ("client-certificate", "client-key"))
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if certificate and key:
            _load_pair(context, certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise HostConfigError(f"{kubeconfig}: a certificate or key cannot be read: {type(error).__name__}") from None
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Python's TLS loads a key from a file alone: one that only we can read, for as long as that takes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


def _content(kubeconfig: Path, entry: Mapping[str, Any], name: str, *, encoded: bool = True) -> bytes:
    """A field's value: given in place, or in a file that is named beside it. Empty when there is neither."""
    inline, named = (f"{name}-data", name) if encoded else (name, f"{name}File")
    try:
        if inline in entry:
            return base64.b64decode(entry[inline], validate=True) if encoded else str(entry[inline]).encode()
        return (kubeconfig.parent / entry[named]).read_bytes() if named in entry else b""
    except (OSError, binascii.Error) as error:
        raise HostConfigError(f"{kubeconfig}: {name} cannot be read: {type(error).__name__}") from None
