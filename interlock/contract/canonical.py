"""One byte form for everything that is hashed: JSON, sorted keys, no spaces, UTF-8, no NaN."""

from __future__ import annotations

import hashlib
import json

import orjson


def canonical(value: object) -> bytes:
    """The canonical form of a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def encoded(value: object) -> bytes:
    """A JSON value for the wire or a cache: sorted keys, but numbers may be spelt otherwise than in `canonical`.

    Quicker than that. What orjson does not take, such as integers of more than 64 bits, the standard
    library does.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return canonical(value)


def digest(data: bytes) -> str:
    """`sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
