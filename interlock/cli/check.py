"""`interlock check`: what CI's gate would say about the code that lies here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock import __version__
from interlock.ci.part import Part
from interlock.cli import halves, names, output
from interlock.cli.output import FindingsOutput, Format

if TYPE_CHECKING:
    from interlock.cli.terminal import TerminalPresenter
    from interlock.contract.repository import Repository

EXAMPLES = """\b
Exit code 0: the gate would let it pass; 1: it would not, and the reasons are listed.
\b
Examples:
  interlock check --environment-repository ~/environments
  interlock check shop --environment-repository https://git.example.org/environments.git --source shop
  interlock check --no-image                # sources only: needs no Docker, takes a second or two
  interlock check --only secrets --tracked  # as the hooks of .pre-commit-hooks.yaml do
  interlock check --only tests --commit HEAD
  interlock check --output sarif > findings.sarif    # for editors and forges
"""


def check(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The application repository.", file_okay=False)
    ] = Path(),
    *,
    environment_repository: Annotated[
        str | None,
        typer.Option(help="A clone or an address, for its gate, waivers and templates.", show_default="built-in rules"),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="This repository's name in the bindings.", show_default="any", callback=names.repository),
    ] = None,
    image: Annotated[bool, typer.Option(help="Build, scan and test the image too; needs Docker.")] = True,
    docker: Annotated[
        str, typer.Option(envvar="DOCKER_HOST", help="Address of the Docker daemon.")
    ] = "unix:///var/run/docker.sock",
    buildx: Annotated[
        Path | None,
        typer.Option(envvar="INTERLOCK_BUILDX", help="The program docker-buildx: build with BuildKit, as CI does."),
    ] = None,
    trivy_cache: Annotated[
        Path | None, typer.Option(help="The scanner's cache.", show_default="~/.cache/interlock/trivy")
    ] = None,
    pinned_database: Annotated[bool, typer.Option("--pinned-database", help="Never download a database.")] = False,
    only: Annotated[Part | None, typer.Option(help="Judge one part alone.", show_default="everything")] = None,
    tracked: Annotated[bool, typer.Option("--tracked", help="Only files that git tracks, as they lie there.")] = False,
    commit: Annotated[
        str | None,
        # pre-commit's name for what is about to be pushed.
        typer.Option(help="A commit's files.", envvar="PRE_COMMIT_TO_REF", show_default="the files as they lie there"),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Find everything anew; otherwise what read the same before is remembered.")
    ] = False,
    form: FindingsOutput = Format.TABLE,
) -> None:
    """Scan, build and test the files that lie here as CI would, and say what its gate would decide.

    Pushes and writes nothing. The environment repository's signatures are not verified.
    """
    from interlock.cli.terminal import run

    with halves.needs("ci"):
        from flows.ci.check import Checked, check_order
        from flows.ci.remembering import Remembering
        from interlock.ci import sarif
        from interlock.ci.host import Download
        from tasks.ci.local import Files
        from tasks.ci.scanner import local_scanner

    # A person's own proxy is as good as a person's own machine; a CI host says its proxy in ci.yaml.
    download = Download(proxy=os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"))
    program = local_scanner(trivy_cache or _cache() / "trivy", pinned=pinned_database, download=download)
    repository = _policy(environment_repository) if environment_repository else None
    where = folder.resolve()

    def tell(checked: Checked) -> None:
        if form is Format.SARIF:
            output.show_json(sarif.document(checked.findings, version=__version__))

    async def order(telling: TerminalPresenter) -> None:
        remembering = Remembering(telling, _cache() / "checks", about=where)
        await check_order(
            telling if again else remembering,
            where,
            repository,
            program=program,
            docker=docker if image else None,
            buildx=buildx,
            source=source,
            files=Files.TRACKED if tracked else Files.ALL,
            commit=commit,
            only=only,
            tell=tell,
        )
        if remembered := dict.fromkeys(remembering.again):
            telling.say(f"read the same before, so not run again: {', '.join(remembered)}")

    run(order, form)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "interlock"


def _policy(given: str) -> Repository:
    """The environment repository at a path, or cloned for this once with the person's own git."""
    import tempfile

    from interlock.cli import clone
    from interlock.contract import repository

    if Path(given).is_dir():
        return repository.read(clone.read(Path(given), "HEAD", named="--environment-repository DIR"))
    with tempfile.TemporaryDirectory(prefix="interlock-check-") as folder:
        clone.fetch(given, Path(folder))
        return repository.read(clone.read(Path(folder), "HEAD"))
