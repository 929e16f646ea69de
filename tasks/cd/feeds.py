"""What lives of one kind in one namespace, kept current by asking only for what has changed."""

from __future__ import annotations

import time

from interlock.cd.health import moves
from interlock.cd.objects import Body, Resource, identify
from interlock.contract.render import Identity
from interlock.errors import ClusterError
from tasks.cd.cluster import Cluster, Listed

WATCH_SECONDS = 1
"""How long a refresh watches for changes: the pause between two looks, in which nothing is missed."""
_CANNOT_BE_WATCHED = (403, 405)
_LISTED_AGAIN = (401, 410)
"""A token that has expired is read again by the next LIST; a version that is forgotten is replaced by it."""


class Feed:
    """A LIST first, and then watches that go on where the last one ended. Not for several threads at once.

    An `optional` one is empty where it may not be read.
    """

    def __init__(self, cluster: Cluster, resource: Resource, namespace: str, *, optional: bool = False) -> None:
        self._cluster = cluster
        self._resource = resource
        self._namespace = namespace
        self._optional = optional
        self._version = ""
        self._moves = moves(resource.group, resource.kind)
        self._watchable = self._moves
        self.bodies: dict[Identity, Body] = {}

    @property
    def current(self) -> bool:
        """Whether something is known that still counts."""
        return bool(self._version)

    def forget(self) -> None:
        """What is known does not count any more: the next refresh lists anew."""
        self._version = ""

    def refresh(self) -> None:
        """Bring it to this moment: by a LIST, or by a watch of a second."""
        if self._version and self._watchable:
            self._follow()
            return
        if self._version:
            time.sleep(WATCH_SECONDS)
        self._list()

    def _list(self) -> None:
        self._version = ""
        try:
            listed = self._cluster.listed(self._resource, self._namespace)
        except ClusterError as error:
            if not self._optional or error.status != 403:
                raise
            listed, self._watchable = Listed((), "refused"), False
        self.bodies = {identify(body): self._kept(body) for body in listed.bodies}
        self._version = listed.version

    def _follow(self) -> None:
        since, self._version = self._version, ""
        try:
            changes = self._cluster.changes(self._resource, self._namespace, since=since, seconds=WATCH_SECONDS)
        except ClusterError as error:
            if error.status in _CANNOT_BE_WATCHED:
                self._watchable = False
            elif error.status not in _LISTED_AGAIN:
                raise
            self._list()
            return
        for body, gone in changes.found:
            if gone:
                self.bodies.pop(identify(body), None)
            else:
                self.bodies[identify(body)] = self._kept(body)
        self._version = changes.version

    def _kept(self, body: Body) -> Body:
        """Without what no rule reads: who owns which field, and what a kind holds that nobody looks after."""
        metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
        kept = body if self._moves else {"apiVersion": body["apiVersion"], "kind": body["kind"]}
        return {**kept, "metadata": metadata}


class Named(Feed):
    """Objects of no namespace, each asked for by its name: there is no right to list them."""

    def __init__(self, cluster: Cluster, resource: Resource) -> None:
        super().__init__(cluster, resource, "")
        self._names: set[str] = set()
        self._watchable = False

    def name(self, name: str) -> None:
        """This one counts too, from the next refresh on."""
        if name not in self._names:
            self._names.add(name)
            self.forget()

    def _list(self) -> None:
        found = [self._cluster.get(self._resource, name) for name in sorted(self._names)]
        self.bodies = {identify(body): self._kept(body) for body in found if body is not None}
        self._version = "asked"
