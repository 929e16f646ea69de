"""What becomes of objects that Git dropped: deleted, let go, or kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from interlock.cd import prune
from interlock.cd.guards import Guards
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.objects import NONCE, PART_OF, Body
from interlock.cd.plan import Action, PlanItem
from interlock.contract.models import Confirmation, EnvironmentFile
from interlock.contract.render import Identity
from tests.unit.cd.bodies import MANAGER, SET, claim, config_map, owns, scope

C = Identity("", "ConfigMap", "shop", "c")
UID = "aaaaaaaa-0000-0000-0000-000000000001"
ENTRY = Entry(C, "shop", "n1", UID)
CLAIM = Identity("", "PersistentVolumeClaim", "shop", "data")
NAMESPACE = Identity("", "Namespace", "", "shop")


def _live(**changes: Any) -> Body:
    return config_map({}, claim(MANAGER, owns()), **{"uid": UID, **changes})


def _object(identity: Identity, uid: str, *, owner: str = "") -> Body:
    metadata: Body = {
        "name": identity.name,
        "namespace": identity.namespace,
        "uid": uid,
        "labels": {PART_OF: SET},
        "annotations": {NONCE: "n1"},
        "managedFields": [claim(MANAGER, owns())],
    }
    if owner:
        metadata["ownerReferences"] = [{"kind": "Owner", "name": "o", "uid": owner, "controller": True}]
    return {"apiVersion": "v1", "kind": identity.kind, "metadata": metadata}


def _confirmed(identity: Identity = C, uid: str = UID, action: str = "delete") -> Guards:
    word = Confirmation.model_validate(
        {
            "kind": identity.kind,
            "namespace": identity.namespace or None,
            "name": identity.name,
            "uid": uid,
            "action": action,
            "reason": "it moved elsewhere",
        }
    )
    return Guards(confirmed={uid: word})


@pytest.mark.parametrize(
    ("live", "action"),
    [
        (_live(), Action.PRUNE),
        (_live(uid="u2"), None),
        (None, None),
        (_live(owned=False), Action.FOREIGN),
        (config_map({}, claim("somebody", owns()), uid=UID), Action.FOREIGN),
        (config_map({}, claim(MANAGER, owns(), operation="Update"), uid=UID), Action.FOREIGN),
    ],
)
def test_only_what_is_ours_four_times_is_pruned(live: Body | None, action: Action | None) -> None:
    """Label, UID, our Apply: all must hold; another UID or nothing is only forgotten."""
    item = prune.leaving(ENTRY, live, scope())
    assert (item.action if item else None) == action


def test_a_controllers_object_is_kept_although_it_is_confirmed() -> None:
    """A copy of our labels on a controller's product does not make it ours to delete, whoever signs."""
    live = _live()
    live["metadata"]["ownerReferences"] = [{"kind": "Widget", "name": "w", "uid": "w1", "controller": True}]
    item = prune.leaving(ENTRY, live, scope(guards=_confirmed()))
    assert item is not None
    assert (item.action, item.reason) == (Action.FOREIGN, "kept: a controller owns it")


def test_what_may_be_handed_over_is_not_deleted_whoever_signs() -> None:
    """Its namespace is another environment's, whose Git may name it: only letting go of it is possible."""
    claimed = {"claimed": {"shop": "prod"}, "namespaces": ("other",)}
    item = prune.leaving(ENTRY, _live(), scope(guards=_confirmed(), **claimed))
    assert item is not None
    assert (item.kept, item.confirmable) == (True, False)
    assert "is environment prod's now" in item.reason
    released = prune.leaving(ENTRY, _live(), scope(guards=_confirmed(action="release"), **claimed))
    assert released is not None
    assert released.release


_GUARDED: dict[str, tuple[Entry, dict[str, Any]]] = {
    "adopted": (replace(ENTRY, adopted=True), {}),
    "never": (replace(ENTRY, keep=True), {}),
    "silent application": (ENTRY, {"guards": Guards(silent=frozenset({"shop"}))}),
    "narrowed namespaces": (ENTRY, {"namespaces": ("other",)}),
    "protected here": (ENTRY, {"guards": Guards(protected=frozenset({("", "ConfigMap")}))}),
    "always protected": (replace(ENTRY, identity=CLAIM), {}),
}


@pytest.mark.parametrize("case", _GUARDED)
def test_what_is_guarded_is_kept_and_says_how_to_let_go(case: str) -> None:
    """Each guard keeps the object, and a confirmation of its UID is what the plan asks for."""
    entry, changes = _GUARDED[case]
    live = _object(entry.identity, UID)
    item = prune.leaving(entry, live, scope(**changes))
    assert item is not None
    assert (item.action, item.kept, item.confirmable) == (Action.FOREIGN, True, True)
    advice = prune.advice([item], Inventory.of([entry]), scope(**changes))
    assert f'uid: "{UID}"' in advice[0]


