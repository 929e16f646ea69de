"""GitLab, through python-gitlab."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from gitlab.exceptions import GitlabError

from interlock.ci.forge import MAX_LISTED, Forge, Issue, PullRequest, PullState, Status
from tasks.common.forge_clients.gitlab import ONCE, Connection

if TYPE_CHECKING:
    from interlock.contract.forge import ForgeAccount

_STATES = {"pending": "pending", "success": "success", "failure": "failed", "error": "failed"}


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Forge:
    """Nothing is asked yet."""
    return _Repository(account, Connection(account, token, seconds=seconds))


class _Repository:
    def __init__(self, account: ForgeAccount, connection: Connection) -> None:
        self._connection = connection
        self._project = connection.client.projects.get(account.project, lazy=True)

    def set_status(self, status: Status) -> None:
        wanted = {"state": _STATES[status.state], "name": status.context, "description": status.description}
        with self._connection.doing(f"set the status of {status.commit[:12]}"):
            statuses = self._project.commits.get(status.commit, lazy=True).statuses
            try:
                statuses.create(wanted | ({"target_url": status.url} if status.url else {}), **ONCE)
            except GitlabError as error:
                # GitLab refuses to make a status what it is already.
                if error.response_code != 400 or "cannot transition status" not in str(error.error_message).lower():
                    raise
                found = statuses.list(name=status.context, get_all=False, **ONCE)
                if wanted["state"] not in {each.status for each in found}:
                    raise

    def pull_requests(self, *, branch: str, base: str) -> tuple[PullRequest, ...]:
        with self._connection.doing(f"list the merge requests of {branch}"):
            found = self._project.mergerequests.list(
                source_branch=branch,
                target_branch=base,
                state="all",
                order_by="created_at",
                sort="desc",
                per_page=100,
                iterator=True,
                **ONCE,
            )
            own = (each for each in islice(found, MAX_LISTED) if each.source_project_id == each.target_project_id)
            return tuple(map(_pull_request, own))

    def open_pull_request(self, *, branch: str, base: str, title: str, body: str) -> PullRequest:
        with self._connection.doing(f"open a merge request from {branch}"):
            wanted = {"source_branch": branch, "target_branch": base, "title": title, "description": body}
            return _pull_request(self._project.mergerequests.create(wanted, **ONCE))

    def edit_pull_request(self, number: int, *, title: str, body: str) -> None:
        with self._connection.doing(f"edit merge request {number}"):
            self._project.mergerequests.update(number, {"title": title, "description": body}, **ONCE)

    def close_pull_request(self, number: int) -> None:
        with self._connection.doing(f"close merge request {number}"):
            self._project.mergerequests.update(number, {"state_event": "close"}, **ONCE)

    def issues(self) -> tuple[Issue, ...]:
        with self._connection.doing("list the issues"):
            found = self._project.issues.list(order_by="created_at", sort="desc", per_page=100, iterator=True, **ONCE)
            return tuple(map(_issue, islice(found, MAX_LISTED)))

    def open_issue(self, *, title: str, body: str) -> Issue:
        with self._connection.doing("open an issue"):
            return _issue(self._project.issues.create({"title": title, "description": body}, **ONCE))

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        with self._connection.doing(f"edit issue {number}"):
            self._project.issues.update(number, {"title": title, "description": body}, **ONCE)

    def close_issue(self, number: int) -> None:
        with self._connection.doing(f"close issue {number}"):
            self._project.issues.update(number, {"state_event": "close"}, **ONCE)


def _pull_request(found: Any) -> PullRequest:
    state: PullState = "open" if found.state == "opened" else "merged" if found.state == "merged" else "closed"
    return PullRequest(found.iid, found.web_url, found.title, found.description or "", found.sha or "", state)


def _issue(found: Any) -> Issue:
    return Issue(found.iid, found.web_url, found.title, found.description or "", found.state == "opened")
