"""Images of others by cosign's keys: the real cosign signs into the real registry, and CD reads it there."""

from __future__ import annotations

import json
from pathlib import Path

from interlock.cd.cosigned import is_signed
from interlock.cd.presence import Answer
from interlock.contract import oci
from interlock.contract.canonical import digest
from interlock.contract.host import Registry
from sandbox.parts import registry as part
from sandbox.parts.cosign import Cosign
from tasks.cd.registries import look_up, signatures_of
from tasks.common.registry import connected, require, upload

CONFIGURATION = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}'


def pushed(host: Registry, name: str) -> str:
    """An image with nothing in it, by digest."""
    described = oci.describe(CONFIGURATION, "application/vnd.oci.image.config.v1+json").to_json()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": described, "layers": []}).encode()
    with connected(host) as http:
        upload(http, name, CONFIGURATION)
        where = f"/v2/{name}/manifests/{digest(manifest)}"
        require(http.put(where, content=manifest, headers={"Content-Type": oci.MANIFEST}), "pushing")
    return f"{host.host}/{name}@{digest(manifest)}"


def test_what_cosign_signed_is_known_by_its_public_key(registry: part.Registry, cosign: Cosign, tmp_path: Path) -> None:
    """By that key and no other; before it was signed, by none. The registry has the image under its digest."""
    auth = part.credentials(registry.place, "ci")
    host = Registry(host=registry.place.registry, auth=auth, insecure=True)
    image = pushed(host, "vendor/agent")
    assert not signatures_of([host], [image])[image].found

    for name in ("vendor", "other"):
        key = tmp_path / f"{name}.key"
        cosign.sign(image if name == "vendor" else pushed(host, "other/agent"), key=key, login=auth.read_text().strip())
    found = signatures_of([host], [image])[image]

    assert found.why == ""
    assert is_signed(found.found, image, [(tmp_path / "vendor.pub").read_text()])
    assert not is_signed(found.found, image, [(tmp_path / "other.pub").read_text()])
    assert look_up([host], [image]) == {image: Answer("image")}
