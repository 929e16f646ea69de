"""A forge on a port of this machine: as much of the documented REST APIs of GitHub, GitLab and Gitea as CI and CD use.

Paging, authentication, the refusal of a second open pull request from a branch and of one without a branch are theirs.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from interlock.contract.forge import ForgeAccount

Kind = Literal["github", "gitlab", "gitea"]
KINDS: tuple[Kind, ...] = ("github", "gitlab", "gitea")
TOKEN = "forge-token-5f3c"
PROJECT = "acme/shop"
TIME = "2030-01-02T03:04:05Z"


_GITLAB = {"open": "opened", "closed": "closed", "merged": "merged"}


@dataclass
class Pull:
    number: int
    branch: str
    base: str
    title: str
    body: str
    state: Literal["open", "closed", "merged"] = "open"
    fork: bool = False
    """From a fork's branch of that name."""
    draft: bool = False


@dataclass
class Ticket:
    number: int
    title: str
    body: str
    state: Literal["open", "closed"] = "open"


@dataclass
class Note:
    """A comment on a pull request."""

    id: int
    number: int
    author: int
    body: str
    system: bool = False
    """Written by GitLab itself."""


ME = 42
"""The number of the token's account."""


@dataclass(frozen=True)
class Fault:
    """An answer that stands in for the next one. Status 0: the connection is closed. `done`: what was asked for is
    done all the same.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    done: bool = False
    only: str = ""
    """A method, to wait for."""
    message: str = "made to fail"


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeForge:
    kind: Kind
    port: int = 0
    head: Callable[[str], str | None] = lambda branch: "a" * 40
    """The commit of a branch; None when there is no such branch."""
    pulls: list[Pull] = field(default_factory=list)
    issues: list[Ticket] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    pushes: bool = False
    """Whether the token's account may push to the project."""
    edits: int = 0
    """How many comments were edited."""
    statuses: list[dict[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    unknown_commits: set[str] = field(default_factory=set)
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    lock: Any = field(default_factory=threading.Lock)

    def account(self, token: Path) -> ForgeAccount:
        token.touch(mode=0o600)
        token.write_text(f"{TOKEN}\n")
        return ForgeAccount(kind=self.kind, url=f"http://127.0.0.1:{self.port}", project=PROJECT, token=token)

    def pull(self, number: int) -> Pull:
        return next(each for each in self.pulls if each.number == number)

    # the three APIs ----------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        return {"github": self._github, "gitlab": self._gitlab, "gitea": self._gitea}[self.kind](
            method, path, query, body
        )

    def accepts(self, headers: Any) -> bool:
        if self.kind == "gitlab":
            return bool(headers.get("PRIVATE-TOKEN") == TOKEN)
        return headers.get("Authorization") in (f"token {TOKEN}", f"Bearer {TOKEN}")

    def _github(  # noqa: C901, PLR0911, PLR0912 - one branch for each route
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> Answer:
        root = f"/repos/{PROJECT}"
        if path == "/user":
            return Answer(200, {"id": ME, "login": "interlock-plans"})
        if path == root:
            rights = {"admin": False, "maintain": False, "push": self.pushes, "triage": False, "pull": True}
            return Answer(200, {"id": 7, "full_name": PROJECT, "permissions": rights})
        if not path.startswith(root + "/"):
            return Answer(404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"})
        rest = path.removeprefix(root)
        if found := re.fullmatch(r"/issues/(\d+)/comments", rest):
            if method == "POST":
                return Answer(201, self._github_note(self._new_note(int(found[1]), body["body"])))
            return self._paged([self._github_note(each) for each in self._notes(found[1])], query, size="per_page")
        if (found := re.fullmatch(r"/issues/comments/(\d+)", rest)) and method == "PATCH":
            return Answer(200, self._github_note(self._edit_note(int(found[1]), body["body"])))
        if (found := re.fullmatch(r"/statuses/([0-9a-f]{40})", rest)) and method == "POST":
            if found[1] in self.unknown_commits:
                return Answer(422, {"message": f"No commit found for SHA: {found[1]}"})
            self.statuses.append({"sha": found[1], **body})
            return Answer(201, {"id": len(self.statuses), **body})
        if rest == "/pulls" and method == "GET":
            own = [each for each in self.pulls if query["base"] == each.base]
            if "head" in query:
                own = [each for each in own if query["head"] == f"acme:{each.branch}" and not each.fork]
            wanted = [each for each in own if query["state"] == "all" or each.state == query["state"]]
            return self._paged([self._github_pull(each) for each in reversed(wanted)], query, size="per_page")
        if rest == "/pulls" and method == "POST":
            if self.head(body["head"]) is None:
                errors = [{"resource": "PullRequest", "field": "head", "code": "invalid"}]
                return Answer(422, {"message": "Validation Failed", "errors": errors})
            if self._open_from(body["head"]):
                message = f"A pull request already exists for acme:{body['head']}."
                return Answer(422, {"message": "Validation Failed", "errors": [{"message": message}]})
            return Answer(201, self._github_pull(self._new_pull(body["head"], body["base"], body)))
        if found := re.fullmatch(r"/pulls/(\d+)", rest):
            pull = self.pull(int(found[1]))
            self._edit(pull, method == "PATCH" and body)
            return Answer(200, self._github_pull(pull))
        if rest == "/issues" and method == "GET":
            open_ = [
                self._github_issue(each) for each in reversed(self.issues) if query["state"] in ("all", each.state)
            ]
            also = [{**self._github_pull(each), "pull_request": {"url": "x"}} for each in self.pulls if not each.fork]
            return self._paged(also + open_, query, size="per_page")
        if rest == "/issues" and method == "POST":
            return Answer(201, self._github_issue(self._new_issue(body["title"], body["body"])))
        if found := re.fullmatch(r"/issues/(\d+)", rest):
            ticket = next(each for each in self.issues if each.number == int(found[1]))
            self._edit(ticket, method == "PATCH" and body)
            return Answer(200, self._github_issue(ticket))
        return Answer(404, {"message": "Not Found"})

    def _gitlab(  # noqa: C901, PLR0911, PLR0912 - one branch for each route
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> Answer:
        root = f"/api/v4/projects/{PROJECT}"
        if path == "/api/v4/user":
            return Answer(200, {"id": ME, "username": "interlock-plans"})
        if path == root:
            level = {"access_level": 30 if self.pushes else 20, "notification_level": 3}
            return Answer(200, {"id": 7, "permissions": {"project_access": level, "group_access": None}})
        if not path.startswith(root + "/"):
            return Answer(404, {"message": "404 Project Not Found"})
        rest = path.removeprefix(root)
        if (found := re.fullmatch(r"/statuses/([0-9a-f]{40})", rest)) and method == "POST":
            same = [each for each in self.statuses if (each["sha"], each["name"]) == (found[1], body["name"])]
            if found[1] in self.unknown_commits:
                return Answer(404, {"message": "404 Commit Not Found"})
            if same and same[-1]["state"] == body["state"] == "pending":
                message = "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition)"
                return Answer(400, {"message": message})
            self.statuses.append({"sha": found[1], **body})
            return Answer(201, {"id": len(self.statuses), "status": body["state"], "name": body["name"]})
        if found := re.fullmatch(r"/repository/commits/([0-9a-f]{40})/statuses", rest):
            same = [each for each in self.statuses if (each["sha"], each["name"]) == (found[1], query["name"])]
            return Answer(200, [{"id": 1, "status": same[-1]["state"], "name": query["name"]}] if same else [])
        if found := re.fullmatch(r"/merge_requests/(\d+)/notes", rest):
            if method == "POST":
                return Answer(201, self._gitlab_note(self._new_note(int(found[1]), body["body"])))
            return self._paged([self._gitlab_note(each) for each in self._notes(found[1])], query, size="per_page")
        if (found := re.fullmatch(r"/merge_requests/(\d+)/notes/(\d+)", rest)) and method == "PUT":
            return Answer(200, self._gitlab_note(self._edit_note(int(found[2]), body["body"])))
        if rest == "/merge_requests" and method == "GET":
            own = [each for each in self.pulls if query["target_branch"] == each.base]
            own = [each for each in own if query.get("source_branch", each.branch) == each.branch]
            own = [each for each in own if query["state"] in ("all", _GITLAB[each.state])]
            return self._paged([self._gitlab_pull(each) for each in reversed(own)], query, size="per_page")
        if rest == "/merge_requests" and method == "POST":
            branch = body["source_branch"]
            if self.head(branch) is None:
                return Answer(400, {"message": {"source_branch": ["does not exist"]}})
            if number := self._open_from(branch):
                message = f"Another open merge request already exists for this source branch: !{number}"
                return Answer(409, {"message": [message]})
            return Answer(201, self._gitlab_pull(self._new_pull(branch, body["target_branch"], body)))
        if found := re.fullmatch(r"/merge_requests/(\d+)", rest):
            pull = self.pull(int(found[1]))
            self._edit(pull, method == "PUT" and body)
            return Answer(200, self._gitlab_pull(pull))
        if rest == "/issues" and method == "GET":
            wanted = [each for each in self.issues if query.get("state", "all") in ("all", _GITLAB[each.state])]
            return self._paged([self._gitlab_issue(each) for each in reversed(wanted)], query, size="per_page")
        if rest == "/issues" and method == "POST":
            return Answer(201, self._gitlab_issue(self._new_issue(body["title"], body["description"])))
        if found := re.fullmatch(r"/issues/(\d+)", rest):
            ticket = next(each for each in self.issues if each.number == int(found[1]))
            self._edit(ticket, method == "PUT" and body)
            return Answer(200, self._gitlab_issue(ticket))
        return Answer(404, {"error": "404 Not Found"})

    def _gitea(  # noqa: C901, PLR0911, PLR0912 - one branch for each route
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> Answer:
        root = f"/api/v1/repos/{PROJECT}"
        missing = {"errors": [], "message": "The target couldn't be found.", "url": "http://x/api/swagger"}
        if path == "/api/v1/user":
            return Answer(200, {"id": ME, "login": "interlock-plans"})
        if path == root:
            return Answer(200, {"id": 7, "permissions": {"admin": False, "push": self.pushes, "pull": True}})
        if not path.startswith(root + "/"):
            return Answer(404, missing)
        rest = path.removeprefix(root)
        if found := re.fullmatch(r"/issues/(\d+)/comments", rest):
            if method == "POST":
                return Answer(201, self._github_note(self._new_note(int(found[1]), body["body"])))
            return Answer(200, [self._github_note(each) for each in self._notes(found[1])])
        if (found := re.fullmatch(r"/issues/comments/(\d+)", rest)) and method == "PATCH":
            return Answer(200, self._github_note(self._edit_note(int(found[1]), body["body"])))
        if (found := re.fullmatch(r"/statuses/([0-9a-f]{40})", rest)) and method == "POST":
            if found[1] in self.unknown_commits:
                return Answer(404, missing)
            self.statuses.append({"sha": found[1], **body})
            return Answer(201, {"id": len(self.statuses), "status": body["state"], "context": body["context"]})
        if rest == "/pulls" and method == "GET":
            shown = [each for each in self.pulls if query["state"] in ("all", each.state)]
            return self._paged([self._gitea_pull(each) for each in reversed(shown)], query, size="limit", most=5)
        if rest == "/pulls" and method == "POST":
            if self.head(body["head"]) is None:
                return Answer(404, missing)
            if number := self._open_from(body["head"]):
                message = f"pull request already exists for these targets [id: {number}, issue_id: 1, ...]"
                return Answer(409, {"message": message, "url": "http://x/api/swagger"})
            return Answer(201, self._gitea_pull(self._new_pull(body["head"], body["base"], body)))
        if found := re.fullmatch(r"/pulls/(\d+)", rest):
            pull = self.pull(int(found[1]))
            self._edit(pull, method == "PATCH" and body)
            return Answer(201, self._gitea_pull(pull))
        if rest == "/issues" and method == "GET":
            open_ = [self._github_issue(each) for each in self.issues if query["state"] in ("all", each.state)]
            return self._paged(open_, query, size="limit", most=5)
        if rest == "/issues" and method == "POST":
            return Answer(201, self._github_issue(self._new_issue(body["title"], body["body"])))
        if found := re.fullmatch(r"/issues/(\d+)", rest):
            ticket = next(each for each in self.issues if each.number == int(found[1]))
            self._edit(ticket, method == "PATCH" and body)
            return Answer(201, self._github_issue(ticket))
        return Answer(404, missing)

    # what they share ---------------------------------------------------------------------------------

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def _open_from(self, branch: str) -> int:
        own = [each.number for each in self.pulls if each.branch == branch and each.state == "open" and not each.fork]
        return own[0] if own else 0

    def _new_pull(self, branch: str, base: str, body: dict[str, Any]) -> Pull:
        text = body.get("description", body.get("body", ""))
        self.pulls.append(Pull(next(self.numbers), branch, base, body["title"], text))
        return self.pulls[-1]

    def _notes(self, number: str) -> list[Note]:
        return [each for each in self.notes if each.number == int(number)]

    def _new_note(self, number: int, body: str) -> Note:
        self.notes.append(Note(500 + len(self.notes), number, ME, body))
        return self.notes[-1]

    def _edit_note(self, id_: int, body: str) -> Note:
        note = next(each for each in self.notes if each.id == id_)
        note.body = body
        self.edits += 1
        return note

    def _new_issue(self, title: str, body: str) -> Ticket:
        self.issues.append(Ticket(next(self.numbers), title, body))
        return self.issues[-1]

    def _edit(self, what: Pull | Ticket, body: dict[str, Any] | Literal[False]) -> None:
        if not body:
            return
        what.title = body.get("title", what.title)
        what.body = body.get("description", body.get("body", what.body))
        if "closed" in (body.get("state"), f"{body.get('state_event', '')}d"):
            what.state = "closed"

    def _paged(self, items: list[Any], query: dict[str, str], *, size: str, most: int = 100) -> Answer:
        page, count = int(query.get("page", 1)), min(most, int(query.get(size, 30)))
        shown = items[(page - 1) * count : page * count]
        headers = {"X-Total-Count": str(len(items))}
        if page * count < len(items):
            following = "&".join(f"{name}={value}" for name, value in {**query, "page": str(page + 1)}.items())
            headers |= {"Link": f'<{self._url(query_path.path)}?{following}>; rel="next"', "X-Next-Page": str(page + 1)}
        return Answer(200, shown, headers)

    def _github_pull(self, pull: Pull) -> dict[str, Any]:
        return {
            "url": self._url(f"/repos/{PROJECT}/pulls/{pull.number}"),
            "number": pull.number,
            "html_url": f"https://forge.example/{PROJECT}/pull/{pull.number}",
            "title": pull.title,
            "body": pull.body,
            "state": "open" if pull.state == "open" else "closed",
            "merged_at": TIME if pull.state == "merged" else None,
            "draft": pull.draft,
            "head": {
                "ref": pull.branch,
                "sha": self.head(pull.branch) or "b" * 40,
                "repo": {"id": 8 if pull.fork else 7, "full_name": PROJECT},
            },
            "base": {"ref": pull.base, "sha": "0" * 40, "repo": {"id": 7, "full_name": PROJECT}},
        }

    def _github_note(self, note: Note) -> dict[str, Any]:
        return {
            "id": note.id,
            "url": self._url(f"/repos/{PROJECT}/issues/comments/{note.id}"),
            "html_url": f"https://forge.example/{PROJECT}/pull/{note.number}#issuecomment-{note.id}",
            "body": note.body,
            "user": {"id": note.author, "login": f"user{note.author}"},
        }

    def _gitlab_note(self, note: Note) -> dict[str, Any]:
        return {
            "id": note.id,
            "body": note.body,
            "author": {"id": note.author, "username": f"user{note.author}"},
            "system": note.system,
        }

    def _github_issue(self, ticket: Ticket) -> dict[str, Any]:
        return {
            "url": self._url(f"/repos/{PROJECT}/issues/{ticket.number}"),
            "number": ticket.number,
            "html_url": f"https://forge.example/{PROJECT}/issues/{ticket.number}",
            "title": ticket.title,
            "body": ticket.body,
            "state": ticket.state,
        }

    def _gitlab_pull(self, pull: Pull) -> dict[str, Any]:
        return {
            "iid": pull.number,
            "id": 1000 + pull.number,
            "web_url": f"https://forge.example/{PROJECT}/-/merge_requests/{pull.number}",
            "title": pull.title,
            "description": pull.body,
            "state": "opened" if pull.state == "open" else pull.state,
            "sha": self.head(pull.branch) or "b" * 40,
            "draft": pull.draft,
            "source_project_id": 8 if pull.fork else 7,
            "target_project_id": 7,
        }

    def _gitlab_issue(self, ticket: Ticket) -> dict[str, Any]:
        return {
            "iid": ticket.number,
            "id": 2000 + ticket.number,
            "web_url": f"https://forge.example/{PROJECT}/-/issues/{ticket.number}",
            "title": ticket.title,
            "description": ticket.body,
            "state": "opened" if ticket.state == "open" else "closed",
        }

    def _gitea_pull(self, pull: Pull) -> dict[str, Any]:
        sha = self.head(pull.branch) or "b" * 40
        return {
            "id": 1000 + pull.number,
            "number": pull.number,
            "html_url": f"https://forge.example/{PROJECT}/pulls/{pull.number}",
            "title": pull.title,
            "body": pull.body,
            "state": "open" if pull.state == "open" else "closed",
            "merged": pull.state == "merged",
            "draft": pull.draft,
            "head": {"ref": pull.branch, "label": pull.branch, "sha": sha, "repo_id": 8 if pull.fork else 7},
            "base": {"ref": pull.base, "label": pull.base, "sha": "0" * 40, "repo_id": 7},
        }


query_path = threading.local()
"""The path that this thread answers."""


class ForgeServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, forge: FakeForge) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forge = forge
        forge.port = self.server_port


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ForgeServer

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        forge, url = self.server.forge, urlsplit(self.path)
        path = unquote(url.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else {}
        with forge.lock:
            forge.requests.append(f"{self.command} {path}")
            query_path.path = path
            at = next((n for n, each in enumerate(forge.faults) if each.only in ("", self.command)), None)
            fault = forge.faults.pop(at) if at is not None else None
            if not forge.accepts(self.headers):
                answer = Answer(401, {"message": "Bad credentials"})
            elif fault is None or fault.done:
                answer = forge.answer(self.command, path, query, body)
            if fault:
                answer = Answer(fault.status, {"message": fault.message}, fault.headers)
        if answer.status == 0:
            self.close_connection = True
            self.connection.close()
            return
        data = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that http.server looks for
