"""A coverage report in Cobertura's form from a container that nobody trusts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from interlock.ci.untrusted_xml import read_xml
from interlock.contract.canonical import digest
from interlock.errors import TestsFailed

_WHAT = "the coverage report"
_DOCTYPE = re.compile(r"<!DOCTYPE\s+coverage\s+(?:SYSTEM|PUBLIC)[^\[\]<>]*>", re.IGNORECASE)
"""Some tools name Cobertura's DTD, which is never fetched. One with a part in brackets could declare entities."""


@dataclass(frozen=True)
class FileCoverage:
    name: str
    lines: int
    covered: int

    @property
    def share(self) -> float:
        return self.covered / self.lines if self.lines else 1.0


@dataclass(frozen=True)
class Coverage:
    """How many lines the tests ran through, file by file, counted anew from the lines themselves."""

    files: tuple[FileCoverage, ...]
    digest: str
    """Of the report's bytes."""

    @property
    def lines(self) -> int:
        return sum(each.lines for each in self.files)

    @property
    def covered(self) -> int:
        return sum(each.covered for each in self.files)

    @property
    def summary(self) -> str:
        return f"{100 * self.covered / self.lines:.1f} % of {self.lines} lines" if self.lines else "no lines"


def read_coverage(data: bytes) -> Coverage:
    """TestsFailed when it is not Cobertura's form, or has no lines."""
    root = read_xml(data, what=_WHAT, harmless=_DOCTYPE)
    if root.tag != "coverage":
        raise TestsFailed(f"{_WHAT} begins with <{root.tag[:50]}>, not <coverage>")
    hits: dict[str, dict[int, bool]] = {}
    for name, number, hit in _lines(root):
        lines = hits.setdefault(name, {})
        lines[number] = lines.get(number, False) or hit
    if not hits:
        raise TestsFailed(f"{_WHAT} names no line of any file")
    return Coverage(tuple(_files(hits.items())), digest(data))


def _lines(root: ElementTree.Element) -> Iterator[tuple[str, int, bool]]:
    """Those of classes; the ones of their methods stand there too."""
    for each in root.iter("class"):
        name = each.get("filename", "")[:300] or "a file without a name"
        for line in each.iterfind("lines/line"):
            number, hits = line.get("number", ""), line.get("hits", "")
            if not (_is_count(number) and _is_count(hits)):
                raise TestsFailed(f"{_WHAT} has a line of {name} without number or hits")
            yield name, int(number), int(hits) > 0


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _files(hits: Iterable[tuple[str, dict[int, bool]]]) -> Iterator[FileCoverage]:
    for name, lines in sorted(hits, key=lambda each: each[0]):
        yield FileCoverage(name, len(lines), sum(lines.values()))
