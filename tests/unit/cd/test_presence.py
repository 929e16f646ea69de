"""A registry gates digests that are new: what it does not have, or what nobody knows of it, does not come in."""

from __future__ import annotations

import json

import pytest

from interlock.cd import presence
from interlock.cd.presence import Answer
from interlock.contract import oci
from interlock.contract.canonical import digest
from interlock.contract.host import Registry
from tasks.cd.registries import look_up

MANIFEST = json.dumps({"config": {"digest": "sha256:1"}}).encode()


def test_a_manifest_under_its_own_digest_is_an_image() -> None:
    """And nothing is said against it."""
    answer = presence.read(MANIFEST, oci.MANIFEST, wanted=digest(MANIFEST))

    assert answer == Answer("image")
    assert presence.fault(answer, pinned=()) is None


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (None, "missing", "does not have it"),
        (MANIFEST + b" ", "other", "something else"),
        (b"[]", "other", "something else"),
        (b"{}", "other", "something else"),
        (b'{"manifests":[]}', "index", "an index of 0 manifests"),
        (b'{"manifests":[{}]}', "other", "something else"),
    ],
)
def test_anything_else_is_a_broken_link(content: bytes | None, kind: str, words: str) -> None:
    """Of what is new; what runs already is only degraded."""
    wanted = digest(MANIFEST if content == MANIFEST + b" " else content or b"")

    answer = presence.read(content, oci.MANIFEST, wanted=wanted)
    fault = presence.fault(answer, pinned=())

    assert answer.kind == kind
    assert fault is not None
    assert words in fault.said
    assert fault.ages


def test_a_registry_that_is_away_makes_a_digest_unknown() -> None:
    """Not absent; and one that this host does not name is not asked at all."""
    away = Registry(host="127.0.0.1:1", insecure=True)
    image = f"127.0.0.1:1/shop/web@sha256:{'1' * 64}"

    found = look_up([away], [image, f"other.example/shop/web@sha256:{'1' * 64}"])
    fault = presence.fault(found[image], pinned=())

    assert [*found] == [image]
    assert fault is not None
    assert "it is not known whether the registry has it" in fault.said
