"""Looks at a cluster and makes a plan of what it sees: one LIST per kind and namespace, and a dry run where needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

from interlock.cd import budget, foreign, predict, prune, strangers, take_over
from interlock.cd import plan as decide
from interlock.cd.admission import CONFIGURATIONS, GROUP, Admission, reaches
from interlock.cd.control import COMMON, OWN_KINDS, PROBE, is_own, role_name
from interlock.cd.definitions import defined
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.living import Living, Objects, living
from interlock.cd.objects import PART_OF, Body, Resource, group_of, identify, label, subject, uid, version_of
from interlock.cd.order import rank
from interlock.cd.plan import Action, Look, Plan, PlanItem, Scope, Unseen, Wanted
from interlock.cd.proof import ASKED, UNKNOWN_ADMISSION, Proof, beside_refused, misfit, proofs
from interlock.cd.strangers import Census, Owner
from interlock.cd.verdicts import Expected, expected, ground, learned, recall
from interlock.contract.canonical import canonical
from interlock.contract.manifest import Manifest
from interlock.contract.models import TakeOver
from interlock.contract.render import Identity, Rendered
from interlock.contract.schema import Problem, Schema, of_definitions
from interlock.contract.validation import misfit_by
from interlock.contract.workloads import mapping
from interlock.errors import Blocked, ClusterError
from tasks.cd import verdicts
from tasks.cd.cluster import CONNECTIONS, Cluster, Kinds, Listed
from tasks.cd.handover import find_released, owned_by_neighbours, received
from tasks.cd.schemas import ServerSchemas, read_admission
from tasks.common.effect import effect

T = TypeVar("T")
R = TypeVar("R")
GroupKind = tuple[str, str]
_LOOKS = 4
"""How often an object is looked at that is written to meanwhile."""
_MOST_OWNERS = 200
"""Owners that are asked for one by one."""
_ADMISSION_UNSEEN = tuple(Unseen("", GROUP, kind) for kind in CONFIGURATIONS)


@dataclass(frozen=True)
class Live:
    """What lives, and which kinds could not be read, with the reason."""

    objects: Objects
    """Of kinds that nobody names, only the metadata."""
    unreadable: Mapping[GroupKind, str]
    oldest: int
    """The lowest resourceVersion that one of the LISTs is of; the highest is `newest`."""
    newest: int
    beside: Mapping[GroupKind, str]
    """Of the kinds that nobody names: those that could not be read, with the reason."""
    resources: Mapping[GroupKind, Resource]
    unseen: tuple[Unseen, ...]
    """What RBAC does not let us look at."""

    def hidden(self, identity: Identity) -> str:
        """Why objects of this kind cannot be seen; empty when they can."""
        return self.unreadable.get((identity.group, identity.kind), "")

    @property
    def kinds(self) -> tuple[Resource, ...]:
        """The kinds of which something lives in a namespace."""
        living = {(identity.group, identity.kind) for identity in self.objects if identity.namespace}
        return tuple(self.resources[key] for key in sorted(living))


def side_by_side(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Run in a bounded pool, in order of the items; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="cluster") as pool:
        return list(pool.map(work, items))


def look_at(
    cluster: Cluster,
    rendered: Rendered,
    inventory: Inventory,
    namespaces: Sequence[str],
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> Live:
    """Every object of every kind in the namespaces, and the cluster-wide ones that are named.

    `meanwhile` is done while the server makes its long answers.
    """
    named = {manifest.identity for manifest in rendered.manifests} | set(inventory.entries)
    served = cluster.kinds()  # before each is asked for by its name: most of them are known then
    kinds, unreadable = served_kinds(cluster, rendered, inventory)
    others, beside = other_kinds(served, kinds)
    asked = [_Ask(kind, space) for kind in kinds if kind.namespaced for space in namespaces]
    asked += [_Ask(kind, space, whole=False) for kind in others for space in namespaces]
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="cluster") as pool:
        coming = pool.map(lambda ask: _listed(cluster, ask), asked)
        meanwhile()
        lists = list(coming)
    objects: dict[Identity, Living] = {}
    versions: list[int] = []
    unseen: list[Unseen] = []
    refused = {ask.namespace for ask, found in zip(asked, lists, strict=True) if isinstance(found, ClusterError)}
    gone = {space for space in refused if namespace_is_gone(cluster, space)}
    for ask, found in zip(asked, lists, strict=True):
        key, space = ask.kind, ask.namespace
        if space in gone:
            continue
        if isinstance(found, ClusterError):
            (unreadable if ask.whole else beside)[key] = found.message
            unseen += [Unseen(space, *key)] if found.status == 403 else []
            continue
        if ask.whole and key[0] in _BUILT_IN:  # an aggregated server counts its own versions
            versions.append(int(found.version))
        for each in found.objects:
            objects[Identity(*key, space, each.name)] = each
    wide = {(r.group, r.kind): r for r in kinds if not r.namespaced}
    single = sorted(i for i in named if (i.group, i.kind) in wide)
    bodies = side_by_side(lambda i: _got(cluster, wide[(i.group, i.kind)], i.name), single)
    for identity, body in zip(single, bodies, strict=True):
        if isinstance(body, ClusterError):
            unreadable[(identity.group, identity.kind)] = body.message
        elif body is not None:
            objects[identity] = living(body)
    return Live(
        Objects(objects),
        unreadable,
        min(versions, default=0),
        max(versions, default=0),
        beside=beside,
        resources={(r.group, r.kind): r for r in (*kinds, *others)},
        unseen=tuple(sorted(unseen)),
    )


def namespace_is_gone(cluster: Cluster, name: str) -> bool:
    """Whether the server says that there is no such namespace: our rights in it went with it, and all else too."""
    try:
        return cluster.get(cluster.resource("v1", "Namespace"), name) is None
    except ClusterError as error:
        if error.transient or not error.status:
            raise
        return False


def served_kinds(
    cluster: Cluster, rendered: Rendered, inventory: Inventory
) -> tuple[tuple[Resource, ...], dict[GroupKind, str]]:
    """Desired kinds at the version that Git names, then the common ones, then what only the inventory knows."""
    found: dict[GroupKind, Resource] = {}
    missing: dict[GroupKind, str] = {}
    versions = [(m.body["apiVersion"], m.body["kind"]) for m in rendered.manifests]
    for api_version, kind in dict.fromkeys((*versions, *((version, kind) for version, kind, _ in COMMON))):
        key = (group_of(api_version), kind)
        if key not in found:
            _note(found, missing, key, lambda v=api_version, k=kind: cluster.resource(v, k))  # type: ignore[misc]
    for key in sorted({(i.group, i.kind) for i in inventory.entries} - found.keys()):
        _note(found, missing, key, lambda k=key: cluster.preferred(*k))  # type: ignore[misc]
    return tuple(found.values()), missing


def _note(
    found: dict[GroupKind, Resource],
    missing: dict[GroupKind, str],
    key: GroupKind,
    ask: Callable[[], Resource],
) -> None:
    """A kind that is not served has no objects: what wants one learns so from its dry run."""
    try:
        found[key] = ask()
    except ClusterError as error:
        if _of_another_server(*key, error):
            missing[key] = error.message
        elif error.status != 404:
            raise


def _of_another_server(group: str, _kind: str, error: ClusterError) -> bool:
    """Whether only an aggregated API is broken: what it serves is unknown then, and the rest goes on."""
    return group not in _BUILT_IN and error.status >= 500


_BUILT_IN = frozenset(group_of(version) for version, _, _ in COMMON)


def other_kinds(served: Kinds, kinds: Iterable[Resource]) -> tuple[tuple[Resource, ...], dict[GroupKind, str]]:
    """The other kinds that the cluster has in namespaces, and the groups of which that cannot be told.

    Not events, which tell of objects, nor the figures that an aggregated API computes.
    """
    known = {(kind.group, kind.kind) for kind in kinds}
    found = tuple(
        kind
        for kind in served.found
        if kind.namespaced and (kind.group, kind.kind) not in known and not _only_tells(kind.group, kind.kind)
    )
    silent = {(group, "any kind"): f"{group} does not say what it serves" for group in served.unknown}
    return found, {key: why for key, why in silent.items() if not _only_tells(*key)}


def _only_tells(group: str, kind: str) -> bool:
    return (kind == "Event" and group in {"", "events.k8s.io"}) or group in _FIGURES


_FIGURES = frozenset({"metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"})


@dataclass(frozen=True)
class _Ask:
    """One LIST; of what nobody names, only metadata."""

    resource: Resource
    namespace: str
    whole: bool = True

    @property
    def kind(self) -> GroupKind:
        return self.resource.group, self.resource.kind


def _listed(cluster: Cluster, ask: _Ask) -> Listed | ClusterError:
    """The objects, or why we may not see them; a part that fails for other reasons fails the plan."""
    try:
        if ask.whole:
            return cluster.listed(ask.resource, ask.namespace)
        return cluster.heads(ask.resource, ask.namespace)
    except ClusterError as error:
        if error.status == 404 and not ask.whole:  # the kind went while we looked
            return Listed((), "")
        if error.status in {403, 405} or (error.status and not ask.whole) or _of_another_server(*ask.kind, error):
            return error
        raise


def _got(cluster: Cluster, resource: Resource, name: str) -> Body | ClusterError | None:
    """An object of a kind without namespaces, as `_listed`."""
    try:
        return cluster.get(resource, name)
    except ClusterError as error:
        if _of_another_server(resource.group, resource.kind, error):
            return error
        raise


# plan ------------------------------------------------------------------------------------------------


@effect(name="plan", retries=3)
def make_plan(
    cluster: Cluster,
    rendered: Rendered,
    inventory: Inventory,
    scope: Scope,
    memory: Path | None = None,
    *,
    schemas: Path | None = None,
    prove_all: bool = False,
) -> Plan:
    """What would have to change. Reads and dry runs only.

    `memory` is a file of ours with the verdicts of earlier plans; without one, everything is compared.
    `schemas` is a folder of ours for the server's schemas. With `prove_all` all that is new or differs goes through a
    dry run.
    Blocked when Git renders nothing at all while the environment owns objects: an empty render never prunes.
    """
    _require_something(rendered, inventory, scope)
    scaled = foreign.scaled(manifest.body for manifest in rendered.manifests)
    rests_on = ground(scope, server=cluster.server, version=cluster.version, code=verdicts.code())
    remembered = verdicts.read(memory, ground=rests_on)
    hoped: dict[Identity, Expected] = {}
    with ThreadPoolExecutor(1, thread_name_prefix="admission") as beside:
        asked = beside.submit(read_admission, cluster)
        live = look_at(
            cluster,
            rendered,
            inventory,
            prune.looked_at(inventory, scope),
            meanwhile=lambda: hoped.update(expected(remembered, rendered.manifests, inventory, scaled)),
        )
        admission = asked.result().without(scope.policies)
    remembered = remembered.at(live.oldest)
    recalled = recall(remembered, hoped, rendered.manifests, live.objects)
    wants = [decide.wanted(m, live.objects.get(m.identity), inventory, scope) for m in recalled.rest]
    wants, given_notes = received(cluster, wants, scope)
    looks = [(want, decide.look(want, scope)) for want in wants]
    predictions = {} if prove_all else predict.all_of(looks, scope)
    known_schemas = KnownSchemas(ServerSchemas(cluster, schemas), rendered)
    proving = _Proving(admission, predictions.keys(), known_schemas, everything=prove_all)
    proven, notes = _proofs(cluster, wants, live, proving)
    judged, said = _items(
        cluster, looks, live, scope, scaled=scaled, proven=proven, predictions=predictions, schemas=known_schemas
    )
    notes += [*said, *given_notes]
    known = {**recalled.known, **learned(wants, judged, scaled)}
    if known != remembered.known:
        verdicts.write(memory, replace(remembered, known=known, seen=live.newest))
    items = [*recalled.items, *judged]
    named = {manifest.identity for manifest in rendered.manifests}
    leaving = _leaving(cluster, rendered, live, inventory, scope)
    items += leaving.items
    census = Census(_not_rights(cluster, live, scope), named | inventory.entries.keys(), scope.allowed)
    found, standings = strangers.of(_census(cluster, census), part_of=scope.part_of)
    items += found
    judging, said = _judging(cluster, admission, live, scope, census)
    items += judging
    notes += [*said, *_not_read(live)]
    seen = {**live.objects, **leaving.elsewhere} if leaving.elsewhere else live.objects
    within = budget.judged(items, seen, scope, owned=len(inventory.entries))
    notes += [*leaving.notes, *prune.advice(leaving.items, inventory, scope), *within.notes]
    return Plan(
        scope.environment,
        scope.commit,
        tuple(sorted(items, key=lambda item: rank(item.identity))),
        repairs=tuple(entry for want in wants if (entry := decide.repaired(want))),
        forgotten=leaving.forgotten,
        released=leaving.released,
        notes=tuple(notes),
        over=within.over,
        mark=within.mark,
        standings=standings,
        covered=within.covered,
        unseen=(*live.unseen, *leaving.unseen, *(() if admission.known else _ADMISSION_UNSEEN)),
    )


def _require_something(rendered: Rendered, inventory: Inventory, scope: Scope) -> None:
    """An empty render never prunes."""
    if not rendered.manifests and inventory.entries and not rendered.awaiting and not scope.guards.removed:
        raise Blocked(
            f"environment {scope.environment}: {scope.commit[:12]} renders no object, and it owns "
            f"{len(inventory.entries)}: nothing is pruned",
            hint="keep at least one object in Git, such as its Namespace; "
            "to remove the environment on purpose, write `state: removed` into its environment.yaml",
        )


def _not_read(live: Live) -> Iterator[str]:
    """A line for each kind that somebody names and that cannot be read, and one for all others."""
    yield from (f"{kind} cannot be read: {why}" for (_, kind), why in sorted(live.unreadable.items()))
    if live.beside:
        names = ", ".join(f"{kind}.{group}".rstrip(".") for group, kind in sorted(live.beside)[:_MOST_KINDS])
        more = f" and {len(live.beside) - _MOST_KINDS} more" if len(live.beside) > _MOST_KINDS else ""
        why = next(iter(sorted(live.beside.values())))
        yield f"what is foreign of {names}{more} cannot be seen: {why}"


_MOST_KINDS = 8
_UNFIT = 422


def _not_rights(cluster: Cluster, live: Live, scope: Scope) -> Objects:
    """What lives, without the rights that an administrator gave to us and to neighbours."""
    controls = [scope.control_namespace, *(each.control_namespace for each in scope.neighbours)]
    rights = {identity for identity in live.objects if identity.kind in OWN_KINDS}
    named = {i for i in rights if i.name.startswith(tuple(role_name(name) for name in controls))}
    username = _username(cluster) if named else ""
    own = {i for i in named if any(is_own(live.objects[i], name, username) for name in controls)}
    return live.objects.without(own)


def _username(cluster: Cluster) -> str:
    """Nothing where the server does not tell: then what names us is foreign."""
    try:
        return cluster.username
    except ClusterError as error:
        if error.transient or not error.status:
            raise
        return ""


def _judging(
    cluster: Cluster, admission: Admission, live: Live, scope: Scope, census: Census
) -> tuple[tuple[PlanItem, ...], list[str]]:
    """Webhooks and admission policies that nobody declared, and that are asked about what lives in the namespaces."""
    others = {identify(body): body for body in admission.bodies}
    others = {identity: body for identity, body in others.items() if identity not in census.known}
    if not others:
        return (), []
    spaces = [_labels(cluster, live, name) for name in scope.namespaces]
    others = {identity: body for identity, body in others.items() if reaches(body, spaces, live.kinds)}
    notes: list[str] = []
    declared = owned_by_neighbours(cluster, others, scope, notes)
    found = {identity: body for identity, body in others.items() if identity not in declared}
    return strangers.judging(found, scope.allowed, part_of=scope.part_of), notes


def _labels(cluster: Cluster, live: Live, name: str) -> Mapping[str, str]:
    """A namespace's; those that every namespace has, when more cannot be seen."""
    body = live.objects.get(Identity("", "Namespace", "", name)) or {}
    if not body:
        with suppress(ClusterError):
            body = cluster.get(cluster.resource("v1", "Namespace"), name) or {}
    return {"kubernetes.io/metadata.name": name, **mapping(body, ("metadata", "labels"))}


