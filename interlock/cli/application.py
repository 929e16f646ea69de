"""`interlock init application`: writes interlock.yaml from the Dockerfile and the tests that are there."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import names, output
from interlock.cli.output import Format, Output
from interlock.contract import layout
from interlock.errors import InputError

if TYPE_CHECKING:
    from interlock.cli.discovery import FoundComponent

EXAMPLES = """\b
Examples:
  interlock init application                      # looks, shows, asks, writes ./interlock.yaml
  interlock init application shop --yes           # asks nothing
  interlock init application --tests "make junit" --report /tmp/report.xml
"""

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="The application repository.", file_okay=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]


def init_application(
    folder: Folder = Path(),
    *,
    component: Annotated[
        str, typer.Option(help="The component's name, when the Dockerfile is at the root.", callback=names.name)
    ] = "web",
    tests: Annotated[
        str | None, typer.Option(help="The test command inside the image, instead of what is found.")
    ] = None,
    report: Annotated[str | None, typer.Option(help="Where in the container --tests leaves its JUnit report.")] = None,
    yes: Yes = False,
    force: Force = False,
    form: Output = Format.TABLE,
) -> None:
    """Describe a repository's components and tests in an interlock.yaml.

    Reads the Dockerfile (or DIR/*/Dockerfile, one component each) and looks for tests.
    """
    from interlock.cli import discovery
    from interlock.contract.application import read_application

    found = discovery.components(folder, name=component)
    if not found:
        raise InputError(f"{folder}: no Dockerfile here or one folder below", hint="write one, or name another DIR")
    entries = {each.name: _entry(each, tests=tests, report=report) for each in found}
    files = {layout.APPLICATION_REPOSITORY: _text(entries)} | _schema() | _runners(found, tests=tests)
    read_application(files[layout.APPLICATION_REPOSITORY])
    _tell(found, entries)
    write(folder, files, yes=yes, force=force)
    _finish(folder, found, files, form)


def _entry(found: FoundComponent, *, tests: str | None, report: str | None) -> dict[str, object]:
    from interlock.cli import discovery

    if tests is None and found.tests is None:
        raise InputError(
            f"{found.path}: no tests found beside it, and nothing is released untested",
            hint="add tests/test_*.py, or give --tests 'COMMAND' for what leaves a JUnit report at --report",
        )
    command = _words(tests) if tests is not None else list(found.tests.command if found.tests else ())
    return {
        "context": found.context,
        "dockerfile": found.path,
        "tests": {"command": command, "report": report or discovery.REPORT},
    }


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise InputError(f"--tests {command!r}: {error}") from error


def _text(entries: dict[str, dict[str, object]]) -> str:
    from interlock.cli import file_schemas, packaged
    from interlock.contract import strict_yaml

    form = file_schemas.APPLICATION_REPOSITORY
    head = file_schemas.line(layout.APPLICATION_REPOSITORY, f"{file_schemas.FOLDER}/{form.file_name}")
    head += packaged.scaffold("application", layout.APPLICATION_REPOSITORY)
    return head + strict_yaml.dump({"format": 1, "components": entries})


def _schema() -> dict[str, str]:
    """The schema that interlock.yaml names, for editors."""
    from interlock.cli import file_schemas

    return file_schemas.files([file_schemas.APPLICATION_REPOSITORY])


def _runners(found: tuple[FoundComponent, ...], *, tests: str | None) -> dict[str, str]:
    from interlock.cli import discovery, packaged

    text = packaged.scaffold("application", discovery.RUNNER)
    places = [(each.context, each.tests.runner) for each in found if tests is None and each.tests]
    return {(Path(context) / runner).as_posix(): text for context, runner in places if runner}


def _tell(found: tuple[FoundComponent, ...], entries: dict[str, dict[str, object]]) -> None:
    """What was found, on stderr."""
    from interlock.cli import discovery

    for each in found:
        image = each.dockerfile
        output.note(f"component {each.name}")
        output.note(f"  Dockerfile  {each.path}, from {image.base}")
        output.note(f"  port        {image.port or 'none exposed; give --port to init environment'}")
        output.note(f"  user        {image.user or 'root'}")
        output.note(f"  tests       {each.tests.kind + ' in ' + each.tests.folder if each.tests else 'none found'}")
        output.note(f"  command     {shlex.join(entries[each.name]['tests']['command'])}")  # type: ignore[index]
        if image.is_root:
            output.note("  note: the image runs as root, which the service template refuses; add USER 65532:65532")
        for name in discovery.uncopied(each):
            output.note(f"  note: no COPY brings {name} into the image, where the tests run; add COPY {name} {name}")


def write(folder: Path, files: dict[str, str], *, yes: bool, force: bool) -> None:
    """All of the files or none: what exists is refused before anything is written."""
    existing = [path for path in files if (folder / path).exists()]
    if existing and not force:
        raise InputError(f"{folder / existing[0]} exists already", hint="--force overwrites it")
    if not yes:
        _confirm([str(folder / path) for path in files])
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, newline="\n")


def _confirm(paths: list[str]) -> None:
    if not sys.stdin.isatty():
        raise InputError(f"nobody to ask whether to write {paths[0]}", hint="--yes writes without asking")
    for path in paths:
        output.note(f"  write {path}")
    if not typer.confirm("Write?", default=True, err=True):
        raise typer.Exit(130)


def _finish(folder: Path, found: tuple[FoundComponent, ...], files: dict[str, str], form: Format) -> None:
    if form is Format.JSON:
        components = {each.name: {"port": each.dockerfile.port, "base": each.dockerfile.base} for each in found}
        output.show_json({"written": sorted(files), "components": components})
        return
    for path in files:
        typer.echo(f"wrote {folder / path}")
    port = next((each.dockerfile.port for each in found if each.dockerfile.port), 8080)
    output.note("next: commit it, then let it into an environment repository that is there, in its clone:")
    output.note(f"  interlock bind --application APP --image REGISTRY/APP/{found[0].name} \\")
    output.note(f"      --component {found[0].name} --port {port}")
    output.note("or into a new one:")
    output.note(f"  interlock init environment ENVIRONMENTS --application APP --image REGISTRY/APP/{found[0].name} \\")
    output.note(f"      --component {found[0].name} --port {port} --ci-key CI_KEY.pub")
