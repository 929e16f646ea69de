"""Somebody with an account on the forge approves a request, and is nobody whom the environment repository knows.

Defence: a review counts by the person whose account it is in trust/signers.yaml, at the deployed commit and at the new
one, by forge, name and number (interlock/contract/reviews.py).
Not defended: the forge itself, and who can act there as one of the approvers; rules without `reviews` do not ask it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.contract import reviews
from interlock.contract.models import Account
from tests.forges.reviewing import USERS, Given
from tests.threats.reviewed import RULE, Reviewed, reviewed
from tests.unit.trust.approved import VALUES


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Reviewed]:
    """mallory, whom the forge lets review, approves."""
    with reviewed(tmp_path) as found:
        found.pull.given = [Given("mallory", found.pull.head)]
        yield found


def test_it_succeeds_when_approvals_are_counted_as_the_forge_counts_them(stranger: Reviewed) -> None:
    """The forge itself has one approval of the newest commit, as many as are asked for."""
    counted = [each for each in stranger.pull.given if each.state == "approved" and each.commit == stranger.pull.head]

    assert len(counted) >= int(str(RULE["required"]))


def test_an_account_that_is_nobody_s_does_not_count(stranger: Reviewed) -> None:
    """It is named with its number, so that it can be mapped if it is somebody's."""
    found = stranger.ask()

    assert not found.answered
    assert found.approvals[0].problem == "the account mallory (id 66) is nobody's in trust/signers.yaml"


def test_a_name_that_was_given_up_is_nobody_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ben has renamed his account, and somebody else has the name since: its number is another."""
    with reviewed(tmp_path) as found:
        monkeypatch.setitem(USERS, "ben-h", 99)
        found.pull.given = [Given("ben-h", found.pull.head)]

        assert "is nobody's" in found.ask().approvals[0].problem


def test_an_account_is_not_brought_together_with_what_it_approves(
    stranger: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write trust maps mallory to ben in the same range: at the deployed commit it was nobody's."""
    account = Account(forge=stranger.forge.url, name="mallory", id=USERS["mallory"])
    stranger.place.accounts["ben"].append(account)
    commit = stranger.place.push({"trust/signers.yaml": stranger.place.signers(RULE), VALUES: b"greeting: bad\n"})
    stranger.pull.commits.append(commit)
    stranger.pull.given = [Given("mallory", commit)]

    assert "did not have the account" in stranger.ask().approvals[0].problem
    monkeypatch.setattr(reviews, "_unknown", lambda *_: "")
    assert stranger.ask().answered
