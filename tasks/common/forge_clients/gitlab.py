"""GitLab's, python-gitlab."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests
from gitlab import Gitlab
from gitlab.exceptions import GitlabError

from interlock.contract.forge import failed, seconds_to_wait

if TYPE_CHECKING:
    from interlock.contract.forge import ForgeAccount

ONCE: dict[str, Any] = {"obey_rate_limit": False, "retry_transient_errors": False}
"""Left to itself, the client sleeps as long as the server likes."""


class Connection:
    """Nothing is asked yet."""

    def __init__(self, account: ForgeAccount, token: str, *, seconds: float) -> None:
        session = requests.Session()
        session.hooks["response"].append(self._remember)
        self.client = Gitlab(
            account.url,
            private_token=token,
            timeout=seconds,
            keep_base_url=True,
            session=session,
            user_agent="interlock",
        )
        self._account = account
        self._headers: dict[str, str] = {}

    def _remember(self, answer: requests.Response, *_: object, **__: object) -> None:
        """The client's errors do not tell when one may ask again."""
        self._headers = dict(answer.headers)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """ForgeError, in place of the client's own errors."""
        try:
            yield
        except GitlabError as error:
            raise failed(
                self._account,
                what,
                status=error.response_code or 0,
                said=str(error.error_message),
                after_seconds=seconds_to_wait(self._headers, now=time.time()),
            ) from None
        except requests.RequestException as error:
            raise failed(self._account, what, status=0, said=type(error).__name__) from None
