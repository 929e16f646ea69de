"""Whose an object is when it changes hands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interlock.cd import handover, plan
from interlock.cd.blockers import waits_for
from interlock.cd.handover import Given, Neighbour
from interlock.cd.inventory import Entry, Inventory, decode, encode
from interlock.cd.objects import NONCE, PART_OF, Body
from interlock.cd.plan import Look, Lost
from interlock.contract.render import Identity
from tests.unit.cd.bodies import MANAGER, claim, config_map, manifest, owns, scope

C = Identity("", "ConfigMap", "shop", "c")
OTHER = Neighbour("prod", "ba9876543210", "prod-control")
ENTRY = Entry(C, "shop", "n1", "u1")


def _theirs(*claims: Body) -> Body:
    live = config_map({"a": "1"}, *(claims or (claim(OTHER.manager, owns("a")),)))
    live["metadata"] |= {"labels": {PART_OF: OTHER.part_of}, "resourceVersion": "7"}
    return live


def _managers(live: Body) -> list[tuple[str, str]]:
    return [(entry.get("manager", ""), entry.get("operation", "")) for entry in live["metadata"]["managedFields"]]


@pytest.mark.parametrize(
    ("entry", "proven"),
    [
        (ENTRY, True),
        (replace(ENTRY, uid="u2"), False),
        (replace(ENTRY, uid=""), True),
        (replace(ENTRY, uid="", nonce="n2"), False),
    ],
)
def test_the_neighbours_inventory_is_the_proof(entry: Entry, proven: bool) -> None:
    """Its UID, or the nonce of its intent, must be the object's; label and claims are hints."""
    assert handover.marked(_theirs(), OTHER)
    assert bool(handover.given(C, _theirs(), OTHER, Inventory.of([entry]))) == proven


@pytest.mark.parametrize(
    ("identity", "kinds", "given"),
    [
        (C, ("ClusterRole",), True),
        (Identity("", "Namespace", "", "shop"), ("ClusterRole",), True),
        (Identity("rbac.authorization.k8s.io", "ClusterRole", "", "r"), ("ClusterRole",), False),
        (Identity("rbac.authorization.k8s.io", "ClusterRole", "", "r"), (), True),
        (Identity("example.org", "Wall", "", "w"), ("Wall.example.org",), False),
        (Identity("example.org", "Wall", "", "w"), ("Wall.example.com",), True),
        (Identity("example.org", "ClusterRole", "", "w"), ("ClusterRole",), True),
    ],
)
def test_what_is_in_no_namespace_is_his_who_may_have_its_kind(
    identity: Identity, kinds: tuple[str, ...], given: bool
) -> None:
    """Two environments may name it, and then neither takes it from the other."""
    assert handover.may_be_given(identity, replace(OTHER, cluster_kinds=kinds)) == given


def test_without_the_proof_it_is_a_strangers_and_with_it_the_server_is_asked() -> None:
    """A given object is neither refused nor taken for settled."""
    rules = scope(neighbours=(OTHER,))
    want = plan.wanted(manifest({"a": "1"}), _theirs(), Inventory.of(), rules)
    assert plan.look(plan.handed(want, None, rules), rules) == Look.NOT_OURS
    handed = plan.handed(want, Given(OTHER, ENTRY), rules)
    assert plan.look(handed, rules) == Look.ASK
    assert handed.predecessors == (OTHER.manager,)
    other = plan.handed(want, Given(OTHER, replace(ENTRY, uid="u2")), rules)
    assert plan.look(other, rules) == Look.NOT_OURS


def test_claims_are_taken_as_a_whole() -> None:
    """What he applied is what we applied; his other claims go; strangers' stay."""
    live = _theirs(
        claim(OTHER.manager, owns("a")),
        claim(OTHER.manager, owns("b"), operation="Update"),
        claim("kubectl", owns("c"), operation="Update"),
    )
    assert _managers(handover.as_taken(live, MANAGER, [OTHER.manager])) == [(MANAGER, "Apply"), ("kubectl", "Update")]
    both = _theirs(claim(MANAGER, owns("a")), claim(OTHER.manager, owns("a")))
    assert _managers(handover.as_taken(both, MANAGER, [OTHER.manager])) == [(MANAGER, "Apply")]
    patch = handover.taking_patch(live, MANAGER, [OTHER.manager])
    assert {"op": "test", "path": "/metadata/resourceVersion", "value": "7"} in patch


