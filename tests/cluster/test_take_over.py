"""Objects that kubectl, Helm, Argo CD or Flux made become ours by a commit, and nothing of theirs stays."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flows.cd.walk import Decision, Site, decide, opened
from interlock.cd.inventory import Inventory
from interlock.cd.objects import NONCE, PART_OF, Body
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.cd.record import Record
from interlock.errors import Blocked, ClusterError
from tasks.cd import apply, lease, record
from tests.cluster.worlds import Recorder, World, config_map, deployment, secret, service
from tests.unit.cli.commands import interlock

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _theirs() -> Body:
    """What somebody else made: other values, one more container and variable, a label of his."""
    body = deployment()
    body["metadata"]["labels"] = {"team": "theirs"}
    pod = body["spec"]["template"]["spec"]
    pod["containers"][0]["env"] = [{"name": "GREETING", "value": "theirs"}, {"name": "OLD", "value": "1"}]
    pod["containers"].append({"name": "sidecar", "image": pod["containers"][0]["image"]})
    body["spec"]["replicas"] = 0
    return body


def _take(world: World, kind: str, name: str, **more: object) -> dict[str, object]:
    return {"kind": kind, "namespace": world.namespace, "name": name, **more}


def _live(world: World, kind: str = "Deployment", api_version: str = "apps/v1") -> Body:
    live = world.get(kind, "web", api_version)
    assert live is not None
    return live


def _managers(live: Body) -> set[tuple[str, str]]:
    """Who claims fields of the object itself, but for what Kubernetes' own controllers write."""
    claims = [c for c in live["metadata"]["managedFields"] if not c.get("subresource")]
    return {(c["manager"], c["operation"]) for c in claims} - {("kube-controller-manager", "Update")}


def _item(plan: Plan, kind: str = "Deployment") -> PlanItem:
    return next(item for item in plan.items if item.identity.kind == kind)


def _made(world: World, origin: str) -> None:
    """A Deployment as each tool writes it. kubectl is the real one; of the others the manager, marks and requests."""
    body = _theirs()
    metadata = body["metadata"]
    metadata["namespace"] = world.namespace
    match origin:
        case "kubectl apply":
            world.kubectl("apply", "-f", "-", objects=[body])
        case "kubectl create":
            world.kubectl("create", "-f", "-", objects=[body])
        case "kubectl apply --server-side":
            world.kubectl("apply", "--server-side", "-f", "-", objects=[body])
        case "Helm 3":
            metadata["labels"] |= {"app.kubernetes.io/managed-by": "Helm"}
            metadata["annotations"] = {
                "meta.helm.sh/release-name": "shop",
                "meta.helm.sh/release-namespace": world.namespace,
            }
            world.admin.create(body, manager="helm")
        case "Argo CD, client-side":
            metadata["labels"] |= {"app.kubernetes.io/instance": "shop"}
            metadata["annotations"] = {
                "argocd.argoproj.io/tracking-id": f"shop:apps/Deployment:{world.namespace}/web",
                LAST_APPLIED: json.dumps(body),
            }
            world.admin.create(body, manager="argocd-controller")
        case "Argo CD, server-side":
            metadata["annotations"] = {"argocd.argoproj.io/tracking-id": f"shop:apps/Deployment:{world.namespace}/web"}
            world.admin.apply(body, manager="argocd-controller")
        case "Flux":
            metadata["labels"] |= {
                "kustomize.toolkit.fluxcd.io/name": "shop",
                "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
            }
            world.admin.apply(body, manager="kustomize-controller")


ORIGINS = (
    "kubectl apply",
    "kubectl create",
    "kubectl apply --server-side",
    "Helm 3",
    "Argo CD, client-side",
    "Argo CD, server-side",
    "Flux",
)


@pytest.mark.parametrize("origin", ORIGINS)
async def test_an_object_becomes_ours_with_nothing_of_its_makers_left(world: World, origin: str) -> None:
    """Blocked until a commit names it; then Git's fields hold, what only the maker put there is gone, and so is he."""
    _made(world, origin)
    before = _live(world)
    world.push_objects("web", deployment())
    with pytest.raises(Blocked, match=f"made by.*{origin.split(maxsplit=1)[0]}"):
        await world.deploy()
    assert _managers(_live(world)) == _managers(before)

    world.decide(take_over=[_take(world, "Deployment", "web", uid=before["metadata"]["uid"])])
    planned = _item(await world.plan())
    assert planned.action == Action.CHANGE
    assert planned.reason.startswith("taken over from")
    removed = {field.path for field in planned.fields if field.kind == "removed"}
    container = "spec.template.spec.containers"
    assert {"metadata.labels.team", f"{container}[name=sidecar]", f"{container}[name=web].env[name=OLD]"} <= removed
    assert (await world.deploy()).said == "deployed"

    live = _live(world)
    assert live["metadata"]["uid"] == before["metadata"]["uid"]
    assert _managers(live) == {(world.manager, "Apply")}
    assert set(live["metadata"]["labels"]) == {PART_OF}
    assert set(live["metadata"]["annotations"]) - {"deployment.kubernetes.io/revision"} == {NONCE}
    (only,) = live["spec"]["template"]["spec"]["containers"]
    assert (only["name"], only["env"]) == ("web", [{"name": "GREETING", "value": "hello"}])
    entry = next(e for i, e in world.inventory().entries.items() if i.kind == "Deployment")
    assert (entry.uid, entry.adopted) == (before["metadata"]["uid"], True)
    settled = await world.plan()
    assert settled.empty
    assert not settled.drifted
    # One roll-out, not one for what goes and another for what comes.
    assert live["metadata"]["generation"] == before["metadata"]["generation"] + 1


