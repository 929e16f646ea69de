"""`interlock secrets`: sealed values in a person's own clone of the environment repository."""

from __future__ import annotations

import datetime as dt
import os
import secrets as randomness
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import names, output
from interlock.cli.operate import Clone
from interlock.cli.output import Format, Output
from interlock.errors import InputError

if TYPE_CHECKING:
    from interlock.contract.sops import SealedFile
    from interlock.contract.tree import Tree

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Values that only CD can read, sealed in Git.")
EXAMPLES = """\b
Examples:
  interlock secrets keygen /etc/interlock/prod.agekey    # on CD's host; prints the recipient
  interlock secrets seal prod shop < values.yaml         # needs no key
  interlock secrets edit prod shop --identity FILE
  interlock secrets rotate prod --identity FILE          # to those whom trust/recipients.yaml names now
  interlock secrets check                                # as CI does, without a key
"""
Environment = Annotated[str, typer.Argument(metavar="ENV", help="The environment.", callback=names.name)]
Application = Annotated[str, typer.Argument(metavar="APP", help="The application.", callback=names.name)]
Identity = Annotated[
    Path,
    typer.Option("--identity", envvar="SOPS_AGE_KEY_FILE", help="The file of an age identity.", dir_okay=False),
]


@app.callback(epilog=EXAMPLES)
def secrets() -> None:
    """Values that only CD can read, sealed in Git by SOPS with age. docs/secrets.md tells of them."""
    from tasks.common.redaction import keep_from_dumps

    keep_from_dumps()


@app.command("keygen", epilog=EXAMPLES)
def keygen(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The new private key's file.", dir_okay=False)],
    *,
    form: Output = Format.TABLE,
) -> None:
    """Make an age identity (mode 0600), and print its recipient, for trust/recipients.yaml.

    A file that is there already is kept, and its recipient printed.
    """
    from tasks.common.age import new_identity, read_identity

    created = not path.exists()
    if created:
        _write_private(path, f"{new_identity()}\n")
        output.note(f"made an age identity: {path} (0600); whoever reads it opens what is sealed to it")
    recipient = read_identity(path).recipient
    if form is Format.JSON:
        output.show_json({"identity": str(path), "recipient": recipient, "created": created})
    else:
        typer.echo(recipient)


@app.command("seal", epilog=EXAMPLES)
def seal(
    environment: Environment,
    application: Application,
    repository: Clone = Path(),
    *,
    source: Annotated[
        Path | None, typer.Option("--from", help="A YAML file with the values.", show_default="standard input")
    ] = None,
) -> None:
    """Seal a mapping of values as the application's secrets.yaml, in place of what was sealed before.

    Needs no key: whoever may not read what is sealed can still write it.
    """
    from interlock.contract import strict_yaml

    if source is None and sys.stdin.isatty():
        output.note("reading YAML from the terminal; end it with Ctrl-D")
    try:
        text = source.read_text() if source else sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: not readable: {error}") from None
    value = strict_yaml.load(text, path=str(source or "standard input")).value
    if not isinstance(value, dict) or not value:
        raise InputError("what is to be sealed must be a mapping", hint="such as `password: …`")
    _seal(repository, environment, application, value)


@app.command("edit", epilog=EXAMPLES)
def edit(environment: Environment, application: Application, repository: Clone = Path(), *, identity: Identity) -> None:
    """Open the application's values in $EDITOR, and seal what it leaves. The open text is never on a disk."""
    from interlock.contract import layout, strict_yaml
    from tasks.common.editor import edited

    tree = _tree(repository)
    _place(tree, environment, application)  # before anything is typed that could not be kept
    path = layout.secrets(environment, application)
    before = strict_yaml.dump(_opened(_file(tree, path), identity)) if path in tree.files else "# password: …\n"
    after = edited(before, name="secrets.yaml")
    if after == before:
        output.note(f"{path}: nothing was changed")
        return
    value = strict_yaml.load(after, path="the edited text").value
    if not isinstance(value, dict) or not value:
        raise InputError(
            "what is to be sealed must be a mapping: nothing was changed", hint=f"to drop it, remove {path}"
        )
    _seal(repository, environment, application, value)


