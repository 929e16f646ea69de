"""The rows, each a function from a control plane to measured claims."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import ground as grounds
from bench.ground import Ground
from bench.measure import Claim, Row, compare
from bench.peers import Kubectl, Raw, kubectl
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
        what = f"plan of {count} objects of {len(grounds.KINDS)} kinds, all as Git says"

        def remembered() -> None:
            ground.plan(ground.rendered(bodies))

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


ROWS: Mapping[str, Callable[[Sandbox, Path, int], list[Row]]] = {
    "plan-unchanged": plan_unchanged,
    "apply-new": apply_new,
    "apply-100": apply_few,
}
