"""Render tests: what a template set must make of values. Decides what a test renders, and whether that was expected."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.contract import strict_yaml
from interlock.contract.manifest import Manifest
from interlock.contract.models import RenderTest, RenderTestFile
from interlock.contract.render import ApplicationInputs, Inputs, Rendered, component, stand_ins
from interlock.contract.repository import merge
from interlock.contract.schema import spelt
from interlock.contract.strict_yaml import Document, Path
from interlock.contract.validation import Violation
from interlock.errors import FormatError, RenderError

_TESTS = "tests"
_MOST_SHOWN = 300


@dataclass(frozen=True)
class TemplateFiles:
    """A template set: `folder` as messages name it, its templates by name, and its values.schema.json if it has one."""

    folder: str
    templates: Mapping[str, str]
    schema: str | None


@dataclass(frozen=True)
class Case:
    """One test, and where it stands."""

    test: RenderTest
    values: Mapping[str, Any]
    document: Document
    index: int

    @property
    def line(self) -> int:
        return self.document.line((_TESTS, self.index))

    @property
    def place(self) -> str:
        return f"{self.document.path}:{self.line}"

    def at(self, *where: str | int) -> str:
        """The line of a part of what is expected, or of the nearest part around it that is there."""
        return f"{self.document.path}:{self.document.line((_TESTS, self.index, 'expect', *where))}"


@dataclass(frozen=True)
class Outcome:
    """What a test rendered to, or why it could not be; and which rules and schemas that breaks."""

    rendered: Rendered | RenderError
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class Difference:
    """One thing that is not as expected: of which object, or of none, which field, and where both sides stand.

    A side that is None is not there. Texts are for people: JSON, or the lines of a long text.
    """

    subject: str
    field: str
    expected: str | None
    rendered: str | None
    expected_at: str
    rendered_at: str = ""


def read(text: str, *, path: str) -> tuple[Case, ...]:
    """The tests of a file. FormatError when it has another form, or two tests of one name."""
    document = strict_yaml.load(text, path=path)
    file = strict_yaml.validate(document, RenderTestFile)
    seen: set[str] = set()
    for index, test in enumerate(file.tests):
        if test.name in seen:
            raise document.error(f"there are two tests {test.name!r}", (_TESTS, index, "name"), hint="rename one")
        seen.add(test.name)
    return tuple(Case(test, merge(file.values, test.values), document, index) for index, test in enumerate(file.tests))


def inputs(case: Case, files: TemplateFiles) -> Inputs:
    """What rendering the test reads: nothing of any environment."""
    test = case.test
    application = ApplicationInputs(
        name=test.application,
        values=case.values,
        components={
            name: component(each.image, each.source.repository, each.source.commit)
            for name, each in sorted(test.components.items())
        },
        folder=files.folder,
        manifests={},
        secrets=stand_ins(test.secrets),
    )
    return Inputs(
        environment=test.environment.name,
        id=test.environment.id,
        namespaces=test.environment.namespaces,
        applications=(application,),
        templates={files.folder: files.templates},
        awaiting=(),
        cluster_kinds=test.environment.cluster_kinds,
        values_schemas={files.folder: files.schema} if files.schema is not None else {},
    )


# judging ---------------------------------------------------------------------------------------------


def judge(case: Case, outcome: Outcome) -> tuple[Difference, ...]:
    """Everything that is not as the test expects it; nothing when it passes."""
    expect = case.test.expect
    if expect is None:
        return (Difference("", "expect", None, None, case.place),)
    if isinstance(outcome.rendered, RenderError):
        message = outcome.rendered.message
        if expect.error and expect.error in message:
            return ()
        return (Difference("", "error", expect.error or None, message, case.at("error")),)
    if expect.error:
        return (Difference("", "error", expect.error, None, case.at("error")),)
    manifests = outcome.rendered.manifests
    return (
        *(_whole(case, expect.objects, manifests) if expect.objects is not None else ()),
        *_matching(case, expect.match, manifests),
        *_violations(case, outcome.violations),
    )


def _whole(case: Case, expected: Sequence[Mapping[str, Any]], manifests: Sequence[Manifest]) -> Iterator[Difference]:
    left = list(manifests)
    for index, body in enumerate(expected):
        where = ("objects", index)
        if found := _found(body, left, case):
            left.remove(found)
            yield from _differences(case, _filled(body, found), found, where, partial=False)
        else:
            yield Difference(_named(body), "", "the object", None, case.at(*where))
    for each in left:
        yield Difference(_named(each.body), "", None, "the object", case.at("objects"), _line(each))


def _matching(case: Case, expected: Sequence[Mapping[str, Any]], manifests: Sequence[Manifest]) -> Iterator[Difference]:
    for index, body in enumerate(expected):
        where = ("match", index)
        if found := _found(body, manifests, case):
            yield from _differences(case, body, found, where, partial=True)
        else:
            rendered = ", ".join(_named(each.body) for each in manifests) or "no object"
            yield Difference(_named(body), "", "the object", rendered, case.at(*where))


def _found(body: Mapping[str, Any], manifests: Iterable[Manifest], case: Case) -> Manifest | None:
    """The object that a body is about; without a namespace it is that of the environment's first, or in none."""
    wanted = _key(body)
    spaces = {wanted[2]} if wanted[2] else {None, case.test.environment.namespaces[0]}
    for each in manifests:
        version, kind, namespace, name = _key(each.body)
        if (version, kind, name) == (wanted[0], wanted[1], wanted[3]) and namespace in spaces:
            return each
    return None


