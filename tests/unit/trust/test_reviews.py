"""Which reviews on a forge count as approvals, beside those among the commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest

from interlock.contract import layout
from interlock.contract.approvals import Question
from interlock.contract.models import Account
from interlock.contract.repository import read_trust
from interlock.contract.reviews import Found, Request, Review
from interlock.contract.tree import Tree
from interlock.errors import FormatError
from tests.unit.trust.approved import NOW, VALUES, Place

FORGE = "https://forge.example"
RULE: Mapping[str, object] = {"required": 1, "reviews": True}
IDS = {"ada": 11, "ben": 12, "cleo": 13, "dora": 14}


def account(name: str, id_: int = 0, forge: str = FORGE) -> Account:
    return Account(forge=forge, name=f"{name}-h", id=id_ or IDS[name])


def new_place(rule: Mapping[str, object] = RULE) -> Place:
    return Place(rule, accounts={name: [account(name)] for name in IDS})


def review(name: str, commit: str, *, at: dt.datetime = NOW - dt.timedelta(hours=1), problem: str = "") -> Review:
    return Review(account(name), commit, at, problem)


def request(*commits: str, reviews: tuple[Review, ...], author: Account | None = None, number: int = 7) -> Request:
    """The last commit is its head."""
    return Request(number, author or account("dora"), commits[-1], frozenset(commits), reviews)


def ask(place: Place, deployed: str | None, *requests: Request, now: dt.datetime = NOW) -> Question:
    found = place.ask(deployed=deployed, forge=Found(requests), now=now)
    assert found is not None
    return found


def why(place: Place, deployed: str | None, *requests: Request, now: dt.datetime = NOW) -> str:
    """Why the one review there does not count."""
    (weighed,) = ask(place, deployed, *requests, now=now).approvals
    assert weighed.source == "review"
    return weighed.problem


@pytest.fixture
def pushed() -> tuple[Place, str, str]:
    """Deployed, and dora's change of it, of which a request was made."""
    place = new_place()
    deployed = place.head
    return place, deployed, place.push({VALUES: b"greeting: bye\n"})


def test_a_review_of_the_head_counts(pushed: tuple[Place, str, str]) -> None:
    """Given by one of the pool, of just the commit that is deployed; and it says that it was a review."""
    place, deployed, commit = pushed

    found = ask(place, deployed, request(commit, reviews=(review("ben", commit),)))

    assert (found.answered, found.counting) == (True, ("ben",))
    (weighed,) = found.approvals
    assert (weighed.source, weighed.path) == ("review", "review of request 7 by ben-h (id 12)")
    assert weighed.ends == "2030-01-09T11:00:00Z"


def test_who_approves_twice_counts_once(pushed: tuple[Place, str, str]) -> None:
    """A file and a review of one person, or reviews by two accounts, are one voice."""
    place = new_place({**RULE, "required": 2})
    deployed = place.head
    commit = place.push({VALUES: b"greeting: bye\n"})
    place.approve("ben", deployed=deployed)

    found = ask(place, deployed, request(commit, reviews=(review("ben", commit),)))
    assert (found.counting, found.wanted) == (("ben",), ("1 approval of ada, ben, cleo",))

    both = request(commit, reviews=(review("ben", commit), review("cleo", commit)))
    assert ask(place, deployed, both).answered


def test_no_forge_is_asked_where_a_rule_does_not_take_reviews(pushed: tuple[Place, str, str]) -> None:
    """Off by default; and the commit that lets reviews count waits for approvals of the other kind."""
    place = new_place({"required": 1})
    deployed = place.head
    commit = place.push({VALUES: b"greeting: bye\n"})
    good = request(commit, reviews=(review("ben", commit),))
    assert place.to_ask(deployed=deployed) is None
    assert not ask(place, deployed, good).answered

    place.rule = RULE
    commit = place.push({layout.SIGNERS: place.signers(RULE)})
    good = request(commit, reviews=(review("ben", commit),))
    assert place.to_ask(deployed=deployed) is None
    assert ask(place, deployed, good).approvals == ()


def test_what_a_forge_is_asked_about_is_what_changes_the_environment(pushed: tuple[Place, str, str]) -> None:
    """Of everything since what is deployed, the commits that an agreement is missing for."""
    place, deployed, commit = pushed
    other = place.push({"environments/dev/shop/values.yaml": b"greeting: ho\n"})

    range_ = place.to_ask(deployed=deployed)
    assert range_ is not None
    assert (range_.line, range_.changing) == ((commit, other), (commit,))


