"""`interlock bootstrap cluster`: the least rights that an environment needs, written by a cluster's administrator."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import halves, names, operate, output
from interlock.cli.operate import Clone, Name
from interlock.cli.output import Format, Output
from interlock.contract.report import Report, Table, counted
from interlock.errors import InputError, Refused

if TYPE_CHECKING:
    from interlock.cd.admission_lock import AdmissionLock
    from interlock.cd.audit import Grant
    from interlock.cd.control import Reach
    from interlock.cd.host import Ceiling
    from interlock.cd.objects import Body
    from interlock.contract.render import Rendered
    from interlock.contract.repository import Environment

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What a cluster's administrator does once.")
EXAMPLES = """\b
Examples:
  interlock bootstrap cluster dev --kubeconfig ~/.kube/admin --user interlock-cd
  interlock bootstrap cluster dev --kubeconfig ~/.kube/admin --dry-run > access.yaml
  interlock bootstrap cluster dev --dry-run          # without a cluster; built-in kinds only
  interlock bootstrap cluster dev --kubeconfig ~/.kube/admin --user interlock-cd --lock
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
        str | None,
        typer.Option(
            help="Where its lock and record are.  [default: as cd.yaml says, else interlock-ENV]", callback=names.name
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="CD's name in its client certificate.  [default: the service account]")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Who else may write in the control namespace, such as Group/platform. Repeatable."),
    ] = None,
    lock: Annotated[
        bool, typer.Option("--lock", help="Also have the API server refuse what does not come through Git.")
    ] = False,
    manager: Annotated[
        list[str] | None,
        typer.Option(help="With --lock: who else may change its objects: User/…, ServiceAccount/ns/name. Repeatable."),
    ] = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(help="With --lock: an image by digest that webhooks put into pods. Repeatable."),
    ] = None,
    break_glass: Annotated[
        str | None, typer.Option(help="With --lock: the group that passes.  [default: interlock:break-glass]")
    ] = None,
    warn: Annotated[bool, typer.Option("--warn", help="With --lock: only warn, and note in the audit log.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the objects as YAML; write nothing.")] = False,
    form: Output = Format.TABLE,
) -> None:
    """Write an environment's control namespace and the least rights for what Git has or it still owns.

    Kinds in its namespaces, and what is in none (`cluster_kinds`) by name. First every role and binding of the cluster
    is read: when somebody else may write in the control namespace, nothing is written (exit code 3). Cluster
    administrators are only told of. Git's new kinds, and new objects of `cluster_kinds`, need it again.
    On a CD host, where INTERLOCK_CONFIG names cd.yaml, that is heeded. `--lock` has a page: docs/lock.md.
    """
    from interlock.cd.control import Subject, control_manifests
    from interlock.cd.running import may_run

    read = operate.read_clone(repository, None)
    found = operate.require(read, environment)
    ceiling = _ceiling(found)
    control = _control_namespace(environment, ceiling, control_namespace)
    asked = _asked_lock(lock=lock, managers=manager, pins=pin, break_glass=break_glass, warn=warn)
    wanted = _one_lock(environment, ceiling, asked)
    if control in found.namespaces:
        raise InputError(f"--control-namespace {control} is one of the environment's own namespaces")
    rendered = operate.rendered(read, environment, unreleased=True)
    images = may_run(rendered.manifests, read.images.places)
    subject = Subject("User", user) if user else None
    made: dict[str, Any] = {"control_namespace": control, "namespaces": found.namespaces, "subject": subject}
    if kubeconfig is None:
        if not dry_run:
            raise InputError("--kubeconfig is missing", hint="give an administrator's, or only look with --dry-run")
        known = _built_in(rendered, found.namespaces)
        _print((*control_manifests(**made, reach=known), *_locking(found, control, wanted, user, images)), form)
        return
    with halves.needs("cd"):
        from tasks.cd import bootstrap
        from tasks.cd.cluster import connect
    with connect(kubeconfig) as reached:
        reach = bootstrap.reach.fn(
            reached, rendered, control_namespace=control, environment_id=found.id, namespaces=found.namespaces
        )
        bodies = control_manifests(**made, reach=reach)
        others = bootstrap.audit.fn(reached, control, [*(accept or ()), *([f"User/{user}"] if user else [])], bodies)
        _require_alone(control, others)
        locking = _locking(found, control, wanted, user, images)
        if not dry_run:
            bootstrap.write.fn(reached, bodies)
            bootstrap.lock.fn(reached, locking, namespaces=found.namespaces)
        bodies = (*bodies, *locking)
    if dry_run:
        _print(bodies, form)
    else:
        output.show(_report(environment, bodies, others), form)


