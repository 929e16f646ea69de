"""What a registry, or a daemon that speaks to one, said in plain words: what to do, and whether to try again."""

from __future__ import annotations

import re
from pathlib import Path

_FULL = re.compile(r"no space left|insufficient storage|quota exceeded|disk quota|\b507\b", re.IGNORECASE)
_LOGIN = re.compile(
    r"unauthorized|authentication required|no basic auth|denied|incorrect username|\b40[13]\b", re.IGNORECASE
)
_PASSING = re.compile(
    r"connection refused|connection reset|no such host|i/o timeout|timed? ?out|\beof\b|broken pipe|deadline exceeded"
    r"|too many requests|toomanyrequests|unknown error|internal server error|bad gateway|unavailable"
    r"|\b(429|50[0234])\b",
    re.IGNORECASE,
)


def is_full(said: str) -> bool:
    """Whether a disk or a quota is used up. Nothing is gained by trying again."""
    return _FULL.search(said) is not None


def explain(said: str, *, auth: Path | None = None) -> tuple[str, bool]:
    """A hint, and whether trying again can help. `auth` is the file with the login."""
    if is_full(said):
        return "make room in the registry: remove images, and collect its garbage", False
    if _LOGIN.search(said):
        file = f" {auth}" if auth else ""
        return f"has the login expired? check the registry's `auth` file{file} and the account's rights", False
    if _PASSING.search(said):
        return "is it up, and has it room? its own log says why; the next run goes on from here", True
    return "check the registry's address and its `auth` file", False
