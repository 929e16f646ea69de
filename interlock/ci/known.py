"""What the environment repository knows of a component's findings: since when, and which of them its release has.

All of it comes from evidence that CI's key signed there; nothing that an application repository says is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from interlock.ci.targets import Target, targets
from interlock.contract import evidence, layout
from interlock.contract.evidence import Evidence
from interlock.contract.repository import Repository
from interlock.contract.sightings import Known, Sighting, present, sightings
from interlock.contract.tree import Tree


def known_of(repository: Repository, *, source: str, component: str) -> dict[str, Known]:
    """What is known of a component before it is judged, by environment."""
    bound = [each for each in targets(repository, source=source, signer=None) if each.component == component]
    return {each.environment: known(repository.tree, each, bound) for each in bound}


def known(tree: Tree, target: Target, everywhere: Iterable[Target]) -> Known:
    """What is known before a component is judged for `target`; `everywhere` are all targets of that component."""
    seen: dict[str, Sighting] = {}
    for each in everywhere:
        for proof in proofs(tree, each):
            for key, sighting in sightings(proof).items():
                seen[key] = _joined(seen.get(key, sighting), sighting)
    told = [keys for proof in proofs(tree, target) if (keys := present(proof)) is not None]
    return Known(seen, frozenset[str]().union(*told) if told else None)


def proofs(tree: Tree, target: Target) -> Iterator[Evidence]:
    """The evidence of what is released there, and of its last rescan. FormatError when one cannot be read."""
    if target.released is None:
        return
    where = (target.environment, target.application, target.component, target.released.image.partition("@")[2])
    for path in (layout.evidence(*where), layout.rescan(*where)):
        if path in tree.files:
            yield evidence.read_envelope(tree.files[path], path=path)


def _joined(one: Sighting, other: Sighting) -> Sighting:
    return Sighting(min(one.first, other.first), max(one.last, other.last))
