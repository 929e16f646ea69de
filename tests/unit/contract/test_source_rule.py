"""The source repository's own rule: a commit that nobody of those signed is not released."""

from __future__ import annotations

import pytest

from interlock.contract import commit as commits
from interlock.contract import signature, source_rule
from interlock.contract.attesters import Attester
from interlock.contract.commit import Person
from interlock.errors import Refused
from tests import examples_of_evidence as proof

ADA, ADA_PUBLIC = signature.generate_key("ada")
EVE, _ = signature.generate_key("eve")
RULE = Attester(source="shop", keys=(proof.KEY.public,), commit_keys=(" ".join(ADA_PUBLIC.split()[:2]),))


def made(key: bytes | None) -> tuple[str, bytes]:
    ada = Person("Ada", "ada@example.org")
    data = commits.unsigned(tree="1" * 40, parents=("2" * 40, "3" * 40), author=ada, seconds=1, message="Merge")
    data = commits.signed(data, key) if key else data
    return commits.object_id("commit", data), data


def test_a_commit_by_a_named_key_passes_with_its_fingerprint() -> None:
    """A merge as well: history before it is what whoever signed it took in."""
    commit, data = made(ADA)

    assert source_rule.asks(RULE)
    assert source_rule.signed_by(RULE, commit, data) == signature.fingerprint(ADA_PUBLIC)
    assert not source_rule.asks(None)


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        (None, b"", "it is not signed"),
        (EVE, b"", "by a key that nobody here holds"),
        (ADA, b" and more", "does not fit"),
    ],
)
def test_any_other_commit_is_refused(key: bytes | None, change: bytes, words: str) -> None:
    """Unsigned, signed by somebody else, or changed after it was signed; and the hint names file and field."""
    _, data = made(key)
    data = data.replace(b"Merge", b"Merge" + change)

    with pytest.raises(Refused, match=words) as caught:
        source_rule.signed_by(RULE, commits.object_id("commit", data), data)

    assert caught.value.rule == "source-signature"
    assert "commit_keys" in caught.value.hint


def test_bytes_of_another_commit_prove_nothing() -> None:
    """The id is of the bytes."""
    _, data = made(ADA)

    with pytest.raises(Refused, match="another id"):
        source_rule.signed_by(RULE, "4" * 40, data)
