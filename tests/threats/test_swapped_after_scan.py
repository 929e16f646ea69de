"""The image that is pushed is not the one that was scanned: exchanged in between, or an index of several.

Number: 16
Defence: after the push CI asks the registry, by the digest that it returned, for the manifest's own bytes: their digest
and the configuration in them must be those of the image that was scanned, and an index is no image
(tasks/common/registry.py). The signer looks once more by itself (interlock/ci/signing.py). CD takes no evidence that
does not say which image the digest is (interlock/cd/chain.py), and no index whose manifests are not pinned, where its
host names the registry (interlock/cd/presence.py).
Not defended: a registry and a scanner that lie together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest

from interlock.cd import presence
from interlock.contract.canonical import digest
from interlock.contract.host import Registry
from interlock.errors import RegistryError
from tasks.cd.registries import look_up
from tasks.common import registry
from tests import examples_of_evidence as proof
from tests.examples_of_evidence import file_of
from tests.unit.cd.test_chain import INTERNAL, changed, links, proven

SCANNED = "sha256:" + "2" * 64
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def manifest(configuration: str) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": configuration}}).encode()


def index(media_type: str = INDEX) -> bytes:
    """One that names a clean image and a hidden one, with the clean one's configuration beside them."""
    found = {"schemaVersion": 2, "mediaType": media_type, "config": {"digest": SCANNED}, "manifests": [{}, {}]}
    return json.dumps(found).encode()


class Content(BaseHTTPRequestHandler):
    """A registry that has what it is told to."""

    answer: ClassVar[tuple[bytes, str]]

    def do_GET(self) -> None:
        data, media_type = self.answer
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def host() -> Iterator[Registry]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Content) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield Registry(host=f"127.0.0.1:{server.server_port}", insecure=True)
        server.shutdown()


def confirm(host: Registry, data: bytes, media_type: str = MANIFEST) -> None:
    Content.answer = data, media_type
    where = {"repository": f"{host.host}/shop/web", "image_digest": digest(data)}
    registry.confirm_image.fn(host, image_id=SCANNED, **where)


def test_an_exchanged_image_succeeds_where_only_the_digest_is_asked_for(host: Registry) -> None:
    """The registry has the digest, and the digest is of its bytes: only the configuration tells."""
    Content.answer = manifest("sha256:" + "6" * 64), MANIFEST

    with registry.connected(host) as http:
        found = registry.read_manifest(http, "shop/web", digest(Content.answer[0]))

    assert found is not None
    assert found.digest == digest(Content.answer[0])
    assert found.config != SCANNED


def test_an_index_succeeds_where_only_the_configuration_is_asked_for(
    host: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that is both shows the scanner's friend a clean image, and the node all of them."""
    monkeypatch.setattr(registry, "_configuration", lambda read, _: read["config"]["digest"])

    confirm(host, index(), INDEX)


def test_an_exchanged_image_is_refused(host: Registry) -> None:
    """What was scanned passes."""
    confirm(host, manifest(SCANNED))

    with pytest.raises(RegistryError, match="is not the image that was scanned"):
        confirm(host, manifest("sha256:" + "6" * 64))


@pytest.mark.parametrize(("said", "header"), [(INDEX, INDEX), (MANIFEST, MANIFEST), (INDEX, MANIFEST)])
def test_an_index_is_refused_whatever_it_calls_itself(host: Registry, said: str, header: str) -> None:
    """Which of its manifests runs, the node would decide."""
    with pytest.raises(RegistryError, match="is not the manifest of one image"):
        confirm(host, index(said), header)


@pytest.mark.parametrize("media_type", [INDEX, MANIFEST])
def test_an_index_is_refused_by_cd_unless_all_of_its_manifests_are_pinned(host: Registry, media_type: str) -> None:
    """Asked by itself, of the registry; a person who pins an index pins what it may run."""
    children = [f"sha256:{letter * 64}" for letter in "ab"]
    document = {"config": {"digest": SCANNED}, "manifests": [{"digest": each} for each in children]}
    Content.answer = json.dumps(document).encode(), media_type
    image = f"{host.host}/shop/web@{digest(Content.answer[0])}"

    (answer,) = look_up([host], [image]).values()

    assert answer.manifests == tuple(children)
    for pinned, refused in (([], True), (children[:1], True), (children, False)):
        assert (presence.fault(answer, pinned=pinned) is not None) is refused


def test_evidence_that_does_not_say_which_image_it_is_about_is_refused_by_cd() -> None:
    """So nothing deploys of which only an index was looked at."""
    nameless = changed("provenance", f"{INTERNAL} imageId", None)

    assert links(proven(proof.tree(file_of(nameless)))) == ["provenance"]
