"""`interlock trust init|add|rotate|recover`: signed commits about who may sign, and about getting past refused ones."""

from __future__ import annotations

import datetime as dt
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import names, output, signers_file
from interlock.cli.operate import Clone
from interlock.cli.output import Format, Output
from interlock.contract import layout
from interlock.errors import InputError, Refused

Name = Annotated[str, typer.Argument(metavar="NAME", help="The signer's name.", callback=names.name)]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", help="A public key, SSH or armored OpenPGP, or a file that holds it. Repeatable."),
]
_DONE = "look at it with `git show`, then `git push`; hosts judge it as it was judged here"

INIT = """\b
Examples:
  interlock trust init ada --key ~/.ssh/id_ed25519.pub
  interlock trust init ada --key laptop.pub --key desk.pub --repository environments --output json
"""
ADD = """\b
A person's first commit is the one after this: nobody signs their own way in.
Examples:
  interlock trust add bob --key bob.pub --writes 'environments/dev/**' --writes 'applications/**'
  interlock trust add carol --key carol.asc --writes '**' --approves --until 2030-12-31
  interlock trust add ci-shop --machine --key ci.key.pub --writes 'environments/*/shop/release.yaml'
  interlock trust add ada --key laptop.pub          # one more key of somebody who is there
"""
ROTATE = """\b
What the old key signed up to now stays believed, by hosts that begin at the root pin too.
With --compromised, only what it signed up to that commit is.
Examples:
  interlock trust rotate ci-shop --key new-ci.key.pub
  interlock trust rotate ada --key new.pub --signing-key new     # your own: two commits, the second by the new key
  interlock trust rotate bob --key new.pub --compromised 1a2b3c4
"""
RECOVER = """\b
Signed by a person with `approves: true`. Pushed on top of the refused commits, without force.
Examples:
  interlock trust recover 8f25b0c3a1d7              # `interlock status` names the last commit that passed
  interlock trust recover --compromised ci-shop     # all is undone that its stolen key did
"""


def init(name: Name, key: Keys = None, repository: Clone = Path(), *, form: Output = Format.TABLE) -> None:
    """Begin trust in a repository that has none: one person, who may do everything, in one signed commit.

    Prints the root pin, which both hosts' files must name. `interlock init environment` does this for a new repository.
    """
    from interlock.cli import clone
    from interlock.cli.signed_commits import Draft

    keys = _public(key, "the public half of the key that git signs with here")
    draft = Draft(repository)
    if draft.start and layout.SIGNERS in clone.read(repository, draft.start).files:
        hint = "`interlock trust add` adds people, machines and keys"
        raise InputError(f"{repository}: {layout.SIGNERS} is there already", hint=hint)
    draft.commit(signers_file.first(name, keys), "Begin trust")
    pin = draft.judge_root(keys)
    commit = draft.land()
    if form is Format.JSON:
        output.show_json({"commit": commit, "root": pin.model_dump(mode="json")})
        return
    typer.echo("root pin, for both hosts:")
    typer.echo(f"  commit  {commit}")
    for each in keys:
        typer.echo(f"  key     {_shown(each)}")
    output.note("next: push it; then `interlock register ci` and `cd` with --root-commit and --root-key")


