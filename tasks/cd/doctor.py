"""What a CD host needs beside what every host does: its ledger, its clusters, and its rights in them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from interlock.cd.clock import require_sound
from interlock.cd.host import CdHost, Ceiling
from interlock.contract.doctor import Check, checked
from interlock.contract.report import counted
from interlock.errors import Blocked, Refused
from tasks.cd import ledger_queue, permissions, pull_requests, record
from tasks.cd.cluster import connect
from tasks.cd.host import load_cd
from tasks.common import doctor, git
from tasks.common.age import read_identity


def checks() -> Iterator[Check]:
    """Everything, one after the other."""
    host = load_cd()
    yield Check("host file", True, "cd.yaml is sound, and only root writes it")
    marks = [mark for name in host.environments if (mark := record.read_mark(host.state, name))]
    since = marks[0].verified if marks else None
    yield from doctor.common("cd", host, since=since, grounds=host.grounds)
    yield checked("account for the ledger", lambda: doctor.auth(host.ledger))
    yield checked("ledger", lambda: _ledger(host))
    if host.pull_requests:
        yield checked("account for pull requests", lambda: _comments(host))
    for name in sorted(host.clusters):
        yield checked(f"cluster {name}", lambda name=name: _cluster(host, name))  # type: ignore[misc]
    for name, ceiling in sorted(host.environments.items()):
        yield checked(f"rights of {name}", lambda name=name, ceiling=ceiling: _rights(host, name, ceiling))  # type: ignore[misc]
        if identity := ceiling.age_identity:
            yield checked(f"age identity of {name}", lambda identity=identity: _identity(identity))  # type: ignore[misc]


def _ledger(host: CdHost) -> str:
    doctor.require_own(host.state)
    mirror = git.mirror_path(host.state, host.ledger.name)
    head, seen = git.fetch_or_empty(mirror, host.ledger), git.kept(mirror)
    if seen and (head is None or not git.is_ancestor(mirror, seen, head)):
        raise Refused(
            f"{host.ledger.url} lost what this host has seen", rule="ledger-rewritten", hint="interlock ledger verify"
        )
    waiting = len(ledger_queue.waiting(host.state, host.ledger.name))
    more = f"; {counted(waiting, 'receipt')} on this host could not be pushed yet" if waiting else ""
    return f"{host.ledger.url}: {head[:12] if head else 'empty'}{more}"


def _comments(host: CdHost) -> str:
    if host.pull_requests is None:
        return "none is named"
    forge, branch = host.pull_requests.forge, host.environment_repository.branch
    own, found = pull_requests.whose.fn(forge), pull_requests.open_requests.fn(forge, branch)
    return f"{own.name} on {forge.url}: may not push, and sees {counted(len(found), 'open request')} to {branch}"


def _identity(path: Path) -> str:
    return f"{path}: {read_identity(path).recipient}"


def _cluster(host: CdHost, name: str) -> str:
    with connect(host.clusters[name].kubeconfig) as cluster:
        version, clock = cluster.version, cluster.clock
    now = dt.datetime.now(dt.UTC)
    require_sound(now, receipt=None, server=clock)
    apart = f", clocks {abs((now - clock).total_seconds()):.0f} s apart" if clock else ""
    return f"{cluster.server}: Kubernetes {version}{apart}"


def _rights(host: CdHost, name: str, ceiling: Ceiling) -> str:
    """What it needs for the lock and the record; what a plan needs, the plan tells."""
    with connect(host.clusters[ceiling.cluster].kubeconfig) as cluster:
        found = permissions.lacking_control(cluster, ceiling.control_namespace)
    if found:
        raise Blocked(
            f"{found.username} may not {found.needs[0]} in {ceiling.control_namespace}",
            hint=f"an administrator runs: interlock bootstrap cluster {name} | kubectl apply -f -",
        )
    return f"lock and record in {ceiling.control_namespace}"
