"""The API server's own schemas and admission rules: asked once for each group and version, kept by their hash."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from interlock.cd.admission import CONFIGURATIONS, GROUP, Admission, admission
from interlock.cd.objects import Body, Resource
from interlock.contract.schema import Schema, Schemas
from interlock.errors import ClusterError
from tasks.cd.cluster import Cluster
from tasks.common.whole_file import write_whole

KEPT = 100
"""Files in the folder: some dozens of a cluster's groups and versions, of a few clusters and server versions."""
_HASH = re.compile(r"[0-9A-Fa-f]{16,128}")
_NOT_FOR_US = frozenset({403, 404, 406})
_MOVED = 301


class ServerSchemas:
    """Schemas by kind, as the server serves them under `/openapi/v3`. May be asked from many threads.

    `folder` keeps what was fetched; it may be lost at any time.
    """

    def __init__(self, cluster: Cluster, folder: Path | None) -> None:
        self._cluster = cluster
        self._folder = folder
        self._index: dict[str, str] | None = None
        self._read: dict[str, Schemas] = {}
        self._asking = threading.Lock()

    def find(self, api_version: str, kind: str) -> Schema | None:
        """The kind's; None when the server has none, or does not show it to us."""
        with self._asking:
            if api_version not in self._read:
                self._read[api_version] = Schemas(self._definitions(api_version), openapi=True)
            return self._read[api_version].find(api_version, kind)

    def _definitions(self, api_version: str) -> dict[str, Any]:
        if self._index is None:
            self._index = self._paths()
        address = self._index.get(f"apis/{api_version}" if "/" in api_version else f"api/{api_version}")
        if address is None:
            return {}
        document = self._document(address)
        found: dict[str, Any] = (document.get("components") or {}).get("schemas") or {}
        return found

    def _paths(self) -> dict[str, str]:
        """Of each group and version, an address that names its content's hash."""
        try:
            paths = self._cluster.request("GET", "/openapi/v3", subject="the server's schemas")["paths"]
        except ClusterError as error:
            if error.status not in _NOT_FOR_US:
                raise
            return {}
        return {name: entry["serverRelativeURL"] for name, entry in paths.items()}

    def _document(self, address: str) -> Any:
        parts = urlsplit(address)
        query = dict(parse_qsl(parts.query))
        named = query.get("hash", "")
        kept = self._folder / f"{named}.json" if self._folder and _HASH.fullmatch(named) else None
        if kept:
            with suppress(OSError, ValueError):
                return orjson.loads(kept.read_bytes())
        try:
            document = self._cluster.request("GET", parts.path, query=query, subject="the server's schemas")
        except ClusterError as error:
            if error.status != _MOVED:
                raise
            # A definition of the group has changed since the index was made, which follows it by some seconds.
            return self._cluster.request("GET", parts.path, subject="the server's schemas")
        if kept:
            _keep(kept, document)
        return document


def _keep(file: Path, document: object) -> None:
    """A full disk costs the next plan its time, nothing else."""
    with suppress(OSError):
        write_whole(file, orjson.dumps(document))
        others = sorted(file.parent.glob("*.json"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in others[KEPT:]:
            old.unlink(missing_ok=True)


def read_admission(cluster: Cluster) -> Admission:
    """What may judge our new objects; not `known` when we may not read it."""
    bodies: list[Body] = []
    try:
        served = cluster.request("GET", f"/apis/{GROUP}")["versions"]
        for kind in CONFIGURATIONS:
            resource = _served(cluster, [each["groupVersion"] for each in served], kind)
            bodies += cluster.list(resource) if resource else ()
    except ClusterError as error:
        if error.status != 403:
            raise
        return Admission(known=False)
    return admission(bodies)


def _served(cluster: Cluster, versions: Iterable[str], kind: str) -> Resource | None:
    """The kind at the first version that has it; None when the server does not know it."""
    for version in versions:
        try:
            return cluster.resource(version, kind)
        except ClusterError as error:
            if error.status != 404:
                raise
    return None
