"""Prefect's API over plain HTTP, for what needs neither a client's start-up time nor its retries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import httpx

from interlock.errors import PrefectError
from tasks.common.effect import effect

TIMEOUT_SECONDS = 15.0


@effect(name="start run", retries=3, task_run_name="start {deployment}")
def start(deployment: str, parameters: Mapping[str, Any], idempotency_key: str) -> str:
    """Start a run of `<flow>/<deployment>` and return its id.

    The same key again returns the run that exists. A key is worth its name when it says what the run is about,
    such as `deploy dev 1a2b…`.
    """
    flow, _, name = deployment.partition("/")
    found = request("GET", f"/deployments/name/{flow}/{name}")
    body = {"parameters": dict(parameters), "idempotency_key": idempotency_key, "state": {"type": "SCHEDULED"}}
    return str(request("POST", f"/deployments/{found['id']}/create_flow_run", json=body)["id"])


def request(method: str, path: str, *, json: object = None, api: str | None = None) -> Any:
    """One request to Prefect's API; the decoded answer, or None when it is empty.

    `api` is the host config's address; without it PREFECT_API_URL. PrefectError otherwise, transient when the
    server does not answer or says 429 or 5xx.
    """
    url = (api or os.environ["PREFECT_API_URL"]).rstrip("/") + path
    try:
        response = httpx.request(method, url, json=json, timeout=TIMEOUT_SECONDS, auth=_auth(), trust_env=False)
    except httpx.HTTPError as error:
        raise PrefectError(
            f"Prefect at {url}: {error or type(error).__name__}", hint="is its server up?", transient=True
        ) from error
    if response.is_error:
        raise PrefectError(
            f"Prefect: {method} {path} gave {response.status_code}: {response.text[:500]}",
            transient=response.status_code == 429 or response.status_code >= 500,
        )
    return response.json() if response.content else None


def _auth() -> tuple[str, str] | None:
    user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    return (user, password) if user else None
