"""How GitLab guards a branch: protected branches, push rules and approval rules, through python-gitlab."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gitlab.exceptions import GitlabError

from interlock.contract.forge import failed
from interlock.contract.protection import EVERYBODY, Reviews, Settings, Wanted
from tasks.common.forge_clients.gitlab import ONCE, Connection

if TYPE_CHECKING:
    from gitlab.v4.objects import Project

    from interlock.contract.forge import ForgeAccount
    from tasks.common.protection.doors import Door

T = TypeVar("T")
_NOBODY, _MAINTAINERS = 0, 40
_LEVELS = {30: "developers and maintainers", 40: "maintainers", 60: "administrators"}
_RULE = "Interlock"
"""The approval rule that we make."""
_NO_SUCH = (403, 404)
"""What an edition answers about what it does not have."""


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Door:
    """Nothing is asked yet."""
    return _Door(account, Connection(account, token, seconds=seconds))


class _Door:
    def __init__(self, account: ForgeAccount, connection: Connection) -> None:
        self._account = account
        self._connection = connection
        self._client = connection.client

    def observe(self, branch: str) -> Settings:
        with self._connection.doing(f"read how {branch} is protected"):
            project = self._project()
            rules = [each for each in self._protected(project) if matches(each.name, branch)]
            if not rules:
                return Settings()
            # Of several rules that match, GitLab goes by the most permissive.
            pushers = {name for rule in rules for name in self._pushers(rule)}
            approvals = _if_there(lambda: project.approvals.get(**ONCE))
            push_rule = _if_there(lambda: project.pushrules.get(**ONCE))
            return Settings(
                protected=True,
                force_push=any(getattr(rule, "allow_force_push", True) for rule in rules),
                deletion=False,
                reviews=self._reviews(project, branch),
                stale_reviews=not getattr(approvals, "reset_approvals_on_push", False),
                signed_commits=bool(getattr(push_rule, "reject_unsigned_commits", False)),
                every_check=bool(project.only_allow_merge_if_pipeline_succeeds),
                linear_history=project.merge_method == "ff",
                pushers=frozenset(pushers),
                exempt=_exempt(approvals),
            )

    def apply(self, wanted: Wanted) -> tuple[str, ...]:
        with self._connection.doing(f"protect {wanted.branch}"):
            project = self._project()
            self._protect(project, wanted)
            if wanted.linear_history:
                project.merge_method = "ff"
            if wanted.checks:
                project.only_allow_merge_if_pipeline_succeeds = True
            project.save(**ONCE)
            left = []
            if wanted.signed_commits and not _taken(lambda: self._reject_unsigned(project)):
                left.append("signed-commits: this edition has no push rules")
            if wanted.reviews and not _taken(lambda: self._ask_for_reviews(project, wanted)):
                left.append("reviews: this edition has no approval rules")
            return tuple(left)

    def _project(self) -> Project:
        return self._client.projects.get(self._account.project, **ONCE)

    def _protected(self, project: Project) -> list[Any]:
        return list(project.protectedbranches.list(iterator=True, per_page=100, **ONCE))

    def _pushers(self, rule: Any) -> frozenset[str]:
        """Whoever a push level names; a level of nobody names nobody."""
        found = set()
        for level in rule.push_access_levels:
            if user := level.get("user_id"):
                found.add(str(self._client.users.get(user, **ONCE).username))
            elif group := level.get("group_id"):
                found.add(f"group {group}")
            elif key := level.get("deploy_key_id"):
                found.add(f"deploy key {key}")
            elif level["access_level"] != _NOBODY:
                found.add(_LEVELS.get(level["access_level"], EVERYBODY))
        return frozenset(found)

    def _reviews(self, project: Project, branch: str) -> tuple[Reviews, ...]:
        rules = _if_there(lambda: list(project.approvalrules.list(iterator=True, per_page=100, **ONCE))) or []
        found = []
        for rule in rules:
            only = [each["name"] for each in getattr(rule, "protected_branches", None) or ()]
            if only and not any(matches(name, branch) for name in only):
                continue
            anybody = rule.rule_type == "any_approver"
            people = None if anybody else frozenset(each["username"] for each in rule.eligible_approvers)
            found.append(Reviews(rule.approvals_required, people))
        return tuple(found)

    def _protect(self, project: Project, wanted: Wanted) -> None:
        """A rule of the branch's own name; rules of patterns that are laxer are told of by the next audit."""
        users = [{"user_id": self._user(name)} for name in wanted.may_push]
        pushing: list[dict[str, Any]] = users or [{"access_level": _NOBODY}]
        own = next((each for each in self._protected(project) if each.name == wanted.branch), None)
        if own is None:
            new = {"name": wanted.branch, "allow_force_push": False, "merge_access_level": _MAINTAINERS}
            # Without a paid edition only levels are taken, and nobody is named.
            new |= {"allowed_to_push": users} if users else {"push_access_level": _NOBODY}
            project.protectedbranches.create(new, **ONCE)
            return
        others = [{"id": each["id"], "_destroy": True} for each in own.push_access_levels if each.get("id")]
        change = {"allow_force_push": False, "allowed_to_push": others + pushing}
        project.protectedbranches.update(own.name, change, **ONCE)

    def _user(self, name: str) -> int:
        found = self._client.users.list(username=name, get_all=False, **ONCE)
        if not found:
            raise failed(self._account, f"let {name} push", status=0, said=f"it has no user {name}")
        return int(found[0].id)

    def _reject_unsigned(self, project: Project) -> None:
        change = {"reject_unsigned_commits": True}
        there = _if_there(lambda: project.pushrules.get(**ONCE))
        if there is None:
            project.pushrules.create(change, **ONCE)
        else:
            project.pushrules.update(new_data=change, **ONCE)

    def _ask_for_reviews(self, project: Project, wanted: Wanted) -> None:
        change = {
            "reset_approvals_on_push": True,
            "merge_requests_author_approval": False,
            "disable_overriding_approvers_per_merge_request": True,
        }
        project.approvals.update(new_data=change, **ONCE)
        rules = list(project.approvalrules.list(iterator=True, per_page=100, **ONCE))
        own = next((each for each in rules if each.name == _RULE), None)
        count = max(wanted.reviews, own.approvals_required if own else 0)
        rule: dict[str, Any] = {"name": _RULE, "approvals_required": count}
        if wanted.reviewers:
            rule["usernames"] = list(wanted.reviewers)
        if own is None:
            project.approvalrules.create(rule, **ONCE)
        else:
            project.approvalrules.update(own.id, rule, **ONCE)


def matches(pattern: str, branch: str) -> bool:
    """Whether a protected branch's name, in which `*` stands for anything, is this branch's."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), branch) is not None


def _exempt(approvals: Any) -> frozenset[str]:
    """Who gets around approvals; nobody to speak of where there are none, which is told by `reviews`."""
    if approvals is None:
        return frozenset()
    found = set()
    if getattr(approvals, "merge_requests_author_approval", False):
        found.add("authors, who may approve their own")
    if not getattr(approvals, "disable_overriding_approvers_per_merge_request", False):
        found.add("authors, who may change the approval rules of a merge request")
    return frozenset(found)


def _if_there(call: Callable[[], T]) -> T | None:
    """None for what this edition of GitLab does not have."""
    try:
        return call()
    except GitlabError as error:
        if error.response_code in _NO_SUCH:
            return None
        raise


def _taken(call: Callable[[], None]) -> bool:
    try:
        call()
    except GitlabError as error:
        if error.response_code in _NO_SUCH:
            return False
        raise
    return True
