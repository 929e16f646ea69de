"""How forges guard a branch: asked and set over HTTP, at servers that answer as their documented APIs do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import main
from interlock.contract import layout, strict_yaml
from interlock.contract.forge import ForgeAccount
from interlock.contract.protection import Wanted, weakenings
from interlock.errors import ForgeError
from tasks.common.protection import doors
from tests.examples_of_repositories import environment_tree
from tests.forges.guarding import Guarding, guarding
from tests.forges.server import KINDS, TOKEN

WANTED = Wanted(reviews=2, reviewers=("ada", "ben"), checks=("interlock/release",), may_push=("ci",))


@pytest.fixture(params=KINDS)
def forge(request: pytest.FixtureRequest) -> Iterator[Guarding]:
    with guarding(request.param) as made:
        made.owners = "# the pool\n* @ada @ben\n"
        yield made


@pytest.fixture
def account(forge: Guarding, tmp_path: Path) -> ForgeAccount:
    return forge.account(tmp_path / "token")


def weak(account: ForgeAccount, wanted: Wanted = WANTED) -> list[str]:
    found = weakenings(wanted, doors.observe.fn(account, wanted.branch), kind=account.kind)
    return [each.rule for each in found]


def test_a_branch_without_protection_is_one_weakening(forge: Guarding, account: ForgeAccount) -> None:
    """It is said once, and not of each rule."""
    assert weak(account) == ["protected"]


def test_what_is_applied_is_observed(forge: Guarding, account: ForgeAccount) -> None:
    """After `apply` nothing is weaker than wanted, and doing it again changes nothing."""
    assert doors.apply(account, WANTED) == ()
    assert weak(account) == []
    before = json.dumps([forge.rules, forge.repository, forge.push_rule, forge.approvals], sort_keys=True)

    assert doors.apply(account, WANTED) == ()

    assert weak(account) == []
    if forge.kind != "gitlab":  # which gives each level a new id
        assert json.dumps([forge.rules, forge.repository, forge.push_rule, forge.approvals], sort_keys=True) == before


def test_what_is_stricter_stays(forge: Guarding, account: ForgeAccount) -> None:
    """Who asks for more approvals or checks than is wanted keeps them."""
    strict = Wanted(reviews=3, reviewers=("ada", "ben"), checks=("interlock/release", "lint"), may_push=("ci",))
    doors.apply(account, strict)
    doors.apply(account, WANTED)

    assert weak(account, strict) == []
    assert weak(account, Wanted()) == ["direct-push"]


Change = Callable[[Guarding], Any]


def reviews(forge: Guarding) -> dict[str, Any]:
    assert forge.rules
    found: dict[str, Any] = forge.rules["required_pull_request_reviews"]
    return found


def rules(forge: Guarding) -> dict[str, Any]:
    assert forge.rules is not None
    return forge.rules


LOOSENED: dict[tuple[str, str], Change] = {
    ("github", "force-push"): lambda f: rules(f).update(allow_force_pushes={"enabled": True}),
    ("github", "deletion"): lambda f: rules(f).update(allow_deletions={"enabled": True}),
    ("github", "reviews"): lambda f: reviews(f).update(required_approving_review_count=1),
    ("github", "reviewers"): lambda f: setattr(f, "owners", "* @ada @ben @eve\n"),
    ("github", "stale-reviews"): lambda f: reviews(f).update(dismiss_stale_reviews=False),
    ("github", "signed-commits"): lambda f: rules(f).update(required_signatures={"enabled": False}),
    ("github", "checks"): lambda f: rules(f).pop("required_status_checks"),
    ("github", "linear-history"): lambda f: rules(f).update(required_linear_history={"enabled": False}),
    ("github", "direct-push"): lambda f: reviews(f)["bypass_pull_request_allowances"]["users"].append({"login": "eve"}),
    ("github", "exempt"): lambda f: rules(f).update(enforce_admins={"enabled": False}),
    ("gitlab", "force-push"): lambda f: rules(f).update(allow_force_push=True),
    ("gitlab", "reviews"): lambda f: f.approval_rules[0].update(approvals_required=1),
    ("gitlab", "reviewers"): lambda f: f.approval_rules[0]["eligible_approvers"].append({"username": "eve"}),
    ("gitlab", "stale-reviews"): lambda f: f.approvals.update(reset_approvals_on_push=False),
    ("gitlab", "signed-commits"): lambda f: f.push_rule and f.push_rule.update(reject_unsigned_commits=False),
    ("gitlab", "checks"): lambda f: f.repository.update(only_allow_merge_if_pipeline_succeeds=False),
    ("gitlab", "linear-history"): lambda f: f.repository.update(merge_method="rebase_merge"),
    ("gitlab", "direct-push"): lambda f: rules(f)["push_access_levels"].append({"id": 99, "access_level": 30}),
    ("gitlab", "exempt"): lambda f: f.approvals.update(merge_requests_author_approval=True),
    ("gitea", "force-push"): lambda f: rules(f).update(enable_force_push=True),
    ("gitea", "reviews"): lambda f: rules(f).update(required_approvals=1),
    ("gitea", "reviewers"): lambda f: rules(f).update(enable_approvals_whitelist=False),
    ("gitea", "stale-reviews"): lambda f: rules(f).update(dismiss_stale_approvals=False),
    ("gitea", "signed-commits"): lambda f: rules(f).update(require_signed_commits=False),
    ("gitea", "checks"): lambda f: rules(f).update(enable_status_check=False),
    ("gitea", "linear-history"): lambda f: f.repository.update(allow_merge_commits=True),
    ("gitea", "direct-push"): lambda f: rules(f).update(enable_push=True, enable_push_whitelist=False),
    ("gitea", "exempt"): lambda f: rules(f).update(apply_to_admins=False, block_admin_merge_override=False),
}


@pytest.mark.parametrize(("kind", "rule"), LOOSENED)
def test_each_weakening_is_told_and_put_right(kind: Any, rule: str, tmp_path: Path) -> None:
    """One setting that is loosened is one weakening of that name, and `apply` mends what a forge's settings can."""
    with guarding(kind) as forge:
        forge.owners = "* @ada @ben\n"
        account = forge.account(tmp_path / "token")
        doors.apply(account, WANTED)

        LOOSENED[kind, rule](forge)

        assert weak(account) == [rule]
        doors.apply(account, WANTED)
        assert weak(account) == (["reviewers"] if (kind, rule) == ("github", "reviewers") else [])


