"""`interlock release`: CI's whole walk of a commit, as a step of somebody's own pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import halves, names, output
from interlock.cli.output import Format, ReportOutput
from interlock.errors import ParameterError

if TYPE_CHECKING:
    from flows.ci.reuse import Given

EXAMPLES = """\b
On a CI host, with INTERLOCK_CONFIG. The same gate, evidence and commit as the release flow makes; without Prefect.
An image of another builder is labelled with the commit that it was built from: docs/releases.md.
\b
Examples:
  interlock release shop                    # build, scan, test, judge and release what is new on the branch
  interlock release shop --component web --image registry.example/shop/web@sha256:0123…
  interlock release shop --output json
"""


def release(
    repository: Annotated[
        str, typer.Argument(metavar="REPOSITORY", help="A source repository of this host's.", callback=names.repository)
    ],
    *,
    component: Annotated[
        str | None, typer.Option(help="Whose image is given.", callback=names.name, metavar="NAME")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(help="Release this image, by digest, which another builder pushed.", callback=names.image),
    ] = None,
    form: ReportOutput = Format.TABLE,
) -> None:
    """Release the newest commit of a source repository's protected branch, where policy allows it."""
    from interlock.cli.terminal import run

    with halves.needs("ci"):
        from flows.ci.release import in_own_process
        from interlock.cli.state import require_own
        from tasks.ci.host import load_ci

        given = _given(component, image)
    host = load_ci()
    require_own(host.state, half="CI")
    outcome = run(lambda telling: in_own_process(telling, repository, None, host=host, given=given), form)
    output.note(str(outcome))


def _given(component: str | None, image: str | None) -> Given | None:
    from flows.ci.reuse import Given

    if image is None:
        if component:
            raise ParameterError(
                "--component names whose image is given", hint="give it with --image, or leave both out"
            )
        return None
    if component is None:
        raise ParameterError(
            f"{image}: whose image is it?", hint="name the component of interlock.yaml: --component web"
        )
    return Given(component, image)
