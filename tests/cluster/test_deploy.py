"""A commit becomes a cluster in that state, on a real API server."""

from __future__ import annotations

import pytest

from interlock.cd.objects import NONCE, PART_OF
from interlock.errors import Blocked, Refused
from tests.cluster.worlds import Recorder, World, config_map, deployment, manifest_path, secret, service


async def test_a_commit_is_applied_and_recorded(world: World) -> None:
    """What Git declares exists, is ours by label and inventory, and record, mark and ledger say the same."""
    world.push_objects("web", deployment(), service(), secret("s", {"password": "hunter2"}))

    outcome = await world.deploy()

    assert (outcome.said, outcome.commit, outcome.counts) == ("deployed", world.head, {"create": 4})
    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    entry = {i.kind: e for i, e in world.inventory().entries.items()}["Deployment"]
    assert (live["metadata"]["uid"], live["metadata"]["annotations"][NONCE]) == (entry.uid, entry.nonce)
    parent = world.get("ConfigMap", world.manager, namespace=world.control)
    assert parent is not None
    assert parent["metadata"]["labels"]["applyset.kubernetes.io/id"] == live["metadata"]["labels"][PART_OF]
    kinds = parent["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"]
    assert kinds == "ConfigMap,Deployment.apps,Secret,Service"
    record, mark = world.stored().record, world.mark()
    assert record is not None
    assert (record.verified, record.deployed, record.pending) == (world.head, world.head, None)
    assert (mark["verified"], mark["deployed"], mark["receipts"]) == (world.head, world.head, 2)
    assert world.receipts() == [("intent", ""), ("result", "healthy")]


async def test_a_second_deploy_writes_nothing_and_takes_no_lock(world: World) -> None:
    """Nothing of the record, the lock or the ledger moves when the cluster is as Git says."""
    world.push_objects("web", deployment(), service(), secret("s", {"password": "hunter2"}))
    await world.deploy()
    before = _versions(world)

    presenter = Recorder()
    outcome = await world.deploy(presenter)

    assert outcome.said == "in sync"
    assert "take the lock" not in presenter.steps
    assert not {"write a receipt", "write record", "write inventory"} & set(presenter.steps)
    assert _versions(world) == before


def _versions(world: World) -> dict[str, str]:
    """Every object of the environment and of its control namespace, by resource version."""
    found = {}
    for api_version, kind in (
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "Service"),
        ("apps/v1", "Deployment"),
        ("coordination.k8s.io/v1", "Lease"),
    ):
        resource = world.admin.resource(api_version, kind)
        for namespace in (world.namespace, world.control):
            for body in world.admin.list(resource, namespace):
                found[f"{kind} {namespace}/{body['metadata']['name']}"] = body["metadata"]["resourceVersion"]
    return found


async def test_a_plan_writes_nothing(world: World) -> None:
    """A plan of a new environment shows what would be made, and makes nothing, not even a mark."""
    before = _versions(world)

    presenter = Recorder()
    plan = await world.plan(presenter)

    assert [(item.action, item.identity.name) for item in plan.writes] == [("create", "base")]
    assert presenter.report("plan").title == f"Plan for dev at {world.head[:12]}: 1 to create"
    assert _versions(world) == before
    assert not (world.host.state / "marks").exists()


async def test_a_change_shows_its_fields_and_masks_secrets(world: World) -> None:
    """A plan names each field with both values; a Secret's change is seen, and its data is not."""
    world.push_objects("s", secret("s", {"password": "hunter2"}), config_map("c", {"a": "1"}))
    await world.deploy()
    world.push_objects("s", secret("s", {"password": "correct-horse"}), config_map("c", {"a": "2"}))

    presenter = Recorder()
    plan = await world.plan(presenter)

    fields = {item.identity.kind: item.fields[0] for item in plan.writes}
    assert (fields["ConfigMap"].path, fields["ConfigMap"].live, fields["ConfigMap"].desired) == ("data.a", "1", "2")
    masked = fields["Secret"]
    assert (masked.path, masked.masked, masked.live == masked.desired) == ("data.password", True, False)
    assert all(str(mask).startswith("•••• ") for mask in (masked.live, masked.desired))
    assert {each.origin.path for each in fields.values() if each.origin} == {manifest_path("s")}
    page = presenter.report("plan").body + str(presenter.report("plan").data)
    assert "hunter2" not in page
    assert "correct-horse" not in page


