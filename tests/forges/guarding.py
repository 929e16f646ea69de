"""As much of the documented APIs of GitHub, GitLab and Gitea as says how a branch is protected."""

from __future__ import annotations

import base64
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.forges.server import PROJECT, Kind
from tests.forges.serving import Answer, Served, serving

USERS = {1: "ada", 2: "ben", 3: "ci"}


@dataclass
class Guarding(Served):
    """`rules` is the branch `main`'s protection, as the forge keeps it; None while there is none."""

    rules: dict[str, Any] | None = None
    repository: dict[str, Any] = field(default_factory=dict)
    rulesets: list[dict[str, Any]] = field(default_factory=list)
    owners: str | None = None
    """GitHub's CODEOWNERS."""
    push_rule: dict[str, Any] | None = None
    approvals: dict[str, Any] = field(default_factory=dict)
    approval_rules: list[dict[str, Any]] = field(default_factory=list)
    paid: bool = True
    """Whether GitLab is an edition with push and approval rules."""
    administers: bool = True
    """Whether the token may see and change settings."""

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        if not self.administers:
            return 403, {"message": "Resource not accessible by personal access token"}
        return {"github": self._github, "gitlab": self._gitlab, "gitea": self._gitea}[self.kind](
            method, path, query, body
        )

    # GitHub ------------------------------------------------------------------------------------------

    def _github(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:  # noqa: PLR0911
        root = f"/repos/{PROJECT}"
        rest = path.removeprefix(root)
        protection = f"http://127.0.0.1:{self.port}{root}/branches/main/protection"
        if rest == "/branches/main":
            return 200, {"name": "main", "protected": bool(self.rules), "protection_url": protection}
        if rest == "/branches/main/protection" and method == "PUT":
            signatures = (self.rules or {}).get("required_signatures", {"enabled": False})
            self.rules = {**_as_github_keeps(body), "required_signatures": signatures}
            return 200, self.rules
        if rest == "/branches/main/protection":
            return (200, self.rules) if self.rules else (404, {"message": "Branch not protected"})
        if rest == "/branches/main/protection/required_signatures" and method == "POST" and self.rules:
            self.rules["required_signatures"] = {"enabled": True}
            return 200, {"enabled": True}
        if rest == "/rules/branches/main":
            given = [{**rule, "ruleset_id": each["id"]} for each in self.rulesets for rule in each["rules"]]
            return 200, given if query.get("page", "1") == "1" else []
        if found := re.fullmatch(r"/rulesets/(\d+)", rest):
            return 200, next(each for each in self.rulesets if each["id"] == int(found[1]))
        if rest == "/contents/.github/CODEOWNERS" and self.owners is not None:
            content = base64.b64encode(self.owners.encode()).decode()
            return 200, {"type": "file", "encoding": "base64", "content": content, "path": ".github/CODEOWNERS"}
        return 404, {"message": "Not Found"}

    # GitLab ------------------------------------------------------------------------------------------

    def _gitlab(  # noqa: C901, PLR0911
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> Answer:
        rest = path.removeprefix("/api/v4")
        if rest == "/users":
            return 200, [{"id": n, "username": name} for n, name in USERS.items() if name == query["username"]]
        if found := re.fullmatch(r"/users/(\d+)", rest):
            return 200, {"id": int(found[1]), "username": USERS[int(found[1])]}
        rest = rest.removeprefix(f"/projects/{PROJECT}").removeprefix("/projects/7")
        if rest == "":
            self.repository |= body if method == "PUT" else {}
            usual = {"merge_method": "merge", "only_allow_merge_if_pipeline_succeeds": False}
            return 200, {"id": 7, **usual, **self.repository}
        if rest == "/protected_branches" and method == "POST":
            levels = body.get("allowed_to_push") or [{"access_level": body.get("push_access_level", 40)}]
            self.rules = {"name": body["name"], "allow_force_push": body.get("allow_force_push", False)}
            self.rules["push_access_levels"] = [_level(n, each) for n, each in enumerate(levels, 1)]
            return 201, self.rules
        if rest == "/protected_branches":
            return 200, [self.rules] if self.rules else []
        if rest == "/protected_branches/main" and method == "PATCH" and self.rules:
            gone = {each["id"] for each in body.get("allowed_to_push", ()) if each.get("_destroy")}
            new = [each for each in body.get("allowed_to_push", ()) if not each.get("_destroy")]
            kept = [each for each in self.rules["push_access_levels"] if each["id"] not in gone]
            self.rules["push_access_levels"] = kept + [_level(n, each) for n, each in enumerate(new, 50)]
            self.rules["allow_force_push"] = body.get("allow_force_push", self.rules["allow_force_push"])
            return 200, self.rules
        if not self.paid:
            return 404, {"message": "404 Not Found"}
        if rest == "/push_rule":
            if method == "GET":
                return (200, self.push_rule) if self.push_rule else (404, {"message": "404 Not Found"})
            self.push_rule = {**(self.push_rule or {}), **body}
            return 201, self.push_rule
        if rest == "/approvals":
            self.approvals |= body
            return 200, self.approvals
        if rest == "/approval_rules" and method == "GET":
            return 200, self.approval_rules if query.get("page", "1") == "1" else []
        if found := re.fullmatch(r"/approval_rules(?:/(\d+))?", rest):
            self.approval_rules = [each for each in self.approval_rules if str(each["id"]) != found[1]]
            people = body.get("usernames") or []
            rule: dict[str, Any] = {
                "id": len(self.approval_rules) + 1,
                "rule_type": "regular" if people else "any_approver",
            }
            rule |= {**body, "eligible_approvers": [{"username": each} for each in people], "protected_branches": []}
            self.approval_rules.append(rule)
            return 201, rule
        return 404, {"error": "404 Not Found"}

    # Gitea -------------------------------------------------------------------------------------------

    def _gitea(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        root = f"/api/v1/repos/{PROJECT}"
        rest = path.removeprefix(root)
        if rest == "":
            self.repository |= body
            return 200, {"id": 7, "allow_merge_commits": True, "allow_rebase_explicit": True, **self.repository}
        if rest == "/branch_protections" and method == "GET":
            return 200, [self.rules] if self.rules else []
        if rest in ("/branch_protections", "/branch_protections/main"):
            self.rules = {**(self.rules or {}), **body}
            return 200 if method == "PATCH" else 201, self.rules
        return 404, {"message": "The target couldn't be found."}


def _level(number: int, given: dict[str, Any]) -> dict[str, Any]:
    return {"id": number, "access_level": given.get("access_level", 40), "user_id": given.get("user_id")}


def _as_github_keeps(body: dict[str, Any]) -> dict[str, Any]:
    """What is sent as a truth value is answered as an object; lists of names as lists of objects."""
    flags = {name: {"enabled": bool(value)} for name, value in body.items() if value is None or isinstance(value, bool)}
    reviews = dict(body.get("required_pull_request_reviews") or {})
    if allowances := reviews.get("bypass_pull_request_allowances"):
        reviews["bypass_pull_request_allowances"] = _people(allowances)
    kept: dict[str, Any] = {**flags, "restrictions": body.get("restrictions") and _people(body["restrictions"])}
    if reviews:
        kept["required_pull_request_reviews"] = reviews
    else:
        kept.pop("required_pull_request_reviews", None)
    checks = body.get("required_status_checks")
    if checks:
        kept["required_status_checks"] = {**checks, "contexts": [each["context"] for each in checks["checks"]]}
    else:
        kept.pop("required_status_checks", None)
    if not kept["restrictions"]:
        kept.pop("restrictions")
    return kept


def _people(named: dict[str, Any]) -> dict[str, Any]:
    return {
        "users": [{"login": each} for each in named.get("users", ())],
        "teams": [{"slug": each} for each in named.get("teams", ())],
        "apps": [{"slug": each} for each in named.get("apps", ())],
    }


def guarding(kind: Kind) -> AbstractContextManager[Guarding]:
    return serving(Guarding(kind))
