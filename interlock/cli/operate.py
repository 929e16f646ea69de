"""`interlock render`, `plan`, `sync`, `status`: what is desired, what would change, change it, how it stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import halves, names, output
from interlock.cli.output import Format, Output, ReportOutput
from interlock.contract.report import counted
from interlock.errors import Blocked, InputError, InterlockError, ParameterError

if TYPE_CHECKING:
    from interlock.contract.render import Rendered
    from interlock.contract.repository import Environment, Repository
    from tasks.common.validate import Validated

_STAND_IN = "never.released"
RENDER_EXAMPLES = """\b
Examples:
  interlock render dev                      # the files as they lie here, committed or not
  interlock render dev --commit HEAD~1 > before.yaml
  interlock render dev --unreleased         # before the first release
  interlock render --check                  # all environments, and only what is wrong with them
  interlock render dev --repository ~/environments --output json
"""
PLAN_EXAMPLES = """\b
On a CD host, with INTERLOCK_CONFIG.
Exit code 0: nothing differs; 1: something does, or is foreign; more: it cannot be told.
\b
Examples:
  interlock plan dev                        # the newest verified commit against the cluster
  interlock plan dev --all                  # no object is only counted
  interlock plan dev --output markdown      # for a pull request
  interlock plan dev --output json          # its form: interlock schema plan
"""
SYNC_EXAMPLES = """\b
On a CD host, with INTERLOCK_CONFIG. The same code and the same lock as the deploy flow.
\b
Examples:
  interlock sync dev
  interlock plan dev --output json > plan.json; interlock sync dev --plan plan.json
"""
STATUS_EXAMPLES = """\b
On a CD host: verified commits, the ledger, the cluster; of one environment also the health of its applications,
and what keeps them from it. With --repository, or elsewhere: what git says.
\b
Examples:
  interlock status                          # all environments
  interlock status dev --output json
  interlock status --repository ~/environments
