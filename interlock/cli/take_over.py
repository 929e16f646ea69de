"""`interlock take-over`: let an environment have objects that kubectl, Helm, Argo CD or Flux made."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import halves, names, output
from interlock.cli.application import Yes
from interlock.cli.output import Format, Output
from interlock.errors import FormatError, InputError, ParameterError

if TYPE_CHECKING:
    from interlock.contract.models import TakeOver

EXAMPLES = """\b
On a CD host, with INTERLOCK_CONFIG. Writes nothing to the cluster: the commit does, once it is pushed.
\b
Examples:
  interlock take-over dev                                # all that stand in the way; prints what to commit
  interlock take-over dev Deployment/shop/web --repository environments
  git -C environments push
"""


def take_over(
    environment: Annotated[str, typer.Argument(metavar="ENV", help="The environment's name.", callback=names.name)],
    objects: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OBJECT]...", help="Such as Deployment/shop/web; all that stand in the way when left out."
        ),
    ] = None,
    *,
    repository: Annotated[
        Path | None,
        typer.Option(
            "--repository", help="A clone of the environment repository: the commit is made there.", file_okay=False
        ),
    ] = None,
    manager: Annotated[
        list[str] | None,
        typer.Option(help="A field manager to forget besides kubectl, Helm, Argo CD and Flux; may be repeated."),
    ] = None,
    yes: Yes = False,
    form: Output = Format.TABLE,
) -> None:
    """Show what taking objects over would change, then make the commit that does it.

    The objects are named in Git and exist already, made by somebody else. The plan shows Git's fields that would be
    forced, what only the former managers put there and would go, and what stays. The commit adds the objects to
    `take_over` in environment.yaml; with --repository it is made in that clone and signed with your key, else printed.
    """
    from interlock.cli.terminal import run

    with halves.needs("cd"):
        from interlock.cli.cd import take_over_order

    found = run(lambda telling: take_over_order(telling, environment, objects or (), manager or ()), form)
    if not found.entries:
        output.note("nothing to take over: no object of somebody else is in the way")
        return
    if repository is None:
        _print(environment, found.entries, form)
    else:
        _commit(repository, environment, found.entries, yes=yes)


def _print(environment: str, entries: Sequence[TakeOver], form: Format) -> None:
    from interlock.contract import layout, strict_yaml

    if form is Format.TABLE:
        output.note(f"to take them over, commit this in {layout.environment(environment)}, or give --repository DIR:")
        typer.echo(strict_yaml.dump({"take_over": [plain(entry) for entry in entries]}), nl=False)


def _commit(folder: Path, environment: str, entries: Sequence[TakeOver], *, yes: bool) -> None:
    from interlock.cli import clone
    from interlock.contract import layout, repository
    from interlock.contract.tree import Tree

    path = layout.environment(environment)
    before = clone.read(folder, "HEAD")
    if path not in before.files:
        raise ParameterError(f"{folder} has no {path}", hint="name a clone of the environment repository")
    text = extended(before.text(path), entries, path=path)
    repository.read(Tree.of({**before.files, path: text.encode()}))
    if not yes:
        _confirm(path, len(entries))
    told = ["/".join((e.kind.partition(".")[0], *((e.namespace,) if e.namespace else ()), e.name)) for e in entries]
    first = f"Take over {told[0] if len(told) == 1 else f'{len(told)} objects'} into {environment}"
    made = clone.commit(folder, path, text.encode(), message="\n".join((first, "", *told)))
    typer.echo(f"committed {made[:12]}: {first}")
    output.note(f"next: git -C {folder} push; the next deploy takes them over")


def _confirm(path: str, count: int) -> None:
    if not sys.stdin.isatty():
        raise InputError(f"nobody to ask whether to commit {path}", hint="--yes commits without asking")
    if not typer.confirm(f"Commit {count} entries of take_over to {path}?", default=True, err=True):
        raise typer.Exit(130)


def plain(entry: TakeOver) -> dict[str, Any]:
    value: dict[str, Any] = entry.model_dump(mode="json", exclude_defaults=True)
    return value


def extended(text: str, entries: Sequence[TakeOver], *, path: str) -> str:
    """environment.yaml with more entries of `take_over`; its other lines and comments stay as they are."""
    from interlock.contract import strict_yaml

    value: Any = strict_yaml.load(text, path=path).value
    known = value.get("take_over") or []
    new = [plain(entry) for entry in entries]
    new = [entry for entry in new if entry not in known]
    if not new:
        return text
    wanted = {**value, "take_over": [*known, *new]}
    written = _inserted(text, new) if known else _appended(text, new)
    with suppress(FormatError):
        if strict_yaml.load(written, path=path).value == wanted:
            return written
    output.note(f"note: {path} is written anew, without its comments: its take_over is not a list line by line")
    return strict_yaml.dump(wanted)


def _appended(text: str, new: list[dict[str, Any]]) -> str:
    from interlock.contract import strict_yaml

    kept = re.sub(r"^take_over:.*\n?", "", text, flags=re.MULTILINE)
    return kept.rstrip("\n") + "\n" + strict_yaml.dump({"take_over": new})


def _inserted(text: str, new: list[dict[str, Any]]) -> str:
    """Behind the last line of the list that is there."""
    from interlock.contract import strict_yaml

    lines = text.splitlines(keepends=True)
    start = next((n for n, line in enumerate(lines) if line.startswith("take_over:")), len(lines))
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or lines[end][0] in " -#"):
        end += 1
    _, _, items = strict_yaml.dump({"take_over": new}).partition("\n")
    indent = re.match(r" *", next((line for line in lines[start + 1 : end] if line.lstrip().startswith("-")), ""))
    shift = indent[0] if indent else ""
    unindented = re.match(r" *", items)
    strip = len(unindented[0]) if unindented else 0
    added = "".join(f"{shift}{line[strip:]}" for line in items.splitlines(keepends=True))
    return "".join([*lines[:end], added, *lines[end:]])