def test_a_forge_that_does_not_answer_gives_no_approval(pushed: tuple[Place, str, str]) -> None:
    """It waits, and says what could not be asked; approvals among the commits count all the same."""
    place, deployed, _ = pushed
    silent = Found(problem="the forge could not be asked: no answer")

    found = place.ask(deployed=deployed, forge=silent)
    assert found is not None
    assert [each.problem for each in found.approvals] == ["the forge could not be asked: no answer"]
    assert not found.answered

    place.approve("ben", deployed=deployed)
    found = place.ask(deployed=deployed, forge=silent)
    assert found is not None and found.answered


def test_a_push_ends_a_review(pushed: tuple[Place, str, str]) -> None:
    """What was reviewed is not what the request's branch ends in now."""
    place, deployed, first = pushed
    second = place.push({VALUES: b"greeting: bad\n"})

    said = why(place, deployed, request(first, second, reviews=(review("ben", first),)))
    assert said == f"is of {first[:12]}, and {second[:12]} was pushed afterwards"


def test_what_was_pushed_past_the_request_is_not_reviewed(pushed: tuple[Place, str, str]) -> None:
    """A commit on top of the reviewed ones, or below them, that changes the environment too."""
    place, deployed, first = pushed
    second = place.push({VALUES: b"greeting: bad\n"})

    assert why(place, deployed, request(first, reviews=(review("ben", first),))).startswith(f"{second[:12]} changes")
    assert why(place, deployed, request(second, reviews=(review("ben", second),))).startswith(f"{first[:12]} changes")


def test_what_comes_afterwards_and_changes_nothing_does_not_matter(pushed: tuple[Place, str, str]) -> None:
    """The environment reads what was reviewed, whatever else was committed since."""
    place, deployed, commit = pushed
    place.push({"environments/dev/shop/values.yaml": b"greeting: ho\n"})

    assert ask(place, deployed, request(commit, reviews=(review("ben", commit),))).answered


def test_two_requests_count_for_who_has_seen_both(pushed: tuple[Place, str, str]) -> None:
    """ben reviewed either, cleo the second alone."""
    place, deployed, first = pushed
    second = place.push({VALUES: b"greeting: good\n"})

    one = request(first, reviews=(review("ben", first),), number=7)
    two = request(second, reviews=(review("ben", second), review("cleo", second)), number=8)
    found = ask(place, deployed, one, two)

    assert found.counting == ("ben",)


def test_a_forge_cannot_widen_a_request(pushed: tuple[Place, str, str]) -> None:
    """Its commits are those of the branch, in one line from its head back, whatever others are named."""
    place, deployed, first = pushed
    place.push({VALUES: b"greeting: odd\n"})
    third = place.push({VALUES: b"greeting: good\n"})

    assert "changes the environment too" in why(place, deployed, request(first, third, reviews=(review("ben", third),)))


def test_what_the_branch_does_not_have_is_not_reviewed(pushed: tuple[Place, str, str]) -> None:
    """A request whose head never came to the branch, such as one that was rebased."""
    place, deployed, commit = pushed

    assert "not what the branch has" in why(
        place, deployed, request(commit, "e" * 40, reviews=(review("ben", "e" * 40),))
    )


def test_nobody_reviews_their_own_change(pushed: tuple[Place, str, str]) -> None:
    """Who signed a commit of the range does not count, whoever opened the request."""
    place = new_place()
    deployed = place.head
    commit = place.push({VALUES: b"greeting: bye\n"}, by="ben")

    found = ask(place, deployed, request(commit, reviews=(review("ben", commit),), author=account("dora")))
    assert not found.answered


def test_nobody_reviews_their_own_request(pushed: tuple[Place, str, str]) -> None:
    """Nor where the author is nobody who is known: it may be the reviewer."""
    place, deployed, commit = pushed
    given = (review("ben", commit),)

    assert why(place, deployed, request(commit, reviews=given, author=account("ben"))) == (
        "the request is the reviewer's own"
    )
    stranger = Account(forge=FORGE, name="ben-2", id=22)
    assert "may be the reviewer" in why(place, deployed, request(commit, reviews=given, author=stranger))
    gone = Request(7, None, commit, frozenset({commit}), given)
    assert "whose account is gone" in why(place, deployed, gone)