def _census(cluster: Cluster, census: Census) -> Census:
    """With the owners of custom kinds that strangers name. One that we may not read explains nothing."""
    unseen = census.unseen_owners()[:_MOST_OWNERS]
    if not unseen:
        return census
    found = side_by_side(lambda owner: _owner(cluster, owner), unseen)
    return replace(census, owners=tuple(body for body in found if body))


def _owner(cluster: Cluster, owner: Owner) -> Body | None:
    if "/" in owner.name:
        return None
    try:
        return cluster.get(cluster.resource(owner.api_version, owner.kind), owner.name, owner.namespace)
    except ClusterError:
        return None


class KnownSchemas:
    """Schemas of the server, and of definitions that come with the same commit; nothing is read before a question."""

    def __init__(self, server: ServerSchemas, rendered: Rendered) -> None:
        self._server = server
        self._rendered = rendered

    @cached_property
    def _defined(self) -> Mapping[tuple[str, str], Schema]:
        return of_definitions(manifest.body for manifest in self._rendered.manifests)

    def find(self, manifest: Manifest) -> Schema | None:
        """A definition of the commit comes first: it is in force when its objects are written."""
        return self._defined.get(manifest.type) or self._server.find(*manifest.type)


@dataclass(frozen=True)
class _Proving:
    """By what new objects are judged before the server is asked about them; with `everything` it always is."""

    admission: Admission
    predicted: Collection[Identity]
    schemas: KnownSchemas
    everything: bool


