"""The `interlock` command: parses, calls, prints. Each command imports what it needs when it runs."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

# Reading modules makes objects that stay: a search through the young ones after every 700 finds nothing to free.
gc.set_threshold(50_000)
try:
    import typer

    from interlock.cli import output
    from interlock.cli.commands import build
    from interlock.errors import InterlockError
except KeyboardInterrupt:
    # All this takes a while to read, before anything of ours could catch it.
    sys.exit(130)


def run() -> None:
    """The entry point of the `interlock` program."""
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code; whatever goes wrong ends here, as one clear message."""
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client would report home, and say so before every answer
    try:
        app = build(arguments[0] if arguments else None)
        code = app(arguments, prog_name="interlock", standalone_mode=False)
    except InterlockError as error:
        output.fail(error)
        return error.exit_code
    except typer.TyperException as error:
        return _usage(error)
    except (typer.Abort, KeyboardInterrupt):  # typer turns only what comes within a command into its own
        output.note("stopped: nothing was written after the last line above")
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _defect(error)
    return code if isinstance(code, int) else 0


def _usage(error: typer.TyperException) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # typer does not export it
        output.note(error.format_message())
        return 2
    message = " ".join(error.format_message().split()).replace(": Value error, ", ": ")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "interlock"
    output.fail(InterlockError(message, hint=f"{command} --help"))
    return 2


def _defect(error: Exception) -> int:
    log = _log(error)
    output.fail(InterlockError(f"a defect of Interlock: {type(error).__name__}: {error}", hint=f"traceback in {log}"))
    return 70


def _log(error: Exception) -> Path:
    """The traceback in a file that only this user reads."""
    import tempfile
    import traceback

    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "interlock"
    try:
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        base = Path(tempfile.gettempdir())
    descriptor, path = tempfile.mkstemp(prefix="defect-", suffix=".log", dir=base)
    with os.fdopen(descriptor, "w") as log:
        log.write("".join(traceback.format_exception(error)))
    return Path(path)
