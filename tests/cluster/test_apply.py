"""What happens between a plan and its writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flows.cd.walk import decide, opened
from interlock.cd.order import stages
from interlock.cd.plan import Action
from interlock.errors import Conflict
from tasks.cd import apply, lease
from tests.cluster.worlds import Recorder, World, config_map


async def test_what_appeared_since_the_plan_is_left_as_it_was(world: World) -> None:
    """Server-side apply would merge into a stranger's object; it is found out, and ours is taken back."""
    world.push_objects("c", config_map("c", {"ours": "1"}))
    async with opened(Recorder(), world.host, "dev", what="deploy", actor="test") as site:
        decision = await decide(site)
        theirs = config_map("c", {"theirs": "1"})
        theirs["metadata"]["namespace"] = world.namespace
        world.admin.create(theirs, manager="somebody")
        inventory = apply.intents(decision.plan, decision.stored.inventory, decision.scope)
        items = tuple(i for i in decision.plan.having(Action.CREATE) if i.identity.name == "c")
        stage = replace(stages(items)[0])
        with (
            lease.held(site.cluster, namespace=world.control, name=world.manager, who="test") as lock,
            pytest.raises(Conflict, match="appeared since the plan"),
        ):
            apply.apply_stage.fn(site.cluster, stage, name="x", inventory=inventory, scope=decision.scope, lock=lock)

    live = world.get("ConfigMap", "c")
    assert live is not None
    assert live["data"] == {"theirs": "1"}
    assert "labels" not in live["metadata"]
