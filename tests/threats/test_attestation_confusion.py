"""A signature or statement that is good for one thing is shown for another: another source, image, kind or purpose.

Number: 19
Defence: a key counts for the one source that trust/attesters.yaml gives it; every statement of a file must be about the
image that the release names, by repository and digest; the kind of a statement is signed with it, and a signature over
an envelope covers its type, so that no image signature passes for one (interlock/contract/dsse.py, evidence.py).
Not defended: two sources that share a key, which nothing forbids.
"""

from __future__ import annotations

import dataclasses

import pytest

from interlock.cd import chain
from interlock.contract import dsse, evidence, layout, repository
from interlock.contract.attesters import Attester
from interlock.errors import FormatError
from tests import examples_of_evidence as proof
from tests import examples_of_repositories as example
from tests.examples_of_evidence import KEY, OTHER_KEY, file_of, said
from tests.unit.cd.test_chain import links, proven

OTHERS = proof.attesters(KEY) + proof.attesters(OTHER_KEY, source="blog").partition("attesters:\n")[2]


def any_key(each: dsse.Envelope, attester: Attester) -> bool:
    """As a check does that only asks whether somebody known has signed."""
    return any(dsse.is_signed_envelope(each, key.public) for key in (KEY, OTHER_KEY))


def test_a_key_of_another_source_succeeds_where_any_known_key_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signer of a blog vouches for the shop."""
    monkeypatch.setattr(chain, "_is_signed", any_key)

    assert not proven(proof.tree(file_of(said(), OTHER_KEY), {layout.ATTESTERS: OTHERS})).broken


def test_a_key_of_another_source_is_refused() -> None:
    """Though it is declared, for that one."""
    assert links(proven(proof.tree(file_of(said(), OTHER_KEY), {layout.ATTESTERS: OTHERS}))) == ["signature"]


def test_statements_about_another_image_are_refused() -> None:
    """Signed well, and about the digest before; or about the same digest in another repository."""
    for other in (
        f"{example.IMAGE_REPOSITORY}@sha256:{'9' * 64}",
        example.IMAGE.replace("registry.example/shop", "registry.example/blog"),
    ):
        with pytest.raises(FormatError, match="but the release names"):
            repository.read(proof.tree(file_of(said(image=other))))


def test_one_statement_about_another_image_among_good_ones_is_refused() -> None:
    """A file speaks about one image."""
    mixed = {**said(), "tests": said(image=f"{example.IMAGE_REPOSITORY}@sha256:{'9' * 64}")["tests"]}

    with pytest.raises(FormatError, match="must speak about one image"):
        repository.read(proof.tree(file_of(mixed)))


def test_a_bill_of_materials_is_no_test_result() -> None:
    """What is signed as one kind does not count as another, whatever it says."""
    made = said()
    renamed = dataclasses.replace(made["tests"], predicate_type=evidence.CYCLONEDX)

    assert "tests" in links(proven(proof.tree(file_of({**made, "tests": renamed}))))


def test_the_signature_over_an_image_is_none_over_a_statement() -> None:
    """The same key signs both, and each over bytes that begin otherwise."""
    payload = said()["tests"].payload
    bare = dsse.Envelope(payload, (dsse.Signature(dsse.fingerprint(KEY.public), KEY.sign(payload)),))
    attester = Attester(source="shop", keys=(KEY.public,))

    assert not chain._is_signed(bare, attester)
    assert chain._is_signed(dsse.sign(KEY, payload), attester)
