"""What the three forges tell of reviews, and that it is read the same from each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.contract.models import Account
from interlock.contract.reviews import Range
from interlock.errors import ForgeError
from tasks.common.reviews import doors
from tests.forges.reviewing import NOON, USERS, Given, Pull, Reviewing, reviewing
from tests.forges.server import KINDS

ONE, TWO, SQUASH = "1" * 40, "2" * 40, "5" * 40
RANGE = Range((ONE, TWO), (TWO,))


@pytest.fixture(params=KINDS)
def forge(request: pytest.FixtureRequest) -> Iterator[Reviewing]:
    with reviewing(request.param) as found:
        yield found


@pytest.fixture(params=("github", "gitea"))
def telling(request: pytest.FixtureRequest) -> Iterator[Reviewing]:
    """A forge that keeps every word; GitLab has only the approvals that stand."""
    with reviewing(request.param) as found:
        yield found


@pytest.fixture
def gitlab() -> Iterator[Reviewing]:
    with reviewing("gitlab") as found:
        yield found


def test_a_review_is_read_with_who_when_and_of_what(forge: Reviewing, tmp_path: Path) -> None:
    """Author, head, commits and the approval of a request, by each forge in the same form."""
    forge.pulls = [Pull(7, "dora-h", [ONE, TWO], [Given("ben-h", TWO)])]

    (request,) = doors.requests(forge.account(tmp_path / "token"), "main", RANGE)

    (review,) = request.reviews
    assert (request.number, request.head, sorted(request.commits), request.squashed) == (7, TWO, [ONE, TWO], "")
    assert request.author == Account(forge=forge.url, name="dora-h", id=USERS["dora-h"])
    assert review.by == Account(forge=forge.url, name="ben-h", id=USERS["ben-h"])
    assert (review.commit, review.given, review.problem) == (TWO, dt.datetime.fromisoformat(NOON), "")


def test_the_squash_of_a_merged_request_is_told(forge: Reviewing, tmp_path: Path) -> None:
    """Which commit the forge made of it; the trial merge of an open request is none."""
    forge.pulls = [Pull(7, "dora-h", [ONE, TWO], squashed=SQUASH), Pull(8, "dora-h", [ONE, TWO])]

    found = doors.requests(forge.account(tmp_path / "token"), "main", Range((SQUASH,), (SQUASH,)))

    assert [(each.number, each.squashed) for each in found] == [(7, SQUASH)]


def test_only_the_newest_word_of_an_account_counts(telling: Reviewing, tmp_path: Path) -> None:
    """Who asks for changes afterwards has not approved; a comment takes nothing back."""
    telling.pulls = [
        Pull(
            7,
            "dora-h",
            [TWO],
            [
                Given("ben-h", TWO),
                Given("ben-h", TWO, state="changes"),
                Given("cleo-h", TWO),
                Given("cleo-h", TWO, state="comment"),
            ],
        )
    ]

    (request,) = doors.requests(telling.account(tmp_path / "token"), "main", RANGE)

    assert [each.by.name for each in request.reviews] == ["cleo-h"]


def test_a_dismissed_review_says_so(forge: Reviewing, tmp_path: Path) -> None:
    """It is told, with the reason why it does not count; GitLab leaves it out."""
    forge.pulls = [Pull(7, "dora-h", [TWO], [Given("ben-h", TWO, dismissed=True)])]

    (request,) = doors.requests(forge.account(tmp_path / "token"), "main", RANGE)

    assert [each.problem for each in request.reviews] == ([] if forge.kind == "gitlab" else ["it was dismissed"])


def test_a_request_into_another_branch_is_none(forge: Reviewing, tmp_path: Path) -> None:
    """What was reviewed for another branch was not reviewed for this one."""
    forge.pulls = [Pull(7, "dora-h", [TWO], [Given("ben-h", TWO)], base="stable")]

    assert doors.requests(forge.account(tmp_path / "token"), "main", RANGE) == ()


def test_commits_that_the_forge_does_not_have_are_of_no_request(forge: Reviewing, tmp_path: Path) -> None:
    """An answer, and no error."""
    assert doors.requests(forge.account(tmp_path / "token"), "main", RANGE) == ()


def test_every_page_is_read(telling: Reviewing, tmp_path: Path) -> None:
    """Commits and reviews beyond the first page count too."""
    telling.most = 2
    commits = [f"{n:040x}" for n in range(5)] + [TWO]
    telling.pulls = [Pull(7, "dora-h", commits, [Given(by, TWO) for by in ("ada-h", "ben-h", "cleo-h")])]

    (request,) = doors.requests(telling.account(tmp_path / "token"), "main", RANGE)

    assert len(request.commits) == 6
    assert len(request.reviews) == 3


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_forge_that_does_not_answer_says_nothing(
    forge: Reviewing, status: int, tmp_path: Path, no_waiting: list[float]
) -> None:
    """The error is what there is, and no review."""
    forge.failing = status
    account = forge.account(tmp_path / "token")
    with pytest.raises(ForgeError):
        doors.requests(account, "main", RANGE)

    found = doors.found(account, "main", RANGE)
    assert found.requests == ()
    assert "could not be asked" in found.problem


def test_another_answer_than_is_documented_says_nothing(forge: Reviewing, tmp_path: Path) -> None:
    """An account without a name or number is no account, and nothing else of the answer counts either."""
    USERS["nobody at all"] = 0
    forge.pulls = [Pull(7, "dora-h", [TWO], [Given("nobody at all", TWO)])]
    try:
        found = doors.found(forge.account(tmp_path / "token"), "main", RANGE)
    finally:
        del USERS["nobody at all"]
    # Gitea's client knows no account without a number: to it the review is nobody's.
    assert found.problem if forge.kind != "gitea" else not found.requests[0].reviews


def test_more_commits_than_are_asked_for_say_nothing(forge: Reviewing, tmp_path: Path) -> None:
    """What would take too many questions is not asked in part."""
    many = tuple(f"{n:040x}" for n in range(doors.MOST_COMMITS + 1))

    assert "more than" in doors.found(forge.account(tmp_path / "token"), "main", Range(many, many)).problem
    assert forge.requests == []


# GitLab's approvals, which name no commit --------------------------------------------------------------


def approved(forge: Reviewing, folder: Path, *, at: str = NOON) -> tuple[str, str]:
    """The commit that an approval is taken to be of, and what is against it."""
    forge.pulls = [
        Pull(
            7,
            "dora-h",
            [ONE, TWO],
            [Given("ben-h", "", at=at)],
            pushed={"2030-01-02T08:00:00.000Z": ONE, "2030-01-02T10:00:00.000Z": TWO},
        )
    ]
    (request,) = doors.requests(forge.account(folder / "token"), "main", RANGE)
    (review,) = request.reviews
    return review.commit, review.problem


def test_gitlab_s_approval_is_of_the_version_of_its_time(gitlab: Reviewing, tmp_path: Path) -> None:
    """The newest version before it was given, and so not what was pushed after."""
    assert approved(gitlab, tmp_path) == (TWO, "")
    assert approved(gitlab, tmp_path, at="2030-01-02T09:00:00.000Z") == (ONE, "")
    assert approved(gitlab, tmp_path, at="2030-01-02T07:00:00.000Z") == ("", "")


@pytest.mark.parametrize("resets", [False, None])
def test_gitlab_s_approval_does_not_count_where_pushes_leave_it(
    gitlab: Reviewing, resets: bool | None, tmp_path: Path
) -> None:
    """Where the setting is off, or cannot be read, it may be of an older commit."""
    gitlab.resets = resets

    assert "a push leaves approvals" in approved(gitlab, tmp_path)[1]


def test_gitlab_s_approval_without_a_time_does_not_count(gitlab: Reviewing, tmp_path: Path) -> None:
    """Older editions do not tell when it was given, and so not of what it is."""
    gitlab.timed = False

    assert "does not tell when" in approved(gitlab, tmp_path)[1]
