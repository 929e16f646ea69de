"""Somebody else has a field that Git declares: told with his name, and forced or left to him as policy says."""

from __future__ import annotations

import pytest

from flows.cd.walk import decide, opened
from interlock.cd.objects import Body
from interlock.cd.plan import Action, PlanItem
from interlock.errors import Blocked, Conflict, InputError
from tasks.cd import apply
from tests.cluster.worlds import Recorder, World, config_map, deployment

CONTAINER = {"name": "web", "resources": {"limits": {"cpu": "2"}}}


def _rule(path: str, decision: str, *, kind: str = "ConfigMap", manager: str = "operator") -> dict[str, str]:
    reason = "the platform's operator chooses it"
    return {"kind": kind, "path": path, "manager": manager, "decision": decision, "reason": reason}


def _data(world: World, name: str = "c") -> dict[str, str]:
    live = world.get("ConfigMap", name)
    assert live is not None
    data: dict[str, str] = live["data"]
    return data


async def _contended(world: World, *rules: dict[str, str], drift: str = "observe") -> None:
    """Git says a=1, b=1; an operator takes a; a new commit wants a=2, b=2."""
    world.push_objects("c", config_map("c", {"a": "1", "b": "1"}))
    await world.deploy()
    world.merge(world.path("configmaps", "c"), {"data": {"a": "theirs"}}, manager="operator")
    world.decide(drift=drift, conflicts=list(rules))
    world.push_objects("c", config_map("c", {"a": "2", "b": "2"}))


def _only(items: tuple[PlanItem, ...]) -> PlanItem:
    (item,) = (item for item in items if item.identity.name == "c")
    return item


async def test_a_conflict_names_the_opponent_and_what_can_be_decided(observing_world: World) -> None:
    """Without a rule the commit is blocked: manager, operation, time and field are in the reason."""
    await _contended(observing_world)

    item = _only((await observing_world.plan()).stops)

    assert item.action == Action.CONFLICT
    assert "operator (Update, 20" in item.reason
    assert "has data.a" in item.reason
    assert "conflicts: force or leave" in item.reason
    assert [(f.path, f.manager) for f in item.fields if f.kind == "drift"] == [("data.a", "operator")]
    with pytest.raises(Blocked, match="operator"):
        await observing_world.deploy()
    assert _data(observing_world) == {"a": "theirs", "b": "1"}


async def test_force_takes_back_just_what_the_rule_names(observing_world: World) -> None:
    """Where drift is only observed, a rule lets a commit win one field."""
    await _contended(observing_world, _rule("data.a", "force"))

    await observing_world.deploy()

    assert _data(observing_world) == {"a": "2", "b": "2"}


async def test_force_for_one_field_is_none_for_another(observing_world: World) -> None:
    """Two fields are taken and one may be forced: nothing is written."""
    world = observing_world
    await _contended(world, _rule("data.a", "force"))
    world.merge(world.path("configmaps", "c"), {"data": {"b": "theirs"}}, manager="operator")

    item = _only((await world.plan()).stops)

    assert "has data.b" in item.reason
    assert "data.a" not in item.reason


async def test_leave_gives_a_field_up_while_the_opponent_has_it(world: World) -> None:
    """Left out of what is applied, shown as allowed, not undone; the other fields are applied as ever."""
    await _contended(world, _rule("data.a", "leave"), drift="undo")

    await world.deploy()

    assert _data(world) == {"a": "theirs", "b": "2"}
    item = _only((await world.plan()).items)
    assert item.action == Action.UNCHANGED
    assert [(f.path, f.kind, f.live, f.desired) for f in item.fields] == [("data.a", "allowed", "theirs", "2")]
    world.merge(world.path("configmaps", "c"), {"data": {"a": "again", "b": "theirs"}}, manager="operator")
    presenter = Recorder()
    assert (await world.resync(presenter)).said == "drift undone"
    assert _data(world) == {"a": "again", "b": "2"}
    found = {row[1]: row[6] for table in presenter.report("drift").tables for row in table.rows}
    assert found == {"data.b": "undone", "data.a": "allowed"}
    assert presenter.report("drift").title == "Drift in dev: 1 found, 1 undone, 0 only reported"


