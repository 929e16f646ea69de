"""templates/<set>/values.schema.json: values that do not fit are refused where they are rendered, with their line."""

from __future__ import annotations

import json

import pytest

from interlock.contract import kept_renders, layout
from interlock.contract.render import Rendered, inputs
from interlock.contract.repository import read
from interlock.errors import RenderError
from tasks.common import render as process
from tests import examples_of_repositories as example

PORT = {"properties": {"port": {"type": "integer", "maximum": 9000}, "env": {"type": "object"}}}


def rendered(schema: object, **changes: str) -> Rendered:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    files = {"templates/service/values.schema.json": text}
    files |= {path: changes[name] for name, path in PATHS.items() if name in changes}
    return process.render_environment.fn(read(example.environment_tree(files)), "dev")


PATHS = {"shared": layout.shared_values("shop"), "own": layout.values("dev", "shop")}


def test_values_that_fit_are_rendered() -> None:
    """The merged ones count: what the shared file leaves out, the environment's may give."""
    schema = {**PORT, "required": ["port"]}

    assert rendered(schema).manifests
    assert rendered(schema, shared="health: /\n", own="port: 80\n").manifests


@pytest.mark.parametrize(
    ("shared", "own", "said"),
    [
        ("port: http\n", "", "applications/shop/values.yaml:1: the values of shop: port: must be a whole number"),
        ("port: 80\n", "# x\nport: x\n", "environments/dev/shop/values.yaml:2: the values of shop: port: "),
        ("port: 80\n", "port: 9999\n", "environments/dev/shop/values.yaml:1: the values of shop: port: "),
        ("port: 80\nenv:\n", "", "applications/shop/values.yaml:2: the values of shop: env: must be a mapping"),
        ("health: /\n", "env: {}\n", "environments/dev/shop/values.yaml: the values of shop: port: must be given"),
        (
            "port: x\nenv: 1\n",
            "",
            "applications/shop/values.yaml:2: the values of shop: env: must be a mapping, not a nu",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_line(shared: str, own: str, said: str) -> None:
    """Of the file that gives it; what is missing is told of the environment's."""
    with pytest.raises(RenderError) as caught:
        rendered({**PORT, "required": ["port"]}, shared=shared, own=own)
    assert caught.value.message.startswith(said)
    assert caught.value.hint == "templates/service/values.schema.json says what they may be"


@pytest.mark.parametrize(
    "schema",
    [
        "{",
        "[]",
        '{"type": 1}',
        '{"$ref": "https://example.org/x"}',
        '{"$ref": "file:///etc/passwd"}',
        '{"pattern": "("}',
    ],
)
def test_what_is_no_schema_of_its_own_is_refused(schema: str) -> None:
    """Nothing is fetched, and nothing passes unseen."""
    with pytest.raises(RenderError, match=r"templates/service/values\.schema\.json: this is no JSON Schema"):
        rendered(schema)


def test_a_hostile_schema_ends_with_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that multiplies itself is stopped with its process, as a template is."""
    monkeypatch.setattr(process, "TIMEOUT_SECONDS", 3)
    rungs = {f"r{n}": {"allOf": [{"$ref": f"#/$defs/r{n + 1}"}] * 8} for n in range(12)}
    schema = {"$ref": "#/$defs/r0", "$defs": {**rungs, "r12": {"properties": {"port": {"type": "integer"}}}}}
    with pytest.raises(RenderError, match="takes too much time or memory"):
        rendered(schema)


def test_a_schema_is_part_of_what_a_kept_render_rests_on() -> None:
    """Another schema is judged anew."""
    trees = [example.environment_tree({"templates/service/values.schema.json": text}) for text in ("{}", '{"not": {}}')]
    keys = [kept_renders.keys(inputs(read(tree), "dev"), code="x")["shop"] for tree in trees]

    assert keys[0] != keys[1]
