"""What Git drops goes, or stays with a reason, on a real API server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping

import pytest
import yaml

from interlock.cd import record as form
from interlock.cd.control import Subject, control_manifests
from interlock.cd.inventory import Entry, Inventory
from interlock.cd.objects import NONCE, PART_OF, Body
from interlock.cd.plan import Plan
from interlock.cd.record import Record
from interlock.contract.render import Identity
from interlock.errors import Blocked
from tasks.cd import cluster, record
from tests.cluster.test_faults import _free, _kill
from tests.cluster.worlds import USER, Recorder, World, config_map, deployment, everything, manifest_path, service

REASON = "nobody needs it any more"


def _claim(world: World, namespace: str = "") -> Body:
    """A volume claim `data`, with a volume that the administrator made for it."""
    namespace = namespace or world.namespace
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "claimRef": {"namespace": namespace, "name": "data"},
        "hostPath": {"path": "/nowhere"},
        "storageClassName": "none",
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"v{uuid.uuid4().hex}"},
        "spec": spec,
    }
    world.admin.create(volume, manager="admin")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": spec,
    }


def _never(body: Body) -> Body:
    metadata = {**body["metadata"], "annotations": {"interlock.dev/prune": "never"}}
    return {**body, "metadata": metadata}


def _confirmation(body: Body, **more: str) -> dict[str, str]:
    metadata = body["metadata"]
    named = {"kind": body["kind"], "name": metadata["name"], "uid": metadata["uid"], "reason": REASON}
    return named | ({"namespace": metadata["namespace"]} if "namespace" in metadata else {}) | more


def _live(world: World, kind: str, name: str, api_version: str = "v1") -> Body:
    found = world.get(kind, name, api_version)
    assert found is not None
    return found


def _kept(plan: Plan) -> dict[str, str]:
    return {f"{item.identity.kind}/{item.identity.name}": item.reason for item in plan.kept}


def _members(world: World) -> set[str]:
    """What a label query for the environment's set shows, of the kinds that its parent names."""
    parent = world.get("ConfigMap", world.manager, namespace=world.control)
    assert parent is not None
    metadata = parent["metadata"]
    found: set[str] = set()
    for name in filter(None, metadata["annotations"]["applyset.kubernetes.io/contains-group-kinds"].split(",")):
        kind, _, group = name.partition(".")
        resource = world.admin.preferred(group, kind)
        query = {"labelSelector": f"{PART_OF}={metadata['labels']['applyset.kubernetes.io/id']}"}
        items = world.admin.request("GET", resource.path(world.namespace), query=query)["items"]
        found |= {f"{kind}/{item['metadata']['name']}" for item in items}
    return found


def _owned(inventory: Inventory) -> set[str]:
    return {f"{identity.kind}/{identity.name}" for identity in inventory.entries}


# members ---------------------------------------------------------------------------------------------


async def test_a_label_query_shows_exactly_the_members(world: World) -> None:
    """Before, while and after objects come and go, label and inventory name the same, kept objects too."""
    world.push_objects("web", deployment(), service(), _claim(world))
    await world.deploy()
    assert _members(world) == {"ConfigMap/base", "Deployment/web", "Service/web", "PersistentVolumeClaim/data"}
    world.remove("web")
    await world.deploy()
    assert _members(world) == _owned(world.inventory()) == {"ConfigMap/base", "PersistentVolumeClaim/data"}


async def test_the_parent_names_the_union_until_the_prune_is_done(world: World) -> None:
    """Killed between apply and prune, the set's parent names old and new kinds; afterwards only what there is."""
    world.push_objects("old", service("old"))
    await world.deploy()
    world.push({manifest_path("old"): None, manifest_path("new"): json.dumps(deployment("new"))})

    _kill(world, "before prune 1")

    def kinds() -> str:
        parent = world.get("ConfigMap", world.manager, namespace=world.control)
        assert parent is not None
        return str(parent["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"])

    assert kinds() == "ConfigMap,Deployment.apps,Service"
    _free(world)
    await world.deploy()
    assert kinds() == "ConfigMap,Deployment.apps"


def _entries(count: int) -> Iterable[Entry]:
    for number in range(count):
        yield Entry(Identity("", "ConfigMap", "shop", f"c{number:05}"), "shop", f"{number:016x}", f"u{number}")


