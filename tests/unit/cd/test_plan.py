"""What a plan decides, from objects and the server's answers as plain values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interlock.cd import plan
from interlock.cd.foreign import Unexplained
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.objects import PART_OF, Body, ItemKey, Path
from interlock.cd.order import Stage
from interlock.cd.plan import Action, Look, PlanItem, Wanted
from interlock.contract.render import Identity, Manifest
from interlock.errors import ClusterError
from tests.unit.cd.bodies import MANAGER, TIME, claim, config_map, manifest, owns, scope

C = Identity("", "ConfigMap", "shop", "c")
ENTRY = Entry(C, "shop", "n1", "u1")


def _want(data: dict[str, str], live: Body | None, *entries: Entry) -> Wanted:
    return plan.wanted(manifest(data), live, Inventory.of(entries), scope())


def test_equal_and_owned_needs_no_request() -> None:
    """Desired values live and are claimed by our Apply, and nothing else is: settled."""
    live = config_map({"a": "1"}, claim(MANAGER, owns("a")))
    assert plan.look(_want({"a": "1"}, live, ENTRY), scope()) == Look.SETTLED


@pytest.mark.parametrize(
    "claims",
    [
        (),
        (claim(MANAGER, owns("a"), operation="Update"),),
        (claim("somebody", owns("a")),),
        (claim(MANAGER, owns("a", "b")),),
        (claim(MANAGER, owns("b")),),
    ],
)
def test_a_claim_that_is_not_exactly_ours_is_asked_about(claims: tuple[Body, ...]) -> None:
    """Stripped, forged as an Update, somebody else's, too wide or too narrow: the server has to be asked."""
    live = config_map({"a": "1"}, *claims)
    assert plan.look(_want({"a": "1"}, live, ENTRY), scope()) == Look.ASK


@pytest.mark.parametrize(
    ("entries", "nonce", "expected"),
    [
        ((), "n1", Look.NOT_OURS),
        ((replace(ENTRY, uid=""),), "n1", Look.ASK),
        ((replace(ENTRY, uid=""),), "n2", Look.NOT_OURS),
        ((ENTRY,), "n2", Look.ASK),
    ],
)
def test_an_object_is_ours_by_inventory_or_by_an_intents_nonce(
    entries: tuple[Entry, ...], nonce: str, expected: Look
) -> None:
    """Without an entry it is a stranger's; with an intent only the nonce claims it."""
    live = config_map({"a": "0"}, nonce=nonce)
    assert plan.look(_want({"a": "1"}, live, *entries), scope()) == expected


def test_a_change_of_ours_is_a_change_and_one_of_others_is_drift() -> None:
    """A field that we hold differs because Git moved; one that another holds differs because he moved it."""
    live = config_map({"a": "0", "b": "x"}, claim(MANAGER, owns("a")), claim("kubectl", {"f:data": {"f:b": {}}}))
    predicted = config_map({"a": "1", "b": "y"}, claim(MANAGER, owns("a", "b")))

    item = plan.decided(_want({"a": "1", "b": "y"}, live, ENTRY), predicted, scope())

    assert item.action == Action.CHANGE
    assert [(f.path, f.live, f.desired, f.kind, f.manager, f.operation, f.time) for f in item.fields] == [
        ("data.a", "0", "1", "change", MANAGER, "Apply", TIME),
        ("data.b", "x", "y", "drift", "kubectl", "Apply", TIME),
    ]


def test_an_observing_environment_does_not_force() -> None:
    """The same, without undo: a conflict, which stops the commit."""
    live = config_map({"b": "x"}, claim("kubectl", {"f:data": {"f:b": {}}}))
    predicted = config_map({"b": "y"}, claim(MANAGER, owns("b")))
    item = plan.decided(_want({"b": "y"}, live, ENTRY), predicted, scope(undo=False))
    assert item.action == Action.CONFLICT


