"""YAML as everybody reads it: one meaning or an error with line and column.

Only mappings with text keys, sequences, and scalars of JSON's types. Anchors, aliases, tags, directives, merge keys,
duplicate keys, and plain scalars that YAML readers disagree about (`no`, `0644`, `1e3`) are refused.

`compose` makes nodes that know where they stand; `build` turns nodes into values. Templates use both with their own
reading of scalars, files use `load` and `parse`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import yaml

from interlock.errors import FormatError

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

MOST_BYTES = 1 << 20
MOST_DEPTH = 40
MOST_NODES = 50_000

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node starts: a character index from 0, line and column from 1."""

    index: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class ScalarNode:
    text: str
    plain: bool
    place: Place
    end: int
    """The character index after its last character, quotes included."""


@dataclass(frozen=True, slots=True)
class SequenceNode:
    items: list[Node]
    place: Place


@dataclass(frozen=True, slots=True)
class MappingNode:
    entries: list[tuple[ScalarNode, Node]]
    place: Place


Node = ScalarNode | SequenceNode | MappingNode


class Malformed(Exception):
    """Not our YAML. Becomes a FormatError, or a RenderError when a template made the text."""

    def __init__(self, message: str, place: Place, *, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.place, self.hint = message, place, hint


@dataclass(frozen=True)
class Document:
    """A value and where each part of it stands in its file."""

    value: object
    path: str
    places: Mapping[Path, Place]

    def place(self, where: Path) -> Place:
        """Of the entry, or of the nearest one around it."""
        while where and where not in self.places:
            where = where[:-1]
        return self.places.get(where, Place(0, 1, 1))

    def line(self, where: Path) -> int:
        return self.place(where).line

    def error(self, message: str, where: Path, *, hint: str = "") -> FormatError:
        """A FormatError that points at an entry."""
        place = self.place(where)
        return FormatError(message, path=self.path, line=place.line, column=place.column, hint=hint)


# reading ---------------------------------------------------------------------------------------------


def load(text: str, *, path: str) -> Document:
    """The one document of a file. An empty file is None."""
    documents = load_all(text, path=path)
    if len(documents) > 1:
        raise documents[1].error("a second document starts here; this file holds one", (), hint="remove the `---`")
    return documents[0] if documents else Document(None, path, {})


def load_all(text: str, *, path: str) -> tuple[Document, ...]:
    """Every document of a file that may hold several."""
    try:
        return tuple(_document(node, path) for node in compose(text))
    except Malformed as problem:
        place = problem.place
        raise FormatError(
            problem.message, path=path, line=place.line, column=place.column, hint=problem.hint
        ) from problem


def _document(node: Node, path: str) -> Document:
    places: dict[Path, Place] = {}
    return Document(build(node, scalar=lambda each, _: resolve(each), key=text_key, places=places), path, places)


def parse(text: str, model: type[M], *, path: str) -> M:
    """The file as a model; FormatError for the first thing that is wrong, with the number of the others."""
    return validate(load(text, path=path), model)


def validate(document: Document, model: type[M]) -> M:
    """As `parse`, of a document that was loaded before."""
    from pydantic import ValidationError

    from interlock.contract.complaints import complain

    try:
        return model.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        raise complain(error, document, model) from None


# nodes -----------------------------------------------------------------------------------------------

_BREAKS = re.compile("\r(?!\n)|[\x85\u2028\u2029\ufeff]")


def compose(text: str) -> tuple[Node, ...]:
    """The documents of a text as nodes. Malformed at the first thing that we do not allow."""
    _check_characters(text)
    try:
        return tuple(_documents(yaml.parse(text, Loader=yaml.CSafeLoader)))
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark)
        raise Malformed(_lower(error.problem or "not YAML"), place, hint=_way_out(text, place)) from error
    except yaml.YAMLError as error:
        raise Malformed(f"not YAML: {error}", Place(0, 1, 1)) from error


def _way_out(text: str, place: Place) -> str:
    """What is said of a tab is that it starts no token, which helps nobody who cannot see it."""
    before = "".join(text.split("\n")[place.line - 1 : place.line])[: place.column]
    return "indent with spaces: this is a tab" if before.endswith("\t") else ""


def _check_characters(text: str) -> None:
    if len(text.encode()) > MOST_BYTES:
        raise Malformed(f"larger than {MOST_BYTES} bytes", Place(0, 1, 1), hint="split the file")
    if found := _BREAKS.search(text) or yaml.reader.Reader.NON_PRINTABLE.search(text):
        index = found.start()
        place = Place(index, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))
        code = f"U+{ord(text[index]):04X}"
        raise Malformed(f"the character {code} may not stand in a file", place, hint="write it as an escape in quotes")


def _documents(events: Iterator[yaml.Event]) -> Iterator[Node]:
    composer = _Composer(events)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if event.version or event.tags:
                raise Malformed("directives are not allowed", _place(event.start_mark), hint="remove the `%` line")
            yield composer.node(next(events), 0)


