"""One byte form for everything that is hashed: JSON, sorted keys, no spaces, UTF-8, no NaN."""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> bytes:
    """The canonical form of a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(data: bytes) -> str:
    """`sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
