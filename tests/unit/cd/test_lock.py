"""Whether a lock may be taken, and what its Lease says afterwards."""

from __future__ import annotations

import pytest

from interlock.cd import lock
from interlock.cd.lock import FENCE_UID, MARGIN_SECONDS, PROCESS, SECONDS, UNFENCED, Process, Standing, standing
from interlock.cd.objects import Body

NOW = "2026-01-01T00:00:00.000000Z"
OURS = Process("boot", "4026531836", 0, 42, 1000)


def _lease(**spec: object) -> Body:
    metadata = {"name": "interlock-x", "namespace": "control", "annotations": {"kept": "1", PROCESS: str(OURS)}}
    return {"metadata": metadata, "spec": {"holderIdentity": "host/42", "leaseDurationSeconds": SECONDS, **spec}}


LASTS = SECONDS + MARGIN_SECONDS


@pytest.mark.parametrize(
    ("spec", "dead", "unchanged", "found"),
    [
        ({"holderIdentity": ""}, False, 0, Standing.FREE),
        ({"holderIdentity": None}, True, 0, Standing.FREE),
        ({}, True, 0, Standing.DEAD),
        ({}, False, 0, Standing.HELD),
        ({}, False, LASTS - 0.1, Standing.HELD),
        ({}, False, LASTS, Standing.EXPIRED),
        ({"leaseDurationSeconds": 60}, False, LASTS, Standing.HELD),
        ({"leaseDurationSeconds": None}, False, LASTS, Standing.EXPIRED),
        ({"renewTime": "1970-01-01T00:00:00.000000Z"}, False, 0, Standing.HELD),
        ({"renewTime": "2999-01-01T00:00:00.000000Z"}, False, LASTS, Standing.EXPIRED),
    ],
)
def test_only_what_we_saw_ourselves_ends_a_lock(
    *, spec: dict[str, object], dead: bool, unchanged: float, found: Standing
) -> None:
    """A holder that is gone from this machine, or a Lease that did not change for its whole time: never a clock."""
    assert standing(_lease(**spec), dead=dead, unchanged=unchanged) is found


def test_a_new_term_says_whose_it_is_and_what_is_still_to_be_fenced_off() -> None:
    """The next holder inherits the duty when this one dies before it was done."""
    first = lock.taken(_lease(), who="host/43", process="p", now=NOW, unfenced=True)
    assert first["metadata"]["annotations"] == {"kept": "1", PROCESS: "p", UNFENCED: "true"}
    assert (first["spec"]["holderIdentity"], first["spec"]["leaseTransitions"]) == ("host/43", 1)

    again = lock.taken(first, who="host/44", process="q", now=NOW, unfenced=False)
    assert again["metadata"]["annotations"][UNFENCED] == "true"

    done = lock.fenced(again, "uid", now=NOW)
    assert done["metadata"]["annotations"] == {"kept": "1", PROCESS: "q", FENCE_UID: "uid"}
    assert lock.renewed(done, now=NOW) == done


def test_what_is_given_back_is_free_and_keeps_its_fence() -> None:
    """No holder, no process; the fence stays good for the next one, and a duty that was not done stays one."""
    held = lock.fenced(lock.taken(_lease(), who="h", process="p", now=NOW, unfenced=True), "uid", now=NOW)
    free = lock.given_back(held)
    assert standing(free, dead=False, unchanged=0) is Standing.FREE
    assert free["metadata"]["annotations"] == {"kept": "1", FENCE_UID: "uid"}
    undone = lock.given_back(lock.taken(_lease(), who="h", process="p", now=NOW, unfenced=True))
    assert undone["metadata"]["annotations"] == {"kept": "1", UNFENCED: "true"}


def test_a_process_is_read_as_it_was_written() -> None:
    """What is not one, such as an older version's Lease, is nobody."""
    assert Process.read(str(OURS)) == OURS
    assert Process.read("") is None
    assert Process.read("a/b/c/d/e") is None
    assert lock.holder_process({"metadata": {"name": "x"}}) is None


@pytest.mark.parametrize(
    "other",
    [
        Process("boot-2", "4026531836", 0, 42, 1000),
        Process("boot", "4026532000", 0, 42, 1000),
        Process("boot", "4026531836", 1000, 42, 1000),
    ],
)
def test_nobody_is_declared_dead_where_we_cannot_look(other: Process) -> None:
    """Another boot or container has its own numbers, and another user's processes may be hidden."""
    assert not OURS.can_see(other)
    assert OURS.can_see(OURS)
