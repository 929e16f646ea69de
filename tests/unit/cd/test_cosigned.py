"""Images of others pass by the cosign keys that policy names, as their registry has the signatures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest

from interlock.cd.cosigned import Signature, Signatures, is_signed
from interlock.cd.proofs import Memory, Policy, Proven, by_signature, prove
from interlock.cd.running import Used
from interlock.contract import dsse, layout, oci, repository, strict_yaml
from interlock.contract.canonical import digest
from interlock.contract.host import Registry
from interlock.contract.repository import Repository
from tasks.cd.registries import signatures_of
from tests import examples_of_evidence as proof
from tests.examples_of_evidence import KEY, OTHER_KEY

DIGEST = "sha256:" + "7" * 64


class Shelf(BaseHTTPRequestHandler):
    """A registry that has these paths."""

    has: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        data = self.has.get(self.path)
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Type", oci.MANIFEST)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def host() -> Iterator[Registry]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield Registry(host=f"127.0.0.1:{server.server_port}", insecure=True)
        server.shutdown()
    Shelf.has = {}


def put(key: dsse.LocalKey, about: str = DIGEST) -> None:
    """The signature as cosign keeps it, by the same code whose output the real cosign verifies in tests/docker."""
    payload = oci.signing_payload("vendor.example/agent", about)
    layer = oci.signature_layer(payload, key.sign(payload), public=key.public)
    manifest, _ = oci.with_layers(None, [layer])
    Shelf.has = {
        f"/v2/vendor/agent/manifests/{oci.fallback_tag(DIGEST, '.sig')}": json.dumps(manifest).encode(),
        f"/v2/vendor/agent/blobs/{digest(payload)}": payload,
    }


def asking(host: Registry, **more: object) -> Repository:
    rule = {"image": f"{host.host}/vendor/*", "keys": [KEY.public], "reason": "the vendor signs it", **more}
    return repository.read(proof.tree(changes={layout.IMAGES: strict_yaml.dump({"format": 1, "third_party": [rule]})}))


def judged(
    host: Registry, read: Repository, *, memory: Memory | None = None, known: tuple[str, ...] = (), named: bool = True
) -> Proven:
    image = f"{host.host}/vendor/agent@{DIGEST}"
    asked = by_signature(read, "dev", [image], memory or Memory())
    assert read.attesters is not None
    return prove(
        [Used(image, "DaemonSet/shop/agent", "x")],
        read,
        "dev",
        policy=Policy(read.attesters, False, proof.NOW, "code"),
        memory=memory or Memory(),
        known=known,
        signatures=signatures_of([host] if named else [], asked),
    )


def told(found: Proven) -> list[str]:
    return [fault.said for each in found.images for fault in each.faults]


def test_an_image_that_a_named_key_signed_passes_and_is_not_asked_for_again(host: Registry) -> None:
    """What held is remembered by image and keys: the registry may be away afterwards."""
    put(KEY)
    read = asking(host)
    found = judged(host, read)
    Shelf.has = {}

    assert not found.broken
    assert found.images[0].by == f"signed by a key of {layout.IMAGES}"
    assert not judged(host, read, memory=found.memory).broken


@pytest.mark.parametrize(("key", "about"), [(OTHER_KEY, DIGEST), (KEY, "sha256:" + "8" * 64), (None, "")])
def test_another_key_another_digest_or_no_signature_is_refused(
    host: Registry, key: dsse.LocalKey | None, about: str
) -> None:
    """A signature that was moved here from another image is over that one."""
    if key:
        put(key, about)

    found = judged(host, asking(host))

    assert told(found) == [f"no key that {layout.IMAGES} names for it has signed it"]
    assert found.broken


def test_digests_and_keys_must_both_hold_where_both_are_named(host: Registry) -> None:
    """A signed image of another digest is nobody's."""
    put(KEY)

    assert not judged(host, asking(host, digests=[DIGEST])).broken
    assert judged(host, asking(host, digests=["sha256:" + "8" * 64])).broken


def test_a_registry_that_is_away_or_unnamed_makes_it_unknown(host: Registry) -> None:
    """That keeps out what is new, and degrades what runs."""
    away = Registry(host="127.0.0.1:1", insecure=True)

    for found in (judged(away, asking(away)), judged(host, asking(host), named=False)):
        assert found.broken
        assert "it is not known whether it is signed" in told(found)[0]
    assert not judged(away, asking(away), known=(DIGEST,)).broken


def test_what_is_no_payload_signs_nothing() -> None:
    """Signed well, and about nothing."""
    for payload in (b"", b"[]", b'{"critical":{}}'):
        assert not is_signed([Signature(payload, KEY.sign(payload))], f"a.b/c@{DIGEST}", [KEY.public])
    assert Signatures().found == ()
