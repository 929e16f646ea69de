"""The schemas of Kubernetes' minor versions, as the package kubernetes-validate ships them."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from interlock.contract.schema import Schemas
from interlock.errors import ParameterError

_FOLDER = re.compile(r"v(?P<minor>(\d+)\.(\d+))\.0-local-strict")


@lru_cache(maxsize=1)
def minors() -> tuple[str, ...]:
    """Those that the package has, oldest first: `1.25`, `1.26`, …"""
    found = [match["minor"] for each in _folder().iterdir() if (match := _FOLDER.fullmatch(each.name))]
    return tuple(sorted(found, key=lambda minor: tuple(map(int, minor.split(".")))))


@lru_cache(maxsize=4)
def schemas(minor: str) -> Schemas:
    """The built-in kinds of a minor version, the newest when `minor` is empty. ParameterError when there is none."""
    known = minors()
    if minor and minor not in known:
        raise ParameterError(
            f"there are no schemas of Kubernetes {minor}", hint=f"`kubernetes` may be {known[0]} to {known[-1]}"
        )
    file = _folder() / f"v{minor or known[-1]}.0-local-strict" / "_definitions.json"
    definitions: dict[str, Any] = orjson.loads(file.read_bytes())["$defs"]
    return Schemas(definitions)


def _folder() -> Path:
    """Found without importing the package, which loads another validator."""
    spec = find_spec("kubernetes_validate")
    assert spec is not None  # noqa: S101 - we depend on it
    assert spec.origin is not None  # noqa: S101 - it is a package of files
    return Path(spec.origin).parent / "kubernetes-json-schema"
