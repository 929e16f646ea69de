"""Render tests as values: what passes, what differs and where, and what an update writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from interlock.contract import render_tests, strict_yaml
from interlock.contract.render import Rendered, render_inputs
from interlock.contract.render_tests import Case, Difference, Outcome, TemplateFiles
from interlock.contract.rules import Broken
from interlock.contract.validation import violations
from interlock.errors import FormatError, RenderError

TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ application.name }}
data:
  a: "{{ values.a | default(1) }}"
  text: |
    first
    {{ values.a | default(1) }}
"""
FILES = TemplateFiles("templates/one", {"one.yaml.j2": TEMPLATE}, None)
BODY = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "test", "namespace": "test"},
    "data": {"a": "1", "text": "first\n1\n"},
}


def case(expect: Mapping[str, Any] | None, **more: Any) -> Case:
    test = {"name": "one", **more} | ({"expect": expect} if expect is not None else {})
    (found,) = render_tests.read(strict_yaml.dump({"format": 1, "tests": [test]}), path="one.yaml")
    return found


def outcome(one: Case, files: TemplateFiles = FILES, *broken: Broken) -> Outcome:
    try:
        rendered = render_inputs(render_tests.inputs(one, files))
    except RenderError as error:
        return Outcome(error)
    return Outcome(rendered, violations(rendered.manifests, [(0, each) for each in broken]))


def judged(expect: Mapping[str, Any] | None, *broken: Broken, **more: Any) -> tuple[Difference, ...]:
    one = case(expect, **more)
    return render_tests.judge(one, outcome(one, FILES, *broken))


@pytest.mark.parametrize(
    "expect",
    [
        {"objects": [BODY]},
        {"objects": [{**BODY, "metadata": {"name": "test"}}]},
        {"match": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "test"}, "data": {"a": "1"}}]},
        {"violations": []},
    ],
)
def test_what_is_as_expected_passes(expect: Mapping[str, Any]) -> None:
    """Whole objects, with or without the namespace that is filled in; some fields; or that no rule is broken."""
    assert judged(expect) == ()


def test_a_difference_names_both_lines() -> None:
    """That of the test, and that of the template with its expression."""
    (found,) = judged({"objects": [{**BODY, "data": {**BODY["data"], "a": "2"}}]})  # type: ignore[dict-item]

    assert (found.subject, found.field, found.expected, found.rendered) == (
        "ConfigMap/test/test",
        "data.a",
        '"2"',
        '"1"',
    )
    assert found.expected_at == "one.yaml:12"
    assert found.rendered_at == "templates/one/one.yaml.j2:6 {{ values.a | default(1) }}"


def test_text_is_no_number_and_true_is_not_one() -> None:
    """Values are compared with their types."""
    for value in (1, 1.0, True):
        (found,) = judged({"match": [{**BODY, "data": {"a": value}}]})
        assert found.rendered == '"1"'


@pytest.mark.parametrize(
    ("expect", "fields"),
    [
        ({"objects": []}, [("ConfigMap/test/test", None)]),
        ({"objects": [BODY, {**BODY, "metadata": {"name": "other"}}]}, [("ConfigMap/other", "the object")]),
        ({"objects": [{**BODY, "data": {"a": "1"}}]}, [("ConfigMap/test/test", None)]),
        ({"objects": [{**BODY, "x": 1}]}, [("ConfigMap/test/test", "1")]),
        ({"match": [{**BODY, "kind": "Secret"}]}, [("Secret/test/test", "the object")]),
        ({"match": [{**BODY, "metadata": {"name": "test", "namespace": "o"}}]}, [("ConfigMap/o/test", "the object")]),
    ],
)
def test_what_is_missing_and_what_is_too_much_is_told(
    expect: Mapping[str, Any], fields: list[tuple[str, str | None]]
) -> None:
    """Of objects and of fields, with the side that has it."""
    assert [(each.subject, each.expected) for each in judged(expect)] == fields


def lists(expected: list[Any], rendered: list[Any], how: str) -> list[tuple[str, str | None, str | None]]:
    """The differences of two lists in an object, by field."""
    body = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "l": expected}
    one = case({how: [body]}, values={"l": rendered})
    template = "apiVersion: v1\nkind: A\nmetadata: {name: a}\nl: {{ values.l }}\n"
    found = render_tests.judge(one, outcome(one, TemplateFiles("t", {"a.yaml.j2": template}, None)))
    return [(each.field, each.expected, each.rendered) for each in found]


def test_items_with_names_are_compared_by_them() -> None:
    """One that is put between others is one difference; in `match`, others may stand beside."""
    a, b, c = ({"name": name, "value": name} for name in "abc")

    assert lists([a, c], [a, b, c], "objects") == [("l[1]", None, '{"name": "b", "value": "b"}')]
    assert lists([a, c], [a, b, c], "match") == []
    assert lists([c, b], [b, c], "match") == []
    assert lists([a, b], [b, a], "objects") != []
    assert lists([1, 2], [1, 2, 3], "match") == [("l[2]", None, "3")]
    assert lists([{"name": "a", "v": 1}], [b, {"name": "a", "v": 2}], "match") == [("l[1].v", "1", "2")]


RULE = Broken("requests", "deny", "every container requests memory", waivable=True)


def test_a_broken_rule_must_be_expected() -> None:
    """By name, object and severity; one that is expected and not broken is told too."""
    named = {"rule": "requests", "object": "ConfigMap/test/test"}

    assert [each.rendered for each in judged({"objects": [BODY]}, RULE)] == [
        "deny: requests: every container requests memory"
    ]
    assert judged({"violations": [named]}, RULE) == ()
    assert judged({"violations": [{**named, "message": "memory"}]}, RULE) == ()
    assert len(judged({"violations": [{**named, "message": "cpu"}]}, RULE)) == 2
    assert len(judged({"violations": [{**named, "severity": "warn"}]}, RULE)) == 2
    assert [each.expected for each in judged({"violations": [named]})] == ["deny: requests"]


