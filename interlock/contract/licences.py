"""Which licences policy refuses. Names are SPDX identifiers, or what a package says of itself when it has none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import takewhile

from interlock.contract.models import LicenceRules

UNKNOWN = "unknown"
"""Stands for the licence of a package that names none."""
_WORD = re.compile(r"[()]|[^\s()]+")
_SIGNS = frozenset({"(", ")", "AND", "OR", "WITH"})
_DEEPEST = 50


def refuses(rules: LicenceRules, licence: str) -> bool:
    """Whether a package with this licence may not be released.

    Of `A OR B` one must be allowed, of `A AND B` both. An exception (`WITH`) does not change which licence it is an
    exception from. In what is no expression every word must be allowed.
    """
    if licence == UNKNOWN:
        return not rules.unknown
    words = _WORD.findall(licence)
    refused, rest = _either(rules, words) if words.count("(") < _DEEPEST else (True, words)
    return refused if not rest else any(_refuses_one(rules, word) for word in words if word not in _SIGNS)


def _either(rules: LicenceRules, words: list[str]) -> tuple[bool, list[str]]:
    """Whether an expression at the beginning of the words is refused, and what follows it."""
    refused, rest = _both(rules, words)
    while rest and rest[0].upper() == "OR":
        other, rest = _both(rules, rest[1:])
        refused = refused and other
    return refused, rest


def _both(rules: LicenceRules, words: list[str]) -> tuple[bool, list[str]]:
    refused, rest = _one(rules, words)
    while rest and rest[0].upper() == "AND":
        other, rest = _one(rules, rest[1:])
        refused = refused or other
    return refused, rest


def _one(rules: LicenceRules, words: list[str]) -> tuple[bool, list[str]]:
    """A name, of one word or more, or an expression in brackets."""
    if words and words[0] == "(":
        refused, rest = _either(rules, words[1:])
        return (refused, rest[1:]) if rest[:1] == [")"] else (True, rest)
    end = next((at for at, word in enumerate(words) if word.upper() in _SIGNS - {"WITH"}), len(words))
    name = list(takewhile(lambda word: word.upper() != "WITH", words[:end]))
    return _refuses_one(rules, " ".join(name)), words[end:]


def _refuses_one(rules: LicenceRules, licence: str) -> bool:
    return _matches(licence, rules.denied) or bool(rules.allowed and not _matches(licence, rules.allowed))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
