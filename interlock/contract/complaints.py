"""A model's objections in our words: the first with its place in the file, and how many more there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from interlock.contract.models import MEANINGS

if TYPE_CHECKING:
    from interlock.contract.strict_yaml import Document
    from interlock.errors import FormatError


def complain(error: ValidationError, document: Document, model: type[BaseModel]) -> FormatError:
    """The error to raise for a document that does not fit its model."""
    found = sorted(_told(error.errors()), key=lambda each: document.place(_where(each)).index)
    first, others = found[0], len(found) - 1
    message, hint = _sentence(first, model)
    if others:
        message += f" (and {others} more {'problem' if others == 1 else 'problems'} in this file)"
    return document.error(message, _where(first), hint=hint)


def _told(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are too short only as pydantic does not count items with something wrong in them."""
    places = [_where(each) for each in errors]
    return [
        each
        for each, place in zip(errors, places, strict=True)
        if each["type"] != "too_short"
        or not any(other[: len(place)] == place and len(other) > len(place) for other in places)
    ]


def _where(error: ErrorDetails) -> tuple[str | int, ...]:
    return tuple(part for part in error["loc"] if part != "[key]")


def _sentence(error: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    where, kind = _where(error), error["type"]
    name = ".".join(str(part) for part in where) or "the file"
    if kind == "extra_forbidden":
        return f"unknown field {where[-1]!r}", f"known fields here: {', '.join(_fields(model, where[:-1]))}"
    if kind == "missing":
        return f"the field {where[-1]!r} is missing", f"add {name}"
    if kind in _EXPECTED:
        return f"{name} must be {_EXPECTED[kind]}, not {_kind(error['input'])}", ""
    return f"{name}: {_objection(error)}", ""


def _objection(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "string_pattern_mismatch":
            return f"{_short(error['input'])} is not {_meaning(context)}"
        case "literal_error":
            return f"{_short(error['input'])} is not {context['expected']}"
        case "too_short":
            return f"needs at least {context['min_length']}"
        case "value_error":
            return str(context["error"])
        case _:
            return f"{error['msg'][:1].lower()}{error['msg'][1:]}"


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "date_type": "a day such as 2030-12-31",
    "date_parsing": "a day such as 2030-12-31",
    "date_from_datetime_parsing": "a day such as 2030-12-31",
}


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return _short(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _meaning(context: Mapping[str, Any]) -> str:
    pattern = context["pattern"]
    return MEANINGS.get(pattern, f"of the form {pattern}")


def _fields(model: type[BaseModel], where: tuple[str | int, ...]) -> list[str]:
    """The fields of the model that stands at `where` inside another."""
    for part in where:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