def _proofs(
    cluster: Cluster,
    wants: Iterable[Wanted],
    live: Live,
    proving: _Proving,
) -> tuple[Mapping[Identity, Proof], list[str]]:
    """What is known of each new or predicted object, and what is to be told of how it was found."""
    read = [want for want in wants if not live.hidden(want.identity)]
    new = [want for want in read if want.live is None or want.identity in proving.predicted]
    if not new:
        return {}, []

    @cache
    def judged(api_version: str, kind: str) -> bool:
        served = _served(cluster, api_version, kind)
        return served is None or proving.admission.may_judge(served)

    schema, everything = proving.schemas.find, proving.everything
    found = proofs(new, schema=schema, judged=lambda manifest: judged(*manifest.type), everything=everything)
    unasked = any(not proof.asked for proof in found.values())
    return found, [UNKNOWN_ADMISSION] if unasked and not proving.admission.known else []


def _served(cluster: Cluster, api_version: str, kind: str) -> Resource | None:
    """A kind at a version; None while that is not served, as when its definition comes with the commit."""
    try:
        return cluster.resource(api_version, kind)
    except ClusterError as error:
        if error.status != 404:
            raise
        return None


@dataclass(frozen=True)
class Leaving:
    """What becomes of owned objects that Git does not name.

    `forgotten` are not there any more, `released` are another environment's now.
    """

    items: tuple[PlanItem, ...]
    forgotten: tuple[Identity, ...]
    released: tuple[Identity, ...]
    notes: tuple[str, ...]
    elsewhere: Mapping[Identity, Body]
    """What would go along with definitions, outside of what the environment has."""
    unseen: tuple[Unseen, ...]


