"""Evidence is changed after it was signed: another verdict, more tests, fewer findings, another image.

Number: 26
Defence: the release names the digest of the evidence file, and each statement in it is signed by the signer's key, over
its type and its bytes; CD verifies both (interlock/contract/repository.py, interlock/cd/chain.py), and judges the
findings once more by its own policy.
Not defended: what was wrong before it was signed. The ledger's own receipts are another page's matter.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from interlock.cd import chain
from interlock.cd.proofs import require_proven
from interlock.contract import dsse, evidence, layout, repository
from interlock.contract.canonical import canonical, digest
from interlock.contract.evidence import Statement
from interlock.errors import FormatError, Refused
from tests import examples_of_evidence as proof
from tests.examples_of_evidence import CRITICAL, file_of, said
from tests.unit.cd.test_chain import changed, links, proven

KINDS = pytest.mark.parametrize("kind", ["findings", "tests"])


def original(kind: str) -> dict[str, Statement]:
    """What the signer would say of a build that may not be released."""
    return said(found=proof.scans(CRITICAL)) if kind == "findings" else changed("tests", "passedTests", [])


def embellish(statement: dict[str, Any]) -> None:
    """Everything that keeps it out is taken away."""
    predicate = statement["predicate"]
    match statement["predicateType"]:
        case evidence.GATE_VERDICT:
            predicate |= {"result": "PASSED", "reasons": [], "blocking": []}
        case evidence.VULNERABILITIES:
            predicate["scanner"]["result"]["findings"] = []
        case evidence.TEST_RESULT:
            predicate |= {"result": "PASSED", "passedTests": ["test_that_never_ran"]}


def tampered(kind: str) -> bytes:
    """The file as the signer made it, embellished, with all signatures left as they are."""
    read = [dsse.read_envelope(each) for each in json.loads(file_of(original(kind)))["envelopes"]]
    said = [json.loads(each.payload) for each in read]
    for statement in said:
        embellish(statement)
    beside = [digest(canonical(each)) for each in said if each["predicateType"] != evidence.GATE_VERDICT]
    named = [{"digest": {"sha256": each.removeprefix("sha256:")}} for each in sorted(beside)]
    for statement in said:
        if statement["predicateType"] == evidence.GATE_VERDICT:
            statement["predicate"][evidence.INPUTS] = named
    return evidence.document(
        dataclasses.replace(each, payload=canonical(statement)) for each, statement in zip(read, said, strict=True)
    )


@KINDS
def test_embellished_evidence_succeeds_where_signatures_are_not_looked_at(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release names the new digest, as whoever has CI's key for commits can write: nothing else is broken."""
    monkeypatch.setattr(chain, "_is_signed", lambda *_: True)

    assert proven(proof.tree(file_of(original(kind)))).broken
    assert not proven(proof.tree(tampered(kind))).broken


@KINDS
def test_embellished_evidence_is_refused(kind: str) -> None:
    """By the signature of the statements that were changed."""
    assert links(proven(proof.tree(tampered(kind)))) == ["signature"]


def test_a_file_that_the_release_does_not_name_is_refused_by_its_digest() -> None:
    """Who may write evidence and no release gets no further than the reader."""
    files = proof.release_of(file_of(said()))
    path = next(each for each in files if layout.parse_evidence(each))

    with pytest.raises(FormatError, match="the release names another"):
        repository.read(proof.tree(changes={**files, path: tampered("tests")}))


def test_the_refusal_names_what_was_changed() -> None:
    """So that somebody knows where to look."""
    with pytest.raises(Refused, match=r"3 statements are not signed .* gate-verdict, scan, test-result"):
        require_proven(proven(proof.tree(tampered("tests"))), environment="dev", commit="c" * 40)
