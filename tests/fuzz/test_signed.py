"""Commits, signatures, envelopes, evidence and receipts: hostile ones are refused, changed ones never verify."""

from __future__ import annotations

import base64
import datetime as dt
import json
import zlib

import pysequoia
from hypothesis import assume, given
from hypothesis import strategies as st

from interlock.cd import inventory, ledger_check, receipts, record
from interlock.contract import commit as commits
from interlock.contract import dsse, evidence, openpgp, signature
from interlock.contract.canonical import canonical
from interlock.contract.render import Identity
from interlock.errors import InterlockError, Refused
from tests import examples_of_repositories as example
from tests.fuzz.hostile import fuzzed, hostile, hostile_text, only_ours

PRIVATE, PUBLIC = signature.generate_key()
OWNERS = {signature.key_blob(PUBLIC): "ada"}
PERSON = commits.Person("Ada", "ada@example.org")
UNSIGNED = commits.unsigned(tree="1" * 40, parents=("2" * 40,), author=PERSON, seconds=1, message="Change\n\nA: b\n")
SIGNED = commits.signed(UNSIGNED, PRIVATE)
KEY = dsse.LocalKey(dsse.generate_key())
PROOF = evidence.document([dsse.sign(KEY, each.payload) for each in example.statements()])


@fuzzed
@given(hostile([SIGNED, UNSIGNED]))
def test_commits(data: bytes) -> None:
    """They are taken apart or refused; only a commit whose signed bytes are the same verifies."""
    parsed = only_ours(lambda: commits.parse(data))
    commits.committed(data)
    if parsed is None or parsed.signature is None:
        return
    owner = only_ours(lambda: signature.verify(parsed.signature or "", parsed.payload, OWNERS))

    assert owner is None or parsed.payload == UNSIGNED


@fuzzed
@given(hostile_text([signature.sign(PRIVATE, b"message")]), st.binary(max_size=20))
def test_signatures(armored: str, message: bytes) -> None:
    """A changed signature is refused or says the same; none fits another message."""
    assume(message != b"message")
    only_ours(lambda: signature.verify(armored, b"message", OWNERS))
    try:
        signature.verify(armored, message, OWNERS)
    except Refused:
        return
    raise AssertionError("it verified another message")


@fuzzed
@given(hostile_text([PUBLIC, example.PERSON_KEY]))
def test_public_keys(text: str) -> None:
    """As they stand in trust/signers.yaml."""
    blob = only_ours(lambda: signature.key_blob(text))
    if blob is not None:
        assert only_ours(lambda: signature.verify(signature.sign(PRIVATE, b"m"), b"m", {blob: "x"})) in {None, "x"}


@fuzzed
@given(hostile([PROOF]))
def test_evidence(data: bytes) -> None:
    """A file is read or refused, and what it says of bills of materials too."""
    found = only_ours(lambda: evidence.read_envelope(data, path="f"))
    if found:
        only_ours(lambda: [each.payload for each in found.statements])
        only_ours(lambda: evidence.documents(found))
        only_ours(
            lambda: evidence.require_about(
                found, image=example.IMAGE, repository="shop", commit="5" * 40, component="web", path="f"
            )
        )


@fuzzed
@given(hostile([json.dumps(dsse.sign(KEY, b"{}").to_json()).encode()]))
def test_a_changed_envelope_is_not_signed(data: bytes) -> None:
    """Of anything but what was signed."""
    try:
        envelope = dsse.read_envelope(json.loads(data))
        dsse.require_signed(envelope, KEY.public, subject="it")
    except (InterlockError, ValueError, KeyError, TypeError, RecursionError):
        return
    assert envelope.payload == b"{}"


@fuzzed
@given(hostile_text([KEY.public]))
def test_attestation_keys(text: str) -> None:
    """A public key is one, or a FormatError."""
    only_ours(lambda: dsse.fingerprint(text))
    only_ours(lambda: dsse.is_signed(text, b"m", b"s"))


STATEMENT = receipts.Statement(
    kind="intent", environment="dev", environment_id="d0d1d2d3d4d5", actor="ada", run="r", counts={"create": 1}
)
RECEIPT = receipts.make(STATEMENT, previous=None, now=dt.datetime(2030, 1, 2, tzinfo=dt.UTC), private_key=PRIVATE)


