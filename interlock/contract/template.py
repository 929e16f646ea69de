"""Jinja2 templates that cannot write YAML: values enter after the text is read.

What a template writes is kept as pieces: literal text of the template, and values of its expressions. For reading,
each value is one opaque token; the text is composed as strict YAML; then every token gives way to its value. A value
therefore never is markup, whatever it holds, and every part of the result knows the template line that made it.

`autoescape` is off on purpose: it would join captured text and values into one string. Captured text (of a macro,
a block, `{% set %}…{% endset %}`) is a Fragment here, which can be written out and indented, but is no string.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NoReturn

from jinja2 import DictLoader, Environment, StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.compiler import Frame
from jinja2.exceptions import SecurityError, TemplateNotFound, UndefinedError
from jinja2.filters import do_indent
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment

from interlock.contract import placeholder, strict_yaml
from interlock.contract.placeholder import Placeholder
from interlock.contract.strict_yaml import Malformed, Path, Place, ScalarNode
from interlock.errors import RenderError


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a part of a manifest. `expression` is None for literal text; part of a text stands in braces."""

    path: str
    line: int
    expression: str | None = None


Rows = Iterable[tuple[Iterable[str | int], tuple[str, int, str | None]]]
"""Origins as JSON has them: a place in the body, then an `Origin`'s fields."""


def rows_of(origins: Mapping[Path, Origin]) -> Rows:
    if isinstance(origins, LateOrigins):
        return origins.rows
    return [(where, (origin.path, origin.line, origin.expression)) for where, origin in origins.items()]


class LateOrigins(Mapping[Path, Origin]):
    """Origins as JSON has them, read only when somebody asks: most manifests are never explained."""

    __slots__ = ("_read", "rows")

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._read: dict[Path, Origin] | None = None

    @property
    def _origins(self) -> dict[Path, Origin]:
        if self._read is None:
            self._read = {tuple(where): Origin(*origin) for where, origin in self.rows}
        return self._read

    def __getitem__(self, where: Path) -> Origin:
        return self._origins[where]

    def __iter__(self) -> Iterator[Path]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)


@dataclass(frozen=True)
class Made:
    """One YAML document. `origins` has every leaf, mapping and list of `body`."""

    body: object
    origins: Mapping[Path, Origin]


# pieces ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Literal:
    text: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class _Value:
    value: object
    path: str
    line: int
    expression: str

    def error(self, message: str, *, hint: str = "") -> RenderError:
        return RenderError(f"{{{{ {self.expression} }}}} {message}", path=self.path, line=self.line, hint=hint)


class Fragment:
    """What a piece of template wrote. No string: whoever needs one is told so, instead of reading tokens."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: tuple[_Literal | _Value, ...]) -> None:
        self._pieces = pieces

    def _no_text(self, *_: object) -> NoReturn:
        raise TypeError("what a macro or block writes is no text; write it out as a whole, or use `indent`")

    __str__ = __len__ = __iter__ = __eq__ = __bool__ = __hash__ = _no_text


def _join(parts: Iterable[object]) -> Fragment:
    """What generated code uses for `"".join`."""
    return Fragment(tuple(_pieces(parts)))


def _pieces(parts: Iterable[object]) -> Iterator[_Literal | _Value]:
    for part in parts:
        if isinstance(part, Fragment):
            yield from part._pieces
        elif isinstance(part, _Value):
            yield part
        else:
            raise TypeError("a filter over a block makes a value; apply it to an expression")


def _indented(fragment: Fragment, width: int | str, first: bool, blank: bool) -> Fragment:
    """As the filter `indent` does it with text; values are not looked into."""
    pieces = [
        replace(each, text=do_indent(f"{each.text}x", width, blank=blank)[:-1]) if isinstance(each, _Literal) else each
        for each in fragment._pieces
    ]
    if first and pieces:
        margin = do_indent("x", width, first=True)[:-1]
        pieces.insert(0, _Literal(margin, pieces[0].path, pieces[0].line))
    return Fragment(tuple(pieces))


# the environment -------------------------------------------------------------------------------------

_FILTERS = (
    "abs",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
    "wordwrap",
)
"""Those of Jinja2 that are pure and make values; none that mark text as safe."""


class _NotGiven(StrictUndefined):
    @property
    def _undefined_message(self) -> str:
        return self._undefined_hint or f"reads {self._undefined_name!r}, which is not given"


class _Blobs(DictLoader):
    """Templates by their name within the set; `folder` makes the path that errors name."""

    def __init__(self, files: Mapping[str, str], folder: str) -> None:
        super().__init__(files)
        self.folder = folder

    def get_source(self, environment: Environment, template: str) -> Any:
        source, _, uptodate = super().get_source(environment, template)
        return source, f"{self.folder}/{template}", uptodate


class _PieceWriter(NativeCodeGenerator):
    """Generates code that yields pieces, where Jinja2's own yields strings."""

    environment: _Sandbox

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> Any:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return _Literal(node.data, self.filename or "", node.lineno)

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        self.environment.literals.append(Fragment(tuple(group)))
        return f"environment.literals[{len(self.environment.literals) - 1}]"

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write("environment.emit(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(f", {self.filename!r}, {node.lineno}, {vars(node)[_SOURCE]!r})")


