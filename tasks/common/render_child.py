"""The process that renders: reads inputs from stdin, limits itself, writes manifests or one error to stdout.

Run as `python -I -m tasks.common.render_child`. It needs no file, network or child process after its imports.
"""

from __future__ import annotations

import contextlib
import json
import sys
from importlib import import_module
from typing import Any

from interlock.contract.render import Inputs, render_inputs
from interlock.contract.template import TemplateSet
from interlock.errors import FormatError
from tasks.common.confined import MEMORY_BYTES, confine

ANSWER_BYTES = 64 << 20
_HAS_SCHEMAS = '"values_schemas": {"'


def main() -> None:
    """One request, one answer: `{"rendered": …}` or `{"error": …}`; of a list of requests a list of answers."""
    warm_up()
    given = sys.stdin.read()
    if _HAS_SCHEMAS in given:
        import_module("interlock.contract.values")  # which takes a tenth of a second that few need
    confine()
    request = json.loads(given)
    text = json.dumps([answer(each) for each in request] if isinstance(request, list) else answer(request))
    sys.stdout.write(text if len(text) <= ANSWER_BYTES else json.dumps(_too_much("makes", ANSWER_BYTES)))


def warm_up() -> None:
    """Let Jinja2 and Python load what they load at first use: one template that works, and each kind that fails."""
    for text in ("a: {{ 'x' | upper | wordwrap }}", "a: {{ x.y }}", "a: {{", "a: ["):
        with contextlib.suppress(FormatError):
            TemplateSet({"a": text}, folder="").render("a", {"x": {}})


def answer(request: dict[str, Any]) -> dict[str, object]:
    try:
        return {"rendered": render_inputs(Inputs.from_json(request)).to_json()}
    except FormatError as error:
        return {
            "error": {
                "message": error.problem,
                "path": error.path,
                "line": error.line,
                "column": error.column,
                "hint": error.hint,
            }
        }
    except MemoryError:
        return _too_much("needs", MEMORY_BYTES)


def _too_much(what: str, limit_bytes: int) -> dict[str, object]:
    message = f"rendering {what} more than {limit_bytes >> 20} MiB"
    return {"error": {"message": message, "path": "templates", "hint": "look for a loop that multiplies values"}}


if __name__ == "__main__":
    main()
