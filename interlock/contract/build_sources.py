"""What policy lets a build take from elsewhere, and how images are named."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from interlock.contract.models import BuildRules

Kind = Literal["image", "frontend", "address"]


def is_allowed(kind: Kind, name: str, rules: BuildRules) -> bool:
    """Whether an environment's rules let a build take this."""
    if kind == "image" and rules.images is None:
        return True
    patterns = {"image": rules.images or (), "frontend": rules.frontends, "address": rules.addresses}[kind]
    full = name if kind == "address" else full_name(name)
    names = (full,) if kind == "address" else (full, repository_of(full))
    return any(matches(each, patterns) for each in names)


def full_name(name: str) -> str:
    """An image's name with its registry: `python:3` is `docker.io/library/python:3`."""
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"


def repository_of(name: str) -> str:
    """An image's name without tag and digest."""
    place, slash, last = name.partition("@")[0].rpartition("/")
    return f"{place}{slash}{last.partition(':')[0]}"


def matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