def _in_form(data: bytes) -> bytes:
    """As a forger would write it, who keeps to the form."""
    try:
        return canonical(json.loads(data)) + b"\n"
    except (ValueError, RecursionError, UnicodeError):
        return data


@fuzzed
@given(hostile([RECEIPT.data]).map(_in_form))
def test_receipts(data: bytes) -> None:
    """Read or refused; the chain tells of whatever was changed."""
    found = only_ours(lambda: receipts.read(data, path=RECEIPT.path))
    if found and data != RECEIPT.data:
        assert ledger_check.check_chain([found], [PUBLIC])


@fuzzed
@given(st.sampled_from(["create", "delete", "x"]), st.integers(-1, 9), st.text(max_size=5))
def test_a_changed_receipt_breaks_the_chain(name: str, number: int, text: str) -> None:
    """Whatever a forger writes into it, in good form."""
    value = json.loads(RECEIPT.data)
    value["receipt"]["statement"] |= {"counts": {name: number}, "run": text}
    data = canonical(value) + b"\n"
    found = only_ours(lambda: receipts.read(data, path=RECEIPT.path))

    assert found is None or bool(ledger_check.check_chain([found], [PUBLIC])) is (data != RECEIPT.data)


PGP = pysequoia.Tsk.generate("Ada <ada@example.org>")
PGP_PUBLIC = str(PGP.extract_certificate())
PGP_SIGNATURE = pysequoia.sign(PGP.signer(), b"message", mode=pysequoia.SignatureMode.DETACHED).decode()


@fuzzed
@given(hostile_text([PGP_SIGNATURE]))
def test_openpgp_signatures(armored: str) -> None:
    """Changed ones are refused or say the same; none fits another message."""
    blob = openpgp.key_blob(PGP_PUBLIC)
    assert openpgp.verify(PGP_SIGNATURE, b"message", [blob]) == blob
    only_ours(lambda: openpgp.verify(armored, b"message", [blob]))
    assert only_ours(lambda: openpgp.verify(armored, b"other", [blob])) is None


@fuzzed
@given(hostile_text([PGP_PUBLIC]))
def test_openpgp_keys(text: str) -> None:
    """Of trust/signers.yaml: what is taken for a key can be used as one."""
    blob = only_ours(lambda: openpgp.key_blob(text))
    if blob is not None:
        openpgp.fingerprint(blob)
        openpgp.last_day(blob)
        only_ours(lambda: openpgp.verify(PGP_SIGNATURE, b"message", [blob or b""]))


RECORD = record.Record("d0d1d2d3d4d5", verified="1" * 40, deployed="1" * 40, after={"shop": ("db",)})
MARK = record.Mark("d0d1d2d3d4d5", verified="1" * 40, deployed="1" * 40, receipts=3)


@fuzzed
@given(hostile([record.write(RECORD), record.write(MARK)]))
def test_records(data: bytes) -> None:
    """What CD keeps in the cluster and on its host."""
    for model in (record.Record, record.Mark):
        only_ours(lambda model=model: record.read(model, data, subject="it"))  # type: ignore[misc]


WEB = inventory.Entry(Identity("apps", "Deployment", "shop", "web"), "shop", "n1", "u1", keep=True)
JOB = inventory.Entry(Identity("batch", "Job", "shop", "j"), "shop", "n2", "u2", result="succeeded", turn=1)
INVENTORY = inventory.Inventory.of([WEB], ran={JOB.identity: JOB})
(SHARD,) = inventory.encode(INVENTORY)
ROWS = zlib.decompress(base64.b64decode(SHARD))


@fuzzed
@given(hostile_text([SHARD]), hostile([ROWS]))
def test_inventories(text: str, rows: bytes) -> None:
    """As they lie in ConfigMaps: compressed, so that small ones may be bombs, and what is in them may be anything."""
    assert inventory.decode([SHARD]) == INVENTORY
    only_ours(lambda: inventory.decode([text]))
    found = only_ours(lambda: inventory.decode([base64.b64encode(zlib.compress(rows)).decode()]))
    if found:
        assert inventory.decode(inventory.encode(found)).entries == found.entries
