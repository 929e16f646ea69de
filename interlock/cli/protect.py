"""`interlock protect`: what keeps a bad commit from the branch, on the git server and on the forge."""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import output
from interlock.cli.host import Config
from interlock.cli.output import Format, Output
from interlock.contract.report import Report, counted
from interlock.errors import HostConfigError, InputError, InterlockError, ParameterError, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from interlock.contract.forge import ForgeAccount
    from interlock.contract.protection import ProtectionFile, Rule, Weakening
    from interlock.contract.push import HookFile
    from tasks.common.receive_hook import Installed

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Keep bad commits from the branch, on the git server or forge."
)
HOOK_EXAMPLES = """\b
Exit code 3: the environment repository's branch as it is would be refused, and no hook was written.
\b
Examples, on the git server, as who owns the repository's hooks:
  interlock protect hook /srv/git/environments.git --root-commit 1a2b... --root-key "ssh-ed25519 AAAA..."
  interlock protect hook /srv/git/shop.git --application shop --policy ~/environments
"""
_TWO_WAYS = (
    "--root-commit and --root-key for an environment repository, "
    "--application and --policy for an application repository"
)

AUDIT_EXAMPLES = """\b
Exit code 0: at least as strict as wanted, or accepted; 1: something is weaker; 4: a forge could not be asked.
\b
Examples, with the host's cd.yaml or ci.yaml, whose `forges` name the repositories:
  interlock protect audit --policy ~/environments
  interlock protect audit shop --policy ~/environments --output json
"""
APPLY_EXAMPLES = """\b
Exit code 1: something is weaker still, because the forge or its edition does not have it.
\b
Examples:
  interlock protect apply environments --policy ~/environments --token ~/.secrets/forge-admin
"""
FRESHNESS_EXAMPLES = """\b
Examples, from a timer on a host that has the head from elsewhere than CD:
  interlock protect freshness --config /etc/interlock/ci.yaml
  interlock protect freshness --commit "$(git -C ~/environments rev-parse main)"
"""
Repositories = Annotated[
    list[str] | None, typer.Argument(metavar="[REPOSITORY]...", help="As `forges` names them; without any, all.")
]
Policy = Annotated[
    Path,
    typer.Option(help="A clone of the environment repository: policy/protection.yaml of its HEAD.", file_okay=False),
]
Token = Annotated[Path | None, typer.Option(help="A file with another token than the host's file names.")]


@app.callback()
def protect() -> None:
    """Keep bad commits from the branch, on the git server or forge."""


