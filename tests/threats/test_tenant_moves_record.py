"""A tenant turns the record back, frees the lock, or makes a token of the account that CD writes with.

Defence: record, Lease, fence and account are in a control namespace without tenants. `interlock bootstrap cluster`
reads every role and binding first, and writes nothing while somebody else may write there (interlock/cd/audit.py);
with `--lock` the API server refuses him there even with such rights (interlock/cd/admission_lock.py). A record that
was moved contradicts the host's mark and the ledger, and freezes the environment (interlock/cd/record.py).
Not defended: cluster administrators, who can change RBAC and admission policies. What they move is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from interlock.cd.control import ACCOUNT, FENCE
from interlock.errors import Refused
from sandbox.supervisor import Sandbox
from tasks.cd.cluster import Cluster
from tests.cluster import locks
from tests.cluster.locks import person, refusal
from tests.cluster.test_permissions import bootstrap
from tests.cluster.worlds import World

TOKEN = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}


@pytest.fixture
def insider(world: World, sandbox: Sandbox) -> Iterator[Cluster]:
    """A tenant whom somebody gave the role `admin` in the control namespace."""
    with person(world, sandbox.place, "insider", where=world.control) as found:
        yield found


def attempts(world: World) -> list[tuple[str, str, Any]]:
    core = f"/api/v1/namespaces/{world.control}"
    return [
        ("PATCH", f"{core}/configmaps/interlock-{world.environment_id}-record", turned_back(world)),
        ("DELETE", f"{core}/secrets/{FENCE}", None),
        ("POST", f"{core}/serviceaccounts/{ACCOUNT}/token", TOKEN),
    ]


def turned_back(world: World) -> Any:
    """The record, as it was before the second commit."""
    live = world.get("ConfigMap", f"interlock-{world.environment_id}-record", namespace=world.control)
    assert live is not None
    record = json.loads(live["data"]["record.json"])
    return {"data": {"record.json": json.dumps({**record, "verified": world.root, "deployed": world.root})}}


async def test_with_rights_there_the_attack_succeeds_and_is_noticed(world: World, insider: Cluster) -> None:
    """Where nobody audited and no lock is, all of it passes. Then CD stops: its other memories say otherwise."""
    world.push({"README.md": "one"})
    await world.deploy()
    for attempt in attempts(world):
        assert refusal(insider, *attempt) == "", attempt
    with pytest.raises(Refused) as refused:
        await world.deploy()
    assert refused.value.rule == "record-mismatch"


async def test_a_tenant_without_them_is_refused(world: World, sandbox: Sandbox) -> None:
    """Whatever he may do in the application's namespace."""
    world.push({"README.md": "one"})
    await world.deploy()
    with person(world, sandbox.place, "tenant") as tenant:
        for attempt in attempts(world):
            assert "forbidden" in refusal(tenant, *attempt), attempt


def test_bootstrap_does_not_go_on_beside_him(world: World, insider: Cluster) -> None:
    """He is named, and nothing is written."""
    code, _, told = bootstrap(world, kubeconfig=world.kubeconfig)
    assert (code, f"User/insider-{world.namespace} may" in told) == (3, True)


async def test_behind_the_lock_his_rights_are_of_no_use(world: World, sandbox: Sandbox) -> None:
    """The API server refuses him by policy, not by RBAC."""
    world.push({"README.md": "one"})
    locks.lock_up(world)
    await world.deploy()
    with person(world, sandbox.place, "insider", where=world.control) as insider:
        for attempt in attempts(world):
            assert "is written by CD alone" in refusal(insider, *attempt), attempt
