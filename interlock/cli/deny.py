"""`interlock deny`: what this CD host never deploys, whatever Git says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import output
from interlock.cli.output import Format, Output
from interlock.contract.report import Report, Table, counted
from interlock.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.cd.deny import Denied, DenyFile

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Commits, digests and keys that this CD host never deploys, whatever Git says. Root's work; no git is needed.",
)
EXAMPLES = """\b
It is read before each deploy, and stops no pod that runs: push a commit without what is denied, or revert.
\b
Examples, on CD's host:
  interlock deny add sha256:4be0... --reason "the build host was broken into"
  interlock deny add 1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b --reason "opens the database to everybody"
  interlock deny add SHA256:Ivq5... --reason "ada's laptop was stolen"
  interlock deny list
  interlock deny remove sha256:4be0...
"""
_HEAD = "# deny.yaml, written by `interlock deny`: what this host never deploys. Root's.\n"
Config = Annotated[
    Path | None,
    typer.Option("--config", envvar="INTERLOCK_CONFIG", help="The host's cd.yaml, which says where the list is."),
]
What = Annotated[str, typer.Argument(help="A commit's id, an image's digest, or a key's fingerprint.")]


@app.callback()
def deny() -> None:
    """Commits, digests and keys that this CD host never deploys, whatever Git says."""


@app.command("add", epilog=EXAMPLES)
def add(
    what: What,
    *,
    reason: Annotated[str, typer.Option(help="Why; every refusal says it.")],
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Deny a commit with all that it changed, a digest in any object, or every commit that a key signs from now on."""
    from interlock.cd.deny import Denied, kind_of, require_reason

    kind, why = kind_of(what), require_reason(reason)
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    denied = Denied.model_validate({kind: what, "reason": why, "since": now})
    file, before = _read(config)
    if what in before.having(kind):
        output.show(_report(f"{kind} {what} is denied already", before.denied), form)
        return
    _write(file, (*before.denied, denied))
    output.show(_report(f"{kind} {what} is denied in {file}", (denied,)), form)


@app.command("remove", epilog=EXAMPLES)
def remove(what: What, *, config: Config = None, form: Output = Format.TABLE) -> None:
    """Allow again what was denied."""
    from interlock.cd.deny import kind_of

    file, before = _read(config)
    found = before.having(kind_of(what)).get(what)
    if found is None:
        raise ParameterError(f"{what} is not denied in {file}", hint="`interlock deny list` shows what is")
    _write(file, [each for each in before.denied if each != found])
    output.show(_report(f"{found.kind} {what} is no longer denied in {file}", (found,)), form)


@app.command("list", epilog=EXAMPLES)
def list_(*, config: Config = None, form: Output = Format.TABLE) -> None:
    """Show what is denied, and why."""
    file, found = _read(config)
    output.show(_report(f"{file}: {counted(len(found.denied), 'entry', 'entries')}", found.denied), form)


def _read(config: Path | None) -> tuple[Path, DenyFile]:
    from interlock.cli.halves import needs

    with needs("cd"):
        from tasks.cd import deny_list
        from tasks.cd.host import load_cd
    file = load_cd(config or Path("/etc/interlock/cd.yaml")).deny_list
    return file, deny_list.read(file)


def _write(file: Path, denied: Iterable[Denied]) -> None:
    from interlock.cli.host import replace_file
    from interlock.contract import strict_yaml

    entries = [each.model_dump(mode="json", exclude_none=True) for each in denied]
    replace_file(file, _HEAD + strict_yaml.dump({"format": 1, "denied": entries}))


def _report(title: str, denied: Iterable[Denied]) -> Report:
    shown = tuple(denied)
    rows: list[tuple[str, ...]] = []
    for each in shown:
        since = f"{each.since:%Y-%m-%d %H:%M}" if each.since else ""
        rows.append((each.kind, each.value, since, each.reason))
    tables = (Table.of("kind", "value", "since (UTC)", "reason", rows=rows),) if rows else ()
    data = {"denied": [each.model_dump(mode="json", exclude_none=True) for each in shown]}
    return Report("denied", title, tables=tables, data=data)
