"""A forge's key signs a commit that nobody reviewed: its web editor, another project on it, or whoever has the key.

Defence: what a forge has signed passes only as a squashed request that the forge's own API names by the commit, with
just the files of the commit that was reviewed, by somebody of the approvers' pool who may write all that it changes
and is none of its authors; and never below trust/ (interlock/contract/squash.py, interlock/contract/verification.py,
tasks/common/squashes.py). Nothing is signed by a forge's key unless trust/signers.yaml has one.
Not defended: a forge that lies about who reviewed, within what its signer's `writes` allow; who wrote the commits of a
request is told by their signatures where they have some, and else by names and the account that opened it.
"""

from __future__ import annotations

import pytest

from interlock.contract import commit, signature, squash
from interlock.errors import Refused
from tests.unit.trust.history import SIGNERS
from tests.unit.trust.squashed import VALUES, Squashed

CHANGE = {VALUES: b"a: 2\n"}


@pytest.fixture
def forged() -> tuple[Squashed, str]:
    """dora has the forge sign her change, by its web editor, and pushes it as if it were a merged request."""
    place = Squashed()
    made = place.squash(place.root, CHANGE, "ben")
    place.otherwise(made, squashed="")
    return place, made


def test_it_succeeds_when_a_signature_is_all_that_is_asked_for(forged: tuple[Squashed, str]) -> None:
    """The key is in trust/signers.yaml, and its signature fits: a plain verification of it is content."""
    place, made = forged
    parsed = commit.parse(place.history.raw[made].data)
    keys = {signature.key_blob(place.keys["forge"].public): "forge"}

    assert signature.verify(parsed.signature or "", parsed.payload, keys) == "forge"


def test_it_succeeds_when_reviews_are_not_held_against_what_was_reviewed(
    forged: tuple[Squashed, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any review of the pool's in place of what `vouching` asks, it passes."""
    place, made = forged
    monkeypatch.setattr(squash, "vouching", lambda *_: frozenset({"ben"}))

    assert place.verify(made)


def test_what_the_forge_does_not_know_as_a_merged_request_is_refused(forged: tuple[Squashed, str]) -> None:
    """Its key has signed it, and it has made it of nothing."""
    place, made = forged

    with pytest.raises(Refused, match="the forge made no commit of request 7") as refused:
        place.verify(made)
    assert refused.value.rule == "squash"


@pytest.mark.parametrize("fields", [{"tree": "e" * 40}, {"onto": False}])
def test_what_holds_more_than_was_reviewed_is_refused(fields: dict[str, object]) -> None:
    """A request that was reviewed, squashed with other files, or behind the branch."""
    place = Squashed()
    made = place.squash(place.root, CHANGE, "ben")
    place.otherwise(made, **fields)

    with pytest.raises(Refused):
        place.verify(made)


def test_a_forge_lets_nobody_in() -> None:
    """Reviews of a request that changes trust/ count for nothing."""
    place = Squashed()
    made = place.squash(place.root, {SIGNERS: place.signers(dora=("**",))}, "ada", "ben")

    with pytest.raises(Refused, match="says nothing of who is trusted"):
        place.verify(made)