def _leaving(cluster: Cluster, rendered: Rendered, live: Live, inventory: Inventory, scope: Scope) -> Leaving:
    """What could not be read neither goes nor is forgotten: it may be there or not."""
    named = {manifest.identity for manifest in rendered.manifests}
    gone = [e for i, e in inventory.entries.items() if i not in named and e.application not in rendered.awaiting]
    gone = [entry for entry in gone if not live.hidden(entry.identity)]
    released, notes = find_released(cluster, gone, scope)
    gone = [entry for entry in gone if entry.identity not in released]
    aside = _look_aside(cluster, [entry for entry in gone if prune.aside(entry, scope)])
    items: list[PlanItem] = []
    forgotten: list[Identity] = []
    for entry in gone:
        found = aside.get(entry.identity, live.objects.get(entry.identity))
        if isinstance(found, ClusterError):
            items.append(prune.unseen(entry, found.message))
        elif item := prune.leaving(entry, found, scope):
            items.append(item)
        else:
            forgotten.append(entry.identity)
    if not items:
        return Leaving((), tuple(forgotten), released, tuple(notes), elsewhere={}, unseen=())
    seen = {**live.objects, **{i: body for i, body in aside.items() if isinstance(body, dict)}}
    elsewhere = _elsewhere(cluster, items, seen, scope, notes)
    seen = {**elsewhere.bodies, **seen}
    if any(prune.going(item) for item in items):
        items = [*prune.with_blockers(items, seen, cluster.groups())]
    staying = named | (inventory.entries.keys() - {item.identity for item in items} - {*forgotten})
    hidden = next(iter(sorted({*live.unreadable.values(), *live.beside.values()})), "")
    around = prune.Around(
        seen, staying, hidden=hidden, theirs=elsewhere.owners, unseen=elsewhere.unseen, after=scope.after
    )
    weighed = _tried(cluster, prune.weighed(items, around))
    refused = tuple(elsewhere.refused)
    return Leaving(weighed, tuple(forgotten), released, tuple(notes), elsewhere=elsewhere.bodies, unseen=refused)