def test_what_is_let_go_of_has_nothing_of_ours() -> None:
    """Label, nonce and claims go, in this very version; without any claim left, the list is one that says so."""
    live = config_map({"a": "1"}, claim(MANAGER, owns("a")))
    live["metadata"]["resourceVersion"] = "7"
    assert handover.release_patch(live, MANAGER)[2:] == (
        {"op": "remove", "path": f"/metadata/labels/{PART_OF.replace('/', '~1')}"},
        {"op": "remove", "path": f"/metadata/annotations/{NONCE.replace('/', '~1')}"},
        {"op": "replace", "path": "/metadata/managedFields", "value": [{}]},
    )


def test_the_old_environment_lets_go_when_the_new_one_has_noted_the_object() -> None:
    """Not for an intent, and not for an object of a namespace that is nobody else's."""
    noted, intended = Inventory.of([ENTRY]), Inventory.of([replace(ENTRY, uid="")])
    assert handover.released([ENTRY], {C: noted}) == (C,)
    assert handover.released([ENTRY], {C: intended}) == ()
    assert handover.released([ENTRY], {}) == ()
    namespace = Entry(Identity("", "Namespace", "", "shop"), "shop", "n2", "u2")
    assert handover.released([namespace], {namespace.identity: Inventory.of([namespace])}) == (namespace.identity,)


def test_a_lost_record_gives_back_only_what_carries_all_of_ours() -> None:
    """Label, nonce and the claims of our Apply, no controller, and a reclaim in Git."""
    live = config_map({"a": "1"}, claim(MANAGER, owns("a")))
    lost = scope(lost=Lost(3, reclaim=True))
    want = plan.wanted(manifest({"a": "1"}), live, Inventory.of(), lost)
    assert want.entry == Entry(C, "shop", "n1", "u1")
    assert plan.repaired(want) == want.entry
    told = scope(lost=Lost(3, reclaim=False))
    refused = plan.not_ours(plan.wanted(manifest({"a": "1"}), live, Inventory.of(), told), told)
    assert "reclaim: {result: 3" in refused.reason
    for other in (
        config_map({"a": "1"}, claim(MANAGER, owns("a")), owned=False),
        config_map({"a": "1"}, claim(MANAGER, owns("a")), nonce=""),
        config_map({"a": "1"}, claim(MANAGER, owns("a"), operation="Update")),
    ):
        assert plan.wanted(manifest({"a": "1"}), other, Inventory.of(), lost).entry is None


def test_an_inventory_grows_by_parts_and_reads_older_rows() -> None:
    """4,000 entries are one part and 4,001 two; what says nothing of `keep` is read as it was written before."""
    entries = [Entry(C._replace(name=f"c{n}"), "shop", "n", f"u{n}", keep=n == 7) for n in range(4_001)]
    assert len(encode(Inventory.of(entries[:4_000]))) == 1
    parts = encode(Inventory.of(entries))
    assert len(parts) == 2
    assert decode(parts) == Inventory.of(entries)


def _held(*finalizers: str, **claims: str) -> Body:
    found = [
        claim(name, {"f:metadata": {"f:finalizers": {f'v:"{text}"': {}}}}, operation="Update")
        for name, text in claims.items()
    ]
    return {"kind": "Widget", "metadata": {"finalizers": list(finalizers), "managedFields": found}}


@pytest.mark.parametrize(
    ("live", "groups", "told"),
    [
        (_held(), (), "about to go"),
        (_held("kubernetes.io/pvc-protection"), (), "a pod still uses it"),
        (_held("a.example/x", operator="a.example/x"), ("a.example",), "serves a.example, so its controller should"),
        (_held("a.example/x", operator="a.example/x"), ("b.example",), "serves no API of a.example"),
        (_held("a.example/x", operator="a.example/x"), None, "written by operator, whose last sign on it is of 2030"),
        (_held("a.example/x"), None, "nobody says whose it is"),
    ],
)
def test_what_holds_up_a_deletion_is_told(live: Body, groups: tuple[str, ...] | None, told: str) -> None:
    """Known finalizers by what they wait for, others by who wrote them and whether his API is served."""
    assert told in waits_for(live, groups)


def test_a_namespace_says_itself_what_remains() -> None:
    """Its conditions are quoted, those that hold."""
    conditions = [
        {"type": "NamespaceContentRemaining", "status": "True", "message": "Some resources are remaining: widgets."},
        {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "All content deleted"},
    ]
    live = {
        "kind": "Namespace",
        "metadata": {},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"conditions": conditions},
    }
    told = waits_for(live, ())
    assert "widgets" in told
    assert "All content deleted" not in told
