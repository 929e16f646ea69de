"""Proxy variables: a proxy hands out a database of its own making."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.ci.host import Download
from interlock.errors import ScanFailed
from sandbox.trivy_database import write_database
from tasks.ci.scanner import Scanner, check_scanner
from tests.bypass.bypass import PINNED, Plain, write
from tests.bypass.lying_server import serve

REPOSITORY = "registry.example.org/trivy-db:2"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def test_it_is_not_asked(plain: Plain, scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database comes from, and through what, says ci.yaml; and a database that knows nothing is not taken."""
    folder = tmp_path / "source"
    write(folder, {"requirements.txt": PINNED})
    objects = _repository(tmp_path / "made")

    def answer(path: str) -> tuple[int, str, bytes]:
        name = path.rpartition("/")[2]
        return (200, *objects[name]) if name in objects else (200, "application/json", b"{}")

    with serve(answer) as (address, asked):
        variables = {"HTTP_PROXY": address, "TRIVY_INSECURE": "true", "TRIVY_DB_REPOSITORY": REPOSITORY}
        words = ("fs", ".", "--scanners", "vuln", "--cache-dir", str(tmp_path / "cache"))
        assert plain.run(*words, cwd=folder, variables=variables, offline=False) == frozenset()
        assert asked
        asked.clear()

        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        ours = replace(scanner, pinned=False, database=tmp_path / "new", cache=tmp_path / "own", seconds=20)
        with pytest.raises(ScanFailed):
            check_scanner.fn(replace(ours, download=Download(repository=REPOSITORY)))

    assert asked == []


def _repository(folder: Path) -> dict[str, tuple[str, bytes]]:
    """An OCI repository with an empty database: what lies under each last part of a path."""
    write_database(folder, advisories=())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path in sorted((folder / "db").iterdir()):
            tar.add(path, path.name)
    layer, config = buffer.getvalue(), b"{}"
    described = [(layer, "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip")]
    blobs = [
        {"mediaType": kind, "size": len(blob), "digest": _digest(blob), "annotations": {_TITLE: "db.tar.gz"}}
        for blob, kind in described
    ]
    config_kind = "application/vnd.aquasec.trivy.config.v1+json"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": config_kind, "size": len(config), "digest": _digest(config)},
            "layers": blobs,
        }
    ).encode()
    return {
        "2": (MANIFEST, manifest),
        _digest(manifest): (MANIFEST, manifest),
        _digest(layer): ("application/octet-stream", layer),
        _digest(config): (config_kind, config),
    }


_TITLE = "org.opencontainers.image.title"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