@dataclass(frozen=True)
class _Elsewhere:
    """Objects of kinds whose definitions are to go, wherever they are: the bodies have metadata alone."""

    bodies: Mapping[Identity, Body]
    owners: Mapping[Identity, str]
    """Of those that other environments declare: which one."""
    unseen: Mapping[Identity, str]
    """By definition: why not all of them can be seen."""
    refused: tuple[Unseen, ...]


def _elsewhere(
    cluster: Cluster, items: Iterable[PlanItem], live: Mapping[Identity, Body], scope: Scope, notes: list[str]
) -> _Elsewhere:
    """One LIST in the whole cluster for each definition that is to go, and the records of the neighbours."""
    bodies: dict[Identity, Body] = {}
    unseen: dict[Identity, str] = {}
    refused: list[Unseen] = []
    for item in items:
        if not prune.takes_a_kind(item):
            continue
        for kind in defined([live[item.identity]])[:1]:
            try:
                found = cluster.heads(kind).bodies
            except ClusterError as error:
                if error.transient or not error.status:
                    raise
                unseen[item.identity] = error.message
                refused += [Unseen("", kind.group, kind.kind)] if error.status == 403 else []
            else:
                bodies |= {identify(body): body for body in found}
    others = {identity: body for identity, body in bodies.items() if label(body, PART_OF) != scope.part_of}
    unread: list[str] = []
    owners = {
        **prune.marked_elsewhere(others, scope),
        **owned_by_neighbours(cluster, others, scope, unread, marked_only=False),
    }
    notes += unread
    if unread:
        unseen = {**{item.identity: unread[0] for item in items if prune.takes_a_kind(item)}, **unseen}
    return _Elsewhere(bodies, owners, unseen, tuple(refused))


