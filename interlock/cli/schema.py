"""`interlock schema`: the forms of our files, and of what Interlock writes as JSON, for editors and other readers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli import output
from interlock.cli.output import Format, Output
from interlock.contract.report import Report, Table
from interlock.errors import InputError, ParameterError

EXAMPLES = """\b
Examples:
  interlock schema                                  # which there are
  interlock schema environment                      # of environments/*/environment.yaml
  interlock schema --all .interlock/schemas         # each in a file, where the files of a repository look for them
  interlock schema plan > plan.schema.json          # of what `interlock plan ENV --output json` writes
"""
_PLAN = "plan"
_PLAN_WHERE = "what `interlock plan ENV --output json` writes"


def _names() -> list[str]:
    """For the shell, which completes them."""
    from interlock.cli import file_schemas

    return [*(form.name for form in file_schemas.FORMS), _PLAN]


def schema(
    document: Annotated[
        str | None, typer.Argument(help="Of what.", show_default="list them", autocompletion=_names)
    ] = None,
    *,
    folder: Annotated[
        Path | None, typer.Option("--all", metavar="DIR", help="Write all of them into this folder.", file_okay=False)
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Print the JSON Schema (2020-12) of a document, write all of them, or list what there is.

    A file names its schema in its first line, and editors with a YAML language server follow it:
    # yaml-language-server: $schema=../../.interlock/schemas/environment.schema.json
    """
    if document and folder:
        raise ParameterError("one document, or --all DIR: not both")
    if folder:
        _write(folder, form)
    elif document:
        output.show_json(_schema(document))
    else:
        _list(form)


def _schema(document: str) -> dict[str, object]:
    from interlock.cd import plan_file
    from interlock.cli import file_schemas

    if document == _PLAN:
        return plan_file.schema()
    found = next((form for form in file_schemas.FORMS if form.name == document), None)
    if found is None:
        raise ParameterError(f"{document}: there is no schema of that name", hint=f"there are: {', '.join(_names())}")
    return file_schemas.schema(found)


def _list(form: Format) -> None:
    from interlock.cli import file_schemas

    rows = (*((each.name, each.where) for each in file_schemas.FORMS), (_PLAN, _PLAN_WHERE))
    report = Report("schemas", f"{len(rows)} schemas", "", tables=(Table(("schema", "of"), rows),), data=dict(rows))
    output.show(report, form)


def _write(folder: Path, form: Format) -> None:
    from interlock.cli import file_schemas

    written = {f"{name}.schema.json": file_schemas.text(_schema(name)) for name in _names()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (folder / name).write_text(text, newline="\n")
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from error
    if form is Format.JSON:
        output.show_json({"written": [str(folder / name) for name in written]})
    for name in written if form is Format.TABLE else ():
        typer.echo(f"wrote {folder / name}")
