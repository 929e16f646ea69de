"""The process that renders: limits itself, reads inputs from stdin, writes manifests or one error to stdout.

Run as `python -I -m tasks.common.render_child`. It needs no file, network or child process after its imports.
"""

from __future__ import annotations

import contextlib
import json
import sys

from interlock.contract.render import Inputs, render_inputs
from interlock.contract.template import TemplateSet
from interlock.errors import FormatError
from tasks.common.confined import MEMORY_BYTES, confine

ANSWER_BYTES = 64 << 20


def main() -> None:
    """One request, one answer: `{"rendered": …}` or `{"error": …}`."""
    warm_up()
    confine()
    text = json.dumps(answer(sys.stdin.read()))
    sys.stdout.write(text if len(text) <= ANSWER_BYTES else json.dumps(_too_much("makes", ANSWER_BYTES)))


def warm_up() -> None:
    """Let Jinja2 and Python load what they load at first use: one template that works, and each kind that fails."""
    for text in ("a: {{ 'x' | upper | wordwrap }}", "a: {{ x.y }}", "a: {{", "a: ["):
        with contextlib.suppress(FormatError):
            TemplateSet({"a": text}, folder="").render("a", {"x": {}})


def answer(request: str) -> dict[str, object]:
    try:
        return {"rendered": render_inputs(Inputs.from_json(json.loads(request))).to_json()}
    except FormatError as error:
        place = ":".join(str(part) for part in (error.path, error.line, error.column) if part is not None)
        return {
            "error": {
                "message": error.message.removeprefix(f"{place}: "),
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
