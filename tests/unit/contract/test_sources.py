"""From a part of a manifest to the line of the values file that it comes from."""

from __future__ import annotations

import pytest

from interlock.contract import repository
from interlock.contract.render import Manifest, render
from interlock.contract.sources import Sources
from interlock.contract.strict_yaml import Path
from tests.examples_of_repositories import environment_tree

TEMPLATE = "templates/service/extra.yaml.j2"
SHARED = "applications/shop/values.yaml"
OWN = "environments/dev/shop/values.yaml"
HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
CONTAINER = ("spec", "template", "spec", "containers", 0)


def _told(kind: str, where: Path, changes: dict[str, str | bytes | None] | None = None) -> list[str]:
    """What is said of a part of the rendered object: `name path:line`."""
    read = repository.read(environment_tree(changes or {}))
    (found,) = [each for each in render(read, "dev").manifests if each.identity.kind == kind]
    return _of(found, where, Sources(read.tree, "dev"))


def _of(manifest: Manifest, where: Path, sources: Sources) -> list[str]:
    made: object = manifest.body
    for step in where:
        made = made[step]  # type: ignore[index]
    places = sources.values(manifest.application, manifest.origin(where), manifest.within(where), made)
    return [f"{each.name} {each.path}:{each.line}" for each in places]


def _extra(data: str, values: str = "port: 1\n", own: str = "") -> list[str]:
    changes: dict[str, str | bytes | None] = {TEMPLATE: f"{data}\n", SHARED: values, OWN: own}
    return _told("ConfigMap", ("data", "a"), changes)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (("spec", "replicas"), [f"values.replicas {OWN}:1"]),
        ((*CONTAINER, "ports", 0, "containerPort"), [f"values.port {SHARED}:1"]),
        ((*CONTAINER, "env", 2, "value"), [f"values.env.GREETING {SHARED}:4"]),
        ((*CONTAINER, "env", 2, "name"), [f"values.env.GREETING {SHARED}:4"]),
        ((*CONTAINER, "image"), ["components.web.image environments/dev/shop/release.yaml:4"]),
        (("metadata", "namespace"), ["namespace environments/dev/environment.yaml:4"]),
        (("metadata", "name"), []),
        ((*CONTAINER, "resources", "requests", "cpu"), []),
        ((*CONTAINER, "imagePullPolicy"), []),
    ],
)
def test_the_built_in_set_says_which_value_made_a_field(where: Path, expected: list[str]) -> None:
    """Through loops, imports and defaults; what the template itself says has no value."""
    assert _told("Deployment", where) == expected


def test_the_file_that_wins_is_named() -> None:
    """An environment's value goes over the shared one; of a merged mapping each part is named where it stands."""
    template = HEAD + "data: {{ values.data }}"
    assert _extra(template, "port: 1\ndata:\n  a: x\n", "data:\n  b: y\n") == [f"values.data.a {SHARED}:3"]
    assert _extra(template, "port: 1\ndata:\n  a: x\n", "data:\n  a: y\n") == [f"values.data.a {OWN}:2"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('"{{ values.host }}:{{ values.port }}"', [f"values.host {SHARED}:2", f"values.port {SHARED}:1"]),
        ("{{ values.list[1] }}", [f"values.list.1 {SHARED}:5"]),
        ("{{ values.list | last }}", [f"values.list.1 {SHARED}:5"]),
        ("{{ values.get('host') }}", [f"values.host {SHARED}:2"]),
        ("{{ values.absent | default(values.host) }}", [f"values.host {SHARED}:2"]),
        ("{{ values.host if values.port else 'x' }}", [f"values.host {SHARED}:2"]),
        ("{{ values.host ~ '-x' }}", [f"values.host {SHARED}:2"]),
        ("{{ values.host | upper }}", [f"values.host {SHARED}:2"]),
        ("{{ {'k': values.host}.k }}", [f"values.host {SHARED}:2"]),
        ("{{ environment.id }}", ["environment.id environments/dev/environment.yaml:2"]),
        ("{{ 'literal' }}", []),
        ("literal", []),
    ],
)
def test_an_expression_is_followed(expression: str, expected: list[str]) -> None:
    """Concatenation, indices, methods, defaults, conditions, filters, literals."""
    values = "port: 1\nhost: h\nlist:\n  - one\n  - two\n"
    assert _extra(f"{HEAD}data:\n  a: {expression}", values) == expected


def test_what_may_be_several_is_told_by_what_holds_it() -> None:
    """Two values that both fit are not guessed between: the mapping that has them is named."""
    template = HEAD + "data:\n{% for key, value in values.env | dictsort %}\n  a: {{ value }}\n{% endfor %}"
    assert _extra(template.replace("  a:", "  {{ key }}:"), "port: 1\nenv:\n  a: same\n  b: same\n") == [
        f"values.env {SHARED}:2"
    ]


@pytest.mark.parametrize(
    "template",
    [
        "{% set x = 1 %}\n{% set x = x %}\n" + HEAD + "data: {a: {{ x | string }}}",
        "{% macro m(v) %}{{ v }}{% endmacro %}\n" + HEAD + "data: {a: {{ m(values.port | string) }}}",
    ],
)
def test_what_cannot_be_followed_is_left_out(template: str) -> None:
    """A name that is defined by itself, a macro's argument: no value is named, and nothing fails."""
    assert _extra(template) == []
