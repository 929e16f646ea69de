"""Prefect's API over plain HTTP, for what needs neither a client's start-up time nor its retries."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from interlock.errors import PrefectError

TIMEOUT_SECONDS = 30.0
PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 0.0)
"""SQLite below the server is locked now and then, which it says as 503; nothing was done then."""


class Api:
    """Prefect's API at an address. Every method gives the decoded answer, or None when it is empty.

    PrefectError otherwise, transient when the server does not answer or says 409, 429 or 5xx.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def post(self, path: str, body: object) -> Any:
        return self._ask("POST", path, body)

    def put(self, path: str, body: object) -> Any:
        return self._ask("PUT", path, body)

    def patch(self, path: str, body: object) -> Any:
        return self._ask("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        for pause in PAUSES_SECONDS:
            response = self._once(method, path, body)
            if response.status_code not in {429, 503}:
                break
            time.sleep(pause)
        if response.is_error:
            status = response.status_code
            raise PrefectError(
                f"Prefect: {method} {path} gave {status}: {response.text[:500]}",
                transient=status in {408, 409, 429} or status >= 500,
            )
        return response.json() if response.content else None

    def _once(self, method: str, path: str, body: object) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise PrefectError(
                f"Prefect at {self._client.base_url}: {error or type(error).__name__}",
                hint="is its server up?",
                transient=True,
            ) from error


@contextmanager
def connected(address: str, *, kind: type[Api] = Api) -> Iterator[Api]:
    """The API at the host config's address; closed at the end."""
    with httpx.Client(
        base_url=address.rstrip("/"),
        timeout=TIMEOUT_SECONDS,
        auth=authorization(),
        trust_env=False,
        verify=_verification(address),
    ) as client:
        yield kind(client)


def _verification(address: str) -> ssl.SSLContext | bool:
    """Reading certificates takes longer than an answer: only where TLS is spoken. Elsewhere none would be trusted."""
    return True if address.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def authorization() -> tuple[str, str] | None:
    """User and password of PREFECT_API_AUTH_STRING, which keeps strangers, not colleagues, out of Prefect."""
    user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    return (user, password) if user else None
