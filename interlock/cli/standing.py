"""How environments stand, as reports: what git says of releases, what ledger and record say of syncs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass

from interlock.cd.causes import said
from interlock.cd.health import State
from interlock.cd.objects import subject
from interlock.cd.outlook import Outlook
from interlock.cd.progress import Progress
from interlock.cd.reports import health_data
from interlock.contract.report import Report, Table, cell, counted
from interlock.contract.repository import Environment
from interlock.contract.standing import no_longer_clean
from interlock.contract.tree import Tree


@dataclass(frozen=True)
class Release:
    """One component's release in an environment; empty texts while it was never released."""

    environment: str
    application: str
    component: str
    image: str
    source: str
    commit: str
    unclean: tuple[str, ...] = ()
    """What blocks it since the last rescan."""

    @property
    def name(self) -> str:
        return f"{self.application}/{self.component} in {self.environment}"


@dataclass(frozen=True)
class Standing:
    """How CD stands with an environment. `problem` is what kept something from being read."""

    environment: str
    cluster: str
    verified: str = ""
    deployed: str = ""
    pending: str = ""
    last: str = ""
    time: str = ""
    outcome: str = ""
    problem: str = ""
    outlook: Outlook | None = None
    """Of the branch's newest commit; None when nobody has fetched one yet."""
    health: Progress | None = None
    """Of one environment that was asked for."""

    @property
    def wrong(self) -> bool:
        return bool(self.problem) or bool(self.outlook and self.outlook.wrong)


def releases(environments: Iterable[Environment], tree: Tree) -> tuple[Release, ...]:
    """Every bound component, released or not."""
    return tuple(
        _release(environment, application.name, component, tree)
        for environment in environments
        for application in environment.applications.values()
        for component in application.components
    )


def _release(environment: Environment, application: str, component: str, tree: Tree) -> Release:
    released = environment.applications[application].release
    entry = released.components.get(component) if released else None
    if entry is None:
        return Release(environment.name, application, component, "", "", "")
    unclean = no_longer_clean(tree, environment.name, application, component, entry.image)
    source = entry.source
    return Release(environment.name, application, component, entry.image, source.repository, source.commit, unclean)


def report(found: Iterable[Release], standings: Iterable[Standing], *, title: str) -> Report:
    """Both as one report: a table of releases, and one of syncs where CD's host could say."""
    released, stood = tuple(found), tuple(standings)
    columns = ("environment", "application", "component", "image", "source", "commit")
    rows = tuple(
        (each.environment, each.application, each.component, _image(each.image), each.source, each.commit[:12])
        for each in released
    )
    tables = [Table(columns, rows)] if rows or not stood else []
    if stood:
        tables.insert(0, _syncs(stood))
    tables += [_applications(each.health) for each in stood if each.health]
    data = {"releases": [asdict(each) for each in released], "environments": [_data(each) for each in stood]}
    text = "\n".join((*(line for each in stood for line in _told(each)), *_unclean(released)))
    return Report("status", title, text, tables=tuple(tables), data=data)


def title(stood: Collection[Standing]) -> str:
    """`dev: blocked`, `3 environments: 1 blocked, 2 deployed`; problems are counted beside it."""
    states = Counter(each.outlook.state if each.outlook else "unknown" for each in stood)
    problems = sum(bool(each.problem) for each in stood)
    names = [each.environment for each in stood]
    subject_ = names[0] if len(names) == 1 else counted(len(names), "environment")
    parts = [state if len(names) == 1 else f"{count} {state}" for state, count in sorted(states.items())]
    parts += [counted(problems, "problem")] if problems else []
    return ": ".join(part for part in (subject_, ", ".join(parts)) if part)


_MOST_REASONS = 20


def _unclean(released: Iterable[Release]) -> Iterator[str]:
    for each in released:
        if each.unclean:
            more = len(each.unclean) - _MOST_REASONS
            told = ", ".join(each.unclean[:_MOST_REASONS]) + (f" … and {more} more" if more > 0 else "")
            yield f"**{each.name} is no longer clean:** {cell(told)}"
            yield "- to do: release a mended version, or waive what must stay for a while"


def _told(stood: Standing) -> Iterator[str]:
    """What keeps the newest commit from being deployed, and what to do: Markdown."""
    found = stood.outlook
    if found and found.state != "deployed":
        first, *rest = _reasons(stood) or [""]
        since = f" since {found.since}" if found.since else ""
        yield f"**{stood.environment}: the newest commit {found.commit[:12]} is {found.state}{since}:** {cell(first)}"
        yield from (f"- {cell(line)}" for line in rest[:_MOST_REASONS])
        if len(rest) > _MOST_REASONS:
            yield f"- … and {len(rest) - _MOST_REASONS} more"
        yield f"- to do: {cell(found.to_do)}"
        if stood.deployed:
            yield f"- the cluster has {stood.deployed[:12]}"
    if stood.problem:
        yield f"**{stood.environment}: problem:** {cell(stood.problem)}"


def _reasons(stood: Standing) -> list[str]:
    """What is wrong, and below it each reason."""
    why = stood.outlook.why if stood.outlook else ""
    return [line.strip().removeprefix("- ") for line in why.removeprefix(f"{stood.environment}: ").splitlines()]


def _syncs(stood: tuple[Standing, ...]) -> Table:
    columns = ("environment", "newest", "state", "deployed", "last receipt", "time (UTC)")
    rows = tuple(
        (
            each.environment,
            *((each.outlook.commit[:12], each.outlook.state) if each.outlook else ("", "unknown")),
            *(each.deployed[:12], ": ".join(part for part in (each.last, each.outcome) if part)),
            each.time[:16].replace("T", " "),
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
    found = stood.outlook
    return {
        **{key: value for key, value in vars(stood).items() if key not in {"health", "outlook"}},
        "newest": found.commit if found else "",
        "state": found.state if found else "unknown",
        "why": _reasons(stood),
        "to_do": found.to_do if found else "",
        "since": found.since if found else "",
        "health": health_data(stood.health) if stood.health else None,
    }


def _image(image: str) -> str:
    """The digest's first twelve digits tell images apart; the repository is in the bindings."""
    repository, _, digest = image.partition("@sha256:")
    return f"{repository}@{digest[:12]}" if digest else "awaiting its first release"