def test_at_the_deployed_commit_every_difference_is_drift() -> None:
    """Git did not move, so somebody else did, whatever the claims say."""
    live = config_map({"a": "0"}, claim(MANAGER, owns("a")))
    predicted = config_map({"a": "1"}, claim(MANAGER, owns("a")))
    item = plan.decided(_want({"a": "1"}, live, ENTRY), predicted, scope(again=True))
    assert (item.drift, item.fields[0].kind) == (True, "drift")


def test_the_servers_normalisation_is_no_change() -> None:
    """What the server would leave as it is, is unchanged, however Git spells it."""
    live = config_map({"a": "1"}, claim(MANAGER, owns("a")))
    assert plan.decided(_want({"a": "1.0"}, live, ENTRY), live, scope()).action == Action.UNCHANGED


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (ClusterError("x: no answer", transient=True), Action.UNKNOWN),
        (ClusterError("x: the server is busy", status=503, transient=True), Action.UNKNOWN),
        (ClusterError("x: spec.selector: field is immutable", status=422), Action.IMMUTABLE),
        (ClusterError("x: spec.port: must be below 65536", status=422), Action.BLOCKED),
        (ClusterError("x: forbidden by policy", status=403), Action.BLOCKED),
    ],
)
def test_a_refusal_is_never_in_sync(error: ClusterError, action: Action) -> None:
    """A failed comparison is unknown, an immutable field and a refusal are told apart; all three stop."""
    item = plan.refused(_want({}, None), error)
    assert item.action == action
    assert item.action in plan.STOPS


def test_a_foreign_thing_is_one_entry_with_who_and_when() -> None:
    """An injected container is one field, claimed by whoever put it there."""
    path = ("spec", "containers", ItemKey((("name", "miner"),)))
    fields: Body = {"f:spec": {"f:containers": {'k:{"name":"miner"}': {".": {}, "f:image": {}}}}}
    live = config_map({}, claim(MANAGER, owns()), claim("kubectl", fields, operation="Update"))
    item = plan.with_foreign(
        _want({}, live, ENTRY).item(Action.UNCHANGED), [Unexplained(path, {"name": "miner"})], live, scope(undo=False)
    )
    assert item.action == Action.FOREIGN
    (field,) = item.fields
    assert (field.path, field.manager, field.kind) == ("spec.containers[name=miner]", "kubectl", "foreign")


def test_an_undo_takes_away_what_is_surely_foreign() -> None:
    """The item becomes a change that applies nothing; what decides about deletion, or is not sure, is only told of."""
    live = config_map({}, claim(MANAGER, owns()))
    extra, holder = Unexplained(("data", "x"), "y"), Unexplained(("metadata", "finalizers"), ["f"])
    same = _want({}, live, ENTRY).item(Action.UNCHANGED)

    item = plan.with_foreign(same, [extra, holder], live, scope())
    unsure = plan.with_foreign(same, [extra, holder], live, scope(), sure=False)

    assert (item.action, item.applied, item.drift, item.removals) == (Action.CHANGE, False, True, (extra,))
    assert [field.kind for field in item.fields] == ["removed", "foreign"]
    assert (unsure.action, unsure.drift, unsure.removals) == (Action.FOREIGN, False, ())


SECRET = Identity("", "Secret", "shop", "s")


def test_a_secrets_values_are_masked() -> None:
    """Neither value nor length is shown, of data, stringData, and annotations, which may hold the whole object."""
    last = ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
    paths: tuple[Path, ...] = (("data", "a"), ("stringData", "a"), ("data",), last, last[:2], ("metadata",), ())
    assert {plan.shown(SECRET, path, "hunter2") for path in paths} == {"••••"}
    assert plan.shown(SECRET, ("type",), "Opaque") == "Opaque"
    assert plan.shown(SECRET, ("metadata", "labels", "a"), "b") == "b"
    assert plan.shown(SECRET._replace(group="example.org"), ("data", "a"), "open") == "open"


