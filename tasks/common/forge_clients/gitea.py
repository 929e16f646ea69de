"""Gitea's and Forgejo's, pyforgejo."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pydantic

# It would read a file `.env` that lies above its own folder into our environment.
os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")
from pyforgejo import PyforgejoApi
from pyforgejo.core.api_error import ApiError

from interlock.contract.forge import failed, seconds_to_wait

if TYPE_CHECKING:
    from pyforgejo.core.request_options import RequestOptions

    from interlock.contract.forge import ForgeAccount

ONCE: RequestOptions = {"max_retries": 0}


def connected(account: ForgeAccount, token: str, *, seconds: float) -> PyforgejoApi:
    """Nothing is asked yet."""
    http = httpx.Client(timeout=seconds, follow_redirects=False)
    return PyforgejoApi(base_url=f"{account.url.rstrip('/')}/api/v1", api_key=token, httpx_client=http)


@contextmanager
def doing(account: ForgeAccount, what: str) -> Iterator[None]:
    """ForgeError, in place of the client's own errors."""
    try:
        yield
    except ApiError as error:
        raise failed(
            account,
            what,
            status=error.status_code or 0,
            said=_said(error.body),
            after_seconds=seconds_to_wait(error.headers or {}, now=time.time()),
        ) from None
    except httpx.HTTPError as error:
        raise failed(account, what, status=0, said=type(error).__name__) from None
    except pydantic.ValidationError:
        raise failed(account, what, status=0, said="an answer in no form that Gitea has") from None


def _said(body: object) -> str:
    return str(body.get("message", "")) if isinstance(body, dict) else str(getattr(body, "message", None) or body or "")