def _ceiling(environment: Environment) -> Ceiling | None:
    """What cd.yaml says of it, where this is a CD host; InputError for what that does not give."""
    if not os.environ.get("INTERLOCK_CONFIG"):
        return None
    from tasks.cd.host import load_cd

    ceiling = load_cd().environments.get(environment.name)
    if ceiling and (beyond := ceiling.beyond(environment.cluster, environment.namespaces, environment.cluster_kinds)):
        raise InputError(
            f"environment {environment.name} asks for {beyond}, which cd.yaml does not give it",
            hint="correct environment.yaml, or widen cd.yaml: CD would refuse the commit",
        )
    return ceiling


def _control_namespace(environment: str, ceiling: Ceiling | None, chosen: str | None) -> str:
    """As cd.yaml has it; InputError for what contradicts it."""
    if ceiling is None:
        return chosen or f"interlock-{environment}"
    if chosen not in {None, ceiling.control_namespace}:
        raise InputError(f"--control-namespace {chosen}: cd.yaml has {ceiling.control_namespace} for {environment}")
    return ceiling.control_namespace


def _asked_lock(
    *, lock: bool, managers: list[str] | None, pins: list[str] | None, break_glass: str | None, warn: bool
) -> AdmissionLock | None:
    """What the options ask for; InputError when they speak of a lock that is not asked for."""
    from pydantic import ValidationError

    from interlock.cd.admission_lock import BREAK_GLASS, AdmissionLock

    if not lock:
        if managers or pins or break_glass or warn:
            raise InputError("--manager, --pin, --break-glass and --warn are about --lock", hint="add --lock")
        return None
    value = {"managers": tuple(managers or ()), "images": tuple(pins or ()), "break_glass": break_glass or BREAK_GLASS}
    try:
        return AdmissionLock.model_validate({**value, "enforce": not warn})
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{first.get('input')!r} is no account and no image by digest",
            hint="such as --manager ServiceAccount/keda/keda-operator, --pin registry.example/proxy@sha256:…",
        ) from None


def _one_lock(environment: str, ceiling: Ceiling | None, asked: AdmissionLock | None) -> AdmissionLock | None:
    """The host's own says more than the options: CD holds the policies against that."""
    from interlock.cd.admission_lock import AdmissionLock

    if asked is None or ceiling is None:
        return asked
    if ceiling.admission_lock is None:
        raise InputError(
            f"cd.yaml has no admission_lock for {environment}: without it CD lists no images, and new pods are refused",
            hint="add `admission_lock: {}` to the environment there first",
        )
    if asked not in {AdmissionLock(), ceiling.admission_lock}:
        raise InputError(
            f"--manager, --pin, --break-glass and --warn: cd.yaml's admission_lock of {environment} differs"
        )
    return ceiling.admission_lock


def _locking(
    environment: Environment,
    control: str,
    lock: AdmissionLock | None,
    user: str | None,
    images: Collection[str],
) -> tuple[Body, ...]:
    """The list of these images, which are Git's, and the policies; nothing when no lock is asked for."""
    from interlock.cd.admission_lock import Locked, listing, policies

    if lock is None:
        return ()
    for manager in sorted({rule.manager for rule in environment.file.conflicts if rule.decision == "leave"}):
        output.note(f"note: a conflict rule leaves fields to the manager {manager}: name its account with --manager")
    names = (environment.name, environment.id, control, environment.namespaces)
    locked = Locked(*names, lock, user=user or "", wide=bool(environment.cluster_kinds))
    return (listing(images, control), *policies(locked))


def _built_in(rendered: Rendered, namespaces: Sequence[str]) -> Reach:
    """The reach of what Git has, without asking a cluster; InputError for a kind that only a cluster knows."""
    from interlock.cd.control import COMMON
    from interlock.cd.definitions import defined
    from interlock.cd.objects import Resource, group_of
    from interlock.cd.reach import reach_of
    from interlock.contract.kinds import GIVEN

    inside = [
        Resource(group_of(version), version.rpartition("/")[2], kind, plural, True) for version, kind, plural in COMMON
    ]
    wide = [("Namespace", ("v1", "namespaces")), *GIVEN.items()]
    outside = [Resource(group_of(v), v.rpartition("/")[2], kind, plural, False) for kind, (v, plural) in wide]
    known = [*defined(manifest.body for manifest in rendered.manifests), *inside, *outside]
    served = {(each.group, each.kind): each for each in known}
    if unknown := sorted({m.type for m in rendered.manifests if (m.identity.group, m.identity.kind) not in served}):
        named = ", ".join(f"{version} {kind}" for version, kind in unknown)
        raise InputError(f"only the cluster knows how it serves {named}", hint="give --kubeconfig")
    return reach_of((m.identity for m in rendered.manifests), served, namespaces=namespaces)


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