def test_masks_tell_equal_from_different_in_one_run_only() -> None:
    """The same value looks the same, another one different; with another run's key it all looks otherwise."""
    path, keys = ("data", "a"), (b"1" * 32, b"2" * 32)
    once, again, other = (plan.shown(SECRET, path, value, key=keys[0]) for value in ("x", "x", "y"))
    assert once == again != other
    assert plan.shown(SECRET, path, "x", key=keys[1]) not in {once, other}
    assert {len(plan.shown(SECRET, path, "x" * n, key=keys[0]) or "") for n in (1, 9, 99)} == {len(once or "")}


def _of_secret(value: str, *, key: bytes, version: str = "7") -> plan.Plan:
    live: Body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "uid": "u", "resourceVersion": version},
    }
    manifest_ = Manifest({**live, "metadata": {"name": "s", "namespace": "shop"}}, "shop", {})
    want = plan.wanted(manifest_, {**live, "data": {"a": value}}, Inventory.of(), scope())
    item = plan.decided(want, {**live, "data": {"a": "bmV3"}}, scope(masking=key))
    return plan.Plan("dev", "c" * 40, (item,))


def test_a_plans_digest_holds_nothing_of_a_secret() -> None:
    """It is the same in every run and for every content: what lives is told by the object's version alone."""
    one = _of_secret("b2xk", key=b"1" * 32)
    assert one.digest == _of_secret("b2xk", key=b"2" * 32).digest == _of_secret("b3RoZXI=", key=b"2" * 32).digest
    assert one.digest != _of_secret("b2xk", key=b"1" * 32, version="8").digest


def test_an_awaited_label_is_not_shown_as_a_field() -> None:
    """Taking a Namespace changes our own label only: the plan says so in words."""
    live = config_map({}, owned=False)
    predicted = config_map({}, claim(MANAGER, owns()))
    item = plan.decided(_want({}, live), predicted, scope())
    assert (item.action, item.fields, item.reason) == (Action.CHANGE, (), "taken into the environment")
    assert PART_OF in predicted["metadata"]["labels"]


@pytest.mark.parametrize(
    ("entry", "nonce", "expected"),
    [
        (replace(ENTRY, uid=""), "n1", ENTRY),
        (replace(ENTRY, uid=""), "n2", None),
        (replace(ENTRY, uid="u0"), "n1", replace(ENTRY, adopted=True)),
        (replace(ENTRY, application="other"), "n1", ENTRY),
        (ENTRY, "n1", None),
    ],
)
def test_the_inventory_is_repaired(entry: Entry, nonce: str, expected: Entry | None) -> None:
    """A fulfilled intent gets its UID, a stranger's object never; a replaced object loses the right to be pruned."""
    live = config_map({"a": "1"}, nonce=nonce)
    assert plan.repaired(_want({"a": "1"}, live, entry)) == expected


def test_an_unchanged_item_is_like_any_other() -> None:
    """Made the quick way, it equals, shows and changes as one that was made field by field."""
    identity = Identity("apps", "Deployment", "shop", "web")
    quick = PlanItem.unchanged(identity, application="shop", uid="u")
    slow = PlanItem(identity, Action.UNCHANGED, application="shop", uid="u")
    assert (quick, repr(quick), replace(quick, reason="r")) == (slow, repr(slow), replace(slow, reason="r"))


def test_bindings_come_after_the_roles_that_they_bind() -> None:
    """The server refuses a binding to a role that is not there yet: they are not applied side by side."""
    rbac = "rbac.authorization.k8s.io"
    items = tuple(
        PlanItem(Identity(rbac, kind, "shop", "x"), Action.CREATE) for kind in ("RoleBinding", "Role", "ServiceAccount")
    )

    waves = Stage("foundations", items).waves

    assert [[item.identity.kind for item in wave] for wave in waves] == [["Role", "ServiceAccount"], ["RoleBinding"]]