def test_rulesets_count_as_protection(tmp_path: Path) -> None:
    """What a ruleset of GitHub asks for is as good as classic protection, but for whom it lets pass."""
    pull = {"required_approving_review_count": 2, "dismiss_stale_reviews_on_push": True}
    checks = {"required_status_checks": [{"context": "interlock/release"}]}
    types = ("non_fast_forward", "deletion", "required_signatures", "required_linear_history")
    ruleset: dict[str, Any] = {
        "id": 5,
        "name": "main",
        "bypass_actors": [],
        "rules": [
            {"type": "pull_request", "parameters": {**pull, "require_code_owner_review": True}},
            {"type": "required_status_checks", "parameters": checks},
            *({"type": each} for each in types),
        ],
    }
    with guarding("github") as forge:
        forge.rulesets, forge.owners = [ruleset], "* @ada\n"
        account = forge.account(tmp_path / "token")
        assert weak(account) == []

        ruleset["bypass_actors"] = [{"actor_type": "RepositoryRole", "actor_id": 5, "bypass_mode": "always"}]
        found = weakenings(WANTED, doors.observe.fn(account, "main"), kind="github")
        assert [(each.rule, each.found) for each in found] == [("exempt", "RepositoryRole 5 (ruleset main)")]
        del ruleset["bypass_actors"]
        assert weak(account) == ["exempt"]


