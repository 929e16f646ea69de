"""As much of the documented APIs of GitHub, GitLab and Gitea as tells who reviewed which commits."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.forges.server import PROJECT, Kind
from tests.forges.serving import Answer, Served, serving

USERS = {"ada-h": 11, "ben-h": 12, "ben-2": 22, "cleo-h": 13, "dora-h": 14, "mallory": 66}
NOON = "2030-01-02T11:00:00Z"


@dataclass
class Given:
    """What somebody said about a request."""

    by: str
    commit: str
    at: str = NOON
    state: Literal["approved", "changes", "comment"] = "approved"
    dismissed: bool = False


@dataclass
class Pull:
    number: int
    author: str
    commits: list[str]
    """Oldest first; the last one is the head."""
    given: list[Given] = field(default_factory=list)
    base: str = "main"
    project: str = PROJECT
    squashed: str = ""
    """The commit that was made of it on the base branch."""
    pushed: dict[str, str] = field(default_factory=dict)
    """When its branch ended in which commit: GitLab's versions. At first, without any."""
    merged: bool = False

    @property
    def head(self) -> str:
        return self.commits[-1]

    def has(self, commit: str) -> bool:
        return commit in (*self.commits, self.squashed)


@dataclass
class Reviewing(Served):
    pulls: list[Pull] = field(default_factory=list)
    resets: bool | None = True
    """Whether GitLab takes approvals away at a push; None: the edition does not say."""
    timed: bool = True
    """Whether GitLab tells when an approval was given."""
    failing: int = 0
    """The status of every answer; 0: as it should be."""
    most: int = 100
    """On a page."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        if method != "GET":
            return 405, {"message": "who reviewed is only read"}
        if self.failing:
            return self.failing, {"message": "made to fail"}
        status, body = {"github": self._github, "gitlab": self._gitlab, "gitea": self._gitea}[self.kind](path)
        if isinstance(body, list):
            size = min(self.most, int(query.get("per_page", query.get("limit", 30))))
            at = (int(query.get("page", 1)) - 1) * size
            body = body[at : at + size]
        return status, body

    def _of(self, number: str) -> Pull:
        return next(each for each in self.pulls if each.number == int(number))

    def _known(self, commit: str) -> bool:
        return any(each.has(commit) for each in self.pulls)

    # GitHub ------------------------------------------------------------------------------------------

    def _github(self, path: str) -> Answer:
        rest = path.removeprefix(f"/repos/{PROJECT}")
        if found := re.fullmatch(r"/commits/([0-9a-f]{40})/pulls", rest):
            if not self._known(found[1]):
                return 422, {"message": f"No commit found for SHA: {found[1]}"}
            return 200, [self._github_pull(each) for each in self.pulls if each.has(found[1])]
        if found := re.fullmatch(r"/pulls/(\d+)/commits", rest):
            return 200, [{"sha": each} for each in self._of(found[1]).commits]
        if found := re.fullmatch(r"/pulls/(\d+)/reviews", rest):
            return 200, [_github_review(n, each) for n, each in enumerate(self._of(found[1]).given, 1)]
        return 404, {"message": "Not Found"}

    def _github_pull(self, pull: Pull) -> dict[str, Any]:
        return {
            "number": pull.number,
            "state": "closed" if pull.squashed or pull.merged else "open",
            "user": {"login": pull.author, "id": USERS[pull.author]},
            "head": {"ref": "topic", "sha": pull.head},
            "base": {"ref": pull.base, "sha": "0" * 40, "repo": {"full_name": pull.project}},
            "merged_at": NOON if pull.squashed or pull.merged else None,
            "merge_commit_sha": pull.squashed or "9" * 40,  # while it is open, GitHub's own trial merge
        }

    # GitLab ------------------------------------------------------------------------------------------

    def _gitlab(self, path: str) -> Answer:  # noqa: PLR0911
        rest = path.removeprefix(f"/api/v4/projects/{PROJECT}")
        if rest == "/approvals":
            if self.resets is None:
                return 403, {"message": "403 Forbidden"}
            return 200, {"approvals_before_merge": 0, "reset_approvals_on_push": self.resets}
        if found := re.fullmatch(r"/repository/commits/([0-9a-f]{40})/merge_requests", rest):
            if not self._known(found[1]):
                return 404, {"message": "404 Commit Not Found"}
            return 200, [self._gitlab_pull(each) for each in self.pulls if each.has(found[1])]
        if found := re.fullmatch(r"/merge_requests/(\d+)/commits", rest):
            return 200, [{"id": each, "short_id": each[:8]} for each in reversed(self._of(found[1]).commits)]
        if found := re.fullmatch(r"/merge_requests/(\d+)/versions", rest):
            pull = self._of(found[1])
            pushed = pull.pushed or {"2030-01-01T00:00:00.000Z": pull.head}
            return 200, [
                {"id": n, "head_commit_sha": commit, "created_at": at, "state": "collected"}
                for n, (at, commit) in reversed(list(enumerate(pushed.items(), 1)))
            ]
        if found := re.fullmatch(r"/merge_requests/(\d+)/approvals", rest):
            given = [each for each in self._of(found[1]).given if each.state == "approved" and not each.dismissed]
            return 200, {
                "iid": int(found[1]),
                "approved_by": [
                    {
                        "user": {"id": USERS[each.by], "username": each.by},
                        **({"approved_at": each.at} if self.timed else {}),
                    }
                    for each in given
                ],
            }
        return 404, {"error": "404 Not Found"}

    def _gitlab_pull(self, pull: Pull) -> dict[str, Any]:
        return {
            "iid": pull.number,
            "target_branch": pull.base,
            "author": {"id": USERS[pull.author], "username": pull.author},
            "state": "merged" if pull.squashed or pull.merged else "opened",
            "sha": pull.head,
            "merge_commit_sha": None,
            "squash_commit_sha": pull.squashed or None,
        }

    # Gitea -------------------------------------------------------------------------------------------

    def _gitea(self, path: str) -> Answer:
        rest = path.removeprefix(f"/api/v1/repos/{PROJECT}")
        if rest == "/pulls":
            return 200, [self._gitea_pull(each) for each in reversed(self.pulls)]
        if found := re.fullmatch(r"/pulls/(\d+)/commits", rest):
            return 200, [{"sha": each} for each in reversed(self._of(found[1]).commits)]
        if found := re.fullmatch(r"/pulls/(\d+)/reviews", rest):
            return 200, [_gitea_review(n, each) for n, each in enumerate(self._of(found[1]).given, 1)]
        return 404, {"message": "The target couldn't be found."}

    def _gitea_pull(self, pull: Pull) -> dict[str, Any]:
        return {
            "number": pull.number,
            "state": "closed" if pull.squashed or pull.merged else "open",
            "user": {"id": USERS[pull.author], "login": pull.author},
            "head": {"ref": "topic", "label": "topic", "sha": pull.head, "repo_id": 7},
            "base": {"ref": pull.base, "label": pull.base, "sha": "0" * 40, "repo_id": 7},
            "merged": bool(pull.squashed or pull.merged),
            "merge_commit_sha": pull.squashed or None,
        }


def _github_review(number: int, given: Given) -> dict[str, Any]:
    states = {"approved": "APPROVED", "changes": "CHANGES_REQUESTED", "comment": "COMMENTED"}
    return {
        "id": number,
        "user": {"login": given.by, "id": USERS[given.by]},
        "state": "DISMISSED" if given.dismissed else states[given.state],
        "commit_id": given.commit,
        "submitted_at": given.at,
    }


def _gitea_review(number: int, given: Given) -> dict[str, Any]:
    states = {"approved": "APPROVED", "changes": "REQUEST_CHANGES", "comment": "COMMENT"}
    return {
        "id": number,
        "user": {"login": given.by, "id": USERS[given.by]},
        "state": states[given.state],
        "dismissed": given.dismissed,
        "stale": False,
        "official": True,
        "commit_id": given.commit,
        "submitted_at": given.at,
    }


def reviewing(kind: Kind) -> AbstractContextManager[Reviewing]:
    return serving(Reviewing(kind))
