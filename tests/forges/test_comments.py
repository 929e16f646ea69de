"""CD's account on each forge: it reads the open pull requests, and keeps one comment up on each."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.cd.pull_requests import PullRequest, marker
from interlock.contract.forge import ForgeAccount
from interlock.errors import ForgeError, HostConfigError
from tasks.cd import pull_requests
from tasks.common import redaction
from tests.forges.server import ME, TOKEN, FakeForge, Fault, Note, Pull

MARK = marker("SHA256:this-host")


@pytest.fixture
def account(forge: FakeForge, tmp_path: Path) -> ForgeAccount:
    return forge.account(tmp_path / "token")


def said(account: ForgeAccount, body: str, *, number: int = 3, mark: str = MARK) -> str:
    own = pull_requests.whose.fn(account)
    return pull_requests.comment.fn(account, number, own=own, mark=mark, body=f"{mark}\n{body}")


def test_open_requests_to_the_branch_are_found(forge: FakeForge, account: ForgeAccount) -> None:
    """On all pages, newest first, with what is a draft and what comes from another repository; nothing that is closed
    or goes elsewhere.
    """
    forge.pulls = [Pull(n, f"b{n}", "main", "t", "") for n in range(1, 121)]
    forge.pulls += [
        Pull(121, "d", "main", "t", "", draft=True),
        Pull(122, "f", "main", "t", "", fork=True),
        Pull(123, "c", "main", "t", "", state="closed"),
        Pull(124, "m", "main", "t", "", state="merged"),
        Pull(125, "o", "other", "t", ""),
    ]

    found = pull_requests.open_requests.fn(account, "main")

    assert [each.number for each in found] == list(range(122, 0, -1))
    assert found[0] == PullRequest(122, "a" * 40, draft=False, fork=True)
    assert found[1] == PullRequest(121, "a" * 40, draft=True, fork=False)
    assert found[2] == PullRequest(120, "a" * 40)


def test_one_comment_is_kept_up(forge: FakeForge, account: ForgeAccount) -> None:
    """Made once, edited when something else is to be said, and left alone when it is the same."""
    assert said(account, "1 to change") == "added"
    assert said(account, "1 to change") == "as it was"
    assert said(account, "2 to change") == "edited"

    assert [(each.number, each.author, each.body) for each in forge.notes] == [(3, ME, f"{MARK}\n2 to change")]
    assert forge.edits == 1


def test_no_one_elses_comment_is_touched(forge: FakeForge, account: ForgeAccount) -> None:
    """A comment with our mark by another account, one of ours that only quotes it, and another host's stay as they
    are.
    """
    others = [
        Note(1, 3, ME + 1, f"{MARK}\nforged"),
        Note(2, 3, ME, f"> {MARK}\nquoted"),
        Note(3, 3, ME, f"{marker('SHA256:another-host')}\ntheirs"),
        Note(4, 9, ME, f"{MARK}\non another request"),
    ]
    forge.notes = [Note(each.id, each.number, each.author, each.body) for each in others]

    assert said(account, "mine") == "added"
    assert said(account, "mine again") == "edited"

    assert forge.notes[:4] == others
    assert [each.body for each in forge.notes[4:]] == [f"{MARK}\nmine again"]


def test_our_comment_is_found_behind_many_others(forge: FakeForge, account: ForgeAccount) -> None:
    """On whichever page it stands."""
    forge.notes = [Note(n, 3, 7, f"talk {n}") for n in range(1, 131)]
    forge.notes.append(Note(131, 3, ME, f"{MARK}\nold"))

    assert said(account, "new") == "edited"
    assert len(forge.notes) == 131


def test_a_flood_of_comments_makes_no_flood_of_ours(forge: FakeForge, account: ForgeAccount) -> None:
    """Where more stand than are read, ours may be among the others: none is added, again and again."""
    forge.notes = [Note(n, 3, 7, "flood") for n in range(1, 1001)]

    assert said(account, "mine") == "left out: there are too many comments"
    assert len(forge.notes) == 1000


def test_an_answer_that_is_lost_makes_no_second_comment(forge: FakeForge, account: ForgeAccount) -> None:
    """What was made though its answer did not come is found when it is tried again."""
    forge.faults = [Fault(0, done=True, only="POST")]

    assert said(account, "once") == "as it was"
    assert len(forge.notes) == 1


def test_an_account_that_may_push_is_not_used(forge: FakeForge, account: ForgeAccount) -> None:
    """CD comments only by an account that can do nothing else to the repository."""
    forge.pushes = True

    with pytest.raises(HostConfigError, match="interlock-plans may push there"):
        said(account, "x")
    assert forge.notes == []


def test_only_comments_are_ever_written(forge: FakeForge, account: ForgeAccount) -> None:
    """Everything else that the account asks is a reading."""
    forge.pulls = [Pull(3, "b", "main", "t", "")]
    pull_requests.open_requests.fn(account, "main")
    said(account, "x")
    said(account, "y")

    written = [each for each in forge.requests if not each.startswith("GET ")]
    assert len(written) == 2
    assert all("/comments" in each or "/notes" in each for each in written)


def test_a_known_secret_is_masked(forge: FakeForge, account: ForgeAccount) -> None:
    """What this process knows to be secret does not get into a comment, whoever wrote it into a message."""
    redaction.know("correct-horse-battery")

    said(account, "b: correct-horse-battery staple")

    assert "horse" not in forge.notes[0].body and "staple" in forge.notes[0].body


def test_a_mask_answers_no_guess(forge: FakeForge, account: ForgeAccount) -> None:
    """Whoever writes values into a request learns of none that it is the one that is sealed elsewhere."""
    redaction.know("correct-horse-battery", sealed=True)

    said(account, "+ a: correct-horse-battery\n+ b: incorrect-horse-battery")

    assert forge.notes[0].body.endswith("+ a: correct-horse-battery\n+ b: incorrect-horse-battery")


def test_a_forge_that_is_away_is_an_error_without_the_token(
    forge: FakeForge, account: ForgeAccount, no_waiting: list[float]
) -> None:
    """Tried again a few times, then told."""
    forge.faults = [Fault(502, message=f"upstream {TOKEN}")] * 4

    with pytest.raises(ForgeError) as caught:
        pull_requests.open_requests.fn(account, "main")
    assert caught.value.transient
    assert TOKEN not in str(caught.value)
    assert len(no_waiting) == 3
