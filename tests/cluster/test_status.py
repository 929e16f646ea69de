"""`interlock status` on a CD host: what becomes of the branch's newest commit, why, and what to do."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import Blocked, ClusterError, InterlockError, LockHeld, Refused, Unhealthy
from tests.cluster.test_validate import reaching
from tests.cluster.worlds import World, config_map, deployment, manifest_path
from tests.unit.cli.commands import Done, program


def status(world: World, folder: Path, *words: str) -> Done:
    return program("status", *words, folder=folder, env={"INTERLOCK_CONFIG": str(world.config)})


def told(world: World, folder: Path) -> Any:
    """The environment's entry in the JSON."""
    done = status(world, folder, "--output", "json")
    (report,) = [each["data"] for each in json.loads(done.stdout) if each["report"] == "status"]
    (found,) = report["environments"]
    return {**found, "code": done.returncode}


async def refused(world: World, kind: type[InterlockError]) -> None:
    with pytest.raises(kind):
        await world.deploy()


async def test_a_commit_that_is_deployed_is_no_news(world: World, tmp_path: Path) -> None:
    """Before it was tried the newest commit waits, and then it is deployed; neither is a failure."""
    found = told(world, tmp_path)
    assert (found["state"], found["newest"], found["code"]) == ("waiting", world.head, 0)
    assert "interlock sync dev" in found["to_do"]
    await world.deploy()
    found = told(world, tmp_path)
    assert (found["state"], found["why"], found["deployed"], found["code"]) == ("deployed", [], world.head, 0)
    assert status(world, tmp_path).stdout.startswith("dev: deployed\n")


async def test_a_blocked_commit_is_told(world: World, tmp_path: Path) -> None:
    """Which commit, the reason with its line, and what to do, until a newer commit comes."""
    await world.deploy()
    before = world.head
    world.push_objects("bad", reaching())
    await refused(world, Blocked)

    found, text = told(world, tmp_path), status(world, tmp_path)

    assert (found["state"], found["newest"], found["deployed"]) == ("blocked", world.head, before)
    assert any("no-host-path" in line and manifest_path("bad") in line for line in found["why"])
    assert found["since"].startswith("20")
    assert found["code"] == text.returncode == 1
    assert text.stdout.startswith("dev: blocked\n")
    assert f"the newest commit {world.head[:12]} is blocked since" in text.stdout
    assert "to do: " in text.stdout
    assert f"the cluster has {before[:12]}" in text.stdout

    world.remove("bad")
    assert told(world, tmp_path)["state"] == "waiting"
    await world.deploy()
    assert told(world, tmp_path)["state"] == "deployed"


async def test_a_refused_commit_is_told_before_any_run_tried_it(world: World, tmp_path: Path) -> None:
    """A commit that verification or reading refuses, by the reason of this moment."""
    await world.deploy()
    before = world.head
    world.push({"policy/rules.yaml": "format: 1\nruls: []\n"})
    found = told(world, tmp_path)
    assert (found["state"], found["newest"], found["code"]) == ("refused", world.head, 1)
    assert "policy/rules.yaml:2:" in found["why"][0]
    assert found["to_do"]
    assert found["problem"] == ""
    world.push({"policy/rules.yaml": None})
    assert told(world, tmp_path)["state"] == "waiting"
    await world.deploy()
    world.force(before)
    found = told(world, tmp_path)
    assert (found["state"], found["newest"]) == ("refused", before)


async def test_what_a_host_refuses_is_told_after_its_run(world: World, tmp_path: Path) -> None:
    """The commit asks for more than cd.yaml gives: only a run finds that."""
    await world.deploy()
    world.push_settings(namespaces=[world.namespace, "elsewhere"])
    await refused(world, Refused)
    found = told(world, tmp_path)
    assert (found["state"], found["newest"]) == ("refused", world.head)
    assert "namespace elsewhere" in found["why"][0]
    assert "cd.yaml" in found["to_do"]


async def test_an_unhealthy_commit_is_told(impatient_world: World, tmp_path: Path) -> None:
    """Its sync began, and did not end healthy."""
    world = impatient_world
    world.push_objects("web", deployment(replicas=1))
    await refused(world, Unhealthy)
    found = told(world, tmp_path)
    assert (found["state"], found["newest"], found["pending"]) == ("unhealthy", world.head, world.head)
    assert any("Deployment" in line for line in found["why"])


async def test_a_commit_that_waits_for_the_lock_says_who_has_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder is named; that is no failure."""
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "1"}))
    monkeypatch.setattr("flows.cd.walk.LOCK_SECONDS", 0.1)
    live = world.get("Lease", world.manager, "coordination.k8s.io/v1", world.control)
    assert live is not None
    now = f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    held = {"holderIdentity": "somebody else", "leaseDurationSeconds": 60, "acquireTime": now, "renewTime": now}
    world.admin.replace({**live, "spec": {**live["spec"], **held}}, manager="test")
    await refused(world, LockHeld)
    found = told(world, tmp_path)
    assert (found["state"], found["code"]) == ("waiting", 0)
    assert "somebody else" in found["why"][0]


async def test_a_reviewed_plan_that_moved_says_nothing_of_the_commit(world: World, tmp_path: Path) -> None:
    """The plan was old, not the commit bad."""
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "1"}))
    plan = program("plan", "dev", "--output", "json", folder=tmp_path, env={"INTERLOCK_CONFIG": str(world.config)})
    (tmp_path / "plan.json").write_text(plan.stdout)
    world.push_objects("d", config_map("d", {"a": "1"}))
    environment = {"INTERLOCK_CONFIG": str(world.config)}
    done = program("sync", "dev", "--plan", "plan.json", folder=tmp_path, env=environment)
    assert (done.returncode, "moved since" in done.stderr) == (1, True)
    assert told(world, tmp_path)["state"] == "waiting"


async def test_a_memory_that_is_lost_or_damaged_is_none(world: World, tmp_path: Path) -> None:
    """Status says what can still be known."""
    await world.deploy()
    world.push_objects("bad", reaching())
    await refused(world, Blocked)
    file = world.host.state / "endings" / "dev.json"
    for damage in (b"", b"{}", b'{"commit": 1}', b"\xff"):
        file.write_bytes(damage)
        assert told(world, tmp_path)["state"] == "waiting"
    file.unlink()
    assert told(world, tmp_path)["state"] == "waiting"


async def test_an_outage_is_remembered_with_its_commit(world: World, tmp_path: Path) -> None:
    """The API server did not answer the run: the commit is not brought about, and the reason is told."""
    await world.deploy()
    world.push_objects("c", config_map("c", {"a": "1"}))
    config = world.config.read_text()
    broken = tmp_path / "none.kubeconfig"
    text = (world.config.parent / "cd.kubeconfig").read_text()
    broken.write_text(re.sub(r"server: .*", "server: https://127.0.0.1:1", text))
    broken.chmod(0o600)
    world.config.write_text(config.replace(str(world.config.parent / "cd.kubeconfig"), str(broken)))
    await refused(world, ClusterError)
    world.config.write_text(config)
    found = told(world, tmp_path)
    assert (found["state"], found["newest"], found["code"]) == ("failed", world.head, 1)
    assert found["why"]


async def test_status_without_git_and_mirror_says_so(world: World, tmp_path: Path) -> None:
    """Nothing was ever fetched, and nothing can be: a problem, no defect."""
    world.config.write_text(world.config.read_text().replace("http://127.0.0.1:", "http://127.0.0.1:1/"))
    found = told(world, tmp_path)
    assert (found["state"], found["newest"], found["code"]) == ("unknown", "", 1)
    assert found["problem"]
