"""What stands for a sealed value while templates are rendered: it can be written out, and nothing else.

It cannot be compared, measured, cut or joined, so no template's output depends on what is sealed. Written out it is a
text with the digest of the ciphertext, which CD exchanges for the value where a Secret is applied. It may be a whole
value of a Secret's `data`, or stand in a text of its `stringData`; anywhere else it is an error.

Its text is no secret: `interlock render` prints it. So the bracket that it begins with is written by a `Placeholder`
alone: in values, in a template's own text and in plain manifests it is an error, whole or in parts to be joined.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from interlock.errors import RenderError

if TYPE_CHECKING:
    from interlock.contract.strict_yaml import Path
    from interlock.contract.template import Made, Origin

FORM = re.compile(r"⟦sealed [^⟦⟧]* ([0-9a-f]{32})⟧")
OPEN = "⟦"
COPIED = f"has {OPEN}, which begins the placeholder of a sealed value"
COPIED_HINT = "write `{{ secrets.… }}` in a template; a placeholder cannot be copied"
_MARK = f"{OPEN}sealed "
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]")


class Placeholder:
    """A sealed value as a template sees it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "<a sealed value>"

    def _closed(self, *_: object) -> NoReturn:
        raise TypeError(
            "a sealed value can only be written out, as `{{ secrets.name }}` in a Secret: it is not compared, "
            "measured, filtered or joined"
        )

    __str__ = __len__ = __iter__ = __eq__ = __bool__ = __hash__ = _closed
    __add__ = __radd__ = __mod__ = __contains__ = __getitem__ = __lt__ = __int__ = __float__ = _closed


def text(name: str, digest: str) -> str:
    """What is written for a value, with its name for people."""
    return f"{_MARK}{_UNFIT.sub('_', name)} {digest}⟧"


def written(value: Placeholder) -> str:
    """What it is written as."""
    return value._text


def placeholders(value: Any) -> Any:
    """The same, in which every text that is not empty is a sealed value for templates."""
    if isinstance(value, Mapping):
        return {key: placeholders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [placeholders(each) for each in value]
    return Placeholder(value) if isinstance(value, str) and value else value


def copied(body: object) -> Path | None:
    """The place of the first text in it that a placeholder could be, or begin, where none may be written."""
    return next((where for where, found in _texts(body, ()) if OPEN in found), None)


def require_placed(made: Made) -> None:
    """RenderError for a placeholder that stands where no Secret keeps its values."""
    for where, found in _texts(made.body, ()):
        if FORM.search(found) and (why := _misplaced(made.body, where, found)):
            raise _error(made, where, why)


def _misplaced(body: Any, where: Path, found: str) -> str:
    """Why a text may not have placeholders; nothing when it may."""
    kind = (body.get("apiVersion"), body.get("kind")) if isinstance(body, dict) else ()
    if kind != ("v1", "Secret") or len(where) != 2 or where[0] not in {"data", "stringData"}:
        return "only the data or stringData of a Secret (v1) can hold it"
    if FORM.search(str(where[1])):
        return "it cannot be a key"
    if where[0] == "data" and not FORM.fullmatch(found):
        return "in `data` it can only be the whole value, which is written as base64; `stringData` takes text around it"
    return ""


def _error(made: Made, where: Path, why: str) -> RenderError:
    origin = _origin(made.origins, where)
    kind = made.body.get("kind") if isinstance(made.body, dict) else None
    expression = origin.expression or "this"
    said = expression if "{{" in expression or origin.expression is None else f"{{{{ {expression} }}}}"
    place = ".".join(map(str, where)).partition(_MARK)[0].rstrip(".") or "its top"
    message = f"{said} writes a sealed value into {place} of a {kind or 'document'}: {why}"
    hint = "let the pod read it from a Secret, by `secretKeyRef`, `envFrom` or a volume"
    return RenderError(message, path=origin.path, line=origin.line, hint=hint)


def _origin(origins: Mapping[Path, Origin], where: Path) -> Origin:
    while where and where not in origins:
        where = where[:-1]
    return origins[where]


def _texts(value: object, where: Path) -> Iterator[tuple[Path, str]]:
    """Every text of a body, keys included, with its place."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield (*where, key), key
            yield from _texts(each, (*where, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts(each, (*where, index))
