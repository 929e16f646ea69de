"""The rows, each a function from a control plane to measured claims."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench import estate as estates
from bench import flux
from bench import ground as grounds
from bench import workshop as workshops
from bench.ground import Ground
from bench.measure import RUNS, Claim, Row, Work, compare, row, timed
from bench.peers import Kubectl, Raw, kubectl
from bench.verifier import verifier
from interlock.cd.objects import Body
from sandbox.supervisor import Sandbox

LIST, PATCH, KUBECTL_DIFF, KUBECTL_APPLY = "raw LIST, decoded", "raw PATCH loop", "kubectl diff", "kubectl apply"


def plan_unchanged(sandbox: Sandbox, folder: Path, count: int) -> list[Row]:
    """A plan of an environment in which nothing is to be done."""
    with grounds.environment(sandbox, folder) as ground:
        bodies = grounds.bodies(ground.namespace, count)
        rendered = ground.rendered(bodies)
        ground.sync(rendered)
        assert ground.plan(rendered).empty
        raw = Raw(ground)
        peers: dict[str, Callable[[], object]] = {LIST: raw.list}
        if program := kubectl():
            files = ground.files(bodies)
            peers[KUBECTL_DIFF] = lambda: Kubectl(program, ground).diff(files)
        fingerprints = [manifest.fingerprint for manifest in rendered.manifests]
        what = f"plan of {count} objects of {len(grounds.KINDS)} kinds, all as Git says"

        def remembered() -> None:
            ground.plan(ground.rendered(bodies, fingerprints))

        def cold() -> None:
            ground.forget()
            remembered()

        warm, cold_goals = {LIST: "≤ 1.5", KUBECTL_DIFF: "≤ 0.01"}, {LIST: "≤ 3", KUBECTL_DIFF: "≤ 0.2"}
        claims = (
            Claim(f"plan-unchanged-{count}", f"{what}; verdicts remembered", remembered, warm),
            Claim(f"plan-unchanged-{count}-cold", f"{what}; every cache lost", cold, cold_goals),
        )
        return compare(claims, peers)


def apply_new(sandbox: Sandbox, folder: Path, count: int) -> list[Row]:
    """From nothing to all objects; each run of anybody in an environment of its own."""
    places: list[Ground] = []

    def ours() -> None:
        places[-1].sync(places[-1].rendered(grounds.bodies(places[-1].namespace, count)))

    def patches() -> None:
        Raw(places[-1]).apply(grounds.bodies(places[-1].namespace, count))

    peers: dict[str, Callable[[], object]] = {PATCH: patches}
    if program := kubectl():
        peers[KUBECTL_APPLY] = lambda: Kubectl(program, places[-1]).apply(places[-1].folder / "files")
    with _fresh(sandbox, folder, places, count) as before:
        what = f"plan and apply of {count} new objects of {len(grounds.KINDS)} kinds"
        claim = Claim(f"apply-new-{count}", what, ours, {PATCH: "≤ 1.15", KUBECTL_APPLY: "≤ 0.5"})
        return compare((claim,), peers, before=before, runs=3)


@contextmanager
def _fresh(sandbox: Sandbox, folder: Path, places: list[Ground], count: int) -> Iterator[Callable[[], None]]:
    """A new environment for each run; the one before is emptied."""

    def before() -> None:
        if places:
            places.pop().remove()
        place = stack.enter_context(grounds.environment(sandbox, folder))
        place.files(grounds.bodies(place.namespace, count))
        places.append(place)

    with ExitStack() as stack:
        yield before


def apply_few(sandbox: Sandbox, folder: Path, count: int) -> list[Row]:
    """A hundred changed objects among many."""
    with grounds.environment(sandbox, folder) as ground:
        bodies = grounds.bodies(ground.namespace, count)
        ground.sync(ground.rendered(bodies))
        values, few = itertools.count(), 100
        head, tail = grounds.split(bodies, few)

        def ours() -> None:
            ground.sync(ground.rendered([*grounds.with_value(head, f"ours-{next(values)}"), *tail]))

        def patches() -> None:
            Raw(ground).list()
            Raw(ground).apply(grounds.with_value(head, f"raw-{next(values)}"))

        peer = f"raw LIST and {few} raw PATCHes"
        what = f"plan and apply of {few} changed objects among {count}"
        return compare((Claim(f"apply-{few}-of-{count}", what, ours, {peer: "≤ 1.5"}),), {peer: patches})


def many_all(sandbox: Sandbox, folder: Path, count: int, programs: flux.Programs | None = None) -> list[Row]:
    """One commit that changes every object of every application."""
    what = f"a commit that changes all of {count} applications of 4 objects"
    return _many(sandbox, folder, count, programs, changed=count, name=f"apps-{count}-all", what=what, goal="≤ 15 s")


def many_one(sandbox: Sandbox, folder: Path, count: int, programs: flux.Programs | None = None) -> list[Row]:
    """One commit that changes one application."""
    what = f"a commit that changes one of {count} applications of 4 objects"
    return _many(sandbox, folder, count, programs, changed=1, name=f"apps-{count}-one", what=what, goal="≤ 2 s")


def _many(
    sandbox: Sandbox,
    folder: Path,
    count: int,
    programs: flux.Programs | None,
    *,
    changed: int,
    name: str,
    what: str,
    goal: str,
) -> list[Row]:
    """Each peer has a namespace with the same objects. The raw one lists what there is and patches what changed."""
    with (
        grounds.environment(sandbox, folder) as ground,
        grounds.environment(sandbox, folder) as other,
        estates.estate(ground, count) as estate,
        ExitStack() as stack,
    ):
        raw, values, wanted = Raw(other), itertools.count(), list[Body]()
        estate.deploy()
        raw.apply(estate.bodies(other.namespace))
        works = stack.enter_context(_by_flux(programs, sandbox, folder, estate)) if programs else None

        def before() -> None:
            estate.push(f"value-{next(values)}", applications=changed)
            wanted[:] = estate.bodies(other.namespace, applications=changed)
            if works:
                works.push(estate.bodies(works.ground.namespace, applications=changed))

        def patches() -> None:
            raw.list()
            raw.apply(wanted)

        def recorded() -> None:
            estate.deploy()

        peers: dict[str, Work] = {"raw LIST, raw PATCHes": patches}
        if works:
            peers[flux.NAME] = works.reconcile
        goals, none = dict.fromkeys(peers, goal), dict.fromkeys(peers, "")
        claims = (
            Claim(name, f"deploy, from fetch to applied, of {what}", estate.deploy, goals),
            Claim(f"{name}-recorded", f"the same until it is healthy and recorded, of {what}", recorded, none),
        )
        return compare(claims, peers, before=before, runs=3)


@contextmanager
def _by_flux(programs: flux.Programs, sandbox: Sandbox, folder: Path, estate: estates.Estate) -> Iterator[flux.Flux]:
    """Flux with the same applications, in a namespace of its own, all of them applied once."""
    with (
        grounds.environment(sandbox, folder) as ground,
        flux.running(programs, ground, estate.plain(), estate.names) as works,
    ):
        works.push(estate.bodies(ground.namespace))
        works.reconcile()
        yield works


def memory(sandbox: Sandbox, folder: Path, count: int) -> list[Row]:
    """What one deploy needs of the host, beside a process that has only imported what it needs."""
    applications = count // len(grounds.KINDS)
    with grounds.environment(sandbox, folder) as ground, estates.estate(ground, applications) as estate:
        estate.deploy()
        ours, imports = list[float](), list[float]()
        for number in range(RUNS):
            estate.push(f"value-{number}", applications=1)
            ours.append(estate.peak(deploying=True))
            imports.append(estate.peak(deploying=False))
        what = f"peak memory of a deploy that changes one of {applications} applications, {count} objects in all"
        claim = Claim(f"memory-{count}", what, lambda: None, {"imports only": "≤ 300 MB"})
        return [row(claim, ours, "imports only", imports, unit="MB")]


def growth(sandbox: Sandbox, folder: Path, count: int) -> list[Row]:
    """How much longer a plan of fifty times as many unchanged objects takes, beside how much longer the LIST takes."""
    few, many = count // 10, count * 5
    with grounds.environment(sandbox, folder) as small, grounds.environment(sandbox, folder) as large:
        taken: dict[str, list[float]] = {name: [] for name in ("small", "large", "list small", "list large")}
        works: dict[str, Work] = {}
        for name, ground, number in (("small", small, few), ("large", large, many)):
            rendered = ground.rendered(grounds.bodies(ground.namespace, number))
            ground.sync(rendered)
            assert ground.plan(rendered).empty
            works[name] = partial(ground.plan, rendered)
            works[f"list {name}"] = Raw(ground).list
        for _ in range(RUNS):
            for name, work in works.items():
                taken[name].append(timed(work))
        ours = [a / b for a, b in zip(taken["large"], taken["small"], strict=True)]
        lists = [a / b for a, b in zip(taken["list large"], taken["list small"], strict=True)]
        what = f"plan of {many} unchanged objects over plan of {few}"
        claim = Claim(f"growth-{few}-{many}", what, lambda: None, {LIST: "≤ 1"})
        return [row(claim, ours, LIST, lists, unit="times")]


def ci(sandbox: Sandbox, folder: Path, _count: int) -> list[Row]:
    """A release of three components beside a script, also when the host has kept nothing of earlier ones; then of a
    commit that changes one of them, and of one that none.

    Without docker's command line there is no script, and no row of it.
    """
    taken: dict[str, list[float]] = {name: [] for name in ("all", "cold", "by hand", "one", "none")}
    with workshops.workshop(sandbox, folder / "workshop") as works:
        hand = [works.by_hand] if workshops.docker() else []
        for work in (works.release, *hand):
            work()
        for number in range(RUNS):
            works.push(f"all-{number}")
            taken["all"].append(timed(works.release))
            works.push(f"one-{number}", workshops.COMPONENTS[:1])
            taken["one"].append(timed(works.release))
            works.push(f"none-{number}", ())
            taken["none"].append(timed(works.release))
            works.push(f"cold-{number}")
            works.forget()
            taken["cold"].append(timed(works.release))
            works.push(f"by-hand-{number}")  # of what we built, the daemon would have every layer
            taken["by hand"] += [timed(work) for work in hand]
    name, what = f"ci-{len(workshops.COMPONENTS)}", "a release, from fetch to the last release commit,"
    script, whole = "the same commands by a script", "ours, all of them"
    what_all, goals = f"{what} of {len(workshops.COMPONENTS)} components", {script: "≤ 1.05 of it and 2 s"}
    every = Claim(name, what_all, lambda: None, goals)
    cold = Claim(f"{name}-cold", f"{what_all}, nothing kept of what scans found before", lambda: None, goals)
    one = Claim(f"{name}-one", f"{what} of a commit that changes one of them", lambda: None, {whole: "≤ 0.5"})
    none = Claim(f"{name}-none", f"{what} of a commit that changes no file", lambda: None, {whole: "≤ 3 s"})
    beside = ((every, taken["all"]), (cold, taken["cold"])) if hand else ()
    found = [row(claim, ours, script, taken["by hand"]) for claim, ours in beside]
    return [*found, row(one, taken["one"], whole, taken["all"]), row(none, taken["none"], whole, taken["all"])]


def _alone(
    measure: Callable[[Sandbox, Path, int], list[Row]],
) -> Callable[[Sandbox, Path, int, flux.Programs | None], list[Row]]:
    """A row that Flux has no part in."""
    return lambda sandbox, folder, count, _: measure(sandbox, folder, count)


ROWS: Mapping[str, Callable[[Sandbox, Path, int, flux.Programs | None], list[Row]]] = {
    "plan-unchanged": _alone(plan_unchanged),
    "apply-new": _alone(apply_new),
    "apply-100": _alone(apply_few),
    "apps-all": lambda sandbox, folder, count, programs: many_all(sandbox, folder, count // 10, programs),
    "memory": _alone(memory),
    "verify": _alone(lambda sandbox, folder, count: verifier(sandbox, folder, count // 10)),
    "growth": _alone(growth),
    "ci": _alone(ci),
    "apps-one": lambda sandbox, folder, count, programs: many_one(sandbox, folder, count // 10, programs),
}