_SOURCE = "source"  # the attribute of an expression's node that holds its text


class _Sandbox(ImmutableSandboxedEnvironment):
    """Writes pieces instead of text, and knows no functions but macros."""

    code_generator_class = _PieceWriter
    concat = staticmethod(_join)  # type: ignore[assignment]

    def __init__(self, loader: _Blobs) -> None:
        super().__init__(
            loader=loader,
            undefined=_NotGiven,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            optimized=False,  # compiling costs more than a constant saves
        )
        self.literals: list[Fragment] = []
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in _FILTERS} | {"indent": _indent_filter, "tojson": _to_json}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A mapping's entries come before its methods, so that a value may be named `items`."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        path = filename or "template"
        _check_source(source, path)
        tree = super()._parse(source, name, filename)
        _name_expressions(tree, path, _expressions(self, source))
        return tree

    def emit(self, value: object, path: str, line: int, expression: str) -> _Value | Fragment:
        if isinstance(value, Fragment):
            return value
        return _plain(_Value(value, path, line, expression))


def _indent_filter(text: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> Any:
    if isinstance(text, Fragment):
        return _indented(text, width, first, blank)
    return do_indent(text, width, first, blank)


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, sort_keys=True, default=_no_json)


def _no_json(value: object) -> NoReturn:
    if isinstance(value, Placeholder):
        str(value)  # which says why it cannot
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_OPEN, _CLOSE = "\ue000", "\ue001"
_TOKEN = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")


def _check_source(source: str, path: str) -> None:
    if found := re.search(f"[{_OPEN}{_CLOSE}]|\r(?!\n)|[\x85\u2028\u2029\ufeff]", source):
        line = source.count("\n", 0, found.start()) + 1
        code = f"U+{ord(found[0]):04X}"
        hint = "write it as an escape in quotes"
        raise RenderError(f"the character {code} may not stand in a template", path=path, line=line, hint=hint)


def _expressions(environment: Environment, source: str) -> list[str]:
    """The source text of every `{{ … }}`, in order."""
    found: list[str] = []
    parts: list[str] | None = None
    for _, kind, text in environment.lex(source):
        if kind == "variable_begin":
            parts = []
        elif kind == "variable_end" and parts is not None:
            found.append(" ".join("".join(parts).split()))
            parts = None
        elif parts is not None:
            parts.append(text)
    return found


def _name_expressions(tree: nodes.Template, path: str, expressions: list[str]) -> None:
    """Give the node of every `{{ … }}` its source text. Both come in the order of the file."""
    written: list[nodes.Expr] = []
    for node in tree.find_all((nodes.Output, nodes.ScopedEvalContextModifier)):
        if not isinstance(node, nodes.Output):
            raise RenderError("`autoescape` means nothing here", path=path, line=node.lineno, hint="remove the tag")
        written += [child for child in node.nodes if not isinstance(child, nodes.TemplateData)]
    if len(written) != len(expressions):
        raise RenderError("`{% print … %}` is not allowed", path=path, hint="write `{{ … }}`")
    for child, text in zip(written, expressions, strict=True):
        vars(child)[_SOURCE] = text


def _plain(made: _Value) -> _Value:
    """The same with a copy of the value that is plain JSON."""
    return replace(made, value=_copy(made.value, made))


