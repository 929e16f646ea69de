"""Each client against a server that answers as its forge's documented API does."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.ci.forge import Status
from interlock.contract.forge import ForgeAccount
from interlock.errors import ForgeError, HostConfigError
from tasks.ci.forge import asked
from tests.forges.server import TOKEN, FakeForge, Fault, Pull, Ticket

COMMIT = "5" * 40
BRANCH = "interlock/release/shop/web"


@pytest.fixture
def account(forge: FakeForge, tmp_path: Path) -> ForgeAccount:
    return forge.account(tmp_path / "token")


def status(state: str = "pending", url: str = "https://prefect.example/runs/flow-run/1") -> Status:
    return Status(COMMIT, state, "interlock/release", "building", url)  # type: ignore[arg-type]


def test_a_status_stands_at_the_commit(forge: FakeForge, account: ForgeAccount) -> None:
    """With its state, its words and its link; what is said twice does no harm."""
    for state in ("pending", "pending", "failure", "error", "success"):
        asked(account, lambda f, state=state: f.set_status(status(state)))  # type: ignore[misc]

    last = forge.statuses[-1]
    assert last["sha"] == COMMIT and last["state"] == "success" and last["description"] == "building"
    assert last["target_url"] == "https://prefect.example/runs/flow-run/1"
    assert last["name" if forge.kind == "gitlab" else "context"] == "interlock/release"
    said = [each["state"] for each in forge.statuses]
    assert said[-3:] == (["failed", "failed", "success"] if forge.kind == "gitlab" else ["failure", "error", "success"])


def test_the_life_of_a_pull_request(forge: FakeForge, account: ForgeAccount) -> None:
    """Opened, found by its branch, edited, closed; what forks and other branches have is not found."""
    forge.pulls = [Pull(next(forge.numbers), BRANCH, "main", "theirs", "x", fork=True)]
    forge.pulls.append(Pull(next(forge.numbers), "other", "main", "another", "x"))
    opened = asked(account, lambda f: f.open_pull_request(branch=BRANCH, base="main", title="Release", body="why"))

    asked(account, lambda f: f.edit_pull_request(opened.number, title="Release 2", body="why 2"))
    (found,) = asked(account, lambda f: f.pull_requests(branch=BRANCH, base="main"))
    assert (found.number, found.title, found.body, found.state) == (opened.number, "Release 2", "why 2", "open")
    assert found.head == "a" * 40 and found.url.endswith(f"/{found.number}")

    forge.pull(opened.number).state = "merged"
    again = asked(account, lambda f: f.open_pull_request(branch=BRANCH, base="main", title="Next", body=""))
    asked(account, lambda f: f.close_pull_request(again.number))
    found_all = asked(account, lambda f: f.pull_requests(branch=BRANCH, base="main"))
    assert [(each.number, each.state) for each in found_all] == [(again.number, "closed"), (opened.number, "merged")]


def test_lists_are_read_page_by_page(forge: FakeForge, account: ForgeAccount) -> None:
    """What stands on the last page counts too; pull requests are no issues."""
    forge.pulls = [Pull(n, BRANCH, "main", f"pull {n}", "", state="closed") for n in range(1, 131)]
    forge.issues = [Ticket(n, f"issue {n}", "") for n in range(200, 331)]
    forge.issues.append(Ticket(400, "done", "", state="closed"))

    pulls = asked(account, lambda f: f.pull_requests(branch=BRANCH, base="main"))
    issues = asked(account, lambda f: f.issues())

    assert [each.number for each in pulls] == list(range(130, 0, -1))
    assert [(each.number, each.open) for each in issues] == [(400, False), *((n, True) for n in range(330, 199, -1))]


def test_the_life_of_an_issue(forge: FakeForge, account: ForgeAccount) -> None:
    """Opened, found, edited, closed."""
    opened = asked(account, lambda f: f.open_issue(title="No longer clean", body="CVE-1"))
    asked(account, lambda f: f.edit_issue(opened.number, title="No longer clean", body="CVE-1, CVE-2"))

    (found,) = asked(account, lambda f: f.issues())
    assert (found.number, found.title, found.body, found.open) == (
        opened.number,
        "No longer clean",
        "CVE-1, CVE-2",
        True,
    )

    asked(account, lambda f: f.close_issue(opened.number))
    assert [each.open for each in asked(account, lambda f: f.issues())] == [False]


def test_a_second_pull_request_is_refused(forge: FakeForge, account: ForgeAccount) -> None:
    """As is one from a branch that is not there: the error says what the forge says, and nobody asks again."""
    asked(account, lambda f: f.open_pull_request(branch=BRANCH, base="main", title="Release", body=""))
    with pytest.raises(ForgeError, match="already exists") as caught:
        asked(account, lambda f: f.open_pull_request(branch=BRANCH, base="main", title="Release", body=""))
    assert caught.value.status in (409, 422) and not caught.value.transient

    forge.head = lambda branch: None
    with pytest.raises(ForgeError) as caught:
        asked(account, lambda f: f.open_pull_request(branch="gone", base="main", title="Release", body=""))
    assert caught.value.status in (400, 404, 422)


def test_a_commit_that_the_forge_does_not_have(forge: FakeForge, account: ForgeAccount) -> None:
    """Its status cannot be set, and the error names it."""
    forge.unknown_commits = {COMMIT}
    with pytest.raises(ForgeError, match=f"status of {COMMIT[:12]}") as caught:
        asked(account, lambda f: f.set_status(status()))
    assert caught.value.status in (404, 422)


@pytest.mark.parametrize(("code", "says"), [(401, "put a new one into"), (403, "may not do that"), (404, "`project`")])
def test_an_error_says_what_to_do(forge: FakeForge, account: ForgeAccount, code: int, says: str) -> None:
    """About the token or the project, without the token; nobody asks again."""
    forge.faults = [Fault(code)]

    with pytest.raises(ForgeError) as caught:
        asked(account, lambda f: f.set_status(status()))

    assert caught.value.status == code and says in caught.value.hint and not caught.value.transient
    assert caught.value.message.startswith("acme/shop on http://127.0.0.1") and TOKEN not in str(caught.value)
    assert len(forge.requests) == 1


@pytest.mark.parametrize("code", [500, 502, 503, 429, 0])
def test_a_forge_that_is_away_is_asked_again(
    forge: FakeForge, account: ForgeAccount, code: int, no_waiting: list[float]
) -> None:
    """A few times, after growing pauses; then it works, or the error says that it is away."""
    forge.faults = [Fault(code)] * 2
    asked(account, lambda f: f.set_status(status()))
    assert forge.statuses and no_waiting == [1, 2]

    forge.faults = [Fault(code)] * 50
    with pytest.raises(ForgeError, match="set the status") as caught:
        asked(account, lambda f: f.set_status(status()))
    assert caught.value.transient and no_waiting == [1, 2, 1, 2, 4]


def test_a_limit_is_kept(forge: FakeForge, account: ForgeAccount, no_waiting: list[float]) -> None:
    """Nobody asks before Retry-After; who would have to wait long does without."""
    forge.faults = [Fault(429, {"Retry-After": "7"})]
    asked(account, lambda f: f.set_status(status()))
    assert no_waiting == [7]

    forge.faults = [Fault(429, {"Retry-After": "900"})]
    with pytest.raises(ForgeError) as caught:
        asked(account, lambda f: f.set_status(status()))
    assert caught.value.after_seconds == 900 and no_waiting == [7]


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "5"}, 5, 5),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 20)}, 1, 20),
        ({}, 1, 1),
    ],
)
def test_githubs_limits_are_no_lack_of_rights(
    new_forge: Callable[[str], FakeForge],
    tmp_path: Path,
    no_waiting: list[float],
    *,
    headers: dict[str, str],
    least: float,
    most: float,
) -> None:
    """It answers 403 to who asks too much, and says in one of two ways when one may ask again."""
    forge = new_forge("github")
    forge.faults = [Fault(403, headers, message="You have exceeded a secondary rate limit.")]

    asked(forge.account(tmp_path / "token"), lambda f: f.set_status(status()))

    assert len(forge.statuses) == 1 and least <= no_waiting[0] <= most


def test_the_token_is_in_no_log(forge: FakeForge, account: ForgeAccount, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the clients and their libraries write, at their most talkative."""
    caplog.set_level(logging.DEBUG)
    asked(account, lambda f: f.set_status(status()))
    asked(account, lambda f: f.issues())
    forge.faults = [Fault(401)]
    with pytest.raises(ForgeError) as caught:
        asked(account, lambda f: f.open_issue(title="x", body="y"))

    assert caplog.records
    assert TOKEN not in caplog.text and TOKEN not in "".join(traceback.format_exception(caught.value))


def test_a_token_that_others_can_read_is_not_used(forge: FakeForge, account: ForgeAccount) -> None:
    """Nor one that is empty; a new one counts at once."""
    account.token.chmod(0o644)
    with pytest.raises(HostConfigError, match="others may read the forge token"):
        asked(account, lambda f: f.set_status(status()))

    account.token.chmod(0o600)
    account.token.write_text("\n")
    with pytest.raises(HostConfigError, match="one token"):
        asked(account, lambda f: f.set_status(status()))

    account.token.write_text("another")
    with pytest.raises(ForgeError) as caught:
        asked(account, lambda f: f.set_status(status()))
    assert caught.value.status == 401
    account.token.write_text(TOKEN)
    asked(account, lambda f: f.set_status(status()))