@app.command("rotate", epilog=EXAMPLES)
def rotate(
    environment: Environment,
    application: Annotated[
        str | None,
        typer.Argument(
            metavar="[APP]", help="The application.", show_default="all of the environment", callback=names.name
        ),
    ] = None,
    repository: Clone = Path(),
    *,
    identity: Identity,
) -> None:
    """Seal the same values with a new data key to those whom trust/recipients.yaml names now.

    Who was a recipient before has read the values: change those too when somebody left.
    """
    from interlock.contract import layout

    tree = _tree(repository)
    known = [path.split("/")[2] for path in tree.under(f"environments/{environment}") if path.endswith("/secrets.yaml")]
    wanted = [application] if application else known
    if not wanted:
        raise InputError(f"{environment} has no sealed values", hint=f"`interlock secrets seal {environment} APP`")
    opened = {name: _opened(_file(tree, layout.secrets(environment, name)), identity) for name in wanted}
    for name, values in opened.items():
        _seal(repository, environment, name, values)


@app.command("check", epilog=EXAMPLES)
def check(repository: Clone = Path(), *, form: Output = Format.TABLE) -> None:
    """Look at every secrets.yaml as CI and CD do, without a key: sealed, where it belongs, to the declared recipients.

    Exit code 2 and the file's line for the first that is not.
    """
    from interlock.contract import layout, sealed, strict_yaml
    from interlock.contract.models import EnvironmentsFile

    tree = _tree(repository)
    own = strict_yaml.parse(tree.text(layout.ENVIRONMENTS), EnvironmentsFile, path=layout.ENVIRONMENTS)
    recipients = sealed.read_recipients(tree)
    found: list[SealedFile] = []
    for path in tree.under("environments"):
        parts = path.split("/")
        if parts[3:] != ["secrets.yaml"]:
            continue
        file = sealed.read_sealed(tree, parts[1], parts[2], repository_id=own.id, recipients=recipients)
        if file:
            found.append(file)
    if form is Format.JSON:
        told = ({"path": each.path, "values": len(each.values), "recipients": [*each.recipients]} for each in found)
        output.show_json(list(told))
        return
    for each in found:
        typer.echo(f"{each.path}: {len(each.values)} sealed values, recipients: {', '.join(each.recipients)}")
    if not found:
        output.note("there are no sealed values here")


def _tree(repository: Path) -> Tree:
    from interlock.cli import clone

    return clone.read(repository, None)


def _file(tree: Tree, path: str) -> SealedFile:
    from interlock.contract import sops

    return sops.read(tree.text(path), path=path)


def _opened(file: SealedFile, identity: Path) -> dict[str, Any]:
    from interlock.contract import sops
    from tasks.common.age import data_key, read_identity

    return sops.plain(file, sops.opened(file, data_key(file, read_identity(identity))))


def _place(tree: Tree, environment: str, application: str) -> tuple[str, Mapping[str, str]]:
    """What the application's values are bound to, and the recipients; InputError where nothing can be sealed."""
    from interlock.contract import layout, sealed, strict_yaml
    from interlock.contract.models import EnvironmentsFile

    own = strict_yaml.parse(tree.text(layout.ENVIRONMENTS), EnvironmentsFile, path=layout.ENVIRONMENTS)
    recipients = sealed.declared(sealed.read_recipients(tree), environment)
    if layout.environment(environment) not in tree.files:
        raise InputError(f"there is no environment {environment!r} here", hint=f"add {layout.environment(environment)}")
    _require_application(tree, environment, application)
    if not recipients:
        message = f"{layout.RECIPIENTS} names nobody for {environment}"
        raise InputError(message, hint="on CD's host, `interlock secrets keygen FILE` prints a recipient: add it there")
    return sealed.place(own.id, environment, application), recipients


def _seal(repository: Path, environment: str, application: str, values: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all."""
    from interlock.cli import clone
    from interlock.contract import layout, sops
    from tasks.common.age import sealed_to
    from tasks.common.whole_file import write_whole

    place, recipients = _place(_tree(repository), environment, application)
    key = randomness.token_bytes(sops.KEY_BYTES)
    text = sops.sealed(
        values,
        place=place,
        keys=sealed_to(recipients, key),
        key=key,
        nonces=iter(lambda: randomness.token_bytes(sops.NONCE_BYTES), b""),
        modified=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    path = layout.secrets(environment, application)
    file = clone.root(repository) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, text.encode())
    output.note(f"{path} is sealed to {', '.join(sorted(recipients.values()))}: commit it, signed")


def _require_application(tree: Tree, environment: str, application: str) -> None:
    """What is sealed for an application that nobody has made would lie there unseen, and open for no other."""
    known = {path.split("/")[1] for path in tree.under("applications")}
    for path in tree.under(f"environments/{environment}"):
        name, _, inside = path.removeprefix(f"environments/{environment}/").partition("/")
        if inside and inside != "secrets.yaml":
            known.add(name)
    if application not in known:
        hint = f"there are: {', '.join(sorted(known)) or 'none'}; `interlock bind` makes one"
        raise InputError(f"there is no application {application!r} here", hint=hint)


def _write_private(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
