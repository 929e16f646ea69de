"""An author opens the request by a second account on the forge, and reviews it by the first, or the other way round.

Defence: whose an account is stands in trust/signers.yaml, by forge, name and number; who signed a commit is an author
by the key, whoever opened the request; and a request of an author whom nobody knows counts for nobody
(interlock/contract/reviews.py, interlock/contract/approvals.py).
Not defended: a person whom trust/signers.yaml has as two signers; who is a person is said there.
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
def two_faced(tmp_path: Path) -> Iterator[Reviewed]:
    """ben opens dora's change as ben-2, which nobody knows, and approves it as ben-h."""
    with reviewed(tmp_path) as found:
        found.pull.author = "ben-2"
        found.pull.given = [Given("ben-h", found.pull.head)]
        yield found


def test_it_succeeds_when_an_unknown_author_is_somebody_else(
    two_faced: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the forge the two accounts are two people, and so they are without the mapping."""
    monkeypatch.setattr(reviews, "_own", lambda *_: "")

    assert two_faced.ask().answered


def test_a_request_of_an_unknown_author_counts_for_nobody(two_faced: Reviewed) -> None:
    """It may be the reviewer's own."""
    found = two_faced.ask()

    assert not found.answered
    assert "may be the reviewer" in found.approvals[0].problem


def test_a_person_s_accounts_are_one_person(tmp_path: Path) -> None:
    """Where both are mapped, the request is the reviewer's own."""
    with reviewed(tmp_path) as found:
        found.place.accounts["ben"].append(Account(forge=found.forge.url, name="ben-2", id=USERS["ben-2"]))
        found.deployed = found.place.push({"trust/signers.yaml": found.place.signers(RULE)})
        commit = found.place.push({VALUES: b"greeting: again\n"})
        found.pull.commits, found.pull.author = [commit], "ben-2"
        found.pull.given = [Given("ben-h", commit)]

        assert found.ask().approvals[0].problem == "the request is the reviewer's own"


def test_who_signed_is_an_author_whoever_opened_the_request(tmp_path: Path) -> None:
    """ben's commit, in a request that dora opened."""
    with reviewed(tmp_path) as found:
        found.deployed = found.place.head
        commit = found.place.push({VALUES: b"greeting: mine\n"}, by="ben")
        found.pull.commits, found.pull.given = [commit], [Given("ben-h", commit)]

        question = found.ask()
        assert not question.answered
        assert "ben" in question.authors
