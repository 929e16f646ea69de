"""Before the first deploy, who may write trust/ takes a rule of approvals back by a commit that says it is a recovery.

Defence: what a recovery takes back counts for nothing only where verification refused it, by the trust of its parent;
a rule that was accepted once holds until something is deployed (interlock/contract/effects.py).
Not defended: who keeps the host and moves the root pin past the rule.
"""

from __future__ import annotations

import pytest

from interlock.contract import layout, verification
from tests.unit.trust.approved import VALUES, Place


def _taken_back() -> tuple[Place, str]:
    """ada made two people agree to changes of prod; dora, who approves nothing, says that this was refused."""
    place = Place({"required": 0})
    root = place.head
    place.push({layout.SIGNERS: place.signers({"required": 2})}, by="ada")
    assert not place.answered(deployed=None, root=root)
    before = {layout.SIGNERS: place.tree(root).files[layout.SIGNERS]}
    place.push(before, message=f"Tidy\n\n{verification.RECOVERY}: {root}")
    place.push({layout.SIGNERS: place.signers(None), VALUES: b"greeting: evil\n"})
    assert place.history.verify(place.history.point(root, place.keys["ada"]), place.head)
    return place, root


def test_it_succeeds_where_a_trailer_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When whatever calls itself a recovery is one, nobody has to agree any more."""
    place, root = _taken_back()
    monkeypatch.setattr(Place, "refuses", lambda *_: True)

    assert place.answered(deployed=None, root=root)


def test_the_rule_holds_until_something_is_deployed() -> None:
    """Two people still have to agree, and dora is none of them."""
    place, root = _taken_back()

    found = place.ask(deployed=None, root=root)
    assert found is not None
    assert found.wanted[0].startswith("2 approvals of ")
    assert "dora" in found.authors
