"""A request is reviewed while it is harmless; then more is pushed to it, and the review is taken for one of all.

Defence: a review counts for the commit that it was given for, and only while that is the newest one of its request;
of GitLab, which keeps no commit, only where a push takes approvals away, and by the time
(interlock/contract/reviews.py, tasks/common/reviews).
Not defended: a forge that lies about which commit was reviewed, or by whom; an environment whose rule has `reviews`
believes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.contract import reviews
from tests.forges.reviewing import Given
from tests.forges.server import KINDS
from tests.threats.reviewed import Reviewed, reviewed


@pytest.fixture(params=KINDS)
def replayed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reviewed]:
    """ben approved the first commit; the second one came after it, and the forge leaves the approval standing."""
    with reviewed(tmp_path, request.param) as found:
        found.pull.given = [Given("ben-h", found.commits[0])]
        first = found.pull.head
        found.pull.pushed = {"2030-01-02T10:00:00Z": first}
        assert found.ask().answered
        found.pull.pushed["2030-01-02T11:30:00Z"] = found.push(b"greeting: bad\n")
        yield found


def test_it_succeeds_when_a_review_is_of_a_request(replayed: Reviewed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the commit that it was given for, the approval of then lets in what came after."""
    monkeypatch.setattr(reviews, "_older", lambda *_: "")

    assert replayed.ask().answered


def test_a_review_is_of_the_newest_commit_or_does_not_count(replayed: Reviewed) -> None:
    """It waits, and says what was pushed afterwards."""
    found = replayed.ask()

    assert not found.answered
    assert "was pushed afterwards" in found.approvals[0].problem


def test_a_review_of_a_part_does_not_count_for_the_rest(replayed: Reviewed) -> None:
    """Nor when the second commit is pushed to the branch itself, past the request."""
    second = replayed.pull.commits.pop()

    found = replayed.ask()
    assert not found.answered
    assert found.approvals[0].problem.startswith(f"{second[:12]} changes the environment too")


def test_gitlab_s_approvals_do_not_count_where_pushes_leave_them(tmp_path: Path) -> None:
    """Nothing binds them to a commit there, whatever their times say."""
    with reviewed(tmp_path, "gitlab") as found:
        found.forge.resets = False
        found.pull.given = [Given("ben-h", "")]

        assert not found.ask().answered
