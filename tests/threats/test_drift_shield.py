"""Rules that let drift live are made a shield: for an evil image, a container, rights, or a whole object.

Defence: images, containers, what they run and may do, RBAC and NetworkPolicies are left to nobody: a rule that would is
refused when the file is read, does not count where it says so in another way, and fighting for such a field never
makes an undo wait (interlock/contract/models.py, interlock/contract/field_path.py, interlock/cd/conflicts.py,
interlock/cd/contest.py). What a rule allows is shown in every drift report.
Not defended: a signer who allows a whole foreign object by `allowed_objects`: it is a signed, visible decision.
Fields that are left but matter, such as a ConfigMap that a program believes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from interlock.cd import contest
from interlock.contract import field_path
from interlock.contract.models import ConflictRule
from interlock.errors import InterlockError
from tests.cluster.worlds import IMAGE, World, deployment

EVIL = "registry.example/evil@sha256:" + "66" * 32
PATH = "spec.template.spec.containers[name=web].image"


def rule(path: str, kind: str = "Deployment.apps") -> dict[str, str]:
    return {"kind": kind, "path": path, "manager": "mallory", "decision": "leave", "reason": "it tunes this by itself"}


def image(world: World) -> str:
    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"])


def take(world: World) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": EVIL}]}}}}
    world.merge(world.path("deployments", "web", "apps/v1"), body, manager="mallory")


@pytest.fixture
def unprotected() -> Iterator[None]:
    """A product that leaves whatever a rule leaves, as an `ignoreDifferences` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field_path, "protected", lambda *_: False)
        yield


async def test_a_rule_for_an_image_succeeds_without_the_defence(impatient_world: World, unprotected: None) -> None:
    """The environment is called in sync while the stranger's image stands in the Deployment."""
    world = impatient_world
    world.push_objects("web", deployment())
    world.decide(conflicts=[rule(PATH)])
    await world.deploy()
    take(world)

    await world.resync()

    assert image(world) == EVIL


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (PATH, "Deployment.apps"),
        ("spec.template.spec.containers[*].image", "Deployment"),
        ("spec.template.spec.containers", "Deployment.apps"),
        ("spec.template", "Deployment.apps"),
        ("spec", "Deployment.apps"),
        ("spec.template.spec.initContainers[name=x]", "StatefulSet"),
        ("spec.template.spec.containers[name=web].command", "Deployment"),
        ("spec.template.spec.containers[name=web].securityContext.privileged", "Deployment"),
        ("spec.template.spec.containers[name=web].livenessProbe.exec", "Deployment"),
        ("spec.template.spec.hostNetwork", "DaemonSet"),
        ("spec.template.spec.serviceAccountName", "Deployment"),
        ("spec.jobTemplate.spec.template.spec.containers", "CronJob"),
        ("rules", "Role"),
        ("subjects", "RoleBinding.rbac.authorization.k8s.io"),
        ("spec.egress", "NetworkPolicy"),
        ("spec.template.spec.volumes[name=x].hostPath", "Deployment"),
    ],
)
def test_a_rule_for_what_runs_is_refused(path: str, kind: str) -> None:
    """It is no rule, and the message says what is never given up."""
    with pytest.raises(ValidationError, match="is never left to another manager"):
        ConflictRule.model_validate(rule(path, kind))
    assert ConflictRule.model_validate(rule("spec.replicas"))


async def test_a_commit_with_such_a_rule_is_refused(world: World) -> None:
    """Nothing is deployed, and the error names the line of the file."""
    await world.deploy()
    world.decide(conflicts=[rule(PATH)])

    with pytest.raises(InterlockError, match=r"environment\.yaml:\d+.*never left to another manager"):
        await world.deploy()


async def test_a_fight_for_an_image_succeeds_where_every_fight_ends(impatient_world: World, unprotected: None) -> None:
    """Who takes a field again after each undo keeps it for a while, if the image is a field like any other."""
    world = impatient_world
    world.push_objects("web", deployment())
    await world.deploy()
    for _ in range(contest.FLIPS + 1):
        take(world)
        await world.resync()

    assert image(world) == EVIL


async def test_a_fight_for_an_image_is_never_won(impatient_world: World) -> None:
    """Every resync puts it back, however often."""
    world = impatient_world
    world.push_objects("web", deployment())
    await world.deploy()
    for _ in range(contest.FLIPS + 1):
        take(world)
        await world.resync()

    assert image(world) == IMAGE
