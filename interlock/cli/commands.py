"""All commands, and the modules that they are in: each is read only when its command, or help on all, is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import typer

from interlock import __version__
from interlock.cli import headings, output

# name: its module, its function and what its help ends with
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "key": ("key", "key", "EXAMPLES"),
    "bind": ("bind", "bind", "EXAMPLES"),
    "attester": ("attester", "attester", "EXAMPLES"),
    "check": ("check", "check", "EXAMPLES"),
    "release": ("release", "release", "EXAMPLES"),
    "access": ("access", "access", "EXAMPLES"),
    "render": ("operate", "render", "RENDER_EXAMPLES"),
    "test": ("render_test", "test", "EXAMPLES"),
    "plan": ("operate", "plan", "PLAN_EXAMPLES"),
    "sync": ("operate", "sync", "SYNC_EXAMPLES"),
    "take-over": ("take_over", "take_over", "EXAMPLES"),
    "approve": ("approve", "approve", "APPROVE_EXAMPLES"),
    "approvals": ("approve", "approvals", "APPROVALS_EXAMPLES"),
    "schema": ("schema", "schema", "EXAMPLES"),
    "trace": ("trace", "trace", "EXAMPLES"),
    "doctor": ("doctor", "doctor", "EXAMPLES"),
    "why": ("why", "why", "EXAMPLES"),
    "status": ("operate", "status", "STATUS_EXAMPLES"),
}
GROUPS = ("bootstrap", "trust", "secrets", "deny", "protect", "ledger")
"""Named as their modules."""
OF_HOSTS = frozenset({"register", "declare", "worker", "signer", "receive", "alive"})


def build(only: str | None = None) -> typer.Typer:
    """The command line; with the name of a command, a command line that has no other. A name that is none: all."""
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
    # With a callback, though it does nothing, a lone command keeps its name.
    app.callback()(_nothing)
    adding = _adding()
    for add in [adding[only]] if only and only in adding else dict.fromkeys(adding.values()):
        add(app)
    return app


def _adding() -> Mapping[str, Callable[[typer.Typer], None]]:
    """What adds each command; those of the hosts come together."""
    single = {name: _command(name) for name in COMMANDS}
    groups = {name: _group(name) for name in GROUPS}
    return {"init": _init, **single, **groups, **dict.fromkeys(OF_HOSTS, _hosts), "version": _version}


def _command(name: str) -> Callable[[typer.Typer], None]:
    module, function, epilog = COMMANDS[name]

    def add(app: typer.Typer) -> None:
        read = _module(module)
        app.command(name, epilog=getattr(read, epilog))(getattr(read, function))

    return add


def _group(name: str) -> Callable[[typer.Typer], None]:
    return lambda app: app.add_typer(_module(name).app, name=name)


def _init(app: typer.Typer) -> None:
    application, environment = _module("application"), _module("environment")
    init = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="Begin an application or environment repository."
    )
    init.command("application", epilog=application.EXAMPLES)(application.init_application)
    init.command("environment", epilog=environment.EXAMPLES)(environment.init_environment)
    app.add_typer(init, name="init")


def _hosts(app: typer.Typer) -> None:
    app.add_typer(_module("host").app)


def _version(app: typer.Typer) -> None:
    app.command("version")(version)


def version() -> None:
    """Print Interlock's version."""
    typer.echo(__version__)


def _module(name: str) -> Any:
    return import_module(f"interlock.cli.{name}")


def _nothing() -> None:
    pass
