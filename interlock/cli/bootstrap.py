"""`interlock bootstrap cluster`: the least rights that an environment needs, written by a cluster's administrator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import halves, names, operate, output
from interlock.cli.operate import Clone, Name
from interlock.cli.output import Format, Output
from interlock.contract.report import Report, Table, counted
from interlock.errors import InputError, Refused

if TYPE_CHECKING:
    from interlock.cd.audit import Grant

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What a cluster's administrator does once.")
EXAMPLES = """\b
Examples:
  interlock bootstrap cluster dev --kubeconfig ~/.kube/admin --user interlock-cd
  interlock bootstrap cluster dev --kubeconfig ~/.kube/admin --dry-run > access.yaml
  interlock bootstrap cluster dev --dry-run          # without a cluster; built-in kinds only
"""


@app.command("cluster", epilog=EXAMPLES)
def cluster(
    environment: Name,
    repository: Clone = Path(),
    *,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="An administrator's access to the cluster.", dir_okay=False)
    ] = None,
    control_namespace: Annotated[
        str | None, typer.Option(help="Where its lock and record are.  [default: interlock-ENV]", callback=names.name)
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="CD's name in its client certificate.  [default: the service account]")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Who else may write in the control namespace, such as Group/platform. Repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the objects as YAML; write nothing.")] = False,
    form: Output = Format.TABLE,
) -> None:
    """Write an environment's control namespace and the least Role for the kinds that Git has or that it still owns.

    First every role and binding of the cluster is read: when somebody else may write in the control namespace,
    nothing is written (exit code 3). Cluster administrators are only told of. Git's new kinds need it again.
    """
    from interlock.cd.control import Subject, control_manifests

    read = operate.read_clone(repository, None)
    found = operate.require(read, environment)
    control = control_namespace or f"interlock-{environment}"
    if control in found.namespaces:
        raise InputError(f"--control-namespace {control} is one of the environment's own namespaces")
    rendered = operate.rendered(read, environment, unreleased=True)
    subject = Subject("User", user) if user else None
    made: dict[str, Any] = {"control_namespace": control, "namespaces": found.namespaces, "subject": subject}
    if kubeconfig is None:
        if not dry_run:
            raise InputError("--kubeconfig is missing", hint="give an administrator's, or only look with --dry-run")
        _print(control_manifests(**made, kinds=_built_in(rendered)), form)
        return
    with halves.needs("cd"):
        from tasks.cd import bootstrap
        from tasks.cd.cluster import connect
    with connect(kubeconfig) as reached:
        kinds = bootstrap.kinds.fn(reached, rendered, control_namespace=control, environment_id=found.id)
        others = bootstrap.audit.fn(reached, control, accept or ())
        _require_alone(control, others)
        bodies = control_manifests(**made, kinds=kinds)
        if not dry_run:
            bootstrap.write.fn(reached, bodies)
    if dry_run:
        _print(bodies, form)
    else:
        output.show(_report(environment, bodies, others), form)


def _built_in(rendered: Any) -> list[tuple[str, str, str]]:
    """The kinds of Git without asking a cluster; InputError for one that only a cluster knows."""
    from interlock.cd.control import COMMON

    known = {(version, kind): plural for version, kind, plural in COMMON}
    wanted = {(m.body["apiVersion"], m.body["kind"]) for m in rendered.manifests} - {("v1", "Namespace")}
    if unknown := sorted(wanted - known.keys()):
        named = ", ".join(f"{version} {kind}" for version, kind in unknown)
        raise InputError(f"only the cluster knows how it serves {named}", hint="give --kubeconfig")
    return [(*kind, known[kind]) for kind in sorted(wanted)]


def _require_alone(control: str, others: Sequence[Grant]) -> None:
    """Refused when somebody may write in the control namespace who is not an administrator of the whole cluster."""
    for grant in others:
        if grant.cluster_admin:
            output.note(f"warning: {grant.subject} may write in {control}, by {grant.binding}: a cluster administrator")
    if found := [grant for grant in others if not grant.cluster_admin]:
        lines = "\n".join(f"  - {g.subject} may {g.may}, by {g.binding}" for g in found)
        raise Refused(
            f"others may write in {control}, and so free the lock or forge the record:\n{lines}",
            rule="control-namespace",
            hint="nothing was written: take that away, or say who is meant with --accept",
        )


def _print(bodies: Sequence[Any], form: Format) -> None:
    from interlock.contract import strict_yaml

    if form is Format.JSON:
        output.show_json(list(bodies))
    else:
        typer.echo("---\n".join(strict_yaml.dump(body) for body in bodies), nl=False)


def _report(environment: str, bodies: Sequence[Any], others: Sequence[Grant]) -> Report:
    rows = tuple((b["kind"], b["metadata"].get("namespace", ""), b["metadata"]["name"]) for b in bodies)
    data = {
        "environment": environment,
        "objects": [{"kind": kind, "namespace": namespace, "name": name} for kind, namespace, name in rows],
        "administrators": sorted({grant.subject for grant in others}),
    }
    return Report(
        "bootstrapped",
        f"{environment}: {counted(len(rows), 'object')} written, and nobody else writes in the control namespace",
        tables=(Table(("kind", "namespace", "name"), rows),),
        data=data,
    )
