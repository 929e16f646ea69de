"""Runs of CI, as Prefect tells of them: a hint for people, on which nothing is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interlock.errors import PrefectError
from tasks.common.effect import effect
from tasks.common.prefect_api import connected

_SHORT = 7
"""Characters of a commit in a run's name."""
_GOING = frozenset({"SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"})


@dataclass(frozen=True)
class Run:
    """`state` is the name that Prefect shows; `going` while it has not ended."""

    name: str
    state: str
    message: str
    going: bool


@effect(name="look for its run")
def find_run(prefect: str, commit: str) -> Run | None:
    """The newest run whose name has the commit; None when there is none, or Prefect does not answer."""
    wanted = {"name": {"like_": commit[:_SHORT]}}
    body = {"flow_runs": wanted, "sort": "EXPECTED_START_TIME_DESC", "limit": 1}
    try:
        with connected(prefect) as api:
            found: list[dict[str, Any]] = api.post("/flow_runs/filter", body) or []
    except PrefectError:
        return None
    if not found:
        return None
    state = found[0].get("state") or {}
    name = str(state.get("name") or "Unknown")
    going = state.get("type") in _GOING
    return Run(str(found[0].get("name", "")), name, str(state.get("message") or ""), going)
