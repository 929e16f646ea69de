"""Somebody takes the lock out of the API server, or opens it, and changes objects past Git.

Defence: every run compares the policies and bindings with what the host's cd.yaml makes of them, and says what is gone
or changed, in a report and as a tag of the run (flows/cd/prevention.py). What was changed past Git is drift, with or
without the lock, and the next resync undoes it.
Not defended: the time until the next resync. Kubernetes lets no policy guard policies.
"""

from __future__ import annotations

import pytest

from sandbox.supervisor import Sandbox
from tests.cluster import locks
from tests.cluster.locks import person, refusal, until
from tests.cluster.worlds import Recorder, World


@pytest.fixture
def locked(world: World) -> World:
    locks.configure(world)
    locks.lock_up(world)
    return world


async def test_without_the_lock_the_attack_succeeds_until_cd_comes(locked: World, sandbox: Sandbox) -> None:
    """A tenant's edit passes; CD says what is gone, and undoes the edit."""
    await locked.deploy()
    base = locked.path("configmaps", "base")
    with person(locked, sandbox.place, "tenant") as tenant:
        assert "is changed in Git alone" in refusal(tenant, "PATCH", base, {"data": {"a": "2"}})
        gone = locks.remove_policies(locked)
        until("an edit that passes", lambda: refusal(tenant, "PATCH", base, {"data": {"a": "2"}}) == "")
    told = Recorder()

    assert (await locked.resync(told)).said == "drift undone"

    assert gone
    assert {row[0] for row in told.report("lock").tables[0].rows} == {f"{each} is gone" for each in gone}
    assert "lock:weakened" in told.tags


async def test_with_the_lock_it_is_refused_and_nothing_is_said(locked: World, sandbox: Sandbox) -> None:
    """A lock that is as it was written is no news."""
    told = Recorder()
    await locked.deploy(told)
    assert "lock" not in {report.key for report in told.reports}
    with person(locked, sandbox.place, "tenant") as tenant:
        said = refusal(tenant, "DELETE", locked.path("configmaps", "base"))
    assert "is changed in Git alone" in said