async def test_what_was_taken_over_is_never_pruned_by_itself(world: World) -> None:
    """It was there before us: out of Git it stays, and the plan tells of it until somebody decides."""
    _made(world, "kubectl apply")
    world.push_objects("web", deployment())
    world.decide(take_over=[_take(world, "Deployment", "web")])
    await world.deploy()

    world.remove("web")
    await world.deploy()

    assert _live(world)["metadata"]["name"] == "web"
    left = _item(await world.plan())
    assert (left.action, "before" in left.reason) == (Action.FOREIGN, True), left.reason


async def test_other_hands_are_only_told_of(world: World) -> None:
    """What a manager that no entry names put there stays, and is reported; named, it goes."""
    _made(world, "Helm 3")
    world.merge(
        world.path("deployments", "web", "apps/v1"), {"metadata": {"annotations": {"x/y": "z"}}}, manager="operator"
    )
    world.push_objects("web", deployment())
    world.decide(take_over=[_take(world, "Deployment", "web")])

    kinds = {field.path: field.kind for field in _item(await world.plan()).fields}
    assert kinds['metadata.annotations["x/y"]'] == "foreign"

    world.decide(take_over=[_take(world, "Deployment", "web", managers=["operator"])])
    await world.deploy()
    assert "x/y" not in _live(world)["metadata"]["annotations"]


async def test_another_object_of_the_name_is_not_taken(world: World) -> None:
    """An entry with a UID is about one object: deleted and made anew by a stranger, it is refused."""
    _made(world, "kubectl create")
    world.push_objects("web", deployment())
    other = "00000000-0000-0000-0000-000000000000"
    world.decide(take_over=[_take(world, "Deployment", "web", uid=other)])

    plan = await world.plan()

    assert [(item.action, "names by its UID" in item.reason) for item in plan.stops] == [(Action.BLOCKED, True)]


async def test_finalizers_and_owners_stay(world: World) -> None:
    """They decide when an object goes and with whom: a take-over is no reason to take them away."""
    body = {**config_map("web", {"a": "theirs", "old": "1"})}
    body["metadata"] |= {"namespace": world.namespace, "finalizers": ["example.org/hold"]}
    world.admin.create(body, manager="helm")
    world.push_objects("web", config_map("web", {"a": "1"}))
    world.decide(take_over=[_take(world, "ConfigMap", "web")])

    await world.deploy()

    live = _live(world, "ConfigMap", "v1")
    assert (live["data"], live["metadata"]["finalizers"]) == ({"a": "1"}, ["example.org/hold"])
    world.merge(world.path("configmaps", "web"), {"metadata": {"finalizers": None}})


async def test_fields_that_the_server_filled_in_stay(world: World) -> None:
    """A Service's address and a claim's class are claimed by their maker too, and nobody may change them."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "web"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    world.kubectl("create", "-f", "-", objects=[service(), claim])
    before = _live(world, "Service", "v1")
    world.push_objects("web", service(port=8081))
    world.decide(take_over=[_take(world, "Service", "web")])

    await world.deploy()

    live = _live(world, "Service", "v1")
    assert live["spec"]["clusterIP"] == before["spec"]["clusterIP"]
    assert [port["port"] for port in live["spec"]["ports"]] == [8081]
    assert _managers(live) == {(world.manager, "Apply")}


async def test_a_secrets_last_applied_values_do_not_stay(world: World) -> None:
    """`kubectl apply` keeps a Secret's values in an annotation: it goes, and neither plan nor report shows it."""
    body = secret("web", {"password": "hunter2-theirs"})
    world.kubectl("apply", "-f", "-", objects=[body])
    world.push_objects("web", secret("web", {"password": "hunter2-ours"}))
    world.decide(take_over=[_take(world, "Secret", "web")])

    presenter = Recorder()
    await world.deploy(presenter)

    live = _live(world, "Secret", "v1")
    assert LAST_APPLIED not in live["metadata"]["annotations"]
    assert "hunter2" not in repr(presenter.reports)