def test_an_inventory_of_more_than_one_part_is_written_and_read(world: World) -> None:
    """4,001 entries need two parts; shrunk again there is one, and no part is left over."""
    control, identifier = world.control, world.environment_id
    stored = record.read_stored.fn(world.admin, control_namespace=control, environment_id=identifier)
    large = Inventory.of(_entries(4_001))
    assert large.shards == 2
    stored = record.write_inventory.fn(world.admin, stored, large, Record(identifier))
    assert world.stored().inventory == large

    small = Inventory.of(_entries(3))
    record.write_inventory.fn(world.admin, stored, small, Record(identifier, shards=2))

    assert world.stored().inventory == small
    parts = {each["metadata"]["name"] for each in world.admin.list(world.admin.resource("v1", "ConfigMap"), control)}
    assert {name for name in parts if "inventory" in name} == set(form.shard_names(identifier, 1))


# confirmation ----------------------------------------------------------------------------------------


async def test_a_volume_claim_goes_by_a_signed_confirmation_alone(world: World) -> None:
    """Dropped, it is kept and the plan gives the line to write; with the line it goes; the line is then used up."""
    world.push_objects("data", _claim(world))
    await world.deploy()
    live = _live(world, "PersistentVolumeClaim", "data")
    world.remove("data")

    presenter = Recorder()
    assert (await world.deploy(presenter)).said == "in sync"
    assert _live(world, "PersistentVolumeClaim", "data")["metadata"]["uid"] == live["metadata"]["uid"]
    plan = await world.plan(presenter)
    assert plan.empty
    assert live["metadata"]["uid"] in presenter.report("plan").body

    world.push_settings(prune=[_confirmation(live)])
    outcome = await world.deploy()

    assert outcome.counts == {"prune": 1}
    # The admission plugin's finalizer is taken off by its controller: no pod uses the claim.
    assert world.get("PersistentVolumeClaim", "data") is None
    assert any("is used up" in note for note in (await world.plan()).notes)


