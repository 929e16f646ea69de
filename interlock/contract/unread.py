"""Values that nothing reads: most of them are typing errors, which a template would pass over in silence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_Keys = tuple[str, ...]


@dataclass(frozen=True)
class Unread:
    """A value of an application that no template reads, and the name that one asked for instead."""

    application: str
    path: _Keys
    meant: str = ""

    def __str__(self) -> str:
        said = f"{self.application}: no template reads the value {'.'.join(self.path)}"
        return f"{said}; did you mean {self.meant}?" if self.meant else said


@dataclass
class Reading:
    """What was asked of an application's values while its templates were rendered, by path."""

    asked: set[_Keys] = field(default_factory=set)

    def watched(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return _Watched(values, (), self.asked)

    def unread(self, application: str, values: Mapping[str, Any], texts: Iterable[str]) -> tuple[Unread, ...]:
        """The values that were not asked for, and whose names stand in none of the templates either.

        A name that stands there may be read under another condition.
        """
        text = "\n".join(texts)
        left = (path for path in _leaves(values, self.asked) if path[-1] not in text)
        return tuple(Unread(application, path, self._meant(path, values)) for path in left)

    def _meant(self, path: _Keys, values: Mapping[str, Any]) -> str:
        beside = _at(values, path[:-1])
        missing = [each[-1] for each in self.asked if each[:-1] == path[:-1] and each[-1] not in beside]
        return next(iter(difflib.get_close_matches(path[-1], sorted(missing), n=1)), "")


class _Watched(dict[str, Any]):
    """A mapping as any other, that notes which of its keys somebody asks for. What a list holds counts with it."""

    def __init__(self, values: Mapping[str, Any], where: _Keys, asked: set[_Keys]) -> None:
        super().__init__(
            {
                key: _Watched(value, (*where, key), asked) if isinstance(value, dict) else value
                for key, value in values.items()
            }
        )
        self._where, self._asked = where, asked

    def _note(self, *keys: object) -> None:
        self._asked.update((*self._where, key) for key in keys if isinstance(key, str))

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._note(key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:
        self._note(*super().__iter__())
        return super().__iter__()

    def keys(self) -> Any:
        self._note(*super().__iter__())
        return super().keys()

    def items(self) -> Any:
        self._note(*super().__iter__())
        return super().items()

    def values(self) -> Any:
        self._note(*super().__iter__())
        return super().values()


def _leaves(values: Mapping[str, Any], asked: set[_Keys], where: _Keys = ()) -> Iterator[_Keys]:
    """The first of each branch that nobody asked for."""
    for key, value in values.items():
        path = (*where, key)
        if path not in asked:
            yield path
        elif isinstance(value, dict):
            yield from _leaves(value, asked, path)


def _at(values: Mapping[str, Any], path: _Keys) -> Mapping[str, Any]:
    for key in path:
        values = values[key]
    return values
