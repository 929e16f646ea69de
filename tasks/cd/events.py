"""Events about objects that wait: few are asked for, and none twice in ten seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from interlock.cd.objects import Body
from interlock.errors import ClusterError
from tasks.cd.cluster import Cluster

EVENT_SECONDS = 10.0
"""How often the same is asked at most."""
_MOST = "100"
"""Events in an answer: the API server keeps one for each reason, with a count."""


class Events:
    """What was told about objects, by their UIDs. Where events may not be read there are none."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._asked: dict[tuple[str, str], float] = {}
        self._refused: set[str] = set()
        self.known: dict[str, tuple[Body, ...]] = {}

    def about(self, objects: Iterable[tuple[str, str]]) -> bool:
        """Ask for the events of these (namespace, UID), where that is due; whether it was of any."""
        due = [each for each in objects if self._due(*each)]
        for namespace, uid in due:
            self.known[uid] = self._read(namespace, {"involvedObject.uid": uid})
        return bool(due)

    def unbound(self, namespace: str) -> bool:
        """Ask which claims of a namespace wait for their first consumer, where that is due."""
        due = self._due(namespace, "claims")
        if due:
            chosen = {"involvedObject.kind": "PersistentVolumeClaim", "reason": "WaitForFirstConsumer"}
            for event in self._read(namespace, chosen):
                self.known[str(event["involvedObject"].get("uid"))] = (event,)
        return due

    def _due(self, namespace: str, what: str) -> bool:
        now = time.monotonic()
        if namespace in self._refused or now - self._asked.get((namespace, what), float("-inf")) < EVENT_SECONDS:
            return False
        self._asked[namespace, what] = now
        return True

    def _read(self, namespace: str, chosen: Mapping[str, str]) -> tuple[Body, ...]:
        query = {"limit": _MOST, "fieldSelector": ",".join(f"{field}={value}" for field, value in chosen.items())}
        path = f"/api/v1/namespaces/{namespace}/events"
        try:
            found = self._cluster.request("GET", path, query=query, subject=f"events in {namespace}")
        except ClusterError as error:
            if error.status != 403:
                raise
            self._refused.add(namespace)
            return ()
        return tuple(found["items"])
