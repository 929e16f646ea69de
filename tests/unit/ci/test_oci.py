"""What is attached to an image: two who write at once keep each other's, and nothing is kept twice."""

from __future__ import annotations

import pytest

from interlock.contract import dsse, oci
from interlock.contract.dsse import LocalKey
from interlock.contract.oci import Artifact, Layer
from interlock.errors import RegistryError

IMAGE = oci.Descriptor(oci.MANIFEST, "sha256:" + "1" * 64, 500)
KEY = LocalKey(dsse.generate_key())


def entry(name: str, content: bytes) -> dict[str, object]:
    return Artifact(name, oci.SPDX, content).entry(IMAGE)


def with_entry(index: dict[str, object] | None, *new: dict[str, object]) -> dict[str, object]:
    return oci.with_entries(index, new)


def test_a_referrers_list_grows_and_replaces() -> None:
    """A new document takes the place of the one of its name; others' entries stay where they are."""
    foreign = {"digest": "sha256:f", "annotations": {"a": "b"}}
    first = with_entry({"manifests": [foreign], "annotations": {"x": "y"}}, entry("sbom", b"1"))
    second = with_entry(with_entry(first, entry("other", b"1")), entry("sbom", b"2"))

    assert second["manifests"] == [foreign, entry("sbom", b"2"), entry("other", b"1")]
    assert second["annotations"] == {"x": "y"}
    assert with_entry(second, entry("sbom", b"2")) == second
    assert with_entry(None, entry("sbom", b"1"))["manifests"] == [entry("sbom", b"1")]


def test_two_writers_come_to_an_end() -> None:
    """Each adds his own to what the other wrote, and then both find it unchanged."""
    ours, theirs = entry("ours", b"1"), entry("theirs", b"1")

    both = with_entry(with_entry(None, theirs), ours)

    assert with_entry(both, theirs) == both
    assert with_entry(both, ours) == both


def test_cosigns_layers_grow_and_replace() -> None:
    """Its manifest is that of an image whose layers are signatures; another signer's stay."""
    envelope = dsse.sign(KEY, b"{}")
    ours = oci.attestation_layer("tests", envelope, predicate_type="t", public=KEY.public)
    newer = oci.attestation_layer("tests", dsse.sign(KEY, b"[]"), predicate_type="t", public=KEY.public)
    foreign = Layer(b"x", "y", {"predicateType": "t"})

    first, _ = oci.with_layers(None, (foreign, ours))
    second, configuration = oci.with_layers(first, (newer,))

    assert [each["digest"] for each in second["layers"]] == [
        oci.describe(each.content, "").digest for each in (foreign, newer)
    ]
    assert second["config"]["digest"] == oci.describe(configuration, "").digest
    assert oci.with_layers(second, (newer,))[0] == second


def test_another_keys_signature_replaces_nothing() -> None:
    """A name is only the same for the same key."""
    other = LocalKey(dsse.generate_key())
    layers = [oci.signature_layer(b"{}", key.sign(b"{}"), public=key.public) for key in (KEY, other)]

    manifest, _ = oci.with_layers(oci.with_layers(None, layers[:1])[0], layers[1:])

    assert len(manifest["layers"]) == 2


@pytest.mark.parametrize("entry", [{}, {"digest": 1}, {"digest": None}])
def test_a_layer_without_a_digest_is_no_layer(entry: dict[str, object]) -> None:
    """Whoever wrote it under cosign's tag ends the release with one line, and not with a defect of ours."""
    with pytest.raises(RegistryError, match="one without a digest"):
        oci.with_layers({"layers": [entry]}, [])


@pytest.mark.parametrize("found", [{"manifests": 1}, {"manifests": [1]}, {}])
def test_what_is_no_list_is_told(found: dict[str, object]) -> None:
    """It is not overwritten: somebody keeps something else there."""
    with pytest.raises(RegistryError, match="is not a list of them"):
        with_entry(found, entry("sbom", b"1"))


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000])
def test_what_is_no_manifest_is_told(content: bytes) -> None:
    """One error that names it."""
    with pytest.raises(RegistryError, match="web:tag is not a manifest"):
        oci.read_json(content, subject="web:tag")


def test_a_signature_is_over_repository_and_digest() -> None:
    """In the bytes that cosign's specification gives."""
    assert oci.signing_payload("r.example/web", "sha256:1") == (
        b'{"critical":{"identity":{"docker-reference":"r.example/web"},"image":{"docker-manifest-digest":"sha256:1"},'
        b'"type":"cosign container image signature"},"optional":null}'
    )
