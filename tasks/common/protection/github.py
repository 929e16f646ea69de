"""How GitHub guards a branch, by classic protection and by rulesets, through PyGithub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from github import GithubException, UnknownObjectException

from interlock.contract.protection import ADMINISTRATORS, EVERYBODY, Reviews, Settings, Wanted
from tasks.common.forge_clients.github import connected, doing, said

if TYPE_CHECKING:
    from github.Repository import Repository

    from interlock.contract.forge import ForgeAccount
    from tasks.common.protection.doors import Door

_OWNERS = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
"""The first that is there counts."""
_NONE: Mapping[str, Any] = {}
_STAY = ("required_conversation_resolution", "lock_branch", "block_creations", "allow_fork_syncing")
"""Settings that are none of ours, and that GitHub would forget."""


def connect(account: ForgeAccount, token: str, *, seconds: float) -> Door:
    """Nothing is asked yet."""
    return _Door(account, connected(account, token, seconds=seconds))


class _Door:
    def __init__(self, account: ForgeAccount, repository: Repository) -> None:
        self._account = account
        self._repository = repository

    def observe(self, branch: str) -> Settings:
        with doing(self._account, f"read how {branch} is protected"):
            classic, rules = self._classic(branch), self._rules(branch)
            owners = self._owners(branch) if _by_owners(classic, rules) else None
            return _settings(classic, rules, self._bypass(rules), owners)

    def apply(self, wanted: Wanted) -> tuple[str, ...]:
        with doing(self._account, f"protect {wanted.branch}"):
            branch = self._repository.get_branch(wanted.branch)
            found = self._classic(wanted.branch) or _NONE
            reviews = found.get("required_pull_request_reviews") or _NONE
            checks = {*_contexts(found.get("required_status_checks") or _NONE), *wanted.checks}
            strict = bool((found.get("required_status_checks") or _NONE).get("strict"))
            count = max(wanted.reviews, reviews.get("required_approving_review_count") or 0)
            settings: dict[str, Any] = {
                "enforce_admins": True,
                "allow_force_pushes": False,
                "allow_deletions": False,
                "required_linear_history": wanted.linear_history or _enabled(found, "required_linear_history"),
                **{name: _enabled(found, name) for name in _STAY},
                **_kept("{}_push_restrictions", found.get("restrictions"), many=False),
                **({"strict": strict, "contexts": sorted(checks)} if checks else {}),
                **(self._reviews(wanted, reviews, count) if count else {}),
            }
            signed = wanted.signed_commits or _enabled(found, "required_signatures")
            branch.edit_protection(**settings)
            if signed:
                branch.add_required_signatures()
        return ()

    def _reviews(self, wanted: Wanted, found: Mapping[str, Any], count: int) -> dict[str, Any]:
        return {
            "required_approving_review_count": count,
            "dismiss_stale_reviews": True,
            "require_code_owner_reviews": bool(wanted.reviewers) or bool(found.get("require_code_owner_reviews")),
            "require_last_push_approval": bool(found.get("require_last_push_approval")),
            "users_bypass_pull_request_allowances": sorted(wanted.may_push),
            "teams_bypass_pull_request_allowances": [],
            "apps_bypass_pull_request_allowances": [
                each.removesuffix("[bot]") for each in wanted.may_push if each.endswith("[bot]")
            ],
            **_kept("dismissal_{}", found.get("dismissal_restrictions"), many=True),
        }

    def _classic(self, branch: str) -> Mapping[str, Any] | None:
        """The branch's protection; None when it has none."""
        try:
            found = self._repository.get_branch(branch).get_protection().raw_data
        except GithubException as error:
            # A branch without protection, and a plan that knows none, are answers; a project that is not there is none.
            if error.status == 404 and "not protected" in said(error.data).lower():
                return None
            raise
        return found if isinstance(found, dict) else None

    def _rules(self, branch: str) -> list[dict[str, Any]]:
        """What the rulesets that are in force ask of the branch, those of its organisation included."""
        found: list[dict[str, Any]] = []
        for page in range(1, 11):
            _, answer = self._get(f"/rules/branches/{branch}", per_page=100, page=page)
            found += answer
            if len(answer) < 100:
                break
        return found

    def _bypass(self, rules: Iterable[Mapping[str, Any]]) -> frozenset[str]:
        """Whom the rulesets do not hold for."""
        actors = set[str]()
        for number in sorted({each["ruleset_id"] for each in rules}):
            _, ruleset = self._get(f"/rulesets/{number}", includes_parents="true")
            for actor in ruleset.get("bypass_actors") or ():
                who = " ".join(str(each) for each in (actor.get("actor_type"), actor.get("actor_id")) if each)
                actors.add(f"{who} (ruleset {ruleset.get('name', number)})")
            if "bypass_actors" not in ruleset:
                actors.add(f"whoever ruleset {ruleset.get('name', number)} lets pass: the token may not see it")
        return frozenset(actors)

    def _owners(self, branch: str) -> frozenset[str] | None:
        """All code owners; None when some file has none."""
        for path in _OWNERS:
            try:
                found = self._repository.get_contents(path, ref=branch)
            except UnknownObjectException:
                continue
            if isinstance(found, list):
                continue
            return code_owners(found.decoded_content.decode(errors="replace"))
        return None

    def _get(self, path: str, **query: Any) -> tuple[Any, Any]:
        return self._repository.requester.requestJsonAndCheck(
            "GET", f"/repos/{self._account.project}{path}", parameters=query
        )