"""

ProveAll = Annotated[
    bool, typer.Option("--prove-all", help="Try every new object in a dry run, not only one of each kind.")
]
Name = Annotated[str, typer.Argument(metavar="ENV", help="The environment's name.", callback=names.name)]
Clone = Annotated[Path, typer.Option("--repository", help="A clone of the environment repository.", file_okay=False)]


def render(
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="The environment's name.", callback=names.name)
    ] = None,
    repository: Clone = Path(),
    *,
    commit: Annotated[str | None, typer.Option(help="A commit of the clone; otherwise the files as they are.")] = None,
    unreleased: Annotated[
        bool, typer.Option(help="Render also what was never released, with a stand-in image.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Print no manifests; without ENV of all environments, released or not.")
    ] = False,
    form: Output = Format.TABLE,
) -> None:
    """Print an environment's manifests as they would be applied, from a plain clone, and hold them against the rules.

    Needs no host and no cluster; signatures are not verified. The output is YAML, or JSON with --output json.
    What schemas and policy/rules.yaml say goes to stderr; exit code 1 when they would keep it from a cluster.
    """
    if environment is None and not check:
        raise ParameterError("which environment? name one, or --check for all", hint="interlock render --help")
    read = read_clone(repository, commit)
    if environment is None or check:
        _check(read, [require(read, environment).name] if environment else list(read.environments), form)
        return
    require(read, environment)
    made = rendered(read, environment, unreleased=unreleased)
    output.note(f"{environment} from {repository}, {commit or 'the files as they lie there'}; signatures not verified")
    for each in made.awaiting:
        output.note(f"awaiting: {each} has a component that was never released, so its template renders nothing yet")
    _print(made, form)
    _tell(_validated(read, made), environment)


def _print(made: Rendered, form: Format) -> None:
    from interlock.contract import strict_yaml

    if form is Format.JSON:
        output.show_json([manifest.body for manifest in made.manifests])
        return
    for manifest in made.manifests:
        typer.echo(f"---\n{strict_yaml.dump(manifest.body)}", nl=False)


def _check(read: Repository, environments: list[str], form: Format) -> None:
    """Every environment is looked at before the first that is wrong is told."""
    problems: list[InterlockError] = []
    counts: dict[str, int] = {}
    for name in environments:
        try:
            made = rendered(read, name, unreleased=True)
            counts[name] = len(made.manifests)
            _tell(_validated(read, made), name)
        except (InputError, Blocked) as problem:
            problems.append(problem)
    for each in problems[:-1]:
        output.fail(each)
    if problems:
        raise problems[-1]
    if form is Format.JSON:
        output.show_json(counts)
        return
    for name, count in counts.items():
        typer.echo(f"{name}: {count} objects, as schemas and rules want them")


def _validated(read: Repository, made: Rendered) -> Validated:
    from tasks.common.validate import validate_offline

    return validate_offline.fn(read, made)


def _tell(validated: Validated, environment: str) -> None:
    """What is worth knowing as lines; Blocked with what is denied."""
    for note in validated.notes:
        output.note(f"note: {note}")
    for each in validated.violations:
        if not each.denies:
            output.note(f"warning: {each}")
    if denied := tuple(str(each) for each in validated.violations if each.denies):
        raise Blocked(
            f"{environment}: {counted(len(denied), 'problem')} in its manifests",
            reasons=denied,
            hint="CI blocks a release of such an application, CD a commit that makes or changes such an object; what "
            "lives and stays as it is goes on. Mend the line that is named, or let it pass for a while by a waiver in "
            "policy/waivers.yaml, in a commit of its own",
        )


def rendered(repository: Repository, environment: str, *, unreleased: bool) -> Rendered:
    """The environment as it would be applied; with `unreleased`, what was never released with a stand-in image."""
    from tasks.common.render import render_environment

    return render_environment.fn(repository, environment, _STAND_IN if unreleased else None)


def plan(
    environment: Name,
    *,
    revision: Annotated[
        str | None, typer.Option(help="A verified commit, 40 hex digits; otherwise the newest.")
    ] = None,
    prove_all: ProveAll = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every object that differs; none is only counted.")
    ] = False,
    form: ReportOutput = Format.TABLE,
) -> None:
    """Show what a sync would change, and what somebody changed in the cluster. Changes nothing there."""
    from interlock.cli.terminal import run

    with halves.needs("cd"):
        from interlock.cli.cd import plan_order

    code = run(
        lambda telling: plan_order(telling, environment, revision, prove_all=prove_all, everything=everything), form
    )
    raise typer.Exit(code)


def sync(
    environment: Name,
    *,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="Apply just this plan, or refuse with what moved since.", dir_okay=False),
    ] = None,
    prove_all: ProveAll = False,
    form: ReportOutput = Format.TABLE,
) -> None:
    """Make the cluster what the newest verified commit says, wait until it is healthy, record it."""
    from interlock.cli.terminal import run

    with halves.needs("cd"):
        from interlock.cli.cd import sync_order

    run(lambda telling: sync_order(telling, environment, plan, prove_all=prove_all), form)


def status(
    environment: Annotated[str | None, typer.Argument(metavar="[ENV]", callback=names.name)] = None,
    *,
    repository: Annotated[
        Path | None, typer.Option("--repository", help="A clone of the environment repository.", file_okay=False)
    ] = None,
    form: ReportOutput = Format.TABLE,
) -> None:
    """Show which release each environment has, and on a CD host how its last sync ended."""
    if repository is None and os.environ.get("INTERLOCK_CONFIG"):
        from interlock.cli.terminal import run

        with halves.needs("cd"):
            from interlock.cli.cd import status_order

        wrong = run(lambda telling: status_order(telling, environment), form)
        raise typer.Exit(1 if wrong else 0)
    _status_of_clone(repository or Path(), environment, form)


def _status_of_clone(folder: Path, environment: str | None, form: Format) -> None:
    from interlock.cli import standing

    read = read_clone(folder, "HEAD")
    chosen = list(read.environments.values()) if environment is None else [require(read, environment)]
    title = f"{read.commit[:12]} of {folder}; signatures not verified, the cluster was not asked"
    output.show(standing.report(standing.releases(chosen, read.tree), (), title=title), form)


def read_clone(folder: Path, commit: str | None, *, named: str = "--repository DIR") -> Repository:
    from interlock.cli import clone
    from interlock.contract import repository

    return repository.read(clone.read(folder, commit, named=named))


def require(repository: Repository, name: str) -> Environment:
    if name not in repository.environments:
        known = ", ".join(repository.environments)
        raise ParameterError(f"environment {name}: there is none of that name", hint=f"there are: {known}")
    return repository.environments[name]
