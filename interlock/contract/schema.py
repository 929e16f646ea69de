"""Manifests held against schemas: a Kubernetes version's, an API server's, or those of definitions that come with them.

An unknown field is an error, with the name that was probably meant. What a schema says too much or too little of is
let pass where both occur in practice, as null for what may be missing: the API server has the last word.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError
from jsonschema_rs import ValidationErrorKind as Kinds

from interlock.contract.strict_yaml import Path

Json = Mapping[str, Any]
Kind = tuple[str, str]
"""`apiVersion` and `kind`."""

_MOST_PROBLEMS = 20
_MOST_SHOWN = 200
_RULES = "x-kubernetes-validations"
_PATTERNS = RegexOptions(size_limit=1 << 20)
"""A pattern of a definition is somebody else's: an engine without backtracking, in linear time."""


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong with one part of a manifest. Of its values, which may be secret, it holds only names of items."""

    where: Path
    message: str
    hint: str = ""

    def __str__(self) -> str:
        field = spelt(self.where)
        said = f"{field}: {self.message}" if field else self.message
        return f"{said} ({self.hint})" if self.hint else said


def spelt(where: Path) -> str:
    """A field for people: `spec.containers[0].image`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.removeprefix(".")


class Schema:
    """One kind's, compiled. `document` is a JSON Schema whose references stay within it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._validator = Draft202012Validator(
            document, pattern_options=_PATTERNS, keywords={"x-kubernetes-list-map-keys": _Keyed}, offline=True
        )

    @cached_property
    def has_rules(self) -> bool:
        """Whether the server holds such objects to rules in CEL too, which are not looked at here."""
        return _mentions(self._document, _RULES)

    def problems(self, body: dict[str, Any]) -> tuple[Problem, ...]:
        """Nothing when the object fits; finding that out takes some microseconds."""
        if self._validator.is_valid(body):
            return ()
        found = {problem for error in self._validator.iter_errors(body) for problem in self._explained(error, body)}
        return tuple(sorted(found, key=_place)[:_MOST_PROBLEMS])

    def _explained(self, error: ValidationError, body: object) -> Iterator[Problem]:
        where = tuple(error.instance_path)
        match error.kind:
            case Kinds.AdditionalProperties(unexpected=names):
                known = self._fields(error)
                yield from (Problem((*where, name), "unknown field", _meant(name, known)) for name in names)
            case Kinds.Required(property=name):
                yield Problem((*where, str(name)), "must be given")
            case Kinds.Type(types=types):
                yield Problem(where, f"must be {_named_types(types)}, not {_type(_at(body, where))}")
            case Kinds.Enum(options=options):
                yield Problem(where, f"must be one of {', '.join(str(each) for each in options if each)}")
            case Kinds.OneOfNotValid(context=branches) | Kinds.AnyOf(context=branches):
                yield Problem(where, f"must be {_alternatives(branches)}, not {_type(_at(body, where))}")
            case Kinds.Pattern(pattern=pattern):
                yield Problem(where, f"must be of the form {pattern[:_MOST_SHOWN]}")
            case Kinds.Custom(message=message):
                yield Problem(where, message)
            case other:
                yield Problem(where, f"does not keep to `{other.name}` of its schema")

    def _fields(self, error: ValidationError) -> Iterable[str]:
        """The names that the schema knows where an error is."""
        node = _at(self._document, tuple(error.schema_path)[:-1])
        fields = node.get("properties", {}) if isinstance(node, dict) else {}
        return list(fields)


def _mentions(node: object, word: str) -> bool:
    if isinstance(node, dict):
        return word in node or any(_mentions(each, word) for each in node.values())
    return isinstance(node, list) and any(_mentions(each, word) for each in node)


class _Keyed:
    """A list whose items are told apart by keys: server-side apply refuses two with the same ones."""

    _DEFAULTS: Mapping[str, object] = {"protocol": "TCP"}

    def __init__(self, _parent: object, keys: Any, _path: object) -> None:
        self._keys = tuple(str(key) for key in keys)

    def validate(self, items: Any) -> None:
        if not isinstance(items, list) or len(items) < 2:
            return
        seen = set()
        for item in items:
            if isinstance(item, dict):
                named = tuple(str(item.get(key, self._DEFAULTS.get(key))) for key in self._keys)
                if named in seen:
                    raise ValueError(f"two items have the same {' and '.join(self._keys)}: {', '.join(named)}")
                seen.add(named)


def _place(problem: Problem) -> tuple[str, str]:
    return spelt(problem.where), problem.message


def _meant(name: str, known: Iterable[str]) -> str:
    fields = sorted(known)
    by_small = {field.lower(): field for field in fields}
    close = difflib.get_close_matches(name.lower(), by_small, n=1, cutoff=0.6)
    if close:
        return f"did you mean {by_small[close[0]]}?"
    return f"known here: {', '.join(fields)}" if 0 < len(fields) <= 12 else ""


def _at(value: Any, where: Path) -> Any:
    for part in where:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}


def _named_types(types: Iterable[str]) -> str:
    return " or ".join(_TYPES[each] for each in _TYPES if each in set(types))


def _alternatives(branches: Iterable[Iterable[ValidationError]]) -> str:
    """What the branches ask for, as far as that is only a type."""
    kinds = [found.kind for branch in branches for found in branch]
    types = {each for kind in kinds if isinstance(kind, Kinds.Type) for each in kind.types}
    return _named_types(types) or "one of the forms that its schema allows"


def _type(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


# sources ---------------------------------------------------------------------------------------------


class Schemas:
    """Schemas by kind, compiled when they are asked for first."""

    def __init__(self, definitions: Mapping[str, Json], *, openapi: bool = False) -> None:
        """`definitions` are JSON Schemas by name, closed already; those of OpenAPI are closed here."""
        self._definitions = definitions
        self._openapi = openapi
        self._names = _names(definitions)
        self._compiled: dict[Kind, Schema | None] = {}

    def find(self, api_version: str, kind: str) -> Schema | None:
        """The kind's; None when there is none, or none that can be used."""
        key = api_version, kind
        if key not in self._compiled:
            name = self._names.get(key)
            self._compiled[key] = self._compile(name) if name else None
        return self._compiled[key]

    def _compile(self, name: str) -> Schema | None:
        try:
            return Schema({"$ref": f"#/$defs/{name}", "$defs": dict(self._reached(name))})
        except ValueError:  # such as a pattern in another engine's language
            return None

    def _reached(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """A definition and all that it refers to."""
        todo, seen = [name], set[str]()
        while todo:
            if (at := todo.pop()) in seen:
                continue
            seen.add(at)
            definition = self._definitions.get(at, {})
            closed = _closed(definition) if self._openapi else dict(definition)
            yield at, closed
            todo += _references(closed)


def of_definitions(bodies: Iterable[Json]) -> Mapping[Kind, Schema]:
    """The schemas that CustomResourceDefinitions among these objects give to their kinds."""
    found: dict[Kind, Schema] = {}
    for body in bodies:
        if body.get("kind") == "CustomResourceDefinition":
            found |= _defined(body)
    return found


def _defined(definition: Json) -> dict[Kind, Schema]:
    found: dict[Kind, Schema] = {}
    try:
        spec = definition["spec"]
        for version in spec["versions"]:
            document = _custom(version["schema"]["openAPIV3Schema"])
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = Schema(document)
    except (KeyError, TypeError, ValueError, AttributeError):
        return found  # what is wrong with the definition itself is told of the definition
    return found


def _custom(schema: Json) -> dict[str, Any]:
    """A custom resource's schema with what every object has."""
    embedded = {"x-kubernetes-embedded-resource": True, "type": "object", **schema}
    return _closed(embedded)


def _names(definitions: Mapping[str, Json]) -> dict[Kind, str]:
    """Definitions by the kind that they are of; those of many kinds, as DeleteOptions, are no objects."""
    found: dict[Kind, str] = {}
    for name, definition in definitions.items():
        kinds = definition.get("x-kubernetes-group-version-kind", ())
        if len(kinds) == 1:
            group, version, kind = (kinds[0][part] for part in ("group", "version", "kind"))
            found[f"{group}/{version}" if group else version, kind] = name
    return found


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value.rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


# OpenAPI ---------------------------------------------------------------------------------------------

_KEPT = (
    "enum",
    "required",
    "minimum",
    "maximum",
    "multipleOf",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-list-map-keys",
    _RULES,
)
_OBJECT = ("apiVersion", "kind", "metadata")


def _closed(node: Json, *, branch: bool = False) -> dict[str, Any]:
    """An OpenAPI v3 schema as a JSON Schema that knows no other fields.

    A `branch` of oneOf, anyOf or not only narrows what stands around it: neither closed nor open to null.
    See "Specifying a structural schema" in Kubernetes' documentation of CustomResourceDefinitions.
    """
    if "$ref" in node:
        return {"$ref": f"#/$defs/{node['$ref'].rpartition('/')[2]}"}
    made: dict[str, Any] = {key: node[key] for key in _KEPT if key in node}
    if "type" in node:
        made["type"] = node["type"] if branch else [node["type"], "null"]
    if "enum" in made and not branch:
        made["enum"] = [*made["enum"], None]
    made |= _bounds(node)
    if "items" in node:
        made["items"] = _closed(node["items"], branch=branch)
    for word in ("oneOf", "anyOf"):
        if word in node:
            made[word] = [_closed(each, branch=True) for each in node[word]]
            made[word] += [] if branch else [{"type": "null"}]
    if "allOf" in node:
        made["allOf"] = [_closed(each, branch=True) for each in node["allOf"]]
    if "not" in node:
        made["not"] = _closed(node["not"], branch=True)
    return made | _fields(node, branch=branch)


def _bounds(node: Json) -> dict[str, Any]:
    """In OpenAPI 3.0 exclusive bounds are said by true or false."""
    made = {}
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if node.get(exclusive) is True and bound in node:
            made[exclusive] = node[bound]
    return made


def _fields(node: Json, *, branch: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if isinstance(more := node.get("additionalProperties"), dict):
        made["additionalProperties"] = _closed(more, branch=branch)
    if "properties" not in node:
        return made
    made["properties"] = {name: _closed(each, branch=branch) for name, each in node["properties"].items()}
    if node.get("x-kubernetes-embedded-resource"):
        made["properties"] |= {name: {} for name in _OBJECT}
    open_ended = branch or node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if not open_ended:
        made["additionalProperties"] = False
    return made