async def test_a_plan_of_confirmed_deletions_deletes_nothing(world: World) -> None:
    """The plan asks the server about each of them, and each is there as it was afterwards."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}}
    world.push_objects("data", _claim(world), _never(config_map("c", {"a": "1"})), body)
    await world.deploy()
    confirmed = [
        _live(world, "PersistentVolumeClaim", "data"),
        _live(world, "ConfigMap", "c"),
        _live(world, "Namespace", world.namespace),
    ]
    settings = {manifest_path("data"): None, manifest_path("base"): None}
    world.push_settings(settings, state="removed", prune=[_confirmation(each) for each in confirmed])

    plan = await world.plan()

    assert [item.identity.kind for item in plan.writes] == [
        "Namespace",
        "ConfigMap",
        "ConfigMap",
        "PersistentVolumeClaim",
    ]
    for before in confirmed:
        live = _live(world, before["kind"], before["metadata"]["name"])
        assert live["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert "deletionTimestamp" not in live["metadata"]


async def test_a_confirmation_does_not_hold_for_the_next_object_of_that_name(world: World) -> None:
    """A leftover line keeps nothing of its power: the UID is another."""
    world.push_objects("data", _claim(world))
    await world.deploy()
    live = _live(world, "PersistentVolumeClaim", "data")
    world.push_settings({manifest_path("data"): None}, prune=[_confirmation(live)])
    await world.deploy()
    world.push_objects("data", _claim(world))
    await world.deploy()
    world.remove("data")

    await world.deploy()

    assert _kept(await world.plan()) == {
        "PersistentVolumeClaim/data": "kept: a PersistentVolumeClaim goes only by confirmation"
    }


async def test_never_counts_from_git_alone(world: World) -> None:
    """The annotation of the last applied manifest keeps; one that somebody put on the live object does not."""
    world.push_objects("c", _never(config_map("kept", {"a": "1"})), config_map("goes", {"a": "1"}))
    await world.deploy()
    world.merge(world.path("configmaps", "goes"), {"metadata": {"annotations": {"interlock.dev/prune": "never"}}})
    world.merge(world.path("configmaps", "kept"), {"metadata": {"annotations": {"interlock.dev/prune": None}}})
    world.remove("c")

    await world.deploy()

    assert world.get("ConfigMap", "goes") is None
    live = _live(world, "ConfigMap", "kept")
    assert "interlock.dev/prune: never" in _kept(await world.plan())["ConfigMap/kept"]
    world.push_settings(prune=[_confirmation(live)])
    await world.deploy()
    assert world.get("ConfigMap", "kept") is None


async def test_never_can_be_taken_back_in_git(world: World) -> None:
    """Applied without the annotation, the object is pruned as any other."""
    world.push_objects("c", _never(config_map("c", {"a": "1"})))
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "1"}))
    await world.deploy()
    world.remove("c")
    await world.deploy()
    assert world.get("ConfigMap", "c") is None


async def test_what_is_released_stays_and_is_nobodys(world: World) -> None:
    """Let go of by a confirmation, an object keeps its data and has nothing of ours."""
    world.push_objects("data", _claim(world), _never(config_map("c", {"a": "1"})))
    await world.deploy()
    bodies = [_live(world, "PersistentVolumeClaim", "data"), _live(world, "ConfigMap", "c")]
    world.push_settings({manifest_path("data"): None}, prune=[_confirmation(body, action="release") for body in bodies])

    await world.deploy()

    for before in bodies:
        live = _live(world, before["kind"], before["metadata"]["name"])
        metadata = live["metadata"]
        assert metadata["uid"] == before["metadata"]["uid"]
        assert PART_OF not in metadata.get("labels", {})
        assert NONCE not in metadata.get("annotations", {})
        assert world.manager not in {entry["manager"] for entry in metadata.get("managedFields", ())}
    assert _live(world, "ConfigMap", "c")["data"] == {"a": "1"}
    assert _owned(world.inventory()) == {"ConfigMap/base"}


async def test_a_namespace_goes_by_confirmation_when_nothing_in_it_must_stay(world: World) -> None:
    """With a claim in it that is not confirmed it stays; without, it goes with all that is in it."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{world.namespace}-x"}}
    both = [world.namespace, f"{world.namespace}-x"]
    _widen(world, both)
    claim = _claim(world, both[1])
    world.push_settings({manifest_path("x"): f"{json.dumps(body)}\n---\n{json.dumps(claim)}"}, namespaces=both)
    await world.deploy()
    namespace = _live(world, "Namespace", f"{world.namespace}-x")
    live = world.get("PersistentVolumeClaim", "data", namespace=f"{world.namespace}-x")
    assert live is not None
    world.push_settings({manifest_path("x"): None}, namespaces=both, prune=[_confirmation(namespace)])
    await world.deploy()
    kept = _kept(await world.plan())
    assert kept[f"Namespace/{world.namespace}-x"].startswith("kept: it would take PersistentVolumeClaim/")

    world.push_settings(prune=[_confirmation(namespace), _confirmation(live)])
    await world.deploy()

    found = world.get("Namespace", f"{world.namespace}-x")
    assert found is None or "deletionTimestamp" in found["metadata"]


def _widen(world: World, namespaces: list[str]) -> None:
    """The host's and the cluster's administrator give the environment more namespaces."""
    config = yaml.safe_load(world.config.read_text())
    config["environments"]["dev"]["namespaces"] = namespaces
    world.config.write_text(json.dumps(config))
    subject = Subject("User", USER)
    for body in control_manifests(
        control_namespace=world.control, namespaces=namespaces, subject=subject, reach=everything(world.admin)
    ):
        world.admin.apply(body, manager="admin")