def _copy(value: object, made: _Value, depth: int = 0) -> object:
    if depth > strict_yaml.MOST_DEPTH:
        raise made.error(f"is nested deeper than {strict_yaml.MOST_DEPTH}")
    match value:
        case None | bool():
            return value
        case str() | Placeholder() if (text := _text(value, made)) is not None:
            return text
        case int() if -(1 << 63) <= value < 1 << 63:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case Mapping() if all(isinstance(key, str) for key in value):
            return {str(_copy(key, made, depth)): _copy(entry, made, depth + 1) for key, entry in value.items()}
        case list() | tuple() | Iterator() | KeysView() | ValuesView() | ItemsView():
            return [_copy(item, made, depth + 1) for item in value]
        case _NotGiven():
            raise made.error(value._undefined_message, hint="" if value._undefined_hint else _GIVE)
        case Fragment():
            raise made.error("holds what a macro or block writes, which is no value")
        case _:
            raise made.error(
                f"is {type(value).__name__}, which is no value", hint="write text, numbers, lists, mappings"
            )


def _text(value: str | Placeholder, made: _Value) -> str | None:
    """What is written for it; None for what is no text."""
    if isinstance(value, Placeholder):
        return placeholder.written(value)
    if placeholder.OPEN in value:
        raise made.error(placeholder.COPIED, hint=placeholder.COPIED_HINT)
    return None if _SURROGATE.search(value) else str(value)


_NO_KEY = "stands as a key, and a sealed value cannot be a key"
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which no UTF-8 has
_GIVE = "give it in a values.yaml, or write `| default(…)` behind it"


# rendering -------------------------------------------------------------------------------------------


class TemplateSet:
    """The templates of one folder. `files` are their texts by name within `folder`."""

    def __init__(self, files: Mapping[str, str], *, folder: str) -> None:
        self._environment = _Sandbox(_Blobs(files, folder))
        self._folder = folder

    def render(self, name: str, context: Mapping[str, object]) -> tuple[Made, ...]:
        """The documents that a template makes. RenderError with the template's path and line."""
        try:
            template = self._environment.get_template(name)
            written = _join(template.root_render_func(template.new_context(dict(context))))
        except RenderError:
            raise
        except TemplateSyntaxError as error:
            path = error.filename or f"{self._folder}/{name}"
            raise RenderError(error.message or "not a template", path=path, line=error.lineno) from error
        except (
            TemplateError,
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            path, line = _template_place(error.__traceback__) or (f"{self._folder}/{name}", None)
            raise RenderError(_reason(error), path=path, line=line, hint=_remedy(error)) from error
        return _documents(_Sheet.of(written, f"{self._folder}/{name}"))


def _template_place(traceback: TracebackType | None) -> tuple[str, int] | None:
    """The innermost template line of a traceback."""
    place = None
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template) and template.filename:
            place = template.filename, template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return place


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"there is no template {error.name!r} in this set"
    if isinstance(error, SecurityError):
        return str(error)
    if isinstance(error, UndefinedError):
        return f"the template {error.message}"
    return f"{type(error).__name__}: {error}"


def _remedy(error: Exception) -> str:
    return _GIVE if isinstance(error, UndefinedError) else ""


@dataclass(frozen=True)
class _Sheet:
    """Pieces laid out as one text, with a token for each value."""

    text: str
    pieces: tuple[_Literal | _Value, ...]
    starts: tuple[int, ...]
    path: str

    @classmethod
    def of(cls, fragment: Fragment, path: str) -> _Sheet:
        pieces = fragment._pieces
        texts, starts, length = [], [], 0
        for index, piece in enumerate(pieces):
            text = piece.text if isinstance(piece, _Literal) else f"{_OPEN}{index}{_CLOSE}"
            texts.append(text)
            starts.append(length)
            length += len(text)
        return cls("".join(texts), pieces, tuple(starts), path)

    def source(self, place: Place) -> tuple[str, int]:
        """The template and the line that wrote a place of the text."""
        if not self.pieces:
            return self.path, 1
        index = max(bisect_right(self.starts, place.index) - 1, 0)
        piece = self.pieces[index]
        within = piece.text.count("\n", 0, place.index - self.starts[index]) if isinstance(piece, _Literal) else 0
        return piece.path, piece.line + within


def _documents(sheet: _Sheet) -> tuple[Made, ...]:
    reader = _Reader(sheet)
    try:
        made = tuple(reader.document(node) for node in strict_yaml.compose(sheet.text))
        reader.check_all_used()
    except Malformed as problem:
        path, line = sheet.source(problem.place)
        message = _TOKEN.sub("{{ … }}", problem.message)
        raise RenderError(message, path=path, line=line, hint=problem.hint) from problem
    return made


