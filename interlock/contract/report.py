"""What a run tells people: the same report becomes a Prefect artifact, terminal output, or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Table:
    """Rows of text under columns; every row has as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns: {row}")

    @classmethod
    def of(cls, *columns: str, rows: list[tuple[str, ...]] | tuple[tuple[str, ...], ...] = ()) -> Self:
        return cls(columns, tuple(rows))

    @property
    def markdown(self) -> str:
        """A table of GitHub's Markdown; what would break out of a cell is escaped."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return "\n".join("| " + " | ".join(cell(text) for text in line) + " |" for line in lines)


@dataclass(frozen=True)
class Branch:
    """One line of a tree, and what is below it. `tone` says how it is meant: nothing, or one of TONES."""

    text: str
    below: tuple[Branch, ...] = ()
    tone: str = ""


TONES = frozenset({"", "good", "change", "bad", "odd", "quiet"})


@dataclass(frozen=True)
class Report:
    """`key`: lowercase letters, digits and dashes, one per kind of report; `title`: one line with the verdict in it.

    `markdown` is ours; text from outside goes into tables, or through `cell`. `data` is the same as a JSON value.
    """

    key: str
    title: str
    markdown: str = ""
    tables: tuple[Table, ...] = ()
    data: object = None
    tree: tuple[Branch, ...] = ()
    """What a terminal shows instead of the tables."""

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"a report's key has lowercase letters, digits and dashes, not {self.key!r}")

    @property
    def body(self) -> str:
        """Everything below the title as one Markdown text."""
        return "\n\n".join(part for part in (self.markdown, *(table.markdown for table in self.tables)) if part)


_MARKUP = r"([\\`*_\[\]<>|~#])"
_MARKS = rf"\\{_MARKUP}|\*\*|`"
_CODE = "    "


def cell(text: str) -> str:
    """Text from anywhere as the content of one Markdown table cell: one line, no markup of its own."""
    return re.sub(_MARKUP, r"\\\1", " ".join(text.split()))


def uncelled(markdown: str) -> str:
    """For readers of plain text: without our marks for bold and code, and what `cell` escaped as it was.

    Indented code is nowhere escaped.
    """
    lines = (line if line.startswith(_CODE) else re.sub(_MARKS, r"\1", line) for line in markdown.split("\n"))
    return "\n".join(lines)


def counted(number: int, one: str, many: str = "") -> str:
    """`1 object`, `2 objects`; with both phrases `1 object is new`, `2 objects are new`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def cut(rows: Iterable[tuple[str, ...]], *, most: int, characters: int) -> list[tuple[str, ...]]:
    """The first rows, within both limits, and one that counts the others."""
    found = list(rows)
    shown, length = 0, 0
    for row in found[:most]:
        length += sum(len(text) + 3 for text in row)
        if length > characters:
            break
        shown += 1
    if shown == len(found):
        return found
    return [*found[:shown], (f"… and {len(found) - shown} more", *("" for _ in found[0][1:]))]