@effect(name="look at what is left", retries=3)
def remaining(cluster: Cluster, inventory: Inventory, scope: Scope) -> tuple[str, ...]:
    """Why each object that the inventory has is still there, a line each."""
    entries = tuple(inventory.entries.values())
    found = _look_aside(cluster, entries)
    live = {identity: body for identity, body in found.items() if isinstance(body, dict)}
    items = [item for e in entries if (item := prune.leaving(e, live.get(e.identity), scope))]
    weighed = prune.weighed(items, prune.Around(live, after=scope.after))
    told = prune.with_blockers(weighed, live, cluster.groups())
    unseen = [prune.unseen(e, error.message) for e in entries if isinstance(error := found[e.identity], ClusterError)]
    return tuple(f"{subject(item.identity)}: {item.reason or 'not deleted yet'}" for item in (*told, *unseen))


def _look_aside(cluster: Cluster, entries: Sequence[Entry]) -> dict[Identity, Body | ClusterError | None]:
    """One GET for each object, such as those in a namespace that the environment does not list any more."""

    def one(entry: Entry) -> Body | ClusterError | None:
        try:
            return cluster.find(entry.identity)
        except ClusterError as error:
            if error.transient or not error.status:
                raise
            return error

    return dict(zip((entry.identity for entry in entries), side_by_side(one, entries), strict=True))


def _tried(cluster: Cluster, items: Iterable[PlanItem]) -> tuple[PlanItem, ...]:
    """What goes by confirmation is asked about in a dry run, before anything is written."""

    def one(item: PlanItem) -> PlanItem:
        if item.action != Action.PRUNE or not item.reason or item.release:
            return item
        try:
            cluster.delete(item.identity, uid=item.uid, dry_run=True)
        except ClusterError as error:
            if error.transient or not error.status:
                raise
            return replace(item, action=Action.BLOCKED, reason=f"cannot be deleted: {error.message}")
        return item

    return tuple(side_by_side(one, items))


def _items(
    cluster: Cluster,
    looks: Sequence[tuple[Wanted, Look]],
    live: Live,
    scope: Scope,
    *,
    scaled: Collection[Identity],
    proven: Mapping[Identity, Proof],
    predictions: Mapping[Identity, Body],
    schemas: KnownSchemas,
) -> tuple[list[PlanItem], list[str]]:
    """One item for each, in their order. Only what has to be asked about goes into the pool."""
    wants = [want for want, _ in looks]
    made = {want.identity for want in wants if want.live is None}
    asking = _Asking(cluster, live, scope, scaled, proven, made, frozenset(), schemas, [])
    known = {
        want.identity: PlanItem.unchanged(want.identity, application=want.manifest.application, uid=uid(want.live))
        for want, look in looks
        if want.live and asking.settled(want, look)
    }
    for want in wants:
        if proven.get(want.identity, ASKED).asked:
            continue
        if want.live is None:
            known[want.identity] = decide.new(want)
        elif not asking.unexplained(want, want.live):
            known[want.identity] = decide.decided(want, predictions[want.identity], scope)

    def ask(pairs: Iterable[tuple[Wanted, Look]]) -> None:
        open_ = [pair for pair in pairs if pair[0].identity not in known]
        known.update((item.identity, item) for item in side_by_side(lambda pair: asking.item(*pair), open_))

    definitions = [pair for pair in looks if pair[0].identity.kind == "CustomResourceDefinition"]
    ask(definitions)
    changed = [want.body for want, _ in definitions if known[want.identity].action in {Action.CREATE, Action.CHANGE}]
    asking = replace(asking, changing={(kind.group, kind.kind) for kind in defined(changed)})
    ask(looks)
    # When the sample of a kind is refused, the server is asked about every one of it.
    for identity in beside_refused(wants, proven, known):
        del known[identity]
    ask(looks)
    return [known[want.identity] for want in wants], asking.notes


