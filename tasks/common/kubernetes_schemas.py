"""The schemas of Kubernetes' minor versions, as the package kubernetes-validate ships them."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import Any

import orjson

from interlock.contract.schema import Schemas
from interlock.errors import ParameterError

_FOLDER = re.compile(r"v(?P<minor>(\d+)\.(\d+))\.0-local-strict")


@lru_cache(maxsize=1)
def minors() -> tuple[str, ...]:
    """Those that the package has, oldest first: `1.25`, `1.26`, …"""
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    found = [match["minor"] for each in folder.iterdir() if (match := _FOLDER.fullmatch(each.name))]
    return tuple(sorted(found, key=lambda minor: tuple(map(int, minor.split(".")))))


@lru_cache(maxsize=4)
def schemas(minor: str) -> Schemas:
    """The built-in kinds of a minor version, the newest when `minor` is empty. ParameterError when there is none."""
    known = minors()
    if minor and minor not in known:
        raise ParameterError(
            f"there are no schemas of Kubernetes {minor}", hint=f"`kubernetes` may be {known[0]} to {known[-1]}"
        )
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{minor or known[-1]}.0-local-strict"
    definitions: dict[str, Any] = orjson.loads((folder / "_definitions.json").read_bytes())["$defs"]
    return Schemas(definitions)