@pytest.mark.parametrize(
    "other",
    [
        Account(forge=FORGE, name="mallory", id=66),
        Account(forge=FORGE, name="ben-h", id=99),
        Account(forge=FORGE, name="ben-new", id=12),
        Account(forge="https://other.example", name="ben-h", id=12),
    ],
)
def test_an_account_is_known_by_forge_name_and_number(pushed: tuple[Place, str, str], other: Account) -> None:
    """A name that was given to somebody else, or the same one on another forge, is nobody's."""
    place, deployed, commit = pushed
    given = Review(other, commit, NOW - dt.timedelta(hours=1))

    assert "is nobody's" in why(place, deployed, request(commit, reviews=(given,)))


def test_an_account_that_a_commit_brings_does_not_count_for_it(pushed: tuple[Place, str, str]) -> None:
    """Whoever writes trust maps no account to somebody and reviews with it in one go."""
    place = new_place()
    deployed = place.head
    place.accounts["cleo"].append(account("eve", 77))
    commit = place.push({layout.SIGNERS: place.signers(RULE)})
    given = Review(account("eve", 77), commit, NOW - dt.timedelta(hours=1))

    assert "did not have the account" in why(place, deployed, request(commit, reviews=(given,)))


def test_whose_an_author_s_account_was_counts_too() -> None:
    """Whoever gives their second account to somebody else in the same range has opened the request still."""
    second = Account(forge=FORGE, name="ben-2", id=22)
    place = new_place()
    place.accounts["ben"].append(second)
    deployed = place.push({layout.SIGNERS: place.signers(RULE)})
    place.accounts["ben"].remove(second)
    place.accounts["dora"] = [account("dora"), second]
    commit = place.push({layout.SIGNERS: place.signers(RULE)})

    assert "own" in why(place, deployed, request(commit, reviews=(review("ben", commit),), author=second))


def test_who_is_no_approver_has_no_voice(pushed: tuple[Place, str, str]) -> None:
    """dora only writes."""
    place = new_place()
    deployed = place.head
    commit = place.push({VALUES: b"greeting: bye\n"}, by="ben")

    said = why(place, deployed, request(commit, reviews=(review("dora", commit),), author=account("ben")))
    assert said == "dora is none of the approvers"


def test_a_review_ends(pushed: tuple[Place, str, str]) -> None:
    """After the hours of the rule, and it does not begin before it was given."""
    place, deployed, commit = pushed
    old = request(commit, reviews=(review("ben", commit, at=NOW - dt.timedelta(hours=168)),))
    assert why(place, deployed, old) == "ended at 2030-01-02T12:00:00Z"
    assert "still to come" in why(
        place, deployed, request(commit, reviews=(review("ben", commit, at=NOW + dt.timedelta(minutes=6)),))
    )
    assert "does not tell when" in why(
        place, deployed, request(commit, reviews=(Review(account("ben"), commit, None),))
    )


def test_what_the_forge_does_not_take_as_standing_does_not_count(pushed: tuple[Place, str, str]) -> None:
    """Dismissed, or of no commit that it can tell."""
    place, deployed, commit = pushed

    assert why(place, deployed, request(commit, reviews=(review("ben", commit, problem="it was dismissed"),))) == (
        "it was dismissed"
    )
    assert "which commit" in why(place, deployed, request(commit, reviews=(review("ben", ""),)))


def test_a_first_deploy_is_approved_among_the_commits() -> None:
    """No request has brought the repository's beginning."""
    place = new_place()
    commit = place.push({VALUES: b"greeting: bye\n"})

    assert not ask(place, None, request(commit, reviews=(review("ben", commit),))).answered


def test_an_account_is_one_signer_s() -> None:
    """Two who share one would count for each other."""
    place = new_place()
    place.accounts["cleo"] = [account("ben")]
    tree = Tree.of({layout.SIGNERS: place.signers(RULE), layout.BINDINGS: b"format: 1\n"})

    with pytest.raises(FormatError, match=r"the account 12 on https://forge\.example .* is named twice"):
        read_trust(tree)


def test_an_account_is_part_of_what_is_agreed_to() -> None:
    """To give an approver another account changes what the environment reads."""
    place = new_place()
    deployed = place.head
    place.accounts["ben"] = [Account(forge=FORGE, name="mallory", id=66)]
    place.push({layout.SIGNERS: place.signers(RULE)})

    found = ask(place, deployed)
    assert found.changed == (f"{layout.SIGNERS}: ben",)
