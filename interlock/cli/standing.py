"""How environments stand, as reports: what git says of releases, what ledger and record say of syncs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from interlock.cd.causes import said
from interlock.cd.health import State
from interlock.cd.objects import subject
from interlock.cd.progress import Progress
from interlock.cd.reports import health_data
from interlock.contract.report import Report, Table
from interlock.contract.repository import Environment


@dataclass(frozen=True)
class Release:
    """One component's release in an environment; empty texts while it was never released."""

    environment: str
    application: str
    component: str
    image: str
    source: str
    commit: str


@dataclass(frozen=True)
class Standing:
    """How CD stands with an environment. `problem` is what kept something from being read or verified."""

    environment: str
    cluster: str
    verified: str = ""
    deployed: str = ""
    pending: str = ""
    last: str = ""
    time: str = ""
    outcome: str = ""
    problem: str = ""
    health: Progress | None = None
    """Of one environment that was asked for."""


def releases(environments: Iterable[Environment]) -> tuple[Release, ...]:
    """Every bound component, released or not."""
    return tuple(
        _release(environment, application.name, component)
        for environment in environments
        for application in environment.applications.values()
        for component in application.components
    )


def _release(environment: Environment, application: str, component: str) -> Release:
    released = environment.applications[application].release
    entry = released.components.get(component) if released else None
    if entry is None:
        return Release(environment.name, application, component, "", "", "")
    return Release(environment.name, application, component, entry.image, entry.source.repository, entry.source.commit)


def report(found: Iterable[Release], standings: Iterable[Standing], *, title: str) -> Report:
    """Both as one report: a table of releases, and one of syncs where CD's host could say."""
    released, stood = tuple(found), tuple(standings)
    tables = [
        Table(
            ("environment", "application", "component", "image", "source", "commit"),
            tuple(
                (each.environment, each.application, each.component, _image(each.image), each.source, each.commit[:12])
                for each in released
            ),
        )
    ]
    if stood:
        tables.insert(0, _syncs(stood))
    tables += [_applications(each.health) for each in stood if each.health]
    data = {"releases": [asdict(each) for each in released], "environments": [_data(each) for each in stood]}
    return Report("status", title, tables=tuple(tables), data=data)


def _syncs(stood: tuple[Standing, ...]) -> Table:
    columns = ("environment", "cluster", "verified", "deployed", "pending", "last", "time", "outcome", "problem")
    rows = tuple(
        (
            *(each.environment, each.cluster, each.verified[:12], each.deployed[:12], each.pending[:12]),
            *(each.last, each.time, each.outcome, each.problem),
        )
        for each in stood
    )
    return Table(columns, rows)


def _applications(progress: Progress) -> Table:
    """One line an application: how many of its objects are healthy, and what the first of the others lacks."""
    rows: list[tuple[str, ...]] = []
    for name, part in progress.applications.items():
        first = next(iter((*part.failed, *part.missing)), None)
        why = f"{subject(first.target.identity)}: {first.line}" if first else ""
        state = first.health.state.value if first else State.HEALTHY.value
        rows.append((name, state, f"{part.healthy} of {part.total}", said(why) if why else ""))
    return Table.of("application", "health", "objects", "why", rows=rows)


def _data(stood: Standing) -> object:
    return {
        **{key: value for key, value in vars(stood).items() if key != "health"},
        "health": health_data(stood.health) if stood.health else None,
    }


def _image(image: str) -> str:
    """The digest's first twelve digits tell images apart; the repository is in the bindings."""
    repository, _, digest = image.partition("@sha256:")
    return f"{repository}@{digest[:12]}" if digest else "awaiting its first release"