@pytest.mark.parametrize("step", ["nothing", "handed over", "applied"])
async def test_a_take_over_that_was_killed_is_ended_by_the_next_run(world: World, step: str) -> None:
    """Stopped after the intent, after the hand-over or after the apply: the next run ends with the same object."""
    _made(world, "Helm 3")
    world.push_objects("web", deployment())
    world.decide(take_over=[_take(world, "Deployment", "web")])
    async with opened(Recorder(), world.host, "dev", what="deploy", actor="test") as site:
        decision = await decide(site)
        inventory = apply.intents(decision.plan, decision.stored.inventory, decision.scope)
        now = Record(decision.environment.id, verified=decision.commit, pending=decision.commit)
        record.write_inventory.fn(world.admin, decision.stored, inventory, now)
        await _until(site, decision, inventory, step)

    assert (await world.deploy()).said == "deployed"

    live = _live(world)
    assert _managers(live) == {(world.manager, "Apply")}
    assert [c["name"] for c in live["spec"]["template"]["spec"]["containers"]] == ["web"]
    assert set(live["metadata"]["labels"]) == {PART_OF}
    entry = next(e for i, e in world.inventory().entries.items() if i.kind == "Deployment")
    assert (entry.uid, entry.adopted) == (live["metadata"]["uid"], True)


async def _until(site: Site, decision: Decision, inventory: Inventory, step: str) -> None:
    """What a run does up to a step, and nothing after it: no UID noted, no record moved on."""
    mark = decision.mark.ahead(decision.stored.record, verified=decision.commit)
    record.write_mark(site.host.state, site.name, mark)
    item = _item(decision.plan)
    if step == "handed over":
        apply._handed_over(site.cluster, item, decision.scope)
    if step == "applied":
        with lease.held(site.cluster, namespace=decision.stored.control_namespace, name="x", who="test") as lock:
            apply._apply_one(site.cluster, item, inventory=inventory, scope=decision.scope, lock=lock)


async def test_a_write_between_plan_and_hand_over_is_not_lost(world: World) -> None:
    """The hand-over is for the version that was read: what came since is read anew, and a foreign thing stays told."""
    _made(world, "Flux")
    world.push_objects("web", deployment())
    world.decide(take_over=[_take(world, "Deployment", "web")])
    plan = await world.plan()
    item = replace(_item(plan), uid="00000000-0000-0000-0000-000000000000")
    async with opened(Recorder(), world.host, "dev", what="deploy", actor="test") as site:
        decision = await decide(site)
        with pytest.raises(ClusterError, match="was replaced or deleted"):
            apply._handed_over(site.cluster, item, decision.scope)
    assert ("kustomize-controller", "Apply") in _managers(_live(world))


def test_the_command_shows_the_plan_and_makes_the_commit(world: World, tmp_path: Path) -> None:
    """Plan first, then one signed commit of environment.yaml in the clone; pushed, the deploy takes the object over."""
    _made(world, "Helm 3")
    world.push_objects("web", deployment())
    clone = _clone(world, tmp_path)
    environment = {"INTERLOCK_CONFIG": str(world.config), "GIT_CONFIG_NOSYSTEM": "1"}

    printed = interlock("take-over", "dev", folder=tmp_path, env=environment)
    assert printed.returncode == 0, printed.stderr
    assert "taken over from Helm" in printed.stdout
    assert f"(Helm release {world.namespace}/shop)" in printed.stdout
    assert "take_over:\n  - kind: Deployment.apps\n    name: web\n" in printed.stdout

    name = f"Deployment/{world.namespace}/web"
    done = interlock("take-over", "dev", name, "--repository", clone, "--yes", folder=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"Take over {name} into dev" in done.stdout
    _git(clone, "push", "--quiet", "origin", "HEAD:main")
    assert asyncio.run(world.deploy()).said == "deployed"
    assert _managers(_live(world)) == {(world.manager, "Apply")}

    again = interlock("take-over", "dev", folder=tmp_path, env=environment)
    assert (again.returncode, "nothing to take over" in again.stderr) == (0, True)
    unknown = interlock("take-over", "dev", "Deployment/x/y", folder=tmp_path, env=environment)
    assert (unknown.returncode, "not an object to take over" in unknown.stderr) == (2, True)


def _clone(world: World, folder: Path) -> Path:
    clone = folder / "clone"
    subprocess.run(("git", "clone", "--quiet", str(world.repository.bare), str(clone)), check=True)
    settings = {
        "user.name": "Ada",
        "user.email": "ada@example.org",
        "gpg.format": "ssh",
        "user.signingkey": str(world.repository.key.path),
        "gpg.ssh.program": str(Path(sys.executable).with_name("interlock-ssh-sign")),
    }
    for key, value in settings.items():
        _git(clone, "config", key, value)
    return clone


def _git(clone: Path, *arguments: str) -> None:
    subprocess.run(("git", "-C", str(clone), *arguments), check=True)