async def test_what_git_drops_is_pruned_and_nothing_else(world: World) -> None:
    """Removed objects go; a ConfigMap that somebody else made in the namespace stays, even with our label on it."""
    world.push_objects("web", deployment(), service())
    await world.deploy()
    part_of = world.get("Service", "web")["metadata"]["labels"][PART_OF]  # type: ignore[index]
    stranger = config_map("theirs", {"x": "y"})
    stranger["metadata"] |= {"namespace": world.namespace, "labels": {PART_OF: part_of}}
    world.admin.create(stranger, manager="somebody")
    world.remove("web")

    outcome = await world.deploy()

    assert outcome.counts == {"prune": 2}
    assert world.get("Service", "web") is None
    assert world.get("Deployment", "web", "apps/v1") is None
    assert world.get("ConfigMap", "theirs") is not None
    assert [identity.name for identity in world.inventory().entries] == ["base"]
    parent = world.get("ConfigMap", world.manager, namespace=world.control)
    assert parent is not None
    assert parent["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap"


async def test_an_empty_render_prunes_nothing(world: World) -> None:
    """A commit that leaves no object at all is blocked, and the objects stay."""
    await world.deploy()
    world.push({manifest_path("base"): None})

    with pytest.raises(Blocked, match="renders no object"):
        await world.deploy()

    assert world.get("ConfigMap", "base") is not None


async def test_a_strangers_object_is_not_taken(world: World) -> None:
    """An object that exists and is not in the inventory blocks the whole commit, before anything is written."""
    theirs = config_map("taken", {"x": "theirs"})
    theirs["metadata"]["namespace"] = world.namespace
    world.admin.create(theirs, manager="somebody")
    world.push_objects("more", config_map("taken", {"x": "ours"}), config_map("other", {"a": "1"}))

    with pytest.raises(Blocked, match=r"ConfigMap/t\w+/taken: blocked: exists and is not ours"):
        await world.deploy()

    assert world.get("ConfigMap", "taken")["data"] == {"x": "theirs"}  # type: ignore[index]
    assert world.get("ConfigMap", "other") is None
    assert world.receipts() == [("plan", "blocked")]


async def test_the_namespace_itself_may_be_in_git_and_is_never_pruned(world: World) -> None:
    """The environment's own namespace is taken although it exists, and stays ours when Git drops it."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": world.namespace, "labels": {"team": "a"}},
    }
    world.push_objects("namespace", namespace)
    await world.deploy()
    live = world.get("Namespace", world.namespace)
    assert live is not None
    assert live["metadata"]["labels"]["team"] == "a"
    world.remove("namespace")

    await world.deploy()

    live = world.get("Namespace", world.namespace)
    assert live is not None
    assert "deletionTimestamp" not in live["metadata"]
    assert [identity.kind for identity in world.inventory().entries] == ["ConfigMap", "Namespace"]
    plan = await world.plan()
    assert plan.empty
    assert not plan.drifted
    assert [(item.identity.kind, item.kept, item.confirmable) for item in plan.kept] == [("Namespace", True, True)]


async def test_what_the_server_refuses_is_blocked_before_anything_is_written(world: World) -> None:
    """The dry run finds an immutable field and an invalid object; nothing else of the commit is made."""
    world.push_objects("web", deployment())
    await world.deploy()
    changed = deployment()
    changed["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    changed["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    bad = service("bad")
    bad["spec"]["ports"][0]["port"] = 99999
    world.push_objects("web", changed, bad, config_map("fine", {}))

    with pytest.raises(Blocked) as blocked:
        await world.deploy()

    assert "Deployment" in blocked.value.message
    assert ": immutable: " in blocked.value.message
    assert "bad: blocked: " in blocked.value.message
    assert world.get("ConfigMap", "fine") is None


async def test_a_spelling_that_the_server_normalises_is_no_change(world: World) -> None:
    """`1000m` lives as `1`; the second plan is empty all the same."""
    world.push_objects("web", deployment())
    await world.deploy()
    live = world.get("Deployment", "web", "apps/v1")
    assert live is not None
    assert live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "1"

    assert (await world.plan()).empty


async def test_a_commit_that_changes_nothing_here_moves_the_record_quietly(world: World) -> None:
    """Another file of the repository changes: the record follows, without a lock and without a receipt."""
    await world.deploy()
    head = world.push({"policy/gate.yaml": "format: 1\nrules:\n  database_hours: 100\n"})

    presenter = Recorder()
    outcome = await world.deploy(presenter)

    record = world.stored().record
    assert record is not None
    assert (outcome.said, record.verified, record.deployed) == ("in sync", head, head)
    assert "take the lock" not in presenter.steps
    assert len(world.receipts()) == 2


async def test_a_rewritten_branch_is_refused_once_in_the_ledger_and_shown_each_time(world: World) -> None:
    """After a force-push nothing moves; brought back to the verified head, the pipeline goes on."""
    first = world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    world.head = world.root
    stolen = world.repository.write(world.root, {manifest_path("evil"): b"apiVersion: v1\n"})
    world.force(stolen)

    for _ in range(2):
        presenter = Recorder()
        with pytest.raises(Refused) as refused:
            await world.deploy(presenter)
        assert refused.value.rule == "rewritten"
        assert presenter.report("refusal").title == "dev: refused (rewritten)"
    assert world.receipts() == [("intent", ""), ("result", "healthy"), ("refusal", "rewritten")]

    world.force(first)
    world.head = first
    world.push_objects("c", config_map("c", {"a": "2"}))
    assert (await world.deploy()).said == "deployed"


async def test_a_namespace_beyond_the_ceiling_is_refused(world: World) -> None:
    """The repository cannot give itself a namespace that the host does not."""
    text = f'format: 1\nid: "{world.environment_id}"\ncluster: sandbox\nnamespaces: [{world.namespace}, kube-system]\n'
    world.push({"environments/dev/environment.yaml": text})

    with pytest.raises(Refused, match="kube-system") as refused:
        await world.deploy()

    assert refused.value.rule == "ceiling"


async def test_a_field_that_no_schema_has_is_blocked(world: World) -> None:
    """A misspelt field is named and not silently dropped; a Secret's is named without its value."""
    wrong, hidden = deployment("wrong"), secret("hidden", {"a": "b"})
    wrong["spec"]["replica"] = 2
    hidden["stringDatas"] = {"a": "hunter2"}
    world.push_objects("wrong", wrong, hidden)

    with pytest.raises(Blocked) as blocked:
        await world.deploy()

    assert "/wrong: blocked: spec.replica: unknown field (did you mean replicas?)" in blocked.value.message
    assert "/hidden: blocked: stringDatas: unknown field (did you mean stringData?)" in blocked.value.message
    assert "hunter2" not in blocked.value.message


async def test_a_kind_that_the_cluster_lacks_is_blocked(world: World) -> None:
    """The error names the kind and what to look for."""
    world.push_objects("w", {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}})

    with pytest.raises(Blocked, match="Widget: the cluster has no such kind"):
        await world.deploy()
