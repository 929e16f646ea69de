"""The image that holds a pod's namespaces, made from one static program without any network."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

PAUSE_IMAGE = "interlock.sandbox/pause:1"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_pause_image(path: Path, program: Path) -> None:
    """An archive in OCI image layout with one layer: the program, as /pause."""
    layer = _tar({"pause": program.read_bytes()}, mode=0o755)
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    config_blob = _json(config)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor(config_blob, "application/vnd.oci.image.config.v1+json"),
            "layers": [_descriptor(layer, "application/vnd.oci.image.layer.v1.tar")],
        }
    )
    entry = _descriptor(manifest, "application/vnd.oci.image.manifest.v1+json")
    index = {"schemaVersion": 2, "manifests": [entry | {"annotations": {"io.containerd.image.name": PAUSE_IMAGE}}]}
    blobs = {f"blobs/sha256/{_digest(blob).partition(':')[2]}": blob for blob in (layer, config_blob, manifest)}
    layout = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    path.write_bytes(_tar({**layout, **blobs}, mode=0o644))


def _descriptor(blob: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()
