"""The `interlock` command: parses, calls, prints. Each command imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

try:
    import typer

    from interlock import __version__
    from interlock.cli import (
        access,
        application,
        approve,
        attester,
        bind,
        bootstrap,
        check,
        deny,
        doctor,
        environment,
        headings,
        host,
        key,
        ledger,
        operate,
        output,
        protect,
        release,
        render_test,
        schema,
        secrets,
        take_over,
        trace,
        trust,
        why,
    )
    from interlock.errors import InterlockError
except KeyboardInterrupt:
    # All this takes a while to read, before anything of ours could catch it.
    sys.exit(130)

app = typer.Typer(
    name="interlock",
    cls=headings.Headed,
    no_args_is_help=True,
    # Plain help: it starts three times faster than the drawn one, and it can be piped.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="CI and CD joined only by commits: from a source commit to a running, reconciled cluster.",
    epilog=output.EXIT_CODES,
)
init = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Begin an application or environment repository.")
init.command("application", epilog=application.EXAMPLES)(application.init_application)
init.command("environment", epilog=environment.EXAMPLES)(environment.init_environment)
app.add_typer(init, name="init")
app.command("key", epilog=key.EXAMPLES)(key.key)
app.command("bind", epilog=bind.EXAMPLES)(bind.bind)
app.command("attester", epilog=attester.EXAMPLES)(attester.attester)
app.command("check", epilog=check.EXAMPLES)(check.check)
app.command("release", epilog=release.EXAMPLES)(release.release)
app.command("access", epilog=access.EXAMPLES)(access.access)
app.add_typer(bootstrap.app, name="bootstrap")
app.command("render", epilog=operate.RENDER_EXAMPLES)(operate.render)
app.command("test", epilog=render_test.EXAMPLES)(render_test.test)
app.command("plan", epilog=operate.PLAN_EXAMPLES)(operate.plan)
app.command("sync", epilog=operate.SYNC_EXAMPLES)(operate.sync)
app.command("take-over", epilog=take_over.EXAMPLES)(take_over.take_over)
app.command("approve", epilog=approve.APPROVE_EXAMPLES)(approve.approve)
app.command("approvals", epilog=approve.APPROVALS_EXAMPLES)(approve.approvals)
app.command("schema", epilog=schema.EXAMPLES)(schema.schema)
app.add_typer(trust.app, name="trust")
app.add_typer(secrets.app, name="secrets")
app.add_typer(deny.app, name="deny")
app.add_typer(protect.app, name="protect")
app.add_typer(ledger.app, name="ledger")
app.command("trace", epilog=trace.EXAMPLES)(trace.trace)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.command("why", epilog=why.EXAMPLES)(why.why)
app.command("status", epilog=operate.STATUS_EXAMPLES)(operate.status)
app.add_typer(host.app)


@app.command()
def version() -> None:
    """Print Interlock's version."""
    typer.echo(__version__)


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
