"""Values that no template reads are told of; those that one may read are not."""

from __future__ import annotations

import json

import pytest

from interlock.contract import layout, repository
from interlock.contract.render import inputs, render
from tasks.common.render import render_apart
from tasks.common.validate import validate_offline
from tests.examples_of_repositories import environment_tree

VALUES = layout.values("dev", "shop")
SHARED = layout.shared_values("shop")
TEMPLATE = "templates/service/extra.yaml.j2"
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: extra}}\ndata:\n  a: {}\n"


def unread(values: str, template: str = MAP.format("x")) -> list[str]:
    tree = environment_tree({VALUES: values, TEMPLATE: template})
    return [str(each) for each in render(repository.read(tree), "dev").unread]


def test_everything_that_the_example_gives_is_read() -> None:
    """Values under a name, a mapping that a loop goes through, one that is there for a default."""
    assert render(repository.read(environment_tree()), "dev").unread == ()


def test_a_typo_is_told_with_what_was_meant() -> None:
    """The name that a template asked for and nobody gave."""
    assert unread("replcas: 3\n") == ["shop: no template reads the value replcas; did you mean replicas?"]
    assert unread("zzz: 3\n") == ["shop: no template reads the value zzz"]


@pytest.mark.parametrize(
    "expression",
    [
        "{{ values.mine.one }}{{ values.mine.two.three }}",
        "{{ values['mine']['one'] }}{{ values.mine.two | tojson }}",
        "{{ values.mine | tojson }}",
        "{{ values.mine | dictsort | list | length }}{{ values.mine.two.three }}",
        'x\n{% for key, value in values.mine.items() %}\n  {{ key }}: "{{ value | tojson }}"\n{% endfor %}',
        "x\n  b: {{ values.mine | tojson }}",
    ],
)
def test_what_is_read_is_not_told(expression: str) -> None:
    """By name, by key, as a whole, in a loop, through a filter."""
    text = MAP.format(expression if expression.startswith("x") else f'"{expression}"')
    assert unread("mine: {one: 1, two: {three: 3}}\n", text) == []


def test_only_the_first_of_a_branch_is_told() -> None:
    """A mapping that nobody asked for stands for all that is in it; what is beside what is read stands alone."""
    assert unread("qqq: {aaaa: 1, bbbb: {cccc: 2}}\n") == ["shop: no template reads the value qqq"]
    found = unread("mine: {one: 1, ttwo: 2}\n", MAP.format('"{{ values.mine.one }}{{ values.mine.two | default(1) }}"'))
    assert found == ["shop: no template reads the value mine.ttwo; did you mean two?"]


def test_what_another_condition_would_read_is_not_told() -> None:
    """A name that stands in a template may be read another time."""
    text = MAP.format('"{% if values.wanted %}{{ values.host }}{% endif %}"')
    assert unread("wanted: false\nhost: a.example\n", text) == []


def test_values_are_what_they_were() -> None:
    """Watching changes no result: comparisons, lengths, membership, defaults."""
    text = MAP.format(
        "\"{{ values.mine == {'a': 1} }} {{ values.mine | length }} {{ 'a' in values.mine }} "
        '{{ values.mine is mapping }} {{ values.mine.b | default(7) }}"'
    )
    tree = environment_tree({VALUES: "mine: {a: 1}\n", TEMPLATE: text})
    (body,) = [each.body for each in render(repository.read(tree), "dev").manifests if each.body["kind"] == "ConfigMap"]
    assert body["data"]["a"] == "true 1 true true 7"


def test_the_child_tells_too_and_the_line_is_found() -> None:
    """From the render process to the note with file and line, in the environment's values and the shared ones."""
    read = repository.read(environment_tree({VALUES: "replcas: 3\n", SHARED: "port: 1\nhealth: /\nshred: 1\n"}))
    rendered = render_apart(inputs(read, "dev"))
    assert json.loads(json.dumps(rendered.to_json()))["unread"]
    assert validate_offline.fn(read, rendered).notes == (
        f"shop: no template reads the value shred ({SHARED}:3)",
        f"shop: no template reads the value replcas; did you mean replicas? ({VALUES}:1)",
    )