def test_an_error_must_be_expected() -> None:
    """By a part of its message; an error that does not come is told, and so is one that nobody expects."""
    broken = {"environment": {"namespaces": ["other"]}, "values": {"a": {"b": 1}}}
    error = {"error": "may not stand in text"}
    message = outcome(case(error, **broken)).rendered
    assert isinstance(message, RenderError)

    assert judged({"error": message.problem}, **broken) == ()
    assert [each.rendered for each in judged({"error": "something else"}, **broken)] == [message.message]
    assert [each.rendered for each in judged({"objects": [BODY]}, **broken)] == [message.message]
    assert [(each.expected, each.rendered) for each in judged(error)] == [("may not stand in text", None)]


def test_a_test_that_expects_nothing_fails() -> None:
    """It proves nothing."""
    assert [each.field for each in judged(None)] == ["expect"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("format: 1\ntests: []\n", r"one\.yaml:2:1: tests: needs at least 1"),
        ("format: 1\ntests:\n  - name: a\n    expected: {}\n", "unknown field 'expected'"),
        ("format: 1\ntests:\n  - name: a\n    expect: {}\n", "expects nothing"),
        ("format: 1\ntests:\n  - name: a\n    expect: {match: []}\n", "at least 1"),
        ("format: 1\ntests:\n  - name: a\n    expect: {error: b, objects: []}\n", "give `error` alone"),
        ("format: 1\ntests:\n  - {name: a}\n  - {name: a}\n", r"one\.yaml:4:\d+: there are two tests 'a'"),
    ],
)
def test_a_file_of_another_form_is_told_with_its_line(text: str, complaint: str) -> None:
    """A mistake in a test never makes a test that passes."""
    with pytest.raises(FormatError, match=complaint):
        render_tests.read(text, path="one.yaml")


FILE = """\
# What stands at the top.
format: 1
tests:
  # The first one.
  - name: first
    expect:
      objects: []   # nothing yet

  - expect: {error: x}
    name: second
  - name: third
    values: {a: 1}
# The end.
"""


def test_an_update_touches_nothing_but_what_is_expected() -> None:
    """Comments, order and blank lines stay; a test that expected nothing gets its part; then all pass."""
    cases = render_tests.read(FILE, path="one.yaml")
    made = {each.index: render_tests.expectation(each, outcome(each)) for each in cases}
    text = render_tests.updated(cases[0].document, FILE, made)

    again = render_tests.read(text, path="one.yaml")
    assert [render_tests.judge(each, outcome(each)) for each in again] == [(), (), ()]
    kept = [line for line in FILE.splitlines() if "expect" not in line and "objects" not in line]
    assert [line for line in text.splitlines() if line in kept] == kept
    assert "    name: second\n" in text
    assert text.endswith("      text: |\n              first\n              1\n# The end.\n")
    assert render_tests.updated(again[0].document, text, made) == text


def test_an_update_keeps_the_form_of_what_is_expected() -> None:
    """What asks for some fields asks for them afterwards, with what is rendered; broken rules are named."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "test"}, "data": {"a": "7", "gone": "x"}}
    one = case({"match": [body]})
    new = render_tests.expectation(one, outcome(one, FILES, RULE))

    assert new == {
        "match": [{**body, "data": {"a": "1"}}],
        "violations": [{"rule": "requests", "object": "ConfigMap/test/test"}],
    }


def test_a_file_that_cannot_be_updated_is_left_alone() -> None:
    """In flow style the parts of a test have no lines of their own."""
    text = "format: 1\ntests: [{name: a}]\n"
    (one,) = render_tests.read(text, path="one.yaml")
    with pytest.raises(FormatError, match="cannot be replaced without touching the rest"):
        render_tests.updated(one.document, text, {0: {"objects": []}})


def test_rendering_a_test_reads_no_environment() -> None:
    """Its values are the file's with its own merged over them; what it is not given has plain stand-ins."""
    text = "format: 1\nvalues: {a: {b: 1, c: 1}}\ntests:\n  - name: x\n    values: {a: {c: 2}}\n"
    (one,) = render_tests.read(text, path="one.yaml")
    given = render_tests.inputs(one, FILES)

    assert given.applications[0].values == {"a": {"b": 1, "c": 2}}
    assert (given.environment, given.namespaces, list(given.applications[0].components)) == ("test", ("test",), ["web"])
    assert isinstance(render_inputs(render_tests.inputs(case(None), FILES)), Rendered)


SEALED = """\
apiVersion: v1
kind: {}
metadata:
  name: database
stringData:
  url: https://ada:{{{{ secrets.database.password }}}}@db
"""


def test_sealed_values_are_placeholders_in_a_test_too() -> None:
    """The same in every run, whatever the test gives; outside of a Secret they are an error as in an environment."""

    def rendered(kind: str, password: str) -> Rendered | RenderError:
        files = TemplateFiles("templates/one", {"one.yaml.j2": SEALED.format(kind)}, None)
        return outcome(case(None, secrets={"database": {"password": password}}), files).rendered

    first = rendered("Secret", "x")
    assert isinstance(first, Rendered)
    assert first.manifests[0].body["stringData"]["url"].startswith("https://ada:⟦sealed database.password ")
    assert first == rendered("Secret", "y")
    assert isinstance(rendered("ConfigMap", "x"), RenderError)
