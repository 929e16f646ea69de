"""One stolen key does everything: it signs the change, approves it, and writes the trust file that would allow it.

Defence: whoever signed or wrote a change does not approve it; approvals are signed by their givers' own keys; and the
rule and the keys of what is deployed hold beside the new ones (interlock/contract/approvals.py).
Not defended: as many stolen keys as people have to agree, and one more that may write; an environment that asks for
nobody's approval; a stolen key of CI together with one of an approver, where one approval is enough.
"""

from __future__ import annotations

import pytest

from interlock.contract import approvals, effects, layout
from tests.unit.trust.approved import VALUES, Place
from tests.unit.trust.history import new_key


def test_it_succeeds_where_authors_may_approve(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody asks who made a change, its author's own approval is enough."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: evil\n"}, by="ben")
    place.approve("ben", deployed=deployed)
    assert not place.answered(deployed=deployed)
    monkeypatch.setattr(approvals, "_signed_by", lambda *_: frozenset())
    monkeypatch.setattr(effects, "named", lambda *_: frozenset())

    assert place.answered(deployed=deployed)


def test_the_thief_s_own_approval_does_not_count() -> None:
    """ben's key signs the change and the approval: the approval is of one's own change."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: evil\n"}, by="ben")
    place.approve("ben", deployed=deployed)

    assert not place.answered(deployed=deployed)


@pytest.mark.parametrize("how", ["no rule", "no approver of old", "another's key"])
def test_the_trust_file_does_not_help_in_the_same_range(how: str) -> None:
    """Rule away, thief's friends in, another person's key exchanged: what is deployed goes on to decide."""
    place = Place()
    deployed = place.head
    own = {name: new_key() for name in ("cleo", "eve")}
    place.push(
        {
            layout.SIGNERS: {
                "no rule": lambda: place.signers(None),
                "no approver of old": lambda: place.signers({"approvers": ["eve"]}, eve=own["eve"]),
                "another's key": lambda: place.signers(place.rule, cleo=own["cleo"]),
            }[how](),
            VALUES: b"greeting: evil\n",
        },
        by="ben",
    )
    place.keys |= own
    for name in ("ben", "cleo", "eve"):
        place.approve(name, deployed=deployed)

    assert not place.answered(deployed=deployed)
