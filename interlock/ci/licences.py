"""Which licences policy refuses. Names are SPDX identifiers, or what a package says of itself when it has none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from interlock.contract.models import LicenceRules

_ALTERNATIVES = re.compile(r"\s+OR\s+", re.IGNORECASE)
_PARTS = re.compile(r"\s+(?:AND|OR)\s+", re.IGNORECASE)
_EXCEPTION = re.compile(r"\s+WITH\s+.*", re.IGNORECASE)


def refuses(rules: LicenceRules, licence: str) -> bool:
    """Whether a package with this licence may not be released.

    Of `A OR B` one must be allowed, of `A AND B` both; inside brackets every name must be. An exception (`WITH`) does
    not change which licence it is an exception from.
    """
    if not licence:
        return not rules.unknown
    if "(" in licence:
        return any(_refuses_one(rules, part) for part in _PARTS.split(licence.replace("(", "").replace(")", "")))
    return all(
        any(_refuses_one(rules, part) for part in _PARTS.split(alternative))
        for alternative in _ALTERNATIVES.split(licence)
    )


def _refuses_one(rules: LicenceRules, licence: str) -> bool:
    name = _EXCEPTION.sub("", licence).strip()
    return _matches(name, rules.denied) or bool(rules.allowed and not _matches(name, rules.allowed))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
