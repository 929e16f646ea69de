"""Rendering in processes of their own: templates are other people's programs, however tame."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from interlock.contract import kept_renders
from interlock.contract.kept_renders import Kept
from interlock.contract.manifest import Manifest
from interlock.contract.render import Inputs, Rendered, apart, checked, inputs, only, whole
from interlock.contract.repository import Repository
from interlock.errors import RenderError, ToolError
from tasks.common import renders
from tasks.common.confined import ask
from tasks.common.effect import effect

COMMAND = (sys.executable, "-I", "-m", "tasks.common.render_child")
TIMEOUT_SECONDS = 30


@effect(name="render", task_run_name="render {environment}", retries=1)
def render_environment(
    repository: Repository, environment: str, placeholder: str | None = None, kept: Path | None = None
) -> Rendered:
    """The environment's manifests, as `interlock.contract.render.render` makes them. RenderError when it cannot.

    `kept` is a file of ours with what was rendered before: only applications whose inputs changed are rendered again.
    """
    return render_apart(inputs(repository, environment, placeholder=placeholder), kept=kept)


def render_apart(given: Inputs, *, kept: Path | None = None) -> Rendered:
    """Render in children with an empty environment, limited memory and time, and no files."""
    keys = kept_renders.keys(given, code=renders.code()) if kept else {}
    found = _recalled(renders.read(kept, keys.values()), keys)
    missing = [each for each in given.applications if each.name not in found]
    parts = apart(only(given, missing))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = tuple(pool.map(_by_child, parts))
    made = {name: each for part, answer in zip(parts, answers, strict=True) for name, each in _by_name(part, answer)}
    unread = (each for answer in answers for each in answer.unread)
    rendered = whole(given, {**found, **made}, unread)
    if kept:
        renders.write(kept, _to_keep(made, keys))
    return rendered


def render_each(given: Sequence[Inputs]) -> tuple[Rendered | RenderError, ...]:
    """Each of several inputs for itself, in one child: what it makes, or why it cannot.

    For tests of one template set: they share the child's limits, and one that takes too much is found by asking anew.
    """
    if not given:
        return ()
    request = json.dumps([each.to_json() for each in given])
    found = ask(COMMAND, request, name="the render process", seconds=TIMEOUT_SECONDS)
    if found.exhausted:
        half = len(given) // 2
        return (*render_each(given[:half]), *render_each(given[half:])) if half else (_exhausted(given[0]),)
    answers = _loaded(found.text)
    if not isinstance(answers, list) or len(answers) != len(given):
        raise _unknown_answer(found.text)
    return tuple(map(_rendered_or_error, given, answers))


def _rendered_or_error(given: Inputs, answer: object) -> Rendered | RenderError:
    try:
        return checked(_rendered(answer), given)
    except RenderError as error:
        return error


def _recalled(kept: Mapping[bytes, Kept], keys: Mapping[str, bytes]) -> dict[str, tuple[Manifest, ...]]:
    """What was rendered before, by application; what cannot be read is rendered again."""
    found: dict[str, tuple[Manifest, ...]] = {}
    for name, key in keys.items():
        if key in kept:
            with suppress(ValueError, TypeError):
                found[name] = kept_renders.read(kept[key], application=name)
    return found


def _to_keep(made: Mapping[str, tuple[Manifest, ...]], keys: Mapping[str, bytes]) -> dict[bytes, Kept]:
    forms = {
        keys[name]: kept_renders.write(manifests)
        for name, manifests in made.items()
        if kept_renders.may_be_kept(manifests)
    }
    return {key: form for key, form in forms.items() if form}


def _by_name(given: Inputs, answer: Rendered) -> Iterator[tuple[str, tuple[Manifest, ...]]]:
    """The manifests of each application that was asked about, and of no other."""
    manifests: dict[str, list[Manifest]] = {each.name: [] for each in given.applications}
    for manifest in answer.manifests:
        if manifest.application not in manifests:
            raise ToolError(f"the render process answered of {manifest.application!r}, which it was not asked about")
        manifests[manifest.application].append(manifest)
    return ((name, tuple(found)) for name, found in manifests.items())


def _by_child(given: Inputs) -> Rendered:
    name = f"the render process of {given.environment}"
    found = ask(COMMAND, json.dumps(given.to_json()), name=name, seconds=TIMEOUT_SECONDS)
    if found.exhausted:
        raise _exhausted(given)
    return checked(_rendered(_loaded(found.text)), given)


def _exhausted(given: Inputs) -> RenderError:
    hint = "look for a loop that multiplies values"
    return RenderError(f"rendering {given.environment} takes too much time or memory", path="templates", hint=hint)


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _unknown_answer(text) from error


def _rendered(answer: Any) -> Rendered:
    try:
        if "error" not in answer:
            return Rendered.from_json(answer["rendered"])
        problem = answer["error"]
        refusal = RenderError(problem.pop("message"), **problem)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unknown_answer(json.dumps(answer)) from error
    raise refusal


def _unknown_answer(text: str) -> ToolError:
    return ToolError(f"the render process answered something else: {text[:80]!r}")
