"""An approval that was given once is used again, to bring back a state that was replaced since.

Defence: an approval names the commit that was deployed when it was given, and counts only while the environment has
read the same ever since (interlock/contract/approvals.py).
Not defended: nothing known while the record in the cluster or the mark on CD's host is there; both gone, the head has
to be approved as a first deploy.
"""

from __future__ import annotations

from typing import Any

import pytest

from interlock.contract import approvals
from tests.unit.trust.approved import VALUES, Place


@pytest.fixture
def replayed() -> tuple[Place, str]:
    """A bad version was approved and deployed, then taken back; now its files and its approval are pushed once more."""
    place = Place()
    first = place.head
    place.push({VALUES: b"greeting: bad\n"})
    path = place.approve("ben", deployed=first)
    data = place.tree(place.head).files[path]
    assert place.answered(deployed=first)
    good = place.push({VALUES: b"greeting: hello\n", path: None})
    place.push({VALUES: b"greeting: bad\n", path: data})
    return place, good


def test_it_succeeds_when_an_approval_is_of_a_state_alone(
    replayed: tuple[Place, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the step that it was given for, the approval of then lets the bad version in again."""
    place, deployed = replayed
    monkeypatch.setattr(approvals, "_misplaced", lambda *_: "")

    assert place.answered(deployed=deployed)


def test_an_approval_is_spent(replayed: tuple[Place, str]) -> None:
    """It was given when something else was deployed, though the environment reads now what it read then."""
    place, deployed = replayed

    found = place.ask(deployed=deployed)
    assert found is not None
    assert not found.answered
    assert "was given when" in found.approvals[0].problem


@pytest.mark.parametrize("field", ["repository", "branch", "environment"])
def test_an_approval_of_another_place_does_not_count(field: str) -> None:
    """The same files in another repository, branch or environment were not approved by it."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    other: dict[str, Any] = {field: "9" * 12}
    place.approve("ben", deployed=deployed, **other)

    assert not place.answered(deployed=deployed)