def add(
    name: Name,
    key: Keys = None,
    repository: Clone = Path(),
    *,
    writes: Annotated[
        list[str] | None, typer.Option(help="Paths that they may write: `*` stays within a folder, `**` does not.")
    ] = None,
    machine: Annotated[
        bool, typer.Option("--machine", help="A machine: only what bindings give it, whatever its paths.")
    ] = False,
    approves: Annotated[bool, typer.Option("--approves", help="In the approvers' pool.")] = False,
    until: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last day of their keys.", metavar="DAY")
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Let a person or a machine sign, or give somebody who does one more key, in one signed commit."""
    from interlock.cli import clone
    from interlock.cli.signed_commits import Draft

    if machine and approves:
        raise InputError(f"{name}: a machine approves nothing", hint="leave out --machine or --approves")
    if until and until.date() < dt.datetime.now(dt.UTC).date():
        raise InputError(f"--until {until:%Y-%m-%d} is past: {name} could not sign", hint="name a day that is to come")
    keys = _public(key, "their public key")
    draft, tree = Draft(repository), clone.read(repository, "HEAD")
    text = signers_file.with_signer(
        tree,
        name,
        keys,
        writes=writes or (),
        machine=machine,
        approves=approves,
        until=until.date() if until else None,
    )
    draft.commit({layout.SIGNERS: text}, f"Let {name} sign with {'a key' if len(keys) == 1 else 'keys'}")
    _land(draft, form)
    if not (writes or approves or signers_file.knows(tree, name)):
        output.note(f"{name} may write nothing: add `writes` to their entry in {layout.SIGNERS}")


def rotate(
    name: Name,
    key: Keys = None,
    repository: Clone = Path(),
    *,
    old: Annotated[
        str | None, typer.Option(help="Which key ends, where there are several: its fingerprint or itself.")
    ] = None,
    compromised: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="It was stolen: the last commit that you are sure of.")
    ] = None,
    signing_key: Annotated[
        Path | None,
        typer.Option(
            help="The private half of the new key, when the old one is your own.", dir_okay=False, exists=True
        ),
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Put a new key in an old one's place, and list the old one as ended.

    Nobody ends the key that signs the same commit. With --signing-key there are two: the first, signed by the key that
    git signs with, adds the new key; the second, signed by the new one, ends the old.
    """
    from interlock.cli import clone
    from interlock.cli.signed_commits import Draft

    if compromised and signing_key:
        raise InputError("a stolen key cannot bring in the next one", hint="have somebody else sign this, who may")
    keys = _public(key, "the new public key") if key else ()
    draft, tree = Draft(repository), clone.read(repository, "HEAD")
    ending = signers_file.the_key(tree, name, old)
    if signing_key:
        more = signers_file.with_signer(tree, name, keys, writes=(), machine=False, approves=False, until=None)
        draft.commit({layout.SIGNERS: more}, f"Let {name} sign with a new key")
    how, commit = ("compromised", draft.resolve(compromised)) if compromised else ("retired", str(draft.head))
    text = signers_file.without_key(tree, name, ending, keys, how=how, commit=commit)
    draft.commit({layout.SIGNERS: text}, f"End a key of {name}: {how}", key=signing_key)
    if not compromised:
        _require_approvable(repository, draft, name)
    _land(draft, form)
    if signing_key:
        output.note(f"next: git config user.signingkey {shlex.quote(str(signing_key.absolute()))}")


def recover(
    commit: Annotated[
        str | None, typer.Argument(metavar="[COMMIT]", help="The last commit that passed; hosts name it.")
    ] = None,
    repository: Clone = Path(),
    *,
    compromised: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead: whose compromised keys are believed up to now.")
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Get past refused commits without a forced push: one signed commit that restores the last one that passed.

    What was refused stays in the history, and is never deployed. With --compromised nothing is restored: it says that
    you have looked at everything up to the newest commit here, and that nothing of what the stolen key did is left.
    """
    from interlock.cli import clone
    from interlock.cli.signed_commits import Draft
    from interlock.contract.verification import RECOVERY

    if (commit is None) == (compromised is None):
        raise InputError("give the last commit that passed, or --compromised NAME")
    draft = Draft(repository)
    if compromised:
        text = signers_file.believed_further(clone.read(repository, "HEAD"), compromised, str(draft.start))
        draft.commit({layout.SIGNERS: text}, f"Believe what keys of {compromised} signed up to here")
        _land(draft, form)
        return
    good = draft.resolve(str(commit))
    if good == draft.start:
        raise InputError(f"{good[:12]} is the newest commit here: there is nothing to get past")
    draft.restore(good, f"Undo what was refused\n\n{RECOVERY}: {good}")
    _land(draft, form, since=good)


def _public(given: list[str] | None, what: str) -> tuple[str, ...]:
    from interlock.cli.key import public_key

    if not given:
        raise InputError(f"no key is given: --key must name {what}", hint="`interlock key` makes one")
    return tuple(_usable(each, public_key(each)) for each in given)


def _usable(given: str, public: str) -> str:
    """A key whose signatures no host takes would be committed, and all that it signs refused."""
    from interlock.contract import signature

    try:
        signature.require_usable(public)
    except Refused as refusal:
        raise InputError(f"--key {given[:60]}: {refusal.message}", hint="`interlock key` makes one that fits") from None
    return public


def _require_approvable(folder: Path, draft: Any, name: str) -> None:
    """That no environment would wait for ever; a key that was stolen ends all the same."""
    from interlock.cli import approvable

    stuck = approvable.stuck(folder, since=str(draft.start), head=str(draft.head))
    if stuck:
        raise InputError(
            f"{', '.join(stuck)}: too few approvers would have a key that counts, so nobody could agree to this commit",
            hint=f"`interlock trust add {name} --key NEW` first; when that is approved and deployed, end the old key "
            "with `interlock trust rotate --old`, signed by somebody who need not approve",
        )


def _land(draft: Any, form: Format, *, since: str | None = None) -> None:
    draft.judge(since or draft.start)
    commit = draft.land()
    if form is Format.JSON:
        output.show_json({"commit": commit})
        return
    typer.echo(f"committed {commit}")
    output.note(f"next: {_DONE}")


def _shown(key: str) -> str:
    from interlock.contract import signature

    return signature.fingerprint(key) if "\n" in key else key
