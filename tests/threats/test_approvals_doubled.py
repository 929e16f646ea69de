"""One person gives two approvals: with two keys, with two files, or by a second name that they give themselves.

Defence: people are counted, as trust/signers.yaml names them, by the deployed commit's file and by the new one's
(interlock/contract/approvals.py).
Not defended: a person whom the deployed trust/signers.yaml has as two signers; who is a person is said there.
"""

from __future__ import annotations

import pytest

from interlock.contract import approvals, layout, signature, strict_yaml
from tests.unit.trust.approved import VALUES, Place
from tests.unit.trust.history import Key, new_key


@pytest.fixture
def doubled() -> tuple[Place, str, Key]:
    """ben has two keys. Two have to approve, and ben has, with each of the two."""
    second = new_key()
    place = Place({"required": 2})
    signers = strict_yaml.load(place.signers(place.rule).decode(), path="").value
    assert isinstance(signers, dict)
    ben = next(each for each in signers["signers"] if each["name"] == "ben")
    ben["keys"] = [ben.pop("key"), second.public]
    place.head = place.history.commit(
        None, {**place.files(), layout.SIGNERS: strict_yaml.dump(signers).encode()}, by=place.keys["ada"]
    )
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    place.approve("ben", deployed=deployed)
    again = place.approve("ben", deployed=deployed, key=second, ends="2030-01-02T12:30:00Z")
    first = place.history.parents[place.head][0]
    place.push({again.replace("ben", "second"): place.tree(first).files[again]})
    return place, deployed, second


def test_it_succeeds_where_keys_are_counted(doubled: tuple[Place, str, Key]) -> None:
    """A plain count of keys that signed finds two, as many as are asked for."""
    place, _, second = doubled
    head = place.tree(place.head)
    files = (approvals.read(head.files[path], path=path) for path in head.under(layout.approvals("prod")))
    keys = {signature.key_blob(key): key for key in (place.keys["ben"].public, second.public)}
    signed_by = {
        signature.verify(each.signature, approvals.statement(each.approval), keys, namespace=approvals.NAMESPACE)
        for each in files
    }

    assert len(signed_by) == 2


def test_a_person_counts_once(doubled: tuple[Place, str, Key]) -> None:
    """Both approvals are sound, and they are one person's."""
    place, deployed, _ = doubled

    found = place.ask(deployed=deployed)
    assert found is not None
    assert [each.problem for each in found.approvals] == ["", ""]
    assert (found.counting, found.wanted) == (("ben",), ("1 approval of ada, ben, cleo",))


def test_a_second_name_counts_from_the_next_deploy_on(doubled: tuple[Place, str, Key]) -> None:
    """Who makes themselves a second approver in the same range is none for it."""
    place, deployed, _ = doubled
    place.keys["eve"] = new_key()
    place.push({layout.SIGNERS: place.signers(place.rule)}, by="dora")
    for name in ("cleo", "eve"):
        place.approve(name, deployed=deployed)

    found = place.ask(deployed=deployed)
    assert found is not None
    assert not found.answered
    assert "eve did not have this key" in next(each.problem for each in found.approvals if each.approver == "eve")
