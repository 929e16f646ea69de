"""Each field of a plan says which line of Git made it."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import pytest

from interlock.cd.explain import explained, located
from interlock.cd.objects import ItemKey, Path
from interlock.cd.plan import Action, FieldChange, Plan, PlanItem
from interlock.contract import repository
from interlock.contract.render import Manifest, Rendered, render
from interlock.contract.template import LateOrigins, Origin
from tests.examples_of_repositories import environment_tree

TREE = environment_tree(
    {
        "environments/dev/shop/manifests/s.yaml": """\
apiVersion: v1
kind: Secret
metadata:
  name: s
stringData:
  password: hunter2
"""
    }
)
RENDERED = render(repository.read(TREE), "dev")
WEB = ItemKey((("name", "web"),))


def _plan(kind: str, *fields: FieldChange, action: Action = Action.CHANGE) -> Plan:
    (found,) = [each for each in RENDERED.manifests if each.identity.kind == kind]
    return Plan("dev", "c" * 40, (PlanItem(found.identity, action, fields=fields),))


def _change(at: Path, **more: str) -> FieldChange:
    return FieldChange("x", "1", "2", "", "", more.get("kind", "change"), at=at)  # type: ignore[arg-type]


def _explained(plan: Plan) -> PlanItem:
    return explained(plan, RENDERED.manifests, TREE).items[0]


def test_a_field_names_template_line_expression_and_value() -> None:
    """Through the path that people read, with items by their keys."""
    item = _explained(_plan("Deployment", _change(("spec", "template", "spec", "containers", WEB, "image"))))
    (field,) = item.fields
    assert field.origin is not None
    assert (field.origin.path, field.origin.expression) == (
        "templates/service/deployment.yaml.j2",
        "components[component].image",
    )
    assert [(each.name, each.path) for each in field.values] == [
        ("components.web.image", "environments/dev/shop/release.yaml")
    ]
    assert item.origin is not None
    assert (item.origin.path, item.origin.line) == ("templates/service/deployment.yaml.j2", 2)


@pytest.mark.parametrize("at", [("data", "password"), ("stringData", "password")])
def test_a_plain_manifest_is_named_by_its_line(at: Path) -> None:
    """Also where the cluster has it as `data` and Git as `stringData`."""
    (field,) = _explained(_plan("Secret", _change(at))).fields
    assert field.origin is not None
    assert (field.origin.path, field.origin.line) == ("environments/dev/shop/manifests/s.yaml", 6)


def test_of_a_masked_field_only_the_line_is_told() -> None:
    """What stands in the template around an expression may be the secret."""
    origin = Origin("templates/service/s.yaml.j2", 5, "postgres://app:hunter2@{{ values.host }}/db")
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}, "stringData": {"url": "…"}}
    secret = Manifest(body, "shop", {(): origin, ("stringData", "url"): origin})
    field = replace(_change(("data", "url")), masked=True)
    plan = explained(
        Plan("dev", "c" * 40, (PlanItem(secret.identity, Action.CHANGE, fields=(field,)),)), [secret], TREE
    )
    assert "hunter2" not in repr(plan)
    assert plan.items[0].fields[0].origin == Origin(origin.path, origin.line)


@pytest.mark.parametrize("field", [_change(("spec", "paused")), _change(("spec", "replicas"), kind="foreign")])
def test_what_git_does_not_make_has_no_line(field: FieldChange) -> None:
    """A field that goes, a default, what is foreign."""
    (found,) = _explained(_plan("Deployment", field)).fields
    assert found.origin is None


def test_nothing_is_read_for_what_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan in which nothing is told of decodes no origin, however many objects there are."""

    def read(_: LateOrigins) -> NoReturn:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(LateOrigins, "_origins", property(read))
    late = Rendered.from_json(RENDERED.to_json())
    plan = _plan("Deployment", action=Action.UNCHANGED)
    assert explained(plan, late.manifests, TREE) is plan


@pytest.mark.parametrize(
    ("path", "expected"),
    [((), ()), (("a", ItemKey((("name", "y"),)), "v"), ("a", 1, "v")), (("a", 2), None), (("b",), None)],
)
def test_keyed_items_are_found_by_their_place(path: Path, expected: tuple[str | int, ...] | None) -> None:
    """What is not there has no place."""
    assert located({"a": [{"name": "x"}, {"name": "y", "v": 1}]}, path) == expected