def _filled(body: Mapping[str, Any], manifest: Manifest) -> Mapping[str, Any]:
    """An expected object with the namespace that rendering fills in."""
    namespace = manifest.body["metadata"].get("namespace")
    return merge({"metadata": {"namespace": namespace}}, body) if namespace else body


def _key(body: Mapping[str, Any]) -> tuple[object, object, object, object]:
    metadata = body.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    return body.get("apiVersion"), body.get("kind"), metadata.get("namespace"), metadata.get("name")


def _named(body: Mapping[str, Any]) -> str:
    _, kind, namespace, name = _key(body)
    return "/".join(str(part) for part in (kind or "object", namespace, name) if part)


def _line(manifest: Manifest, where: Path = ()) -> str:
    """The template line that made a part, and its expression: part of a text stands in braces already."""
    origin = manifest.origin(where)
    if origin.expression is None:
        return f"{origin.path}:{origin.line}"
    expression = origin.expression if "{{" in origin.expression else f"{{{{ {origin.expression} }}}}"
    return f"{origin.path}:{origin.line} {expression}"


# comparing -------------------------------------------------------------------------------------------


_MISSING = object()
"""Stands for what is not there; null is something."""


@dataclass(frozen=True)
class _Pair:
    """Both sides of one field, each with its path in its own document."""

    expected: object
    rendered: object
    expected_path: Path
    rendered_path: Path


def _differences(
    case: Case, body: Mapping[str, Any], manifest: Manifest, where: Path, *, partial: bool
) -> Iterator[Difference]:
    for pair in _unequal(_Pair(body, manifest.body, (), ()), partial=partial):
        yield Difference(
            _named(manifest.body),
            spelt(pair.rendered_path),
            _shown(pair.expected),
            _shown(pair.rendered),
            case.at(*where, *pair.expected_path),
            _line(manifest, pair.rendered_path),
        )


def _unequal(pair: _Pair, *, partial: bool) -> Iterator[_Pair]:
    expected, rendered = pair.expected, pair.rendered
    if isinstance(expected, Mapping) and isinstance(rendered, Mapping):
        names = list(expected) if partial else [*expected, *(key for key in rendered if key not in expected)]
        pairs: Iterable[_Pair] = [_below(pair, key, key) for key in names]
    elif isinstance(expected, list) and isinstance(rendered, list):
        pairs = _aligned(pair, partial=partial)
    elif _same(expected, rendered):
        return
    else:
        yield pair
        return
    for each in pairs:
        yield from _unequal(each, partial=partial)


def _same(expected: object, rendered: object) -> bool:
    """Equal as JSON: true is not 1, and no number is a text."""
    return type(expected) is type(rendered) and expected == rendered


def _below(pair: _Pair, expected: str | int | None, rendered: str | int | None) -> _Pair:
    """An entry of each side; None for none."""
    return _Pair(
        _entry(pair.expected, expected),
        _entry(pair.rendered, rendered),
        (*pair.expected_path, *(() if expected is None else (expected,))),
        (*pair.rendered_path, *(() if rendered is None else (rendered,))),
    )


def _entry(value: Any, key: str | int | None) -> object:
    if key is None or (isinstance(value, Mapping) and key not in value):
        return _MISSING
    return value[key]


def _aligned(pair: _Pair, *, partial: bool) -> Iterable[_Pair]:
    """The items of two lists side by side: by their names where all have one of their own, else by their place."""
    expected, rendered = _names(pair.expected), _names(pair.rendered)
    if expected is None or rendered is None or (not partial and _moved(expected, rendered)):
        longest = max(len(_list(pair.expected)), len(_list(pair.rendered)))
        return [
            _below(pair, *(at if at < len(_list(side)) else None for side in (pair.expected, pair.rendered)))
            for at in range(longest)
        ]
    names = list(expected) if partial else [*expected, *(name for name in rendered if name not in expected)]
    return [_below(pair, expected.get(name), rendered.get(name)) for name in names]


def _moved(expected: Mapping[str, int], rendered: Mapping[str, int]) -> bool:
    """Whether what both have comes in another order, which may mean something."""
    return [name for name in expected if name in rendered] != [name for name in rendered if name in expected]


def _names(items: object) -> dict[str, int] | None:
    named = {
        item["name"]: index
        for index, item in enumerate(_list(items))
        if isinstance(item, Mapping) and isinstance(item.get("name"), str)
    }
    return named if len(named) == len(_list(items)) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _shown(value: object) -> str | None:
    if value is _MISSING:
        return None
    if isinstance(value, str) and "\n" in value:
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


