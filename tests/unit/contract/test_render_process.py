"""Rendering in a child process: the same result, the same errors, and limits that hold."""

from __future__ import annotations

import json

import pytest

from interlock.contract import repository
from interlock.contract.render import Inputs, inputs, render
from interlock.errors import RenderError, ToolError
from tasks.common import render as process
from tests.examples_of_repositories import environment_tree

TEMPLATE = "templates/service/extra.yaml.j2"


def given(template: str = "", values: str = "port: 1\n") -> Inputs:
    changes = {TEMPLATE: template, "applications/shop/values.yaml": values}
    return inputs(repository.read(environment_tree(changes)), "dev")


def test_the_child_renders_what_we_render() -> None:
    """Manifests and origins are the same as in this process."""
    found = repository.read(environment_tree())
    assert process.render_environment.fn(found, "dev") == render(found, "dev")


def test_every_filter_is_there_before_files_are_not() -> None:
    """What Jinja2 imports at a filter's first use is imported before the child gives up files."""
    rendered = process.render_apart(
        given("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ 'a b' | wordwrap(1) }}}\n")
    )
    assert [m.body["data"] for m in rendered.manifests if m.identity.name == "a"] == [{"a": "a\nb"}]


def test_errors_come_back() -> None:
    """A RenderError of the child is the same error here: message, path, line, hint."""
    with pytest.raises(RenderError) as refusal:
        process.render_apart(given("a: 1\nb: {{ values.x }}\n"))
    assert str(refusal.value) == (
        f"{TEMPLATE}:2: {{{{ values.x }}}} reads 'x', which is not given\n"
        "  hint: give it in a values.yaml, or write `| default(…)` behind it"
    )
    assert (refusal.value.path, refusal.value.line) == (TEMPLATE, 2)


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("a: {{ 'a' * 4000000000 }}", "needs more than 1024 MiB"),
        ("a: {{ '%4000000000d' | format(1) }}", "needs more than 1024 MiB"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a}\na: {{ [values.x] * 1000 }}", "makes more than 64 MiB"),
    ],
)
def test_a_greedy_template_ends_with_one_error(template: str, complaint: str) -> None:
    """Memory is limited, and so is the answer."""
    with pytest.raises(RenderError, match=complaint):
        process.render_apart(given(template, f"port: 1\nx: {'y' * 100_000}\n"))


def test_an_endless_template_ends_with_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is limited."""
    monkeypatch.setattr(process, "TIMEOUT_SECONDS", 1)
    loops = "".join(f"{{% for {name} in values.x %}}" for name in "abcdef") + "{% endfor %}" * 6
    with pytest.raises(RenderError, match="takes too much time or memory"):
        process.render_apart(given(loops, "port: 1\nx: [" + "1," * 500 + "1]\n"))


def test_the_child_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no environment variable of ours, and can open no file once it reads its input."""
    monkeypatch.setenv("INTERLOCK_TEST_SECRET", "hunter2")
    code = (
        "import os, sys; from tasks.common import confined, render_child as c; c.warm_up(); confined.confine();"
        "print(sorted(os.environ))\n"
        "try: open('/etc/hostname')\n"
        "except OSError as error: print(error.strerror)"
    )
    monkeypatch.setattr(process, "COMMAND", (process.COMMAND[0], "-I", "-c", code))
    with pytest.raises(ToolError, match=r"\[.*'LC_ALL'.*\]\\nOperation not permitted") as failure:
        process.render_apart(given())
    assert "SECRET" not in str(failure.value)


def test_a_child_that_breaks_is_a_failed_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of another form, or none, is never taken for a render."""
    for code, complaint in (
        ("print('{}')", "answered something else"),
        ("print('[1]')", "answered something else"),
        ("raise SystemExit('gone')", "ended with 1: gone"),
    ):
        monkeypatch.setattr(process, "COMMAND", (process.COMMAND[0], "-I", "-c", code))
        with pytest.raises(ToolError, match=complaint):
            process.render_apart(given())


def test_what_the_child_says_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that a template took over cannot hand back what rendering refuses."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}
    manifests = [{"body": node, "application": "a", "origins": []}]
    answer = json.dumps({"rendered": {"environment": "dev", "awaiting": [], "manifests": manifests}})
    monkeypatch.setattr(process, "COMMAND", (process.COMMAND[0], "-I", "-c", f"print({answer!r})"))
    with pytest.raises(RenderError, match="Node a: belongs to no namespace"):
        process.render_apart(given())
