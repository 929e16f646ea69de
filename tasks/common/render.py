"""Rendering in a process of its own: templates are other people's programs, however tame."""

from __future__ import annotations

import json
import subprocess
import sys

from interlock.contract.render import Inputs, Rendered, checked, inputs
from interlock.contract.repository import Repository
from interlock.errors import RenderError, ToolError
from tasks.common.effect import effect

COMMAND = (sys.executable, "-I", "-m", "tasks.common.render_child")
TIMEOUT_SECONDS = 30
_KILLED = -9, -24  # SIGKILL, SIGXCPU


@effect(name="render", task_run_name="render {environment}", retries=1)
def render_environment(repository: Repository, environment: str, placeholder: str | None = None) -> Rendered:
    """The environment's manifests, as `interlock.contract.render.render` makes them. RenderError when it cannot."""
    return render_apart(inputs(repository, environment, placeholder=placeholder))


def render_apart(given: Inputs) -> Rendered:
    """Render in a child with an empty environment, limited memory and time, and no files."""
    request = json.dumps(given.to_json())
    try:
        done = subprocess.run(
            COMMAND,
            input=request,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_SECONDS,
            check=False,
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
        )
    except subprocess.TimeoutExpired as error:
        raise _endless(given.environment) from error
    except OSError as error:
        raise ToolError(f"the render process did not start: {error}", transient=True) from error
    if done.returncode in _KILLED:
        raise _endless(given.environment)
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2] or "it said nothing"
        raise ToolError(f"the render process of {given.environment} ended with {done.returncode}: {reason}")
    return checked(_rendered(done.stdout), given)


def _rendered(answer: str) -> Rendered:
    try:
        content = json.loads(answer)
        if "error" not in content:
            return Rendered.from_json(content["rendered"])
        problem = content["error"]
        refusal = RenderError(problem.pop("message"), **problem)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(f"the render process answered something else: {answer[:80]!r}") from error
    raise refusal


def _endless(environment: str) -> RenderError:
    hint = "look for a loop that multiplies values"
    return RenderError(f"rendering {environment} takes too much time or memory", path="templates", hint=hint)
