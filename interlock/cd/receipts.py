"""Receipts: what CD says that it did, in a chain that nobody can shorten, reorder or change unseen.

A receipt is canonical JSON, names the digest of the one before it in its environment, and is signed by CD's key. An
*intent* is written before the first write to a cluster, a *result* after the last one and names its intent; an intent
without a result is one whose CD was killed, or is still at work.

Format 1 has fewer fields. It is read for ever: `LATER` names what it has not. `interlock.cd.ledger_check` holds a
chain against its signatures, numbers and checkpoints.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from interlock.contract import signature
from interlock.contract.canonical import canonical, digest
from interlock.contract.models import CommitId, Digest, File, Image, Model, Name, Source, StableId
from interlock.errors import FormatError

NAMESPACE = "interlock-receipt"
"""What the signature is for: a receipt's signature is none over a commit."""
FOLDER = "receipts"
_ENDED_WELL = frozenset({"healthy", "removed"})
FORMAT: Literal[2] = 2
Kind = Literal["intent", "result", "refusal", "drift", "plan", "hold", "approval", "rollback"]
"""`plan`: one that differs and was held back before anything was written. `hold`: the environment is frozen."""
Text = Annotated[str, StringConstraints(max_length=2000)]
Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
INTERRUPTED = "interrupted"
"""The outcome of an intent that another run closes, because its own was killed."""
MOST_COMMITS = 50
MOST_RELEASES = 300
MOST_OBJECTS = 200
LATER = frozenset({"commit", "commits", "releases", "objects", "more", "approvals", "about", "queued"})
"""Fields of a statement that format 1 has not."""


class SignedCommit(Model):
    """A commit of the environment repository, and whose signature it carried when it was verified."""

    commit: CommitId
    signer: Text
    key: Text
    """The key's fingerprint."""


class Released(Model):
    """What a component of the environment was at the commit."""

    application: Name
    component: Name
    image: Image
    source: Source
    evidence: Digest


class Changed(Model):
    action: Text
    object: Text


class Agreed(Model):
    """An approval that counted: who gave it, the digest of what it is about, and until when it holds."""

    person: Text
    statement: Digest
    until: Moment | None = None
    review: Text = ""
    """Which review on the forge it was, whose word it is then; empty for a signature of the person's own."""


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
    commit: CommitId | None = None
    """The commit of the environment repository that it is about: for a refusal, the one that was refused."""
    commits: tuple[SignedCommit, ...] = Field(default=(), max_length=MOST_COMMITS)
    """What the commit brings beyond what is deployed, newest first: who, by signatures and nothing else."""
    releases: tuple[Released, ...] = Field(default=(), max_length=MOST_RELEASES)
    objects: tuple[Changed, ...] = Field(default=(), max_length=MOST_OBJECTS)
    more: dict[str, Annotated[int, Field(ge=1)]] = Field(default={})
    """By field: how many there were beyond those that a receipt has room for."""
    approvals: tuple[Agreed, ...] = Field(default=(), max_length=MOST_COMMITS)
    about: Text = ""
    """What a hold, an approval or a rollback is about."""
    queued: Moment | None = None
    """When it was signed, where the ledger could not be reached and others wrote to it meanwhile."""


class Receipt(File):
    """A statement at its place in its environment's chain."""

    format: Literal[1, 2]  # type: ignore[assignment]  # files of people's have format 1 still
    number: int = Field(ge=1)
    time: Moment
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
    queued: bool = False
    """It waits on this host, because the ledger could not be reached."""

    @property
    def digest(self) -> str:
        return digest(self.data)

    @property
    def number(self) -> int:
        return self.receipt.number

    @property
    def signed(self) -> bytes:
        """What the signature is over."""
        return canonical(_form(self.receipt))

    @property
    def statement(self) -> Statement:
        return self.receipt.statement

    @property
    def time(self) -> dt.datetime:
        return dt.datetime.strptime(self.receipt.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)


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
        format=FORMAT,
        number=previous.number + 1 if previous else 1,
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        previous=previous.digest if previous else None,
        statement=statement,
    )
    armored = signature.sign(private_key, canonical(_form(receipt)), namespace=NAMESPACE)
    return Entry(path_of(receipt), _file(receipt, armored), receipt, armored)


def path_of(receipt: Receipt) -> str:
    """Where the receipt lies in the ledger."""
    stamp = receipt.time.replace("-", "").replace(":", "")
    return f"{folder(receipt.statement.environment)}/{stamp}-{receipt.number}.json"


def read(data: bytes, *, path: str) -> Entry:
    """A receipt from its file; FormatError when it has not exactly the form that `make` gives it."""
    try:
        signed = _Signed.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"not a receipt: {error.errors()[0]['msg']}", path=path) from None
    if _file(signed.receipt, signed.signature) != data:
        raise FormatError("not in canonical form", path=path)
    return Entry(path, data, signed.receipt, signed.signature)


def open_intents(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The intents of one environment that no result has closed, oldest first."""
    intents: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda each: each.number):
        if entry.statement.kind == "intent":
            intents[entry.digest] = entry
        elif entry.statement.intent is not None:
            intents.pop(entry.statement.intent, None)
    return tuple(intents.values())


def _form(receipt: Receipt) -> dict[str, Any]:
    """The receipt as JSON, with the fields that its format has."""
    value = receipt.model_dump(mode="json")
    if receipt.format == 1:
        value["statement"] = {name: said for name, said in value["statement"].items() if name not in LATER}
    for each in value["statement"].get("approvals", ()):
        # Receipts from before reviews counted have no such field, and their digests no room for one.
        if not each["review"]:
            del each["review"]
    return value


def _file(receipt: Receipt, armored: str) -> bytes:
    return canonical({"receipt": _form(receipt), "signature": armored}) + b"\n"
