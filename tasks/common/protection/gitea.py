"""How Gitea and Forgejo guard a branch, through pyforgejo."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from interlock.contract.protection import ADMINISTRATORS, EVERYBODY, Reviews, Settings, Wanted
from tasks.common.forge_clients.gitea import ONCE, connected, doing

if TYPE_CHECKING:
    from pyforgejo import PyforgejoApi
    from pyforgejo.core.request_options import RequestOptions
    from pyforgejo.types.branch_protection import BranchProtection

    from interlock.contract.forge import ForgeAccount
    from tasks.common.protection.doors import Door


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Door:
    """Nothing is asked yet."""
    return _Door(account, connected(account, token, seconds=seconds))


class _Door:
    def __init__(self, account: ForgeAccount, client: PyforgejoApi) -> None:
        self._account = account
        self._repository = client.repository
        self._name = account.project.split("/", 1)

    def observe(self, branch: str) -> Settings:
        with doing(self._account, f"read how {branch} is protected"):
            rule = self._rule(branch)
            if rule is None:
                return Settings()
            repository = self._repository.repo_get(*self._name, request_options=ONCE)
            merges = repository.allow_merge_commits or repository.allow_rebase_explicit
            return _settings(rule, linear=not merges)

    def apply(self, wanted: Wanted) -> tuple[str, ...]:
        with doing(self._account, f"protect {wanted.branch}"):
            rule = self._rule(wanted.branch)
            options, body = _wanted(wanted, rule)
            # Gitea's own fields are none of Forgejo's, whose client this is.
            how: RequestOptions = {**ONCE, "additional_body_parameters": body}
            if rule is None or rule.rule_name != wanted.branch:
                self._repository.repo_create_branch_protection(
                    *self._name, rule_name=wanted.branch, request_options=how, **options
                )
            else:
                self._repository.repo_edit_branch_protection(*self._name, wanted.branch, request_options=how, **options)
            if wanted.linear_history:
                self._repository.repo_edit(
                    *self._name,
                    allow_merge_commits=False,
                    allow_rebase_explicit=False,
                    allow_fast_forward_only_merge=True,
                    default_merge_style="fast-forward-only",
                    request_options=ONCE,
                )
        return ()

    def _rule(self, branch: str) -> BranchProtection | None:
        """The one that counts: of the branch's own name, else the first whose pattern matches."""
        rules = self._repository.repo_list_branch_protection(*self._name, request_options=ONCE)
        named = [(each.rule_name or each.branch_name or "", each) for each in rules]
        exact = [rule for name, rule in named if name == branch]
        alike = [rule for name, rule in named if fnmatch.fnmatchcase(branch, name)]
        return next(iter(exact + alike), None)


def _settings(rule: BranchProtection, *, linear: bool) -> Settings:
    more: dict[str, Any] = rule.model_extra or {}
    pool = None
    if rule.enable_approvals_whitelist:
        teams = {f"team {each}" for each in rule.approvals_whitelist_teams or ()}
        pool = frozenset({*(rule.approvals_whitelist_username or ()), *teams})
    everybody = rule.apply_to_admins or more.get("block_admin_merge_override")
    return Settings(
        protected=True,
        force_push=bool(more.get("enable_force_push")),
        deletion=False,
        reviews=(Reviews(rule.required_approvals or 0, pool),),
        stale_reviews=not (rule.dismiss_stale_approvals or rule.ignore_stale_approvals),
        signed_commits=bool(rule.require_signed_commits),
        checks=frozenset(rule.status_check_contexts or ()) if rule.enable_status_check else frozenset(),
        linear_history=linear,
        pushers=_pushers(rule),
        exempt=frozenset() if everybody else frozenset({ADMINISTRATORS}),
    )


def _pushers(rule: BranchProtection) -> frozenset[str]:
    if not rule.enable_push:
        return frozenset()
    if not rule.enable_push_whitelist:
        return frozenset({EVERYBODY})
    teams = {f"team {each}" for each in rule.push_whitelist_teams or ()}
    keys = {"deploy keys"} if rule.push_whitelist_deploy_keys else set()
    return frozenset({*(rule.push_whitelist_usernames or ()), *teams, *keys})


def _wanted(wanted: Wanted, found: BranchProtection | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of both forges, and Gitea's own; what is stricter already stays."""
    checks = {*wanted.checks, *((found.status_check_contexts if found and found.enable_status_check else None) or ())}
    options = {
        "required_approvals": max(wanted.reviews, (found.required_approvals if found else None) or 0),
        "dismiss_stale_approvals": True,
        "require_signed_commits": wanted.signed_commits or bool(found and found.require_signed_commits),
        "apply_to_admins": True,
        "enable_status_check": bool(checks),
        "status_check_contexts": sorted(checks),
        "enable_push": bool(wanted.may_push),
        "enable_push_whitelist": bool(wanted.may_push),
        "push_whitelist_usernames": list(wanted.may_push),
        "push_whitelist_teams": [],
        "push_whitelist_deploy_keys": False,
    }
    if wanted.reviewers:
        options |= {
            "enable_approvals_whitelist": True,
            "approvals_whitelist_username": list(wanted.reviewers),
            "approvals_whitelist_teams": [],
        }
    return options, {"enable_force_push": False, "block_admin_merge_override": True}