async def test_leave_is_for_the_named_manager_alone(world: World) -> None:
    """Somebody else who takes the same field is undone."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    world.decide(conflicts=[_rule("data.a", "leave")])
    await world.deploy()
    assert _data(world) == {"a": "1"}
    world.merge(world.path("configmaps", "c"), {"data": {"a": "theirs"}}, manager="somebody")

    await world.resync()

    assert _data(world) == {"a": "1"}


async def test_leave_lets_an_opponent_add_what_git_does_not_declare(world: World) -> None:
    """A label of his under a path that is left to him is not foreign; what lies beside it is."""
    world.push_objects("c", config_map("c", {"a": "1"}))
    world.decide(conflicts=[_rule('metadata.annotations["operator.example/note"]', "leave")])
    await world.deploy()
    notes = {"operator.example/note": "x", "operator.example/other": "y"}
    world.merge(world.path("configmaps", "c"), {"metadata": {"annotations": notes}}, manager="operator")

    await world.resync()

    live = world.get("ConfigMap", "c")
    assert live is not None
    assert {key for key in live["metadata"]["annotations"] if "operator" in key} == {"operator.example/note"}


async def test_resources_of_a_container_can_be_left_and_its_image_cannot(impatient_world: World) -> None:
    """An operator that sizes containers keeps its numbers; the image that it changes too is put back."""
    world = impatient_world
    path = "spec.template.spec.containers[name=web].resources"
    world.push_objects("web", deployment())
    world.decide(conflicts=[_rule(path, "leave", kind="Deployment")])
    await world.deploy()
    container = {**CONTAINER, "image": "registry.example/evil@sha256:" + "66" * 32}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    world.merge(world.path("deployments", "web", "apps/v1"), body, manager="operator")

    assert (await world.resync()).said == "drift undone"

    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    (left,) = live["spec"]["template"]["spec"]["containers"]
    assert left["image"] == deployment()["spec"]["template"]["spec"]["containers"][0]["image"]
    # Of the resources only the one that he has is his: the others are Git's, and nobody has removed them.
    assert left["resources"] == {"limits": {"cpu": "2", "memory": "64Mi"}, "requests": {"cpu": "1m", "memory": "1Mi"}}


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", "spec.template.spec.containers[*].image"),
        ("Deployment", "spec.template"),
        ("CronJob", "spec.jobTemplate.spec.template.spec.securityContext"),
        ("RoleBinding", "subjects"),
        ("NetworkPolicy", "spec.ingress"),
    ],
)
async def test_what_is_protected_cannot_be_left_to_anybody(world: World, kind: str, path: str) -> None:
    """The commit itself is refused, with file and line."""
    world.decide(conflicts=[_rule(path, "leave", kind=kind)])

    with pytest.raises(InputError, match=r"environment\.yaml:\d+:.*never left to another manager"):
        await world.plan()


async def test_an_opponent_who_comes_after_the_plan_is_not_forced(observing_world: World) -> None:
    """A rule forces what the plan saw: the server names what it did not see, and nothing is written."""
    world = observing_world
    await _contended(world, _rule("data.a", "force"))
    async with opened(Recorder(), world.host, "dev", what="deploy", actor="test") as site:
        decision = await decide(site)
        item = _only(decision.plan.items)
        world.merge(world.path("configmaps", "c"), {"data": {"b": "late"}}, manager="late-comer")
        body: Body = {**(item.body or {}), "metadata": {**(item.body or {})["metadata"], "uid": item.uid}}
        with pytest.raises(Conflict, match="late-comer"):
            apply._forced_where_decided(site.cluster, item, body, decision.scope)

    assert _data(world) == {"a": "theirs", "b": "late"}
