"""GitLab, through python-gitlab: the one module that imports it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import requests
from gitlab import Gitlab
from gitlab.exceptions import GitlabError

from interlock.ci.forge import MAX_LISTED, Forge, Issue, PullRequest, PullState, Status, failed, seconds_to_wait

if TYPE_CHECKING:
    from gitlab.v4.objects import Project

    from interlock.ci.host import ForgeAccount

_STATES = {"pending": "pending", "success": "success", "failure": "failed", "error": "failed"}
_ONCE: dict[str, Any] = {"obey_rate_limit": False, "retry_transient_errors": False}
"""Left to itself, the client sleeps as long as the server likes."""


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Forge:
    """Nothing is asked yet."""
    session = requests.Session()
    client = Gitlab(
        account.url, private_token=token, timeout=seconds, keep_base_url=True, session=session, user_agent="interlock"
    )
    repository = _Repository(account, client.projects.get(account.project, lazy=True))
    session.hooks["response"].append(repository.remember)
    return repository


class _Repository:
    def __init__(self, account: ForgeAccount, project: Project) -> None:
        self._account = account
        self._project = project
        self._headers: dict[str, str] = {}

    def remember(self, answer: requests.Response, *_: object, **__: object) -> None:
        """The client's errors do not tell when one may ask again."""
        self._headers = dict(answer.headers)

    def set_status(self, status: Status) -> None:
        wanted = {"state": _STATES[status.state], "name": status.context, "description": status.description}
        with self._doing(f"set the status of {status.commit[:12]}"):
            statuses = self._project.commits.get(status.commit, lazy=True).statuses
            try:
                statuses.create(wanted | ({"target_url": status.url} if status.url else {}), **_ONCE)
            except GitlabError as error:
                # GitLab refuses to make a status what it is already.
                if error.response_code != 400 or "cannot transition status" not in str(error.error_message).lower():
                    raise
                found = statuses.list(name=status.context, get_all=False, **_ONCE)
                if wanted["state"] not in {each.status for each in found}:
                    raise

    def pull_requests(self, *, branch: str, base: str) -> tuple[PullRequest, ...]:
        with self._doing(f"list the merge requests of {branch}"):
            found = self._project.mergerequests.list(
                source_branch=branch,
                target_branch=base,
                state="all",
                order_by="created_at",
                sort="desc",
                per_page=100,
                iterator=True,
                **_ONCE,
            )
            own = (each for each in islice(found, MAX_LISTED) if each.source_project_id == each.target_project_id)
            return tuple(map(_pull_request, own))

    def open_pull_request(self, *, branch: str, base: str, title: str, body: str) -> PullRequest:
        with self._doing(f"open a merge request from {branch}"):
            wanted = {"source_branch": branch, "target_branch": base, "title": title, "description": body}
            return _pull_request(self._project.mergerequests.create(wanted, **_ONCE))

    def edit_pull_request(self, number: int, *, title: str, body: str) -> None:
        with self._doing(f"edit merge request {number}"):
            self._project.mergerequests.update(number, {"title": title, "description": body}, **_ONCE)

    def close_pull_request(self, number: int) -> None:
        with self._doing(f"close merge request {number}"):
            self._project.mergerequests.update(number, {"state_event": "close"}, **_ONCE)

    def issues(self) -> tuple[Issue, ...]:
        with self._doing("list the issues"):
            found = self._project.issues.list(order_by="created_at", sort="desc", per_page=100, iterator=True, **_ONCE)
            return tuple(map(_issue, islice(found, MAX_LISTED)))

    def open_issue(self, *, title: str, body: str) -> Issue:
        with self._doing("open an issue"):
            return _issue(self._project.issues.create({"title": title, "description": body}, **_ONCE))

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        with self._doing(f"edit issue {number}"):
            self._project.issues.update(number, {"title": title, "description": body}, **_ONCE)

    def close_issue(self, number: int) -> None:
        with self._doing(f"close issue {number}"):
            self._project.issues.update(number, {"state_event": "close"}, **_ONCE)

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
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


def _pull_request(found: Any) -> PullRequest:
    state: PullState = "open" if found.state == "opened" else "merged" if found.state == "merged" else "closed"
    return PullRequest(found.iid, found.web_url, found.title, found.description or "", found.sha or "", state)


def _issue(found: Any) -> Issue:
    return Issue(found.iid, found.web_url, found.title, found.description or "", found.state == "opened")