@dataclass(frozen=True)
class _Asking:
    """What is known while the server is asked about objects, from several threads."""

    cluster: Cluster
    live: Live
    scope: Scope
    scaled: Collection[Identity]
    proven: Mapping[Identity, Proof]
    made: Collection[Identity]
    changing: Collection[tuple[str, str]]
    """Groups and kinds whose definitions this plan changes first."""
    schemas: KnownSchemas
    notes: list[str]

    def unexplained(self, want: Wanted, live: Body) -> tuple[foreign.Unexplained, ...]:
        return foreign.unexplained(want.declared, live, scaled=want.identity in self.scaled)

    def item(self, want: Wanted, look: Look) -> PlanItem:
        if reason := self.live.hidden(want.identity):
            return want.item(Action.UNKNOWN, f"cannot be read: {reason}")
        try:
            return self._looked_at(want, look)
        except RecursionError:
            return want.item(Action.UNKNOWN, "could not be compared: it is nested too deeply")

    def settled(self, want: Wanted, look: Look) -> bool:
        """Whether nothing has to be asked; what cannot be told is asked about."""
        try:
            return (
                look == Look.SETTLED
                and want.live is not None
                and not want.left
                and not self.unexplained(want, want.live)
            )
        except RecursionError:
            return False

    def _looked_at(self, want: Wanted, look: Look) -> PlanItem:
        for _ in range(_LOOKS):
            if item := self._at_one_version(want, look):
                return item
            want = decide.handed(replace(want, live=self.cluster.find(want.identity)), want.given, self.scope)
            look = decide.look(want, self.scope)
        return want.item(Action.UNKNOWN, "could not be compared: somebody writes it all the time")

    def _at_one_version(self, want: Wanted, look: Look) -> PlanItem | None:
        """None when the object has moved since it was looked at: the answers would be about two versions."""
        if want.live is None:
            problems = self.proven.get(want.identity, ASKED).problems
            later = self._fits_later(want)
            return _newcomer(self.cluster, want, self.scope, self.made, problems, later=later)
        if look == Look.ASK and (entry := decide.taking(want, self.scope)):
            return self._told(
                want, _taken_over(self.cluster, want, entry, self.unexplained(want, want.live), self.scope)
            )
        item = _judged(self.cluster, want, self.scope, look, later=self._fits_later(want))
        item = item if look == Look.NOT_OURS else self._told(want, item)
        if item and (item.recreated or item.action == Action.IMMUTABLE):
            return item
        item = decide.with_left(item, want, self.scope) if item else None
        found = self.unexplained(want, want.live) if item and item.action != Action.BLOCKED else ()
        if item is None or not found:
            return item
        return _with_foreign(self.cluster, item, found, want=want, live=want.live, scope=self.scope, notes=self.notes)

    def _fits_later(self, want: Wanted) -> bool:
        """Whether the definition of its kind, which may change first, lets it be as Git says."""
        identity = want.identity
        if (identity.group, identity.kind) not in self.changing:
            return False
        return not misfit_by(self.schemas.find(want.manifest), want.manifest)

    def _told(self, want: Wanted, item: PlanItem | None) -> PlanItem | None:
        """What the server refuses, with the field and the line of Git that its schema finds wrong too."""
        if item is None or item.action != Action.BLOCKED:
            return item
        problems = misfit_by(self.schemas.find(want.manifest), want.manifest)
        return misfit(want, problems, item.reason) if problems else item


def _newcomer(
    cluster: Cluster,
    want: Wanted,
    scope: Scope,
    made: Collection[Identity],
    problems: tuple[Problem, ...],
    *,
    later: bool,
) -> PlanItem | None:
    """A new object: what the server says of it, or what its schema does when the server cannot be asked yet.

    With `later`, that the server takes it for wrong today says nothing. None when it has come meanwhile.
    """
    if _comes_with_plan(want, made):
        return misfit(want, problems) if problems else decide.new(want)
    try:
        answer = cluster.apply(want.body, manager=scope.manager, force=True, dry_run=True)
    except ClusterError as error:
        refused = decide.refused(want, error)
        if later and _unfit(cluster, want, error):
            return decide.new(want)
        return misfit(want, problems, error.message) if problems and refused.action == Action.BLOCKED else refused
    return decide.new(want) if answer.created else None


def _judged(cluster: Cluster, want: Wanted, scope: Scope, look: Look, *, later: bool) -> PlanItem | None:
    """None when the server answers about another version than the one that was looked at.

    With `later`, that the server takes it for wrong today says nothing.
    """
    assert want.live is not None  # noqa: S101 - it lives
    if look != Look.ASK:
        return decide.not_ours(want, scope) if look == Look.NOT_OURS else want.item(Action.UNCHANGED)
    if item := decide.fixed(want, scope):
        return _recreated(cluster, want, item, scope)
    try:
        predicted = cluster.apply(want.body, manager=scope.manager, force=True, dry_run=True)
    except ClusterError as error:
        item = decide.refused(want, error)
        if later and item.action == Action.BLOCKED and _unfit(cluster, want, error):
            return decide.foreseen(want, scope)
        fixed = decide.fixed(want, scope, item.reason) if item.action == Action.IMMUTABLE else None
        return _recreated(cluster, want, fixed, scope) if fixed else item
    same = version_of(predicted.body) == version_of(want.live)
    return decide.decided(want, predicted.body, scope) if same else None


def _unfit(cluster: Cluster, want: Wanted, error: ClusterError) -> bool:
    """Whether the server refuses an object for what the definition of its kind says: its schema, or its versions."""
    return error.status == _UNFIT or (error.status == 404 and _served(cluster, *want.manifest.type) is None)


