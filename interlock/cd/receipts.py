"""Receipts: what CD says that it did, in a chain that nobody can shorten, reorder or change unseen.

A receipt is canonical JSON, names the digest of the one before it in its environment, and is signed by CD's key. An
*intent* is written before the first write to a cluster, a *result* after the last one and names its intent; an intent
without a result is one whose CD was killed, or is still at work.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from interlock.contract import signature
from interlock.contract.canonical import canonical, digest
from interlock.contract.models import CommitId, Digest, File, Model, Name, StableId
from interlock.errors import FormatError, Refused

NAMESPACE = "interlock-receipt"
"""What the signature is for: a receipt's signature is none over a commit."""
FOLDER = "receipts"
_ENDED_WELL = frozenset({"healthy", "removed"})
Kind = Literal["intent", "result", "refusal", "drift"]
Text = Annotated[str, StringConstraints(max_length=2000)]


class Statement(Model):
    """What CD has to say about one environment."""

    kind: Kind
    environment: Name
    environment_id: StableId
    verified: CommitId | None = None
    """The verified head."""
    deployed: CommitId | None = None
    """The newest commit whose sync ended healthy; for an intent, before it."""
    plan: Digest | None = None
    counts: dict[str, Annotated[int, Field(ge=0)]] = Field(default={})
    """How many objects of each action, or drifts of each kind."""
    actor: Text
    """Who asked: a flow's trigger, or a person at the command line."""
    run: Text
    outcome: Text = ""
    """For a result: how it ended; for a refusal: the rule; for drift: the decision."""
    note: Text = ""
    intent: Digest | None = None
    """For a result: the digest of the receipt that announced it."""


class Receipt(File):
    """A statement at its place in its environment's chain."""

    number: int = Field(ge=1)
    time: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    previous: Digest | None
    statement: Statement


class _Signed(Model):
    receipt: Receipt
    signature: str


@dataclass(frozen=True)
class Entry:
    """A receipt with its signature, as it lies in the ledger. `digest` is what the next one names."""

    path: str
    data: bytes
    receipt: Receipt
    signature: str

    @property
    def digest(self) -> str:
        return digest(self.data)

    @property
    def statement(self) -> Statement:
        return self.receipt.statement


def newest_healthy(entries: Iterable[Entry]) -> int:
    """The number of the newest receipt that says that a sync ended well; 0 when there is none."""
    ended = (entry.receipt for entry in entries if entry.statement.outcome in _ENDED_WELL)
    return max((receipt.number for receipt in ended if receipt.statement.kind == "result"), default=0)


def folder(environment: str) -> str:
    return f"{FOLDER}/{environment}"


def number_of(path: str) -> int:
    """The place in the chain that a receipt's path gives; 0 when it is no receipt's path."""
    number = path.rpartition("-")[2].removesuffix(".json")
    return int(number) if number.isdecimal() else 0


def make(statement: Statement, *, previous: Entry | None, now: dt.datetime, private_key: bytes) -> Entry:
    """The signed receipt that follows `previous` in the statement's environment; `now` in any time zone."""
    time = now.astimezone(dt.UTC)
    receipt = Receipt(
        format=1,
        number=previous.receipt.number + 1 if previous else 1,
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        previous=previous.digest if previous else None,
        statement=statement,
    )
    armored = signature.sign(private_key, _bytes(receipt), namespace=NAMESPACE)
    data = canonical({"receipt": receipt.model_dump(mode="json"), "signature": armored}) + b"\n"
    path = f"{folder(statement.environment)}/{time:%Y%m%dT%H%M%SZ}-{receipt.number}.json"
    return Entry(path, data, receipt, armored)


def read(data: bytes, *, path: str) -> Entry:
    """A receipt from its file; FormatError when it has not exactly the form that `make` gives it."""
    try:
        signed = _Signed.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"not a receipt: {error.errors()[0]['msg']}", path=path) from None
    if canonical(json.loads(data)) + b"\n" != data:
        raise FormatError("not in canonical form", path=path)
    return Entry(path, data, signed.receipt, signed.signature)


def open_intents(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The intents of one environment that no result has closed, oldest first."""
    intents: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda each: each.receipt.number):
        if entry.statement.kind == "intent":
            intents[entry.digest] = entry
        elif entry.statement.intent is not None:
            intents.pop(entry.statement.intent, None)
    return tuple(intents.values())


def verify_chain(entries: Sequence[Entry], keys: Iterable[str]) -> tuple[str, ...]:
    """What is wrong with one environment's receipts, a line each; nothing when the chain is whole.

    `keys` are the one-line public keys that CD signs, or signed, with.
    """
    owners = {signature.key_blob(key): key for key in keys}
    problems: list[str] = []
    previous: Entry | None = None
    for entry in sorted(entries, key=lambda each: each.receipt.number):
        problems += [f"{entry.path}: {problem}" for problem in _problems(entry, previous, owners)]
        previous = entry
    return tuple(problems)


def _problems(entry: Entry, previous: Entry | None, owners: Mapping[bytes, str]) -> Iterable[str]:
    receipt = entry.receipt
    expected = previous.receipt.number + 1 if previous else 1
    if receipt.number != expected:
        yield f"it is number {receipt.number} where {expected} was due: receipts are missing or doubled"
    elif receipt.previous != (previous.digest if previous else None):
        yield "it does not follow the receipt before it: one of the two was changed"
    if previous and receipt.time < previous.receipt.time:
        yield f"its time {receipt.time} is before {previous.receipt.time}"
    if entry.path != f"{folder(receipt.statement.environment)}/{_stamp(receipt.time)}-{receipt.number}.json":
        yield "its path is not the one that its content gives"
    try:
        signature.verify(entry.signature, _bytes(receipt), owners, namespace=NAMESPACE)
    except Refused as refusal:
        yield refusal.message


def _bytes(receipt: Receipt) -> bytes:
    return canonical(receipt.model_dump(mode="json"))


def _stamp(time: str) -> str:
    return time.replace("-", "").replace(":", "")
