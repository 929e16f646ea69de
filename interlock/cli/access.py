"""`interlock access`: what a cluster's administrator applies once, so that CD may do its work and nothing more."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli import names, output
from interlock.cli.operate import Name
from interlock.cli.output import Format, Output

EXAMPLES = """\b
Examples:
  interlock access dev --namespace shop | kubectl apply -f -
  interlock access dev --namespace shop --user interlock-cd > access.yaml
"""


def access(
    environment: Name,
    *,
    namespace: Annotated[
        list[str], typer.Option(help="A namespace that the environment may claim. Repeatable.", callback=names.each)
    ],
    control_namespace: Annotated[
        str | None, typer.Option(help="Where its lock and record are.  [default: interlock-ENV]", callback=names.name)
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(help="CD's name in its client certificate.  [default: a service account is made]"),
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Print the objects that give CD its rights in a cluster: YAML for kubectl, or JSON with --output json.

    A control namespace that no tenant has rights in, and a Role in each of the environment's namespaces.
    """
    from interlock.cd.control import Subject, control_manifests
    from interlock.contract import strict_yaml

    bodies = control_manifests(
        control_namespace=control_namespace or f"interlock-{environment}",
        namespaces=namespace,
        subject=Subject("User", user) if user else None,
    )
    if form is Format.JSON:
        output.show_json(list(bodies))
    else:
        typer.echo("---\n".join(strict_yaml.dump(body) for body in bodies), nl=False)