def test_an_edition_without_rules_is_told_and_the_rest_is_set(tmp_path: Path) -> None:
    """GitLab's free edition has neither push rules nor approval rules: `apply` says so, and sets what there is."""
    with guarding("gitlab") as forge:
        forge.paid = False
        account = forge.account(tmp_path / "token")
        left = doors.apply(account, Wanted())

        assert [each.partition(":")[0] for each in left] == ["signed-commits", "reviews"]
        assert weak(account, Wanted()) == ["reviews", "stale-reviews", "signed-commits"]


def test_a_token_that_may_not_look_is_an_error(forge: Guarding, account: ForgeAccount) -> None:
    """What could not be asked is never taken for protected, nor for unprotected."""
    doors.apply(account, WANTED)
    forge.administers = False

    with pytest.raises(ForgeError, match="403"):
        doors.observe.fn(account, "main")


# the command -----------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Of an environment repository that wants two reviews of the pool for `shop`."""
    folder = tmp_path / "clone"
    wanted = {"reviews": 2, "reviewers": ["ada", "ben"], "checks": ["interlock/release"], "may_push": ["ci"]}
    commit_clone(folder, {"format": 1, "repositories": {"shop": wanted}})
    return folder


def commit_clone(folder: Path, protection: dict[str, Any]) -> None:
    files = environment_tree({layout.PROTECTION: strict_yaml.dump(protection)}).files
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    git = ("git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run((*git[:3], "init", "--quiet"), check=True)
    subprocess.run((*git, "add", "--all", "--force"), check=True)
    subprocess.run((*git, "commit", "--quiet", "--no-gpg-sign", "--message", "Policy"), check=True)


def host_file(folder: Path, account: ForgeAccount) -> Path:
    path = folder / "cd.yaml"
    path.write_text(strict_yaml.dump({"format": 1, "forges": {"shop": account.model_dump(mode="json")}}))
    path.chmod(0o644)
    return path


def test_the_command_audits_applies_and_says_what_is_accepted(
    forge: Guarding, account: ForgeAccount, clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table with rule, wanted, found and fix; exit code 1 while something is weaker and not accepted."""
    config = str(host_file(tmp_path, account))
    audit = ["protect", "audit", "--policy", str(clone), "--config", config]
    assert main(audit) == 1
    assert "shop        protected  main is protected  it is not  interlock protect apply" in capsys.readouterr().out

    assert main(["protect", "apply", "shop", *audit[2:]]) == 0
    assert main(audit) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "shop: as wanted"

    LOOSENED[forge.kind, "linear-history"](forge)
    assert main([*audit, "--output", "json"]) == 1
    said = capsys.readouterr()
    (entry,) = json.loads(said.out)["shop"]
    assert (entry["rule"], entry["wanted"], entry["found"]) == ("linear-history", "required", "merges are allowed")
    assert TOKEN not in said.out + said.err

    accepted = {
        "repository": "shop",
        "rule": "linear-history",
        "reason": "until the move is done",
        "ends": "2999-12-31",
    }
    policy = strict_yaml.load((clone / layout.PROTECTION).read_text(), path="x").value
    assert isinstance(policy, dict)
    commit_clone(clone, {**policy, "accepted": [accepted]})
    assert main(audit) == 0
    assert "accepted: until the move is done (until 2999-12-31)" in capsys.readouterr().out


def test_the_command_says_what_it_cannot_ask(
    account: ForgeAccount, clone: Path, forge: Guarding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A repository that the host's file does not name, and a forge that does not let it look."""
    config = str(host_file(tmp_path, account))
    assert main(["protect", "audit", "web", "--policy", str(clone), "--config", config]) == 2
    forge.administers = False
    assert main(["protect", "audit", "--policy", str(clone), "--config", config]) == 4
    assert "may not do that" in capsys.readouterr().err
