"""GitHub's, PyGithub."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests
from github import Auth, Github, GithubException, RateLimitExceededException

from interlock.contract.forge import failed, seconds_to_wait

if TYPE_CHECKING:
    from github.Repository import Repository

    from interlock.contract.forge import ForgeAccount


def connected(account: ForgeAccount, token: str, *, seconds: float) -> Repository:
    """The account's project. Nothing is asked yet, and nothing is asked twice."""
    client = Github(
        base_url=account.url,
        auth=Auth.Token(token),
        timeout=int(seconds),
        user_agent="interlock",
        per_page=100,
        retry=None,
        seconds_between_requests=None,
        seconds_between_writes=None,
        lazy=True,
    )
    return client.get_repo(account.project)


@contextmanager
def doing(account: ForgeAccount, what: str) -> Iterator[None]:
    """ForgeError, in place of the client's own errors."""
    try:
        yield
    except GithubException as error:
        raise failed(
            account,
            what,
            status=error.status,
            said=said(error.data) or error.message or "",
            after_seconds=seconds_to_wait(error.headers or {}, now=time.time()),
            busy=isinstance(error, RateLimitExceededException),
        ) from None
    except requests.RequestException as error:
        raise failed(account, what, status=0, said=type(error).__name__) from None


def said(data: Any) -> str:
    """GitHub's message, with the reasons of a 422."""
    if not isinstance(data, dict):
        return ""
    reasons = [each.get("message") or each.get("code") for each in data.get("errors", ()) if isinstance(each, dict)]
    return "; ".join(str(each) for each in (data.get("message"), *reasons) if each)
