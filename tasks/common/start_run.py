"""Starting a run of a deployment in Prefect, once for each thing that is to be done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tasks.common.effect import effect
from tasks.common.prefect_api import connected


@effect(name="start run", retries=3, task_run_name="start {deployment}")
def start(deployment: str, parameters: Mapping[str, Any], idempotency_key: str) -> str:
    """Start a run of `<flow>/<deployment>` at PREFECT_API_URL, and return its id.

    The same key again returns the run that exists. A key is worth its name when it says what the run is about,
    such as `deploy dev 1a2b…`.
    """
    flow, _, name = deployment.partition("/")
    with connected(os.environ["PREFECT_API_URL"]) as api:
        found = api.get(f"/deployments/name/{flow}/{name}")
        body = {
            "parameters": dict(parameters),
            "idempotency_key": idempotency_key,
            "state": {"type": "SCHEDULED", "name": "Scheduled"},
        }
        return str(api.post(f"/deployments/{found['id']}/create_flow_run", body)["id"])