@pytest.mark.parametrize(
    ("guards", "action"),
    [
        (_confirmed(CLAIM), Action.PRUNE),
        (_confirmed(CLAIM, UID[:-1] + "2"), Action.FOREIGN),
        (_confirmed(CLAIM._replace(name="other")), Action.FOREIGN),
        (_confirmed(CLAIM._replace(kind="Secret")), Action.FOREIGN),
    ],
)
def test_a_confirmation_holds_for_one_object_only(guards: Guards, action: Action) -> None:
    """Its UID and its name must both be the object's."""
    item = prune.leaving(replace(ENTRY, identity=CLAIM), _object(CLAIM, UID), scope(guards=guards))
    assert item is not None
    assert item.action == action


def test_what_is_let_go_is_not_deleted() -> None:
    """`release` takes even an object that is not ours any more off the inventory, and deletes nothing."""
    live = config_map({}, claim("somebody", owns()), uid=UID)
    item = prune.leaving(ENTRY, live, scope(guards=_confirmed(action="release")))
    assert item is not None
    assert (item.action, item.release) == (Action.PRUNE, True)


def test_a_confirmation_that_is_used_up_is_told_of() -> None:
    """One of an object that is gone, of another object, or of one that Git still names is named in the plan."""
    told = prune.advice([], Inventory.of(), scope(guards=_confirmed()))
    assert told == ("`prune` entry 1 (ConfigMap c) is used up: the environment owns nothing of that UID; remove it",)
    assert "the UID is of PersistentVolumeClaim/shop/data" in "".join(
        prune.advice([], Inventory.of([replace(ENTRY, identity=CLAIM)]), scope(guards=_confirmed()))
    )
    assert "while Git names the object" in "".join(prune.advice([], Inventory.of([ENTRY]), scope(guards=_confirmed())))


def _namespace_item() -> PlanItem:
    return PlanItem(NAMESPACE, Action.PRUNE, "confirmed", uid="n")


def test_a_namespace_takes_nothing_along_that_must_stay() -> None:
    """Not while Git names an object in it, we keep one there, or a volume claim in it is not confirmed."""
    item, live = _namespace_item(), {C: _live()}
    kept = prune.kept(PlanItem(C, Action.PRUNE, uid=UID), "it is protected")
    assert prune.weighed([item], prune.Around(live, {C}))[0].reason == "kept: it would take ConfigMap/shop/c along"
    assert prune.weighed([item, kept], prune.Around(live))[0].kept
    claim_ = _object(CLAIM, "v")
    assert prune.weighed([item], prune.Around({CLAIM: claim_}))[0].kept
    goes = PlanItem(CLAIM, Action.PRUNE, "confirmed", uid="v")
    assert prune.weighed([item, goes], prune.Around({CLAIM: claim_}))[0].action == Action.PRUNE
    assert prune.weighed([item], prune.Around({}, hidden="no right to list claims"))[0].kept
    assert "1 object besides ours" in prune.weighed([item], prune.Around(live))[0].reason


def test_what_users_need_waits_until_they_are_gone() -> None:
    """A workload that is held up by a finalizer keeps its application's configuration, not another's."""
    web = Entry(Identity("apps", "Deployment", "shop", "web"), "shop", "n1", "w")
    live = _object(web.identity, "w")
    live["metadata"] |= {"deletionTimestamp": "2030-01-01T00:00:00Z", "finalizers": ["a.example/b"]}
    going = prune.leaving(web, live, scope())
    assert going is not None
    held = "waits for the finalizer a.example/b, nobody says whose it is"
    assert going.reason == f"kept: is being deleted since 2030-01-01T00:00:00Z: {held}"
    mine = PlanItem(C, Action.PRUNE, application="shop", uid=UID)
    other = PlanItem(C._replace(name="d"), Action.PRUNE, application="mail", uid="d")
    found = {item.identity.name: item.action for item in prune.weighed([mine, other, going], prune.Around({}))}
    assert found == {"c": Action.FOREIGN, "d": Action.PRUNE, "web": Action.FOREIGN}