async def test_a_namespace_does_not_take_along_what_cannot_be_seen(world: World) -> None:
    """Without the right to list volume claims, a confirmed namespace stays: there may be one in it."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}}
    world.push_objects("namespace", body)
    await world.deploy()
    namespace = _live(world, "Namespace", world.namespace)
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{world.namespace}/roles/interlock-{world.control}"
    live = world.admin.request("GET", role)
    rules = [
        {**rule, "resources": [r for r in rule["resources"] if r != "persistentvolumeclaims"]} for rule in live["rules"]
    ]
    world.admin.replace({**live, "rules": rules}, manager="admin")
    files = {manifest_path("namespace"): None, manifest_path("base"): None}
    world.push_settings(files, state="removed", prune=[_confirmation(namespace)])

    plan = await world.plan()

    assert [item.identity.kind for item in plan.writes] == ["ConfigMap"]
    assert "not all that is in it can be seen" in _kept(plan)[f"Namespace/{world.namespace}"]


# budget ----------------------------------------------------------------------------------------------


def _many(count: int) -> list[Body]:
    return [config_map(f"c{number}", {"a": "1"}) for number in range(count)]


async def test_over_the_budget_nothing_is_written(world: World) -> None:
    """Twelve of thirteen objects would go: blocked with the numbers, neither deleted nor made anything."""
    world.push_objects("many", *_many(12))
    await world.deploy()
    world.push({manifest_path("many"): None, manifest_path("new"): json.dumps(config_map("new", {}))})

    presenter = Recorder()
    with pytest.raises(Blocked, match=r"12 of 13 objects would be deleted; the budget is 10 or 30 %"):
        await world.deploy(presenter)

    assert len(world.inventory().entries) == 13
    assert world.get("ConfigMap", "new") is None
    assert "12 of 13" in presenter.report("plan").body
    assert world.receipts() == [("intent", ""), ("result", "healthy"), ("plan", "over-budget")]


async def test_an_allowance_lets_just_these_changes_pass(world: World) -> None:
    """The mark of the plan in a signed commit lets it pass; once something moves, it does not."""
    world.push_objects("many", *_many(12))
    await world.deploy()
    world.remove("many")
    mark = (await world.plan()).mark
    allow = {"changes": mark, "reason": REASON}
    world.delete(world.path("configmaps", "c0"))
    world.push_settings(allow=allow)
    with pytest.raises(Blocked, match="11 of 13"):
        await world.deploy()

    allow["changes"] = (await world.plan()).mark
    world.push_settings(allow=allow)
    await world.deploy()

    assert _members(world) == {"ConfigMap/base"}
    assert "`allow` is not needed: remove it" in (await world.plan()).notes


async def test_an_allowance_covers_nothing_that_came_after_it(world: World) -> None:
    """Stopped in the middle of allowed changes, the rest goes on; what somebody did since is judged by itself."""
    world.push_objects("many", *_many(12))
    world.push_objects("web", deployment())
    await world.deploy()
    budget = {"deletes": 1, "restarts": 0}
    world.push_settings({manifest_path("many"): None}, budget=budget)
    allow = {"changes": (await world.plan()).mark, "reason": REASON}
    world.push_settings(allow=allow, budget=budget)
    _kill(world, "write 3")
    _free(world)
    web = world.path("deployments", "web", "apps/v1")

    def greeting(word: str) -> Body:
        container = {"name": "web", "env": [{"name": "GREETING", "value": word}]}
        return {"spec": {"template": {"spec": {"containers": [container]}}}}

    world.merge(web, greeting("mine"))
    with pytest.raises(Blocked, match="1 workload would replace its pods") as blocked:
        await world.deploy()
    assert "what came after the changes that `allow` is of is not allowed" in blocked.value.reasons
    assert len(_members(world)) > 2

    world.merge(web, greeting("hello"))
    await world.deploy()
    assert _members(world) == {"ConfigMap/base", "Deployment/web"}


async def test_a_raised_budget_lets_it_pass_and_a_crash_does_not_block_the_rest(world: World) -> None:
    """Killed in the middle of the prune, the rest goes with the next run, though the share is another now."""
    world.push_objects("many", *_many(12))
    await world.deploy()
    world.push_settings(budget={"deletes": 12})
    await world.deploy()
    world.push_settings({manifest_path("many"): None}, budget={"deletes": 12})

    _kill(world, "write 3")
    _free(world)
    await world.deploy()

    assert _members(world) == {"ConfigMap/base"}


async def test_a_budget_is_not_raised_by_the_commit_that_it_judges(world: World) -> None:
    """Nor does a kind lose its protection by the commit that drops an object of it; raised before, it holds."""
    world.push_objects("many", *_many(12))
    world.push_settings(budget={"deletes": 3}, protected=["Secret"])
    await world.deploy()
    world.push_settings({manifest_path("many"): None}, budget={"deletes": 12})

    with pytest.raises(Blocked, match="12 of 13 objects would be deleted; the budget until this commit is 3"):
        await world.deploy()
    assert len(_members(world)) == 13


# what prunes nothing ---------------------------------------------------------------------------------


async def test_a_narrowed_list_of_namespaces_prunes_nothing(world: World) -> None:
    """Objects in a namespace that environment.yaml does not name any more stay, and the plan says why."""
    both = [world.namespace, f"{world.namespace}-x"]
    _widen(world, both)
    body = config_map("c", {"a": "1"})
    body["metadata"]["namespace"] = both[1]
    world.push_settings({manifest_path("x"): json.dumps(body)}, namespaces=both)
    await world.deploy()
    world.push_settings({manifest_path("x"): None})

    await world.deploy()

    assert world.get("ConfigMap", "c", namespace=both[1]) is not None
    plan = await world.plan()
    assert plan.empty
    assert _kept(plan) == {"ConfigMap/c": f"kept: the namespace {both[1]} is not in environment.yaml any more"}


async def test_an_application_that_renders_nothing_keeps_its_objects(world: World) -> None:
    """Its folder is in Git and its template gives no object: an accident more likely than a wish."""
    files = {
        "applications/mail/application.yaml": "format: 1\ntemplate: mail\n",
        "environments/dev/mail/values.yaml": "enabled: true\n",
        "templates/mail/c.yaml.j2": "{% if values.enabled %}\napiVersion: v1\nkind: ConfigMap\n"
        "metadata:\n  name: mail\n{% endif %}\n",
    }
    world.push(files)
    await world.deploy()
    world.push({"environments/dev/mail/values.yaml": "enabled: false\n"})
    await world.deploy()
    assert world.get("ConfigMap", "mail") is not None
    assert "renders no object" in _kept(await world.plan())["ConfigMap/mail"]

    world.push(dict.fromkeys(files))
    await world.deploy()
    assert world.get("ConfigMap", "mail") is None


async def test_an_object_that_an_awaiting_application_has_is_not_pruned(world: World) -> None:
    """Moved to an application that waits for its first release, an object is not deleted in between."""
    template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: moved\n"
    world.push_objects("moved", config_map("moved", {"a": "1"}))
    await world.deploy()
    before = _live(world, "ConfigMap", "moved")
    binding: Mapping[str, object] = {
        "source": "mail",
        "component": "web",
        "application": "mail",
        "environments": ["dev"],
        "image": "registry.example/mail/web",
        "signer": "ada",
    }
    world.push(
        {
            manifest_path("moved"): None,
            "trust/bindings.yaml": json.dumps({"format": 1, "bindings": [binding]}),
            "applications/mail/application.yaml": "format: 1\ntemplate: mail\n",
            "environments/dev/mail/values.yaml": "",
            "templates/mail/c.yaml.j2": template,
        }
    )

    await world.deploy()

    assert _live(world, "ConfigMap", "moved")["metadata"]["uid"] == before["metadata"]["uid"]
    assert "mail, which awaits its first release" in _kept(await world.plan())["ConfigMap/moved"]


async def test_a_kind_that_cannot_be_read_prunes_nothing(world: World) -> None:
    """Without the right to LIST a kind, its objects are neither pruned nor forgotten."""
    world.push_objects("s", service("s"))
    await world.deploy()
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{world.namespace}/roles/interlock-{world.control}"
    live = world.admin.request("GET", role)
    rules = [{**rule, "resources": [r for r in rule["resources"] if r != "services"]} for rule in live["rules"]]
    world.admin.replace({**live, "rules": rules}, manager="admin")
    world.remove("s")

    await world.deploy()

    assert world.get("Service", "s") is not None
    assert "Service/s" in _owned(world.inventory())


async def test_an_expired_list_prunes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A continue token that the server does not take any more fails the plan; half a LIST is never one."""
    world.push_objects("many", *_many(6))
    await world.deploy()
    world.remove("many")
    monkeypatch.setattr(cluster, "PAGE", 2)
    asked: list[str] = []
    original = cluster.Cluster._exchange

    def exchange(self: cluster.Cluster, method: str, path: str, **more: object) -> object:
        query = more.get("query")
        if isinstance(query, dict) and "continue" in query:
            asked.append(path)
            more["query"] = {**query, "continue": "bm90IGEgdG9rZW4"}
        return original(self, method, path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(cluster.Cluster, "_exchange", exchange)
    with pytest.raises(Exception, match="continue"):
        await world.deploy()
    assert asked
    monkeypatch.undo()
    assert len(world.inventory().entries) == 7
    assert world.get("ConfigMap", "c5") is not None