class _Reader:
    """Reads scalars of a sheet, and remembers which values have not found their place yet."""

    def __init__(self, sheet: _Sheet) -> None:
        self.sheet = sheet
        self.unused = set(range(len(sheet.pieces)))
        self.origins: dict[Path, Origin] = {}

    def document(self, node: strict_yaml.Node) -> Made:
        self.origins = {}
        places: dict[Path, Place] = {}
        body = strict_yaml.build(node, scalar=self.scalar, key=self.key, places=places)
        for where in places.keys() - self.origins.keys():
            self.origins[where] = Origin(*self.sheet.source(places[where]))
        return Made(body, self.origins)

    def scalar(self, node: ScalarNode, where: Path) -> object:
        parts = self.parts(node)
        made = [part for part in parts if isinstance(part, _Value)]
        if not made:
            self.origins[where] = Origin(*self.sheet.source(node.place))
            return strict_yaml.resolve(node)
        first = made[0]
        if node.plain and len(parts) == 1:
            self.origins.update(_everywhere(first.value, where, Origin(first.path, first.line, first.expression)))
            return first.value
        self.origins[where] = Origin(first.path, first.line, _written(parts))
        return "".join(_as_text(part) for part in parts)

    def key(self, node: ScalarNode) -> str:
        parts = self.parts(node)
        if not any(isinstance(part, _Value) for part in parts):
            return strict_yaml.text_key(node)
        if isinstance(only := parts[0], _Value) and len(parts) == 1 and not isinstance(only.value, str):
            raise only.error("stands as a key and must be text")
        text = "".join(_as_text(part) for part in parts)
        if placeholder.FORM.search(text):
            hint = "give the key a name of its own"
            raise next(part for part in parts if isinstance(part, _Value)).error(_NO_KEY, hint=hint)
        return text

    def parts(self, node: ScalarNode) -> list[str | _Value]:
        """A scalar's text, with the values where their tokens stand."""
        if placeholder.OPEN in node.text:
            raise Malformed(f"the text {placeholder.COPIED}", node.place, hint=placeholder.COPIED_HINT)
        if _OPEN not in node.text:
            return [node.text]
        written = _TOKEN.findall(self.sheet.text[node.place.index : node.end])
        split = _TOKEN.split(node.text)
        if split[1::2] != written:
            raise Malformed("an escape makes the mark of a value", node.place, hint="remove the escape")
        self.unused.difference_update(map(int, written))
        parts = [self.sheet.pieces[int(part)] if index % 2 else part for index, part in enumerate(split)]
        return [part for part in parts if part and not isinstance(part, _Literal)]

    def check_all_used(self) -> None:
        for index in sorted(self.unused):
            piece = self.sheet.pieces[index]
            if isinstance(piece, _Value):
                raise piece.error("stands in a comment, where no value can be", hint="use `{# … #}` for comments")


def _everywhere(value: object, where: Path, origin: Origin) -> Iterator[tuple[Path, Origin]]:
    yield where, origin
    entries: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, entry in entries:
        yield from _everywhere(entry, (*where, key), origin)


def _as_text(part: str | _Value) -> str:
    if isinstance(part, str):
        return part
    match part.value:
        case str():
            return part.value
        case bool() | int() | float():
            return json.dumps(part.value)
        case None:
            raise part.error("is nothing, and stands inside a text", hint=_GIVE)
        case _:
            hint = "write it as the whole value, without quotes and other text, or use `| tojson`"
            raise part.error("is a mapping or a list, and stands inside a text", hint=hint)


def _written(parts: list[str | _Value]) -> str:
    """The scalar as the template has it, shortened."""
    text = "".join(part if isinstance(part, str) else f"{{{{ {part.expression} }}}}" for part in parts)
    return text if len(text) <= 200 else f"{text[:199]}…"


def read_plain(text: str, *, path: str) -> tuple[Made, ...]:
    """The documents of a plain manifest: the same YAML, without a template."""
    return tuple(_plain_document(document, path) for document in strict_yaml.load_all(text, path=path))


def _plain_document(document: strict_yaml.Document, path: str) -> Made:
    if (where := placeholder.copied(document.value)) is not None:
        raise document.error(f"the text {placeholder.COPIED}", where, hint=placeholder.COPIED_HINT)
    return Made(document.value, {where: Origin(path, place.line) for where, place in document.places.items()})