def test_waves_take_users_before_what_they_use() -> None:
    """Admission, workloads, configuration, volumes, and then what contains others."""
    kinds = [
        ("", "Namespace"),
        ("", "PersistentVolumeClaim"),
        ("", "Secret"),
        ("apps", "Deployment"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ]
    items = [PlanItem(Identity(group, kind, "", "x"), Action.PRUNE) for group, kind in kinds]
    assert [[item.identity.kind for item in wave] for wave in prune.waves(items)] == [
        [kind] for _, kind in reversed(kinds)
    ]


def test_waves_go_backwards_along_what_applications_wait_for() -> None:
    """All of an application goes before anything of those that it waits for; admission first, containers last."""
    after = {"shop": ("api",), "api": ("db", "cache"), "other": ()}
    items = [
        PlanItem(Identity(group, kind, "s", name), Action.PRUNE, application=name)
        for name in ("db", "cache", "api", "shop", "other")
        for group, kind in (("", "ConfigMap"), ("apps", "Deployment"))
    ]
    items.append(PlanItem(Identity("", "Namespace", "", "s"), Action.PRUNE, application="shop"))
    found = [sorted({(i.application, i.identity.kind) for i in wave}) for wave in prune.waves(items, after)]
    assert found == [
        [("other", "Deployment"), ("shop", "Deployment")],
        [("other", "ConfigMap"), ("shop", "ConfigMap")],
        [("api", "Deployment")],
        [("api", "ConfigMap")],
        [("cache", "Deployment"), ("db", "Deployment")],
        [("cache", "ConfigMap"), ("db", "ConfigMap")],
        [("shop", "Namespace")],
    ]


def test_what_an_application_needs_waits_until_who_waits_for_it_is_gone() -> None:
    """Also over applications in between; one that nobody who is going waits for goes at once."""
    going = prune.kept(PlanItem(C, Action.PRUNE, application="shop", uid=UID), "is being deleted since then")
    rest = [PlanItem(C._replace(name=name), Action.PRUNE, application=name, uid=name) for name in ("db", "mail")]
    after = {"shop": ("api",), "api": ("db",)}
    found = {item.application: item for item in prune.weighed([going, *rest], prune.Around({}, after=after))}
    assert (found["db"].kept, found["mail"].kept) == (True, False)
    assert found["db"].reason == "kept: goes after ConfigMap/shop/c, which is not gone yet"


def test_the_environments_file_gives_the_guards() -> None:
    """Own kinds are added to the built-in ones and take none away."""
    file = EnvironmentFile.model_validate(
        {
            "format": 1,
            "id": "0123456789ab",
            "cluster": "c",
            "namespaces": ("shop",),
            "protected": ("Certificate.cert-manager.io", "Secret"),
        }
    )
    guards = Guards.of(file)
    assert {("cert-manager.io", "Certificate"), ("", "Secret"), ("", "Namespace")} <= guards.protected


WIDGET = Identity("example.org", "Widget", "shop", "w")
DEFINITION = Identity("apiextensions.k8s.io", "CustomResourceDefinition", "", "widgets.example.org")


def _defined() -> dict[Identity, Body]:
    definition = _object(DEFINITION, "d") | {"spec": {"group": "example.org", "names": {"kind": "Widget"}}}
    return {DEFINITION: definition, WIDGET: _object(WIDGET, "w")}


def test_a_definition_goes_only_when_all_of_its_kind_may() -> None:
    """What Git names of the kind, what we keep and what is let go of would go with it, however it is confirmed."""
    going = PlanItem(DEFINITION, Action.PRUNE, uid="d", reason="confirmed")
    stays = prune.kept(PlanItem(WIDGET, Action.PRUNE, uid="w"), "the last manifest of it says so")
    released = PlanItem(WIDGET, Action.PRUNE, uid="w", release=True)
    for items, staying in (([going], {WIDGET}), ([going, stays], set()), ([going, released], set())):
        item = prune.weighed(items, prune.Around(_defined(), staying))[0]
        assert (item.kept, item.reason) == (True, "kept: it would take Widget/shop/w along")
    both = prune.weighed([going, PlanItem(WIDGET, Action.PRUNE, uid="w")], prune.Around(_defined()))
    assert [item.action for item in both] == [Action.PRUNE, Action.PRUNE]
    assert "0 objects besides ours" in both[0].reason


def test_what_is_let_go_of_keeps_its_namespace() -> None:
    """It is to stay in the cluster, and would go with the namespace."""
    items = [
        PlanItem(NAMESPACE, Action.PRUNE, uid="n", reason="confirmed"),
        PlanItem(C, Action.PRUNE, uid=UID, release=True),
    ]
    live = {NAMESPACE: _object(NAMESPACE, "n"), C: _object(C, UID)}
    assert prune.weighed(items, prune.Around(live))[0].reason == "kept: it would take ConfigMap/shop/c along"
