"""Somebody who may change one environment edits a template, and with it another environment that they may not change.

Defence: rules bind by effect: what an environment reads is compared before and after every commit, whatever path the
change stands under, and what none of its signers has signed waits for the approval of one of them
(interlock/contract/effects.py, approvals.py; flows/cd/agreement.py).
Not defended: an environment that has no `signers` under `approvals` in trust/signers.yaml: there paths alone decide.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.contract import effects, layout
from interlock.errors import AwaitsApproval
from tests.cluster.people import make_people
from tests.cluster.worlds import World
from tests.unit.trust.approved import SHARED, TEMPLATE, VALUES, Place


@pytest.fixture
def place() -> Place:
    """Only ada changes prod; everybody may write templates, which dev uses too."""
    return Place({"required": 0, "signers": ["ada"]})


def test_it_succeeds_where_rules_bind_by_path(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """When only the environment's own folder counts, a template changes it without anybody's word."""
    deployed = place.head
    place.push({TEMPLATE: b"kind: Secret\n"}, by="dora")
    monkeypatch.setattr(effects, "_PLACES", ())

    assert place.answered(deployed=deployed)


@pytest.mark.parametrize("path", [TEMPLATE, SHARED, VALUES])
def test_what_changes_it_waits_for_its_signers(place: Place, path: str) -> None:
    """Template, shared value and own value are one and the same: the environment waits for ada."""
    deployed = place.head
    place.push({path: b"kind: Secret\n" if path == TEMPLATE else b"replicas: 9\n"}, by="dora")

    found = place.ask(deployed=deployed)
    assert found is not None
    assert found.wanted == ("the approval of one who may change it (ada)",)
    place.approve("ada", deployed=deployed)
    assert place.answered(deployed=deployed)


async def test_the_cluster_stays_as_it_was_until_they_agree(world: World, tmp_path: Path) -> None:
    """On a real API server: the template's change is not applied, and is once a signer of the environment approves."""
    await world.deploy()
    people = make_people(world, tmp_path, {"required": 0, "signers": ["ada"]})
    template = "templates/plain/web.yaml.j2"
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {says: hello}\n"
    people.push(
        {
            layout.application("web"): "format: 1\ntemplate: plain\n",
            layout.values("dev", "web"): "",
            template: text,
        },
        by="ada",
    )
    assert (await world.deploy()).said == "deployed"
    before = world.head
    people.push({template: text.replace("hello", "evil")}, by="dora")

    with pytest.raises(AwaitsApproval, match="the approval of one who may change it"):
        await world.deploy()
    assert said(world) == "hello"

    people.approve("ada", deployed=before)
    await world.deploy()
    assert said(world) == "evil"


def said(world: World) -> str:
    live = world.get("ConfigMap", "web")
    assert live is not None
    return str(live["data"]["says"])