def code_owners(text: str) -> frozenset[str] | None:
    """All that a CODEOWNERS file names; None when it leaves files to nobody in particular."""
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    rules = [words for words in lines if words]
    if not any(words[0] in {"*", "**"} for words in rules) or any(len(words) < 2 for words in rules):
        return None
    return frozenset(owner.removeprefix("@") for words in rules for owner in words[1:])


def _by_owners(classic: Mapping[str, Any] | None, rules: Iterable[Mapping[str, Any]]) -> bool:
    reviews = ((classic or _NONE).get("required_pull_request_reviews") or _NONE).get("require_code_owner_reviews")
    return bool(reviews) or any(_parameters(each).get("require_code_owner_review") for each in rules)


def _settings(
    classic: Mapping[str, Any] | None,
    rules: list[dict[str, Any]],
    bypass: frozenset[str],
    owners: frozenset[str] | None,
) -> Settings:
    """What holds when both count: a rule that either has."""
    if classic is None and not rules:
        return Settings()
    has = {each["type"]: _parameters(each) for each in rules}
    found = classic or _NONE
    reviews = found.get("required_pull_request_reviews") or _NONE
    by_rule = has.get("pull_request", _NONE)
    asked = [
        Reviews(each.get("required_approving_review_count") or 0, owners if each.get(key) else None)
        for each, key in ((reviews, "require_code_owner_reviews"), (by_rule, "require_code_owner_review"))
        if each
    ]
    checks = {*_contexts(found.get("required_status_checks") or _NONE)}
    checks |= {each["context"] for each in has.get("required_status_checks", _NONE).get("required_status_checks", ())}
    administrators = {ADMINISTRATORS} if classic is not None and not _enabled(found, "enforce_admins") else set()
    return Settings(
        protected=True,
        force_push=not (
            "non_fast_forward" in has or (classic is not None and not _enabled(found, "allow_force_pushes"))
        ),
        deletion=not ("deletion" in has or (classic is not None and not _enabled(found, "allow_deletions"))),
        reviews=tuple(asked),
        stale_reviews=not (reviews.get("dismiss_stale_reviews") or by_rule.get("dismiss_stale_reviews_on_push")),
        signed_commits="required_signatures" in has or _enabled(found, "required_signatures"),
        checks=frozenset(checks),
        linear_history="required_linear_history" in has or _enabled(found, "required_linear_history"),
        pushers=_pushers(found, reviews, by_rule=bool(by_rule)),
        exempt=bypass | administrators,
    )


def _pushers(found: Mapping[str, Any], reviews: Mapping[str, Any], *, by_rule: bool) -> frozenset[str]:
    """A pull request is asked of all but those whom it is not asked of."""
    if reviews:
        return frozenset() if by_rule else _names(reviews.get("bypass_pull_request_allowances"))
    if by_rule:
        return frozenset()
    restricted = found.get("restrictions")
    return _names(restricted) if restricted else frozenset({EVERYBODY})


def _names(people: Mapping[str, Any] | None) -> frozenset[str]:
    found = people or _NONE
    users = {each["login"] for each in found.get("users") or ()}
    teams = {f"team {each['slug']}" for each in found.get("teams") or ()}
    return frozenset(users | teams | {f"{each['slug']}[bot]" for each in found.get("apps") or ()})


def _kept(form: str, people: Mapping[str, Any] | None, *, many: bool) -> dict[str, Any]:
    """What is there, as the client takes it; without it the client would take it away."""
    if not people:
        return {}
    end = "s" if many else ""
    return {
        form.format(f"user{end}"): [each["login"] for each in people.get("users") or ()],
        form.format(f"team{end}"): [each["slug"] for each in people.get("teams") or ()],
        form.format(f"app{end}"): [each["slug"] for each in people.get("apps") or ()],
    }


def _contexts(checks: Mapping[str, Any]) -> frozenset[str]:
    return frozenset({*(checks.get("contexts") or ()), *(each["context"] for each in checks.get("checks") or ())})


def _enabled(found: Mapping[str, Any], name: str) -> bool:
    return bool((found.get(name) or _NONE).get("enabled"))


def _parameters(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    return rule.get("parameters") or _NONE