class _Composer:
    """Turns the parser's events into nodes, and counts them."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.events = events
        self.count = 0

    def node(self, event: yaml.Event, depth: int) -> Node:
        self.count += 1
        place = _place(event.start_mark)
        _check_plain_data(event, place)
        if self.count > MOST_NODES:
            raise Malformed(f"more than {MOST_NODES} entries", place, hint="split the file")
        if depth > MOST_DEPTH:
            raise Malformed(f"nested deeper than {MOST_DEPTH}", place)
        if isinstance(event, yaml.ScalarEvent):
            return ScalarNode(event.value, not event.style, place, _index(event.end_mark))
        if isinstance(event, yaml.SequenceStartEvent):
            return SequenceNode([self.node(item, depth + 1) for item in self._until(yaml.SequenceEndEvent)], place)
        return MappingNode([self.entry(key, depth) for key in self._until(yaml.MappingEndEvent)], place)

    def entry(self, event: yaml.Event, depth: int) -> tuple[ScalarNode, Node]:
        key = self.node(event, depth + 1)
        if not isinstance(key, ScalarNode):
            raise Malformed("a key must be text, not a mapping or a list", key.place)
        return key, self.node(next(self.events), depth + 1)

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        while not isinstance(event := next(self.events), end):
            yield event


def _check_plain_data(event: yaml.Event, place: Place) -> None:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise Malformed("anchors and aliases are not allowed", place, hint="write the value out where it is needed")
    if tag := getattr(event, "tag", None):
        raise Malformed(f"the tag {tag} is not allowed", place, hint="remove it")


def _place(mark: Any) -> Place:
    """PyYAML's two kinds of marks look the same, but share no type."""
    return Place(mark.index, mark.line + 1, mark.column + 1) if mark else Place(0, 1, 1)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _index(mark: Any) -> int:
    return int(mark.index)


# values ----------------------------------------------------------------------------------------------


def build(
    node: Node,
    *,
    scalar: Callable[[ScalarNode, Path], object],
    key: Callable[[ScalarNode], str],
    places: dict[Path, Place],
    where: Path = (),
) -> object:
    """The value of a node. `places` receives where every entry stands; a mapping's entry stands at its key."""
    places.setdefault(where, node.place)
    if isinstance(node, ScalarNode):
        return scalar(node, where)
    if isinstance(node, SequenceNode):
        return [
            build(item, scalar=scalar, key=key, places=places, where=(*where, index))
            for index, item in enumerate(node.items)
        ]
    value: dict[str, object] = {}
    for name, entry in node.entries:
        text = key(name)
        if text in value:
            first = places[*where, text].line
            raise Malformed(f"the key {text!r} stands here and in line {first}", name.place, hint="remove one of them")
        places[*where, text] = name.place
        value[text] = build(entry, scalar=scalar, key=key, places=places, where=(*where, text))
    return value


_CONSTANTS = {"": None, "null": None, "~": None, "true": True, "false": False}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,15})\.[0-9]{1,16}")
_DISPUTED = re.compile(
    r"(?i:yes|no|on|off|true|false|null)"  # not those above
    r"|[-+]?[0-9][0-9_]*"
    r"|[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9_]+|[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?(?:0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+)"
    r"|[-+]?\.(?i:inf|nan)"
)
_MERGE = "<<"


def resolve(scalar: ScalarNode) -> object:
    """A scalar's value: quoted and block scalars are text, plain ones what JSON would have them be."""
    text = scalar.text
    if not scalar.plain:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text) and -(1 << 63) <= int(text) < 1 << 63 and text != "-0":
        return int(text)
    if _DECIMAL.fullmatch(text) and repr(float(text)) == text:
        return float(text)
    if _DISPUTED.fullmatch(text):
        _refuse_disputed(scalar)
    return text


def _refuse_disputed(scalar: ScalarNode) -> NoReturn:
    raise Malformed(
        f"YAML readers disagree about what {scalar.text} is",
        scalar.place,
        hint=f'write "{scalar.text}" in quotes for text; true, false, null or a plain decimal number otherwise',
    )


def text_key(scalar: ScalarNode) -> str:
    """A mapping's key, which must be text."""
    if scalar.plain and scalar.text == _MERGE:
        raise Malformed("merge keys are not allowed", scalar.place, hint="write the entries out")
    value = resolve(scalar)
    if not isinstance(value, str):
        raise Malformed(f"the key {scalar.text or 'null'} is not text", scalar.place, hint="put it in quotes")
    return value


# writing ---------------------------------------------------------------------------------------------

_SAFE = re.compile(r"[A-Za-z/_][-A-Za-z0-9_./@:]*(?<!:)")
_LINE = re.compile(r"[ -~À-ɏ]*(?<! )")
_LONGEST_SIMPLE_KEY = 1000  # YAML allows 1024 characters before a `:`
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def dump(value: object) -> str:
    """Block style, entries in the order given; what `load` reads back as the same value, whatever its strings hold."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from _entry(_text(key), entry)
    elif isinstance(value, list | tuple) and value:
        for item in value:
            head, *rest = _lines(item)
            yield f"- {head}"
            yield from (f"  {line}" if line else line for line in rest)
    elif isinstance(value, str) and _fits_block(value):
        yield "|"
        yield from (f"  {line}" if line else line for line in value.removesuffix("\n").split("\n"))
    else:
        yield _inline(value)


def _fits_block(text: str) -> bool:
    """Whether a text of several lines can stand under `|` as it is."""
    lines = text.split("\n")
    ends_once = len(lines) > 2 and lines[-1] == "" != lines[-2]
    return ends_once and text[0] not in " \n" and all(_LINE.fullmatch(line) for line in lines)


def _entry(key: str, value: object) -> Iterator[str]:
    key = f"{key}:"
    if len(key) > _LONGEST_SIMPLE_KEY:
        yield f"? {key[:-1]}"
        key = ":"
    if isinstance(value, dict | list | tuple) and value:
        yield key
        yield from (f"  {line}" if line else line for line in _lines(value))
        return
    head, *rest = _lines(value)
    yield f"{key} {head}"
    yield from rest


def _inline(value: object) -> str:
    if isinstance(value, str):
        return _text(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value, allow_nan=False)


def _text(text: str) -> str:
    if _SAFE.fullmatch(text) and text not in _CONSTANTS and not _DISPUTED.fullmatch(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
