"""Images as `docker save` writes them, made of a few files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

LIBC = (
    "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\n"
    "Version: 2.36-9+deb12u1\nMaintainer: nobody\nDescription: libc\n\n"
)
DEBIAN = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "etc/debian_version": "12.1\n",
    "var/lib/dpkg/status": LIBC,
}
SYSTEM_HOLE = "CVE-2023-4911"
"""In that libc6."""

Layer = Mapping[str, "str | bytes"]


def image(
    path: Path,
    *layers: Layer | bytes,
    config: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write an archive; a layer is its files, or a whole file of its own."""
    blobs = [each if isinstance(each, bytes) else tar(each) for each in layers]
    described = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": dict(config or {}),
            "history": list(history),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(blob).hexdigest()}" for blob in blobs]},
        }
    ).encode()
    name = f"{hashlib.sha256(described).hexdigest()}.json"
    names = [f"{number}/layer.tar" for number in range(len(blobs))]
    manifest = json.dumps([{"Config": name, "RepoTags": None, "Layers": names}]).encode()
    path.write_bytes(tar({name: described, **dict(zip(names, blobs, strict=True)), "manifest.json": manifest}))
    return path


def tar(files: Layer) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in sorted({str(parent) for name in files for parent in PurePosixPath(name).parents} - {"."}):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
