"""Who may write a value, but no template, writes YAML into a manifest: another container, another key.

Number: 7
Defence: expressions never write text into YAML. The template's text is read as YAML first, then values enter the
tree (interlock/contract/template.py).
Not defended: a value that a template hands to a shell, a query or a configuration file as text: escaping there is
the template's business. A whole mapping given to `{{ values.x }}` is meant to be structure.
"""

from __future__ import annotations

import json
from typing import Any

import jinja2
import pytest
import yaml

from interlock.contract import repository
from interlock.contract.render import inputs
from tasks.common import render as process
from tests.examples_of_repositories import environment_tree

TEMPLATE = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: probe\ndata:\n  a: {{ values.a }}\n  b: {{ values.b }}\n"
)
BREAKS = {
    "line feed": "x\n  evil: '1'",
    "carriage return": "x\r  evil: '1'",
    "next line": "x\x85  evil: '1'",
    "line separator": "x\u2028  evil: '1'",
    "paragraph separator": "x\u2029  evil: '1'",
    "several lines": "|-\n    x\n  evil: '1'",
    "a closed quote": '"x"\n  evil: "1"',
    "another document": "x\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: evil}\ndata:\n  evil: '1'",
}


def plain(values: dict[str, str]) -> list[Any]:
    """As most tools render: text first, YAML after."""
    text = jinja2.Environment(autoescape=False).from_string(TEMPLATE).render(values=values)  # noqa: S701
    return list(yaml.safe_load_all(text))


def ours(values: dict[str, str]) -> Any:
    quoted = json.dumps({"port": 1, **values})
    changes = {"templates/service/extra.yaml.j2": TEMPLATE, "applications/shop/values.yaml": quoted}
    rendered = process.render_apart(inputs(repository.read(environment_tree(changes)), "dev"))
    (body,) = (each.body for each in rendered.manifests if each.identity.name == "probe")
    assert not [each for each in rendered.manifests if each.identity.name == "evil"]
    return body["data"]


@pytest.mark.parametrize("value", BREAKS.values(), ids=BREAKS)
def test_a_value_with_a_line_break_succeeds_in_adding_a_key(value: str) -> None:
    """Where text is rendered and then read, a value makes a key or an object that no template has."""
    found = plain({"a": value, "b": "harmless"})

    assert found[-1]["data"]["evil"] == "1"


@pytest.mark.parametrize("value", BREAKS.values(), ids=BREAKS)
def test_a_value_stays_one_value(value: str) -> None:
    """Whatever it holds, it is the text of the one key that the template gives it."""
    assert ours({"a": value, "b": "harmless"}) == {"a": value, "b": "harmless"}
