"""Pods below our objects run what these describe, or are told of."""

from __future__ import annotations

from typing import Any

from interlock.cd import strangers
from interlock.cd.living import Objects
from interlock.cd.objects import Body, identify
from interlock.cd.plan import Action, PlanItem
from interlock.cd.strangers import Census

GOOD, EVIL = "registry.example/web@sha256:" + "1" * 64, "registry.example/web@sha256:" + "2" * 64


def body(kind: str, name: str, *, api: str = "apps/v1", owner: Body | None = None, **more: Any) -> Body:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": f"{kind}/{name}"}
    if owner:
        named = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
        metadata["ownerReferences"] = [{**named, "uid": owner["metadata"]["uid"], "controller": True}]
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}


def template(image: str = GOOD) -> Body:
    return {
        "spec": {
            "initContainers": [{"name": "migrate", "image": GOOD}],
            "containers": [{"name": "web", "image": image}],
        }
    }


def pod(owner: Body, image: str = GOOD, **more: Any) -> Body:
    return body("Pod", "p", api="v1", owner=owner, spec={**template(image)["spec"], **more})


def found(managed: Body, *bodies: Body) -> list[PlanItem]:
    live = Objects.of({identify(each): each for each in (managed, *bodies)})
    items, counts = strangers.of(Census(live, {identify(managed)}))
    assert counts == {"managed": 1, "derived": len(bodies)}
    return list(items)


def told(item: PlanItem) -> list[tuple[str, str | None, str | None, str]]:
    assert item.action == Action.FOREIGN and item.identity.kind == "Pod"
    return [(each.path, each.live, each.desired, each.kind) for each in item.fields]


DEPLOYMENT = body("Deployment", "web", spec={"template": template(EVIL)})
SET = body("ReplicaSet", "web-1", owner=DEPLOYMENT, spec={"template": template()})


def test_a_pod_as_its_maker_describes_it_is_nothing() -> None:
    """What counts is the ReplicaSet that made it: an older one's pods stay while a newer one's come."""
    assert found(DEPLOYMENT, SET, pod(SET)) == []


def test_a_patched_image_is_told() -> None:
    """With both images, of init containers too."""
    patched = pod(SET, EVIL)
    patched["spec"]["initContainers"] = [{"name": "migrate", "image": EVIL}]
    (item,) = found(DEPLOYMENT, SET, patched)

    assert "changed below ReplicaSet/shop/web-1" in item.reason
    assert told(item) == [
        ("spec.initContainers[name=migrate].image", EVIL, GOOD, "foreign"),
        ("spec.containers[name=web].image", EVIL, GOOD, "foreign"),
    ]


def test_added_containers_are_told() -> None:
    """Ephemeral ones, and those of a foreign pod that a ReplicaSet took over because of its labels."""
    added = pod(SET, ephemeralContainers=[{"name": "debugger", "image": EVIL}])
    added["spec"]["containers"].append({"name": "miner", "image": EVIL})
    (item,) = found(DEPLOYMENT, SET, added)

    assert told(item) == [
        ("spec.containers[name=miner]", EVIL, None, "foreign"),
        ("spec.ephemeralContainers[name=debugger]", EVIL, None, "foreign"),
    ]


def test_who_patched_it_is_told() -> None:
    """As its claims say."""
    patched = pod(SET, EVIL)
    fields: Body = {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}
    claim = {"manager": "mallory", "operation": "Update", "time": "2030-01-02T03:04:05Z", "fieldsV1": fields}
    patched["metadata"]["managedFields"] = [{**claim, "apiVersion": "v1", "fieldsType": "FieldsV1"}]
    (item,) = found(DEPLOYMENT, SET, patched)

    assert (item.manager, item.fields[0].manager, item.fields[0].time) == ("mallory", "mallory", "2030-01-02T03:04:05Z")


def revised(pod_: Body, revision: str) -> Body:
    pod_["metadata"]["labels"] = {"controller-revision-hash": revision}
    return pod_


def test_pods_of_an_older_revision_are_nothing() -> None:
    """A StatefulSet's pods of the revision before the newest stay until they are replaced; those of the newest do not
    differ, and once all are of it, no label excuses another image.
    """
    updating = {"updateRevision": "db-2", "currentRevision": "db-1"}
    stateful = body("StatefulSet", "db", spec={"template": template()}, status=updating)
    assert found(stateful, revised(pod(stateful, EVIL), "db-1")) == []
    assert len(found(stateful, revised(pod(stateful, EVIL), "db-2"))) == 1

    stateful["status"] = {"updateRevision": "db-2", "currentRevision": "db-2"}
    assert len(found(stateful, revised(pod(stateful, EVIL), "db-1"))) == 1


def test_pods_of_a_daemon_set_are_looked_at_between_its_rollouts() -> None:
    """While it rolls, pods of the template before are there."""
    rolling = {"observedGeneration": 2, "updatedNumberScheduled": 1, "desiredNumberScheduled": 3}
    daemon = body("DaemonSet", "agent", spec={"template": template()}, status=rolling)
    daemon["metadata"]["generation"] = 2
    assert found(daemon, pod(daemon, EVIL)) == []

    rolling["updatedNumberScheduled"] = 3
    assert len(found(daemon, pod(daemon, EVIL))) == 1
    daemon["metadata"]["generation"] = 3
    assert found(daemon, pod(daemon, EVIL)) == []


def test_pods_of_jobs_are_looked_at_too() -> None:
    """Through the CronJob that Git has."""
    cron = body("CronJob", "c", api="batch/v1", spec={})
    job = body("Job", "c-1", api="batch/v1", owner=cron, spec={"template": template()})
    assert found(cron, job, pod(job)) == []
    assert len(found(cron, job, pod(job, EVIL))) == 1


def test_a_pod_without_a_template_to_hold_it_against_is_left() -> None:
    """Of a custom kind, whose controller decides what it makes, or of a kind of which only metadata are read."""
    site = body("Site", "s", api="example.org/v1")
    assert found(site, pod(site, EVIL)) == []

    only_metadata = body("ReplicationController", "r", api="v1")
    assert found(only_metadata, pod(only_metadata, EVIL)) == []