# rules -----------------------------------------------------------------------------------------------


def _violations(case: Case, found: Iterable[Violation]) -> Iterator[Difference]:
    expect = case.test.expect
    expected = expect.violations if expect else ()
    left = list(found)
    for index, each in enumerate(expected):
        met = [
            violation
            for violation in left
            if (violation.rule, violation.subject, violation.severity) == (each.rule, each.object, each.severity)
            and each.message in violation.message
        ]
        if not met:
            wanted = f"{each.severity}: {each.rule}{': …' + each.message + '…' if each.message else ''}"
            yield Difference(each.object, "violation", wanted, None, case.at("violations", index))
        left = [violation for violation in left if violation not in met]
    for violation in left:
        said = f"{violation.severity}: {violation.rule}: {violation.message}"
        at = f"{violation.origin.path}:{violation.origin.line}"
        yield Difference(violation.subject, "violation", None, said, case.at("violations"), at)


# writing ---------------------------------------------------------------------------------------------


def expectation(case: Case, outcome: Outcome) -> dict[str, Any]:
    """What the test would have to expect to pass, in the form in which it expects something now."""
    expect = case.test.expect
    if isinstance(outcome.rendered, RenderError):
        return {"error": outcome.rendered.problem}  # without the place, which changes with every line above it
    made: dict[str, Any] = {}
    manifests = outcome.rendered.manifests
    if expect and expect.match:
        met = ((body, _found(body, manifests, case)) for body in expect.match)
        made["match"] = [_as_rendered(body, found.body) for body, found in met if found]
    violations = dict.fromkeys((each.rule, each.subject, each.severity) for each in outcome.violations)
    if violations or (expect and "violations" in expect.model_fields_set):
        made["violations"] = [_expected_violation(*each) for each in violations]
    if not made.get("match") and (expect is None or expect.objects is not None or "violations" not in made):
        return {"objects": [each.body for each in manifests], **made}
    return made


def _expected_violation(rule: str, subject: str, severity: str) -> dict[str, str]:
    return {"rule": rule, "object": subject} | ({"severity": severity} if severity != "deny" else {})


def _as_rendered(expected: object, rendered: object) -> object:
    """The fields of `expected` that are rendered, with what was rendered."""
    if isinstance(expected, Mapping) and isinstance(rendered, Mapping):
        return {key: _as_rendered(entry, rendered[key]) for key, entry in expected.items() if key in rendered}
    if isinstance(expected, list) and isinstance(rendered, list):
        pairs = _aligned(_Pair(expected, rendered, (), ()), partial=True)
        return [_as_rendered(each.expected, each.rendered) for each in pairs if each.rendered is not _MISSING]
    return rendered


def updated(document: Document, text: str, expectations: Mapping[int, Mapping[str, Any]]) -> str:
    """The file's text with other expectations, by the tests' places in the list; what stands around them stays.

    FormatError when a test is not written in block style, where lines are its own.
    """
    lines = text.splitlines(keepends=True)
    for index in sorted(expectations, reverse=True):
        lines = _with_expectation(document, lines, index, expectations[index])
    changed = "".join(lines)
    _check_only_expectations(document, changed, expectations)
    return changed


def _with_expectation(document: Document, lines: list[str], index: int, value: Mapping[str, Any]) -> list[str]:
    key = (_TESTS, index, "expect")
    there = key in document.places
    place = document.place(key if there else (_TESTS, index))
    margin = place.column - 1
    first = place.line - 1
    end = _end(lines, first, margin if there else margin - 1)
    start = first if there else end
    head = lines[first][:margin] if there else " " * margin
    block = strict_yaml.dump({"expect": value}).splitlines(keepends=True)
    if start and not lines[start - 1].endswith("\n"):
        lines[start - 1] += "\n"
    written = [f"{head if at == 0 else ' ' * margin}{line}" if line.strip() else line for at, line in enumerate(block)]
    return [*lines[:start], *written, *lines[end:]]


def _end(lines: Sequence[str], first: int, margin: int) -> int:
    """The line behind a block: the first that stands no further right than its margin; blank ones before it stay."""
    end = next(
        (at for at in range(first + 1, len(lines)) if lines[at].strip() and _margin(lines[at]) <= margin), len(lines)
    )
    while end > first + 1 and not lines[end - 1].strip():
        end -= 1
    return end


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _check_only_expectations(document: Document, changed: str, expectations: Mapping[int, Mapping[str, Any]]) -> None:
    """Nothing else may have changed, whatever the file looks like."""
    before: Any = document.value
    wanted = {
        **before,
        _TESTS: [
            {**test, "expect": expectations[index]} if index in expectations else test
            for index, test in enumerate(before[_TESTS])
        ],
    }
    try:
        same = strict_yaml.load(changed, path=document.path).value == json.loads(json.dumps(wanted))
    except FormatError:
        same = False
    if not same:
        where = (_TESTS, min(expectations))
        hint = "write each entry of a test on lines of its own, indented by spaces"
        raise document.error("what is expected here cannot be replaced without touching the rest", where, hint=hint)