@app.command("hook", epilog=HOOK_EXAMPLES)
def hook(
    repository: Annotated[Path, typer.Argument(metavar="REPOSITORY", help="The bare repository.", file_okay=False)],
    *,
    root_commit: Annotated[
        str | None, typer.Option(help="An environment repository's first commit, 40 hex digits.", show_default=False)
    ] = None,
    root_key: Annotated[
        list[str] | None, typer.Option(help="A public key that may have signed it. Repeatable.", show_default=False)
    ] = None,
    application: Annotated[
        str | None, typer.Option(help="An application repository's name, as bindings have it.", show_default=False)
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="A clone of the environment repository, whose HEAD says what is wanted of the application repository.",
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    branch: Annotated[
        str | None,
        typer.Option(help="The protected branch of an environment repository.", show_default="main"),
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Write a pre-receive hook for a plain git server: every push to the branch is judged as CD, or CI, judges it.

    Interlock has to stay installed where it is now: the hook calls it. Doing it again brings the hook up to date.
    """
    from tasks.common import receive_hook

    given = _given(root_commit=root_commit, root_key=root_key, application=application, policy=policy)
    left: dict[Rule, str] = {}
    if given == ("--application", "--policy"):
        settings, left = _of_application(str(application), policy or Path(), branch)
    elif given == ("--root-commit", "--root-key"):
        settings = _of_root(str(root_commit), root_key or [], branch or "main")
    else:
        what = f"{' and '.join(given)} do not say" if given else "nothing says"
        raise ParameterError(f"{what} what the hook judges by", hint=_TWO_WAYS)
    made = receive_hook.install(repository, settings)
    output.show(_hook_report(repository, settings, made, left), form)
    for line in _hook_notes(settings, made, left):
        output.note(line)


def _hook_report(repository: Path, settings: HookFile, made: Installed, left: Mapping[Rule, str]) -> Report:
    from interlock.contract import source_push

    passes = "would be refused" if made.wrong else "passes"
    first = "the first push is judged as a whole" if settings.application else "the first one must be the root pin"
    has = f"{made.head[:12]}, which {passes}" if made.head else f"no commit yet: {first}"
    said = f"by {made.hook}; the branch has {has}"
    data: dict[str, object] = {"hook": str(made.hook), "branch": settings.branch, "head": made.head}
    data["before"] = made.branch_before(settings)
    if rules := settings.application:
        said += (
            f"\n{rules.source}: {source_push.told(rules)}; by {rules.policy[:12]}, whose signatures are not verified"
        )
        data |= {"application": rules.model_dump(mode="json"), "wrong": made.wrong or None, "not_held": dict(left)}
    return Report("hook", f"pushes to {settings.branch} of {repository} are judged from now on", said, data=data)


def _hook_notes(settings: HookFile, made: Installed, left: Mapping[Rule, str]) -> Iterator[str]:
    for rule, why in left.items():
        yield f"not held: {rule}: {why}"
    if made.wrong:
        yield f"CI would not build what the branch has, until a push mends it: {made.wrong}"
    if before := made.branch_before(settings):
        yield f"{before} is judged no more: anything can be pushed to it"
    if made.before and made.before.guards != settings.guards:
        yield f"until now it was judged as {made.before.guards}, from now on as {settings.guards}"


def _given(**options: object) -> tuple[str, ...]:
    return tuple(f"--{name.replace('_', '-')}" for name, value in options.items() if value)


def _of_root(commit: str, keys: list[str], branch: str) -> HookFile:
    from pydantic import ValidationError

    from interlock.contract.host import RootPin
    from interlock.contract.push import HookFile

    try:
        return HookFile(format=1, branch=branch, root=RootPin(commit=commit, keys=tuple(keys)))
    except ValidationError as error:
        problem = error.errors()[0]
        option = {"commit": "--root-commit", "keys": "--root-key"}.get(str(problem["loc"][0]), "--branch")
        raise InputError(f"{option}: {problem['msg']}") from None


def _of_application(name: str, policy: Path, branch: str | None) -> tuple[HookFile, dict[Rule, str]]:
    """What a clone's HEAD wants of the branch, and what of it no hook can hold."""
    from interlock.cli.operate import read_clone
    from interlock.contract import layout, source_push
    from interlock.contract.push import HookFile

    if branch:
        raise ParameterError(
            f"--branch is for an environment repository: of {name} it stands in {layout.PROTECTION}",
            hint=f"leave --branch out, and commit `branch` of {name} there",
        )
    want, rules = source_push.wanted(read_clone(policy, "HEAD", named="--policy DIR"), name)
    return HookFile(format=1, branch=want.branch, application=rules), dict(source_push.not_held(want))


@app.command("audit", epilog=AUDIT_EXAMPLES)
def audit(
    repositories: Repositories = None,
    *,
    policy: Policy = Path(),
    config: Config = None,
    token: Token = None,
    form: Output = Format.TABLE,
) -> None:
    """Compare how forges guard the branches with what policy/protection.yaml wants of them. Nothing is changed."""
    chosen = _chosen(repositories or [], policy, config, token)
    _show(chosen, form)


@app.command("apply", epilog=APPLY_EXAMPLES)
def apply(
    repositories: Repositories = None,
    *,
    policy: Policy = Path(),
    config: Config = None,
    token: Token = None,
    form: Output = Format.TABLE,
) -> None:
    """Make forges guard the branches at least so well; what is stricter stays. Doing it again changes nothing.

    The token must be one that may administer the repository: an administrator's own, by --token.
    """
    from tasks.common.protection import doors

    chosen = _chosen(repositories or [], policy, config, token)
    for name, account, file in chosen:
        for left in doors.apply(account, file.wanted(name)):
            output.note(f"{name}: {left}")
    _show(chosen, form)


def _chosen(
    names: list[str], policy: Path, config: Path | None, token: Path | None
) -> tuple[tuple[str, ForgeAccount, ProtectionFile], ...]:
    """The repositories that the host's file has a forge for, with the policy of a clone."""
    from interlock.cli.operate import read_clone
    from interlock.contract import protection
    from tasks.common import forge_accounts

    accounts = forge_accounts.read(config)
    if not accounts:
        hint = "name the repositories there, each with its forge: docs/forges.md"
        raise HostConfigError("`forges` of the host's file names no repository: nothing was compared", hint=hint)
    if unknown := sorted(set(names) - accounts.keys()):
        hint = f"it has: {', '.join(sorted(accounts)) or 'none'}"
        raise ParameterError(f"`forges` of the host's file does not name {', '.join(unknown)}", hint=hint)
    file = protection.read(read_clone(policy, "HEAD", named="--policy DIR").tree)
    found = {name: accounts[name] for name in names or sorted(accounts)}
    if token:
        path = token.absolute()
        found = {name: account.model_copy(update={"token": path}) for name, account in found.items()}
    return tuple((name, account, file) for name, account in found.items())


def _show(chosen: Iterable[tuple[str, ForgeAccount, ProtectionFile]], form: Format) -> None:
    from interlock.contract import protection
    from tasks.common.protection import doors

    today = dt.datetime.now(dt.UTC).date()
    found: dict[str, tuple[Weakening, ...]] = {}
    for name, account, file in chosen:
        settings = doors.observe.fn(account, file.wanted(name).branch)
        weak = protection.weakenings(file.wanted(name), settings, kind=account.kind)
        found[name] = protection.judged(weak, file, repository=name, today=today)
    output.show(protection.report(found), form)
    if any(not each.accepted for weak in found.values() for each in weak):
        raise typer.Exit(1)


@app.command("freshness", epilog=FRESHNESS_EXAMPLES)
def freshness(
    *,
    config: Config = None,
    commit: Annotated[str | None, typer.Option(help="The head that you know of.", show_default="the branch's")] = None,
    form: Output = Format.TABLE,
) -> None:
    """State by signature what the newest commit is, so that CD notices a git server that withholds commits.

    CI does it by itself where policy/freshness.yaml names it. The host's file says where the repository is, and who
    signs.
    """
    from tasks.common import fresh_host

    head = fresh_host.state(config, commit)
    data = {"head": head}
    output.show(Report("freshness", f"stated that {head[:12]} is the newest commit", data=data), form)


@app.command("receive", hidden=True)
def receive(repository: Annotated[Path, typer.Argument(file_okay=False)]) -> None:
    """The hook's own half: git runs it, with the pushed refs on stdin.

    Examples: none, the hook that `interlock protect hook` writes calls it.
    """
    from interlock.contract.push import MAX_TEXT
    from tasks.common import receive_hook

    try:
        accepted = receive_hook.judge(repository, sys.stdin.read(MAX_TEXT + 1), os.environ)
    except (Refused, InputError) as error:
        rule = error.rule if isinstance(error, Refused) else "format"
        raise error.with_message(f"refused ({rule}): {error.message}") from error
    except InterlockError as error:
        raise error.with_message(f"not judged, so not taken: {error.message}") from error
    if accepted is not None:
        output.note(f"interlock: {counted(accepted, 'commit', 'commits')} accepted")
