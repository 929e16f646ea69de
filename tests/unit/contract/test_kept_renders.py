"""Renders that are kept: only what changed is rendered again, and nothing secret or doubtful stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interlock.contract import kept_renders, repository
from interlock.contract.render import Inputs, apart, inputs, render_inputs
from interlock.errors import RenderError, ToolError
from tasks.common import render as process
from tasks.common import renders
from tests.examples_of_repositories import environment_tree

TEMPLATE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ application.name }}"}
data: {text: "{{ values.text | default('none') }}"}
"""


def given(changes: Mapping[str, str | None] | None = None, *, applications: Iterable[str] = ("one", "two")) -> Inputs:
    """Applications of one template set of their own, beside the example's `shop`."""
    files: dict[str, str | bytes | None] = {"templates/plain/map.yaml.j2": TEMPLATE}
    for name in applications:
        files[f"applications/{name}/application.yaml"] = "format: 1\ntemplate: plain\n"
        files[f"environments/dev/{name}/values.yaml"] = f"text: {name}\n"
    return inputs(repository.read(environment_tree(files | dict(changes or {}))), "dev")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return renders.path(tmp_path / "state")


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what a child was asked to render, in the order of their parts."""
    names: list[str] = []
    by_child = process._by_child

    def asked(part: Inputs) -> object:
        names.extend(each.name for each in part.applications)
        return by_child(part)

    monkeypatch.setattr(process, "_by_child", asked)
    return names


def test_only_what_changed_is_rendered_again(kept: Path, rendered: list[str]) -> None:
    """A second render asks a child about the application whose values changed, and gives what a full one gives."""
    process.render_apart(given(), kept=kept)
    assert sorted(rendered) == ["one", "shop", "two"]
    rendered.clear()

    changed = given({"environments/dev/two/values.yaml": "text: other\n"})
    assert process.render_apart(changed, kept=kept) == render_inputs(changed)
    assert rendered == ["two"]


@pytest.mark.parametrize(
    "changes",
    [
        {"environments/dev/one/values.yaml": "text: other\n"},
        {"applications/one/values.yaml": "more: 1\n"},
        {"environments/dev/one/manifests/more.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n"},
        {"templates/plain/map.yaml.j2": TEMPLATE + "# another\n"},
        {"templates/plain/_part.yaml.j2": "{% macro unused() %}{% endmacro %}"},
    ],
)
def test_whatever_rendering_reads_is_in_the_key(changes: dict[str, str | None]) -> None:
    """Values, plain manifests and every file of the template set make another key; another application's do not."""
    before, after = (kept_renders.keys(each, code="c") for each in (given(), given(changes)))
    assert before["one"] != after["one"]
    assert before["shop"] == after["shop"]


def test_other_code_makes_other_keys() -> None:
    """What other code rendered is not taken."""
    assert not set(kept_renders.keys(given(), code="a").values()) & set(kept_renders.keys(given(), code="b").values())


def test_a_secret_is_rendered_anew_and_never_written(kept: Path, rendered: list[str]) -> None:
    """No file of ours holds a Secret's data."""
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2-of-dev}\n"
    with_secret = given({"environments/dev/one/manifests/secret.yaml": secret})
    for _ in range(2):
        assert process.render_apart(with_secret, kept=kept) == render_inputs(with_secret)
    assert sorted(rendered) == ["one", "one", "shop", "two"]
    assert all(b"hunter2" not in file.read_bytes() for file in kept.parent.iterdir())


def test_where_a_part_comes_from_is_kept_too(kept: Path) -> None:
    """A kept manifest tells template, line and expression as a fresh one does."""
    process.render_apart(given(), kept=kept)
    one = next(m for m in process.render_apart(given(), kept=kept).manifests if m.application == "one")
    origin = one.origin(("data", "text"))
    assert (origin.path, origin.line, origin.expression) == (
        "templates/plain/map.yaml.j2",
        5,
        "{{ values.text | default('none') }}",
    )


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _no_database(file: Path) -> None:
    file.write_bytes(b"this is no database, whatever its name says" * 500)


def _other_rows(file: Path) -> None:
    with renders._opened(file) as database, database:
        database.execute("UPDATE renders SET bodies = ?", (b"[[1, 2",))


@pytest.mark.parametrize("spoil", [_cut, _no_database, _other_rows, Path.unlink])
def test_a_spoilt_file_costs_time_only(kept: Path, spoil: Callable[[Path], None]) -> None:
    """Whatever is wrong with the file, the render is right, and the one after it finds it mended."""
    process.render_apart(given(), kept=kept)
    spoil(kept)
    for _ in range(2):
        assert process.render_apart(given(), kept=kept) == render_inputs(given())
    assert len(renders.read(kept, kept_renders.keys(given(), code=renders.code()).values())) == 3


def test_runs_side_by_side_share_the_file(kept: Path) -> None:
    """Eight renders at once all give what one gives."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: process.render_apart(given(), kept=kept), range(8)))
    assert all(each == render_inputs(given()) for each in found)


def test_what_was_not_used_for_longest_is_forgotten(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is bounded: what was used last stays."""
    monkeypatch.setattr(renders, "_today", lambda: 1)
    process.render_apart(given(), kept=kept)
    monkeypatch.setattr(renders, "_today", lambda: 2)
    monkeypatch.setattr(renders, "MOST_BYTES", 1)
    changed = given({"environments/dev/two/values.yaml": "text: other\n"})
    process.render_apart(changed, kept=kept)
    found = renders.read(kept, kept_renders.keys(changed, code=renders.code()).values())
    assert 0 < len(found) < 4


def test_no_process_renders_two_template_sets() -> None:
    """Nor more applications than fit its limits: what one set's templates do, another's results never see."""
    many = given(applications=[f"app-{number}" for number in range(300)])
    parts = apart(many)
    assert [len({each.folder for each in part.applications}) for part in parts] == [1, 1, 1]
    assert sorted(len(part.applications) for part in parts) == [1, 50, 250]
    assert all(set(part.templates) == {each.folder for each in part.applications} for part in parts)


def test_doubles_of_two_parts_are_refused(kept: Path) -> None:
    """An object that two applications make is refused, though one of them was kept."""
    process.render_apart(given(), kept=kept)
    double = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n"
    with pytest.raises(RenderError, match="is made here and at"):
        process.render_apart(given({"environments/dev/shop/manifests/double.yaml": double}), kept=kept)


def test_a_child_answers_only_of_what_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that a template took over cannot speak for another application."""
    answer = render_inputs(given()).to_json()
    code = f"import json; print(json.dumps({{'rendered': {answer!r}}}))"
    monkeypatch.setattr(process, "COMMAND", (process.COMMAND[0], "-I", "-c", code))
    with pytest.raises(ToolError, match="which it was not asked about"):
        process.render_apart(given())
