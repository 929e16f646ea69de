"""Make Prefect so: pools, deployments, schedules, automations and limits, as prefect.yaml and the host's file say.

Idempotent, and a repair: what somebody edited by hand goes back. Prefect's database may be empty or lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from interlock.contract import strict_yaml
from interlock.contract.builtin import Half
from interlock.contract.declaration import TAG, Automation, Declaration, Deployment, Ground, PrefectFile, declaration
from interlock.errors import HostConfigError, PrefectError
from tasks.common.prefect_api import Api

PAGE = 200
ROOT = Path(__file__).parents[2]
PLACES = (ROOT / "prefect.yaml", ROOT / "interlock" / "_prefect.yaml")
"""In a checkout, and in an installed wheel."""


def wanted(half: Half, grounds: tuple[Ground, ...]) -> Declaration:
    """What prefect.yaml asks for on this host."""
    for place in PLACES:
        if place.exists():
            return declaration(strict_yaml.parse(place.read_text(), PrefectFile, path=str(place)), half, grounds)
    raise HostConfigError(f"{PLACES[0]} is missing", hint="install Interlock again")


def declare(api: Api, declaration: Declaration) -> tuple[str, ...]:
    """Make it so; what was changed, one line each, nothing when all was as declared. PrefectError otherwise."""
    try:
        return _declare(api, declaration)
    except PrefectError as error:
        if not error.transient:
            raise
        return _declare(api, declaration)  # somebody else declares the same at this moment


def _declare(api: Api, declaration: Declaration) -> tuple[str, ...]:
    changed = _pools(api, declaration.pools)
    ids, deployments = _deployments(api, declaration)
    return (
        *changed,
        *deployments,
        *_automations(api, declaration, ids),
        *_limits(api, declaration.limits),
    )


def _pools(api: Api, pools: Mapping[str, Mapping[str, Any]]) -> list[str]:
    existing = {pool["name"]: pool for pool in _every(api, "/work_pools/filter")}
    changed = []
    for name, body in pools.items():
        found = existing.get(name)
        if found and found["type"] != body["type"]:
            api.delete(f"/work_pools/{name}")
            found = None
        if found is None:
            api.post("/work_pools/", {"name": name, **body})
            changed.append(f"pool {name} created")
            continue  # its queue is as it comes
        if not same(body, found):
            api.patch(f"/work_pools/{name}", {key: value for key, value in body.items() if key != "type"})
            changed.append(f"pool {name} put back")
        changed += _queue(api, name)
    return changed


def _queue(api: Api, pool: str) -> list[str]:
    """A queue that is paused or full is a schedule that does not come."""
    path = f"/work_pools/{pool}/queues/default"
    open_ = {"is_paused": False, "concurrency_limit": None}
    if same(open_, api.get(path)):
        return []
    api.patch(path, open_)
    return [f"queue default of {pool} put back"]


def _deployments(api: Api, declaration: Declaration) -> tuple[dict[str, str], list[str]]:
    """The ids by full name, and what was changed."""
    pools = {"work_pools": {"name": {"any_": list(declaration.pools)}}}
    found = _every(api, "/deployments/filter", **pools)
    flows = {flow["id"]: flow["name"] for flow in _every(api, "/flows/filter", **pools)}
    existing = {f"{flows.get(one['flow_id'])}/{one['name']}": one for one in found}
    ids, changed = {}, []
    for deployment in declaration.deployments:
        known = existing.pop(deployment.full_name, None)
        if known is None or not same(deployment.body, known):
            changed.append(f"deployment {deployment.full_name} {'put back' if known else 'created'}")
            ids[deployment.full_name] = _deploy(api, deployment)
        else:
            ids[deployment.full_name] = known["id"]
    for name, known in existing.items():
        if TAG in known["tags"]:
            api.delete(f"/deployments/{known['id']}")
            changed.append(f"deployment {name} deleted")
    return ids, changed


def _deploy(api: Api, deployment: Deployment) -> str:
    flow = api.post("/flows/", {"name": deployment.flow})
    return str(api.post("/deployments/", {"flow_id": flow["id"], **deployment.body})["id"])


def _automations(api: Api, declaration: Declaration, ids: Mapping[str, str]) -> list[str]:
    ours = tuple(f"{pool}: " for pool in declaration.pools)
    found = [one for one in _every(api, "/automations/filter") if one["name"].startswith(ours)]
    existing: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        existing.setdefault(one["name"], []).append(one)
    changed = []
    for automation in declaration.automations:
        known, *twice = existing.pop(automation.name, [None])
        changed += _automate(api, _body(automation, ids), known)
        changed += _delete(api, twice)
    return changed + [line for gone in existing.values() for line in _delete(api, gone)]


def _automate(api: Api, body: Mapping[str, Any], known: Mapping[str, Any] | None) -> list[str]:
    if known is None:
        api.post("/automations/", body)
        return [f"automation {body['name']!r} created"]
    if same(body, known):
        return []
    api.put(f"/automations/{known['id']}", body)
    return [f"automation {body['name']!r} put back"]


def _delete(api: Api, automations: list[Any]) -> list[str]:
    for one in automations:
        api.delete(f"/automations/{one['id']}")
    return [f"automation {one['name']!r} deleted" for one in automations]


def _body(automation: Automation, ids: Mapping[str, str]) -> dict[str, Any]:
    body = {"actions": [], "actions_on_trigger": [], "actions_on_resolve": [], **automation.body}
    if automation.starts is None:
        return body
    if automation.starts not in ids:
        raise PrefectError(f"automation {automation.name!r} starts {automation.starts}, which is not declared")
    start = {
        "type": "run-deployment",
        "source": "selected",
        "deployment_id": ids[automation.starts],
        "parameters": dict(automation.parameters),
        "job_variables": None,
    }
    return {**body, "actions": [start]}


def _limits(api: Api, limits: Mapping[str, int]) -> list[str]:
    existing = {one["name"]: one for one in _every(api, "/v2/concurrency_limits/filter")}
    changed = []
    for name, limit in limits.items():
        body = {"limit": limit, "active": True, "slot_decay_per_second": 0.0}
        if name not in existing:
            api.post("/v2/concurrency_limits/", {"name": name, **body})
            changed.append(f"limit {name} created")
        elif not same(body, existing[name]):
            api.patch(f"/v2/concurrency_limits/{quote(name)}", body)
            changed.append(f"limit {name} put back")
    return changed


def _every(api: Api, path: str, **filters: Any) -> list[dict[str, Any]]:
    """All pages: what is overlooked would be declared twice."""
    found: list[dict[str, Any]] = []
    while True:
        page: list[dict[str, Any]] = api.post(path, {**filters, "limit": PAGE, "offset": len(found)})
        found += page
        if len(page) < PAGE:
            return found


def same(wanted: Any, found: Any) -> bool:
    """Whether what is found has all that is wanted; a mapping that is wanted empty must be empty."""
    if isinstance(wanted, Mapping):
        return (
            isinstance(found, Mapping)
            and (bool(wanted) or not found)
            and all(key in found and same(value, found[key]) for key, value in wanted.items())
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(same(one, other) for one, other in zip(_sorted(wanted), _sorted(found), strict=True))
        )
    return bool(wanted == found)


def _sorted(items: Any) -> list[Any]:
    """Tags and schedules have no order of their own in Prefect."""
    return sorted(items, key=lambda item: str(item.get("slug", item)) if isinstance(item, Mapping) else str(item))
