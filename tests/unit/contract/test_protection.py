"""What a forge holds less than is wanted, as values."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from interlock.contract import layout, protection, repository
from interlock.contract.protection import Accepted, ProtectionFile, Reviews, Settings, Wanted, weakenings
from interlock.errors import FormatError
from tasks.common.protection.github import code_owners
from tasks.common.protection.gitlab import matches
from tests.examples_of_repositories import environment_tree

WANTED = Wanted(reviews=2, reviewers=("Ada", "ben"), checks=("lint",), may_push=("ci",))
POOL = frozenset({"ada", "Ben"})
STRICT = Settings(
    protected=True,
    force_push=False,
    deletion=False,
    reviews=(Reviews(2, POOL),),
    stale_reviews=False,
    signed_commits=True,
    checks=frozenset({"lint", "more"}),
    linear_history=True,
    pushers=frozenset({"CI"}),
    exempt=frozenset(),
)


def rules(found: Settings, wanted: Wanted = WANTED) -> list[str]:
    return [each.rule for each in weakenings(wanted, found, kind="github")]


def test_what_is_as_wanted_or_stricter_is_no_weakening() -> None:
    """Names are compared as forges do, whatever their case."""
    assert rules(STRICT) == []
    assert rules(replace(STRICT, reviews=(Reviews(5, frozenset({"ada"})),), pushers=frozenset())) == []


def test_what_nobody_protects_is_the_weakest() -> None:
    """The settings of a branch without protection are what each rule would find wanting."""
    assert rules(replace(Settings(), protected=True), Wanted(checks=("lint",))) == [
        "force-push",
        "deletion",
        "reviews",
        "stale-reviews",
        "signed-commits",
        "checks",
        "linear-history",
        "direct-push",
        "exempt",
    ]
    assert rules(Settings()) == ["protected"]


@pytest.mark.parametrize(
    ("reviews", "expected"),
    [
        ((), ["reviews"]),
        ((Reviews(1, POOL),), ["reviews"]),
        ((Reviews(2, None),), ["reviewers"]),
        ((Reviews(2, POOL | {"eve"}),), ["reviewers"]),
        ((Reviews(5, None), Reviews(2, POOL)), []),
        ((Reviews(5, None), Reviews(1, POOL)), ["reviewers"]),
    ],
)
def test_enough_approvals_of_the_pool_count(reviews: tuple[Reviews, ...], expected: list[str]) -> None:
    """Of several rules one must ask for enough of just these people; many approvals of anybody are none of theirs."""
    assert rules(replace(STRICT, reviews=reviews)) == expected


def test_what_is_not_wanted_is_not_asked_for() -> None:
    """Without a pool anybody's approval counts, without reviews none does, and the rest may be switched off."""
    lax = Wanted(reviews=0, signed_commits=False, linear_history=False, may_push=("ci",))
    found = replace(STRICT, reviews=(), stale_reviews=True, signed_commits=False, linear_history=False)
    assert rules(found, lax) == []
    assert rules(replace(STRICT, reviews=(Reviews(1, None),)), Wanted(may_push=("ci",))) == []


def test_each_weakening_says_what_to_do() -> None:
    """What is wanted, what was found, and how it is undone."""
    (found,) = weakenings(WANTED, replace(STRICT, exempt=frozenset({"administrators"})), kind="gitea")
    assert (found.wanted, found.found) == ("nobody", "administrators")
    assert found.fix == "interlock protect apply, or by hand: apply the rule to administrators too"


def test_an_acceptance_is_for_one_rule_of_one_repository_until_its_last_day() -> None:
    """On that day it still counts, on the next it does not."""
    day = dt.date(2030, 1, 2)
    entry = Accepted(repository="shop", rule="exempt", reason="while the forge moves", ends=day)
    file = ProtectionFile(format=1, accepted=(entry,))
    weak = weakenings(WANTED, replace(STRICT, exempt=frozenset({"x"}), linear_history=False), kind="github")

    def accepted(name: str, today: dt.date) -> list[str]:
        return [each.rule for each in protection.judged(weak, file, repository=name, today=today) if each.accepted]

    assert accepted("shop", day) == ["exempt"]
    assert accepted("shop", day + dt.timedelta(days=1)) == accepted("other", day) == []


@pytest.mark.parametrize(
    ("text", "owners"),
    [
        ("* @ada @acme/ops # all\n/docs/ @ben\n", {"ada", "acme/ops", "ben"}),
        ("# nobody\n", None),
        ("/src/ @ada\n", None),
        ("* @ada\n/generated/\n", None),
    ],
)
def test_code_owners_are_a_pool_only_when_every_file_has_one(text: str, owners: set[str] | None) -> None:
    """A file that nobody owns is approved by anybody."""
    assert code_owners(text) == owners


def test_patterns_of_protected_branches() -> None:
    """`*` stands for anything, and nothing else does."""
    assert matches("main", "main") and matches("*", "main") and matches("ma*n", "main")
    assert not matches("mai.", "main") and not matches("release/*", "main")


def test_the_files_are_checked_with_the_repository() -> None:
    """A misspelt rule, and a signer that there is none of, are refused with the line."""
    good = {layout.PROTECTION: "format: 1\n", layout.FRESHNESS: "format: 1\nsigners: [ci-shop]\n"}
    read = repository.read(environment_tree(good))
    assert read.protection.wanted("shop") == Wanted() and read.freshness and read.freshness.freeze_hours == 24
    for path, text, said in (
        (layout.PROTECTION, "format: 1\nrepositories: {shop: {review: 1}}\n", "unknown field 'review'"),
        (layout.FRESHNESS, "format: 1\nsigners: [eve]\n", "no signer is named 'eve'"),
        (layout.FRESHNESS, "format: 1\nsigners: [ci-shop]\nwarn_hours: 48\n", "warn_hours must not be more"),
    ):
        with pytest.raises(FormatError, match=said) as wrong:
            repository.read(environment_tree({path: text}))
        assert wrong.value.path == path
