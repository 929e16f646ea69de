"""What a plan rests on beside the objects themselves: the commit's rules, the neighbours, and what was lost."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from interlock.cd.admission_lock import policy_names
from interlock.cd.guards import Guards
from interlock.cd.handover import Neighbour, place
from interlock.cd.inventory import Inventory
from interlock.cd.plan import Lost, Scope
from interlock.cd.receipts import newest_healthy
from interlock.cd.record import Known, part_of, remembered_order
from interlock.contract.kinds import cluster_kind
from interlock.contract.render import Identity, Rendered
from interlock.contract.repository import Environment, Repository
from interlock.errors import InputError
from tasks.cd import contests, ledger, record
from tasks.cd.record import Stored
from tasks.common.environment_repository import read_older_environments
from tasks.common.render import render_environment

if TYPE_CHECKING:
    from flows.cd.walk import Site

STAND_IN = "never.released"
"""The image registry of what is rendered before its first release, only to learn what it would make."""


async def scope_of(
    site: Site, repository: Repository, environment: Environment, *, stored: Stored, known: Known, rendered: Rendered
) -> Scope:
    """Whose plan it is and by which rules, at the repository's commit."""
    silent = frozenset(environment.applications) - {m.application for m in rendered.manifests} - {*rendered.awaiting}
    undo = environment.drift == "undo"
    again = known.deployed == repository.commit and known.pending is None
    older = {commit for commit in (known.since, known.deployed) if commit} - {repository.commit}
    before = read_older_environments(site.host.environment_repository, site.name, state=site.host.state, commits=older)
    guards = Guards.of(environment.file, silent=silent).held_to(before)
    return Scope(
        environment=site.name,
        environment_id=environment.id,
        commit=repository.commit,
        control_namespace=site.ceiling.control_namespace,
        part_of=part_of(environment.id, site.ceiling.control_namespace),
        undo=undo,
        again=again,
        namespaces=environment.namespaces,
        masking=secrets.token_bytes(32),
        guards=guards,
        elsewhere=await _awaited(site, repository, rendered, stored.inventory),
        covered=known.began(repository.commit, guards.allowed),
        neighbours=_neighbours(site, repository),
        claimed=_claimed(repository, environment),
        given_away=await _given_away(site, repository, environment, rendered, stored.inventory),
        conflicts=environment.file.conflicts,
        take_over=environment.file.take_over,
        recreate=environment.file.recreate,
        contested=contests.waiting(site.host.state, site.name) if undo and again else (),
        allowed=environment.file.allowed_objects,
        policies=policy_names(environment.id) if site.ceiling.admission_lock else frozenset(),
        lost=None if stored.record else await _lost(site, environment),
        after=remembered_order(
            environment.after,
            environment.applications,
            stored.record,
            {entry.application for entry in stored.inventory.entries.values()},
        ),
    )


async def _awaited(
    site: Site, repository: Repository, rendered: Rendered, inventory: Inventory
) -> Mapping[Identity, str]:
    """Of what leaves: the objects that applications will have once they are released for the first time."""
    named = {manifest.identity for manifest in rendered.manifests}
    if not rendered.awaiting or not inventory.entries.keys() - named:
        return {}
    expected = await site.presenter.step(render_environment, repository, site.name, STAND_IN)
    made = {each.identity: each.application for each in expected.manifests if each.identity not in named}
    return {identity: f"{name}, which awaits its first release, has it in Git" for identity, name in made.items()}


def _neighbours(site: Site, repository: Repository) -> tuple[Neighbour, ...]:
    """The other environments of the cluster that this host serves; an id that Git has no more is on the mark."""
    found: list[Neighbour] = []
    for name, ceiling in sorted(site.host.environments.items()):
        if name == site.name or ceiling.cluster != site.ceiling.cluster:
            continue
        environment = repository.environments.get(name)
        mark = None if environment else record.read_mark(site.host.state, name)
        if known := environment.id if environment else mark.environment_id if mark else "":
            kinds = environment.cluster_kinds if environment and not environment.removed else ()
            found.append(Neighbour(name, known, ceiling.control_namespace, kinds))
    return tuple(found)


async def _given_away(
    site: Site, repository: Repository, environment: Environment, rendered: Rendered, inventory: Inventory
) -> Mapping[Identity, str]:
    """Of what leaves and is in no namespace: what another environment of the cluster has in Git, or may have as long as
    that cannot be rendered.
    """
    named = {manifest.identity for manifest in rendered.manifests}
    leaving = {identity for identity in inventory.entries if not place(identity)} - named
    kinds = {cluster_kind(identity.group, identity.kind) for identity in leaving}
    found: dict[Identity, str] = {}
    for other in _others(repository, environment):
        if not kinds.intersection(other.cluster_kinds):
            continue
        try:
            made = await site.presenter.step(render_environment, repository, other.name, STAND_IN)
            theirs = leaving & {manifest.identity for manifest in made.manifests}
        except InputError:
            theirs = {i for i in leaving if cluster_kind(i.group, i.kind) in other.cluster_kinds}
        found |= dict.fromkeys(theirs, other.name)
    return found


def _others(repository: Repository, environment: Environment) -> Sequence[Environment]:
    """The other environments of the same cluster."""
    others = [each for each in repository.environments.values() if each.name != environment.name and not each.removed]
    return [each for each in others if each.cluster == environment.cluster]


def _claimed(repository: Repository, environment: Environment) -> Mapping[str, str]:
    """By namespace: which other environment has it."""
    return {space: each.name for each in _others(repository, environment) for space in each.namespaces}


async def _lost(site: Site, environment: Environment) -> Lost:
    """The cluster has no record: a new environment, or somebody removed it."""
    receipts = await site.presenter.step(
        ledger.read, site.host.ledger, site.name, state=site.host.state, keys=ledger.keys_of(site.host)
    )
    result, reclaim = newest_healthy(receipts), environment.file.reclaim
    return Lost(result, reclaim is not None and reclaim.result == result)
