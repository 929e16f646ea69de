"""Logs of containers that crashed: each run's once, a few at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from interlock.cd.causes import Crash, said
from interlock.cd.logs import LINES, excerpt, secret_values
from interlock.errors import ClusterError
from tasks.cd.cluster import Cluster

READ_AT_ONCE = 3
"""Logs that one round of asking reads at most."""
MOST_BYTES = 1 << 18
SECONDS = 5.0
"""How long the node may keep us waiting."""
_TOO_MANY = ("(no log: the namespace's Secrets have more values than can be masked in it)",)


class Logs:
    """The last lines of each crash that was asked about; in place of them, why there are none."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.known: dict[Crash, tuple[str, ...]] = {}

    def about(self, crashes: Iterable[Crash]) -> bool:
        """Read what is not known yet; whether there was any. Without the namespace's Secrets, to mask them, none is."""
        due = [crash for crash in dict.fromkeys(crashes) if crash not in self.known][:READ_AT_ONCE]
        for crash in due:
            try:
                secrets = self._secrets(crash.namespace)
                self.known[crash] = _TOO_MANY if secrets is None else self._read(crash, secrets)
            except ClusterError as error:
                self.known[crash] = (f"(no log: {said(error.message)})",)
        return bool(due)

    def _secrets(self, namespace: str) -> Collection[str] | None:
        return secret_values(self._cluster.list(self._cluster.resource("v1", "Secret"), namespace))

    def _read(self, crash: Crash, secrets: Collection[str]) -> tuple[str, ...]:
        query = {
            "container": crash.container,
            "previous": str(crash.previous).lower(),
            "tailLines": str(LINES),
            "limitBytes": str(MOST_BYTES),
        }
        path = f"/api/v1/namespaces/{crash.namespace}/pods/{crash.pod}/log"
        what = f"log of {crash.container} in {crash.pod}"
        with self._cluster.opened(path, query=query, subject=what, seconds=SECONDS) as answer:
            return excerpt(answer.read(MOST_BYTES), secrets) or ("(its log is empty)",)