def _recreated(cluster: Cluster, want: Wanted, item: PlanItem, scope: Scope) -> PlanItem:
    """Nothing is deleted before the server has said that it would make the new one."""
    if not item.recreated:
        return item
    try:
        _probed(cluster, want, scope)
    except ClusterError as error:
        return decide.refused(want, error)
    return item


def _taken_over(
    cluster: Cluster, want: Wanted, entry: TakeOver, found: tuple[foreign.Unexplained, ...], scope: Scope
) -> PlanItem | None:
    """What becomes of somebody else's object that a commit makes ours: its last state is tried as a whole.

    None when the server answers about another version than the one that was looked at.
    """
    assert want.live is not None  # noqa: S101 - only what lives can be taken over
    try:
        if found:
            found = foreign.against_defaults(found, _probed(cluster, want, scope))
        going = take_over.leaving(found, want.live, take_over.former(want.live, entry))
        predicted = _after_take_over(cluster, want, going, scope)
        if version_of(predicted) != version_of(want.live):
            return None
        patch = take_over.whole_patch(want.live, predicted)
        predicted = cluster.patch(want.identity, patch, manager=scope.manager, dry_run=True)
    except ClusterError as error:
        return decide.refused(want, error) if error.status != 409 else None
    if version_of(predicted) != version_of(want.live):
        return None
    return decide.taken_over(want, predicted, found, entry, scope)


def _after_take_over(cluster: Cluster, want: Wanted, going: tuple[foreign.Unexplained, ...], scope: Scope) -> Body:
    """The object as it ought to be. What goes may be what makes Git's fields impossible beside it, such as a port."""
    assert want.live is not None  # noqa: S101 - only what lives can be taken over
    try:
        predicted = cluster.apply(want.body, manager=scope.manager, force=True, dry_run=True).body
    except ClusterError as error:
        if error.status != 422 or not going:
            raise
        return take_over.expected(want.live, going, want.body)
    return foreign.removed(predicted, going)


def _comes_with_plan(want: Wanted, made: Collection[Identity]) -> bool:
    """Whether the server cannot know the object yet: its namespace, its definition, or the role that it binds is made
    by this very plan.
    """
    identity = want.identity
    if identity.kind in {"RoleBinding", "ClusterRoleBinding"} and (role := mapping(want.body, ("roleRef",))):
        namespace = identity.namespace if role.get("kind") == "Role" else ""
        if Identity(identity.group, str(role.get("kind", "")), namespace, str(role.get("name", ""))) in made:
            return True
    return Identity("", "Namespace", "", identity.namespace) in made or any(
        new.kind == "CustomResourceDefinition" and new.name.endswith(f".{identity.group}") for new in made
    )


def _with_foreign(
    cluster: Cluster,
    item: PlanItem,
    found: tuple[foreign.Unexplained, ...],
    *,
    want: Wanted,
    live: Body,
    scope: Scope,
    notes: list[str],
) -> PlanItem | None:
    """Only what the tables do not know is asked about: the server shows its defaults in a dry-run create.

    What would be taken away is tried in a dry run too; what cannot be is only told of. None when the object has moved.
    """
    try:
        found = foreign.against_defaults(found, _probed(cluster, want, scope))
    except ClusterError as error:
        notes.append(f"{subject(want.identity)}: defaults are not known, nothing is removed: {error.message}")
        return decide.with_foreign(item, found, live, scope, sure=False)
    # What was there before us, such as the environment's own Namespace, has labels of whoever made it.
    made_by_us = want.entry is not None and not want.entry.adopted
    tried = decide.with_foreign(item, found, live, scope, sure=made_by_us)
    try:
        if patch := foreign.removal_patch(live, tried.removals):
            cluster.patch(want.identity, patch, manager=scope.manager, dry_run=True)
    except ClusterError as error:
        newest = cluster.find(want.identity)
        if newest is None or version_of(newest) != version_of(live):
            return None
        notes.append(f"{subject(want.identity)}: what nobody declared cannot be removed: {error.message}")
        return decide.with_foreign(item, found, live, scope, sure=False)
    return tried


def _probed(cluster: Cluster, want: Wanted, scope: Scope) -> Body:
    """What the server would make of the desired object under a throw-away name, in a dry run.

    Of kinds without namespaces we have rights on objects of certain names alone, which only an apply tells the server.
    """
    if want.identity.namespace:
        name = "interlock-" + hashlib.sha256(canonical(want.body)).hexdigest()[:16]
        return cluster.create(foreign.probe_body(want.body, name), manager=scope.manager, dry_run=True)
    probe = foreign.probe_body(want.body, PROBE)
    return cluster.apply(probe, manager=scope.manager, force=True, dry_run=True).body
