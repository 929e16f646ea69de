"""Which open pull requests are planned, and when."""

from __future__ import annotations

from interlock.cd.pull_requests import (
    MOST_AT_ONCE,
    PullRequest,
    Told,
    due,
    ground,
    marker,
    read_told,
    remaining,
    write_told,
)

GROUND = ground("b" * 40, {"dev": ["1", "2"]})
OPEN = PullRequest(7, "a" * 40)
AT = Told("a" * 40, GROUND, 1000.0)


def _due(*found: PullRequest, told: dict[int, Told], now: float = 1100.0, rests_on: str = GROUND) -> list[int]:
    return [each.number for each in due(found, told, ground=rests_on, now=now, again_seconds=600)]


def test_what_was_planned_is_planned_again_only_when_something_moved() -> None:
    """The request, the branch, what is deployed; or after its time, because the cluster may have moved."""
    assert _due(OPEN, told={}) == [7]
    assert _due(OPEN, told={7: AT}) == []
    assert _due(PullRequest(7, "c" * 40), told={7: AT}) == [7]
    assert _due(OPEN, told={7: AT}, rests_on=ground("c" * 40, {"dev": ["1", "2"]})) == [7]
    assert _due(OPEN, told={7: AT}, rests_on=ground("b" * 40, {"dev": ["1", "3"]})) == [7]
    assert _due(OPEN, told={7: AT}, now=1600.0) == [7]
    assert _due(OPEN, told={7: AT}, now=900.0) == [7], "the clock was set back"


def test_drafts_wait_and_forks_are_told_once() -> None:
    """A draft is planned when it is ready; why a fork's request is not planned does not change with the cluster."""
    assert _due(PullRequest(7, "a" * 40, draft=True), told={}) == []
    assert _due(PullRequest(7, "a" * 40, fork=True), told={}) == [7]
    assert _due(PullRequest(7, "a" * 40, fork=True), told={7: AT}, now=9000.0) == []


def test_no_flood_of_requests_keeps_one_from_its_turn() -> None:
    """A run takes so many; what waits longest comes first, and what was never planned before that."""
    found = [PullRequest(n, "a" * 40) for n in range(1, 100)]
    told = {n: Told("a" * 40, "old", float(n)) for n in range(1, 99)}

    first = _due(*found, told=told)
    assert first == [99, *range(1, MOST_AT_ONCE)]
    told |= dict.fromkeys(first, AT)
    assert _due(*found, told=told) == list(range(MOST_AT_ONCE, 2 * MOST_AT_ONCE))


def test_what_was_told_is_remembered_while_it_is_open() -> None:
    """Written and read again; a file that is damaged costs a look, and nothing else."""
    told = {7: AT, 8: AT}

    assert read_told(write_told(told)) == told
    assert remaining(told, [OPEN]) == {7: AT}
    for damaged in (b"", b"[]", b"{", b'{"7": {}}', b'{"x": 1}', b'{"7": {"head": 1, "ground": 2, "at": "x"}}'):
        assert read_told(damaged) == {}


def test_hosts_have_marks_of_their_own() -> None:
    """Two hosts that share an account at the forge write a comment each."""
    assert marker("SHA256:one") != marker("SHA256:two")
    assert marker("SHA256:one").startswith("<!-- interlock-plan: ") and marker("SHA256:one").endswith(" -->")
