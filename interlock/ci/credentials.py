"""What makes a text a usable cluster credential. Its contents never leave this file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

MOST_BYTES = 1 << 20
_LOOKS = re.compile(rb"clusters|kind[\"']?\s*:\s*[\"']?Config\b")
_KEYS = (
    "token",
    "tokenFile",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "password",
    "exec",
    "auth-provider",
)


@dataclass(frozen=True)
class Probe:
    """Where CI looked for a cluster credential and found none. `addresses` are recorded, not refused."""

    checked: tuple[str, ...]
    addresses: tuple[str, ...] = ()


def may_be_kubeconfig(data: bytes) -> bool:
    """A quick look, before parsing."""
    return len(data) <= MOST_BYTES and _LOOKS.search(data) is not None


def usable(data: bytes) -> str | None:
    """What in a text is usable against a cluster, such as `client-key-data of user admin`; None when nothing is.

    A kubeconfig without any user's credential is only an address.
    """
    if not may_be_kubeconfig(data):
        return None
    documents = _documents(data)
    if documents is None:
        return _written(data)
    for document in documents:
        if isinstance(document, dict) and document.get("clusters"):
            for key, name in _held(document.get("users")):
                return f"{key} of user {name!r}"
    return None


def _documents(data: bytes) -> list[Any] | None:
    try:
        return list(yaml.load_all(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _written(data: bytes) -> str | None:
    """What a text that our parser cannot read, but another may, seems to hold."""
    found = re.search(rb"""[\s{,"'](""" + "|".join(_KEYS).encode() + rb""")["']?\s*:\s*[^\s,}]""", data)
    return f"{found[1].decode()} in a file that is not quite YAML" if found else None


def _held(users: object) -> Iterator[tuple[str, str]]:
    for entry in users if isinstance(users, list) else ():
        if isinstance(entry, Mapping) and isinstance(user := entry.get("user"), Mapping):
            yield from ((key, str(entry.get("name", ""))[:100]) for key in _KEYS if user.get(key))
