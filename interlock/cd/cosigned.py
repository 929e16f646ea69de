"""Whether an image of others is signed by one of the keys that policy names, as cosign keeps it under its tag."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interlock.contract import dsse


@dataclass(frozen=True)
class Signature:
    """What the signature is over, and itself."""

    payload: bytes
    value: bytes


@dataclass(frozen=True)
class Signatures:
    """All of an image's. `why`: what kept us from knowing them."""

    found: tuple[Signature, ...] = ()
    why: str = ""


def is_signed(signatures: Iterable[Signature], image: str, keys: Sequence[str]) -> bool:
    """By one of the keys, over the image's digest. The name in what is signed may be that of where it was made."""
    wanted = image.partition("@")[2]
    return any(
        _digest(each.payload) == wanted and any(dsse.is_signed(key, each.payload, each.value) for key in keys)
        for each in signatures
    )


def _digest(payload: bytes) -> str:
    try:
        found = json.loads(payload)["critical"]["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(found)
