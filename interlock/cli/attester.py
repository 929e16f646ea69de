"""`interlock attester`: whose signature evidence about a source repository's images must have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import application as files
from interlock.cli import names, output
from interlock.cli.application import Yes
from interlock.cli.output import Format, Output
from interlock.contract import layout
from interlock.errors import InputError

if TYPE_CHECKING:
    from interlock.contract.attesters import AttestersFile

EXAMPLES = """\b
Examples:
  interlock attester shop environments --key /etc/interlock/attestation-shop.key.pub
  interlock attester shop --key new.pub --branch main     # beside the keys that are there, to change them over
  interlock attester legacy --unsigned "its CI host has no signer yet"
  git -C environments add -A && git -C environments commit -m "Ask for the shop's evidence"
"""


def attester(
    source: Annotated[
        str, typer.Argument(help="The source repository's name in the bindings.", callback=names.repository)
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="A clone of the environment repository.", file_okay=False)
    ] = Path(),
    *,
    key: Annotated[
        list[Path] | None,
        typer.Option(help="The public half of its signer's key, which `register signed` wrote; repeatable."),
    ] = None,
    branch: Annotated[
        str | None, typer.Option(help="The protected branch that the evidence must name.", show_default="any")
    ] = None,
    unsigned: Annotated[str | None, typer.Option(help="Why nobody signs, instead of a key.")] = None,
    yes: Yes = False,
    form: Output = Format.TABLE,
) -> None:
    """Let evidence about a source repository's images count when this key signed it, and no other.

    Once the file is there, CD asks for proof of every image that it would run: every source that is bound needs an
    entry. Nothing is committed: look at it, then commit and push, which signs it.
    """
    from interlock.cli import clone
    from interlock.contract.attesters import read_attesters

    public = [_public(path) for path in key or ()]
    text = declared(
        read_attesters(clone.read(folder, None, named="DIR")),
        source,
        keys=public,
        branch=branch,
        unsigned=unsigned or "",
    )
    files.write(folder, {layout.ATTESTERS: text}, yes=yes, force=True)
    if form is Format.JSON:
        output.show_json({"written": [layout.ATTESTERS]})
        return
    typer.echo(f"wrote {folder / layout.ATTESTERS}")
    output.note("next: commit and push it, which signs it; CD asks for evidence from then on")


def declared(file: AttestersFile | None, source: str, *, keys: Sequence[str], branch: str | None, unsigned: str) -> str:
    """The new file: the source's keys beside those that it has, or the reason why nobody signs, instead of them."""
    from interlock.cli import file_schemas
    from interlock.contract import strict_yaml
    from interlock.contract.attesters import AttestersFile

    entries = [each.model_dump(mode="json", exclude_defaults=True) for each in (file.attesters if file else ())]
    own = next((each for each in entries if each["source"] == source), {})
    every = list(dict.fromkeys([*own.get("keys", ()), *keys])) if keys else []
    entry = {**own, "source": source, "keys": every, "branch": branch or own.get("branch"), "unsigned": unsigned}
    others = [each for each in entries if each["source"] != source]
    body = strict_yaml.dump(
        {"format": 1, "attesters": [*others, {name: value for name, value in entry.items() if value}]}
    )
    strict_yaml.parse(body, AttestersFile, path=layout.ATTESTERS)
    return file_schemas.line(layout.ATTESTERS, f"{file_schemas.FOLDER}/attesters.schema.json") + body


def _public(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: {reason}", hint="name the .pub beside the signer's key") from None
