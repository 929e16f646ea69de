"""Receipts: a chain that shows every change, gap and foreign hand, and intents that stay open until they are closed."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.cd import receipts
from interlock.cd.ledger_check import Checkpoint, check_chain, check_end, check_order
from interlock.cd.receipts import Entry, Statement
from interlock.contract.canonical import canonical
from interlock.errors import FormatError
from tests.unit.trust.history import Key, new_key

NOW = dt.datetime(2030, 1, 2, 4, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=1)))
CD = new_key()


def statement(**fields: object) -> Statement:
    given = {"kind": "intent", "environment": "dev", "environment_id": "d0d1d2d3d4d5", "actor": "schedule", "run": "r1"}
    return Statement.model_validate({**given, **fields})


def chain(*statements: Statement, key: Key = CD) -> list[Entry]:
    entries: list[Entry] = []
    for number, each in enumerate(statements):
        previous = entries[-1] if entries else None
        now = NOW + dt.timedelta(seconds=number)
        entries.append(receipts.make(each, previous=previous, now=now, private_key=key.private))
    return entries


def three() -> list[Entry]:
    return chain(statement(run="1"), statement(run="2"), statement(run="3"))


def _told(entries: list[Entry], keys: list[str]) -> tuple[str, ...]:
    return tuple(map(str, check_chain(entries, keys)))


def test_a_receipt_is_read_as_it_was_made() -> None:
    """What is written is read back, in UTC, under a path that sorts by time."""
    full = statement(verified="a" * 40, plan="sha256:" + "b" * 64, counts={"create": 2}, note="two\nlines")
    (entry,) = chain(full)

    assert entry.path == "receipts/dev/20300102T030405Z-1.json"
    assert receipts.read(entry.data, path=entry.path) == entry
    assert json.loads(entry.data)["receipt"]["statement"]["counts"] == {"create": 2}


def test_a_whole_chain_has_no_problems() -> None:
    """Three receipts in order, read back from their bytes in any order, are a chain."""
    entries = [receipts.read(entry.data, path=entry.path) for entry in reversed(three())]

    assert _told(entries, [CD.public]) == ()


def test_a_missing_receipt_shows() -> None:
    """Taking one out of the middle, or the first, breaks the chain."""
    entries = three()
    for missing in (0, 1):
        problems = _told(entries[:missing] + entries[missing + 1 :], [CD.public])
        assert any("missing" in problem for problem in problems)


def test_a_changed_receipt_shows() -> None:
    """A changed word breaks its signature and the next one's link."""
    first, second, third = three()
    changed = second.receipt.model_copy(update={"statement": statement(run="2", outcome="healthy")})
    value = {"receipt": changed.model_dump(mode="json"), "signature": second.signature}
    forged = receipts.read(canonical(value) + b"\n", path=second.path)

    problems = _told([first, forged, third], [CD.public])

    assert len(problems) == 2 and "does not fit" in problems[0] and "follow" in problems[1]


def test_a_foreign_signature_shows() -> None:
    """A chain that is whole but signed by another key is not CD's."""
    problems = _told(chain(statement(), key=new_key()), [CD.public])

    assert len(problems) == 1 and "nobody" in problems[0]


def test_a_moved_receipt_shows() -> None:
    """A receipt under another environment's path, or out of time, is seen."""
    (entry,) = chain(statement())
    moved = replace(entry, path=entry.path.replace("dev", "production"))
    late = receipts.make(statement(run="2"), previous=entry, now=NOW - dt.timedelta(days=1), private_key=CD.private)

    assert "path" in _told([moved], [CD.public])[0]
    assert "before" in _told([entry, late], [CD.public])[0]


def test_an_intent_stays_open_until_its_result() -> None:
    """An intent is closed by the result that names it, not by any other."""
    (intent,) = chain(statement())
    other = receipts.make(statement(run="r2"), previous=intent, now=NOW, private_key=CD.private)
    result = receipts.make(
        statement(kind="result", outcome="healthy", intent=other.digest),
        previous=other,
        now=NOW,
        private_key=CD.private,
    )

    assert receipts.open_intents([intent]) == (intent,)
    assert receipts.open_intents([result, other, intent]) == (intent,)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'"format":2', b'"format":3'),
        lambda data: data.replace(b'"number":1', b'"number":0'),
        lambda data: data.replace(b'"actor"', b'"hidden":1,"actor"'),
        lambda data: data.replace(b",", b", ", 1),
        lambda data: data + b"\n",
        lambda data: b"",
        lambda data: b"\xff",
        lambda data: data.replace(b'"number":1', b'"number":1,"number":2'),
    ],
)
def test_other_forms_are_refused(change: object) -> None:
    """Only the one canonical form is a receipt."""
    (entry,) = chain(statement())

    with pytest.raises(FormatError, match="receipts/dev"):
        receipts.read(change(entry.data), path=entry.path)  # type: ignore[operator]


OLD = Path(__file__).parent / "ledger-format-1"


def test_a_ledger_of_format_1_stays_readable() -> None:
    """Receipts of an older version are read, verify, and are followed by receipts of today's form in one chain."""
    paths = sorted(OLD.glob("*.json"), key=lambda path: receipts.number_of(path.name))
    old = [receipts.read(path.read_bytes(), path=f"receipts/dev/{path.name}") for path in paths]
    key = (OLD / "cd.pub").read_text()

    new = receipts.make(statement(run="new"), previous=old[-1], now=NOW, private_key=CD.private)

    assert [entry.receipt.format for entry in old] == [1, 1] and new.receipt.format == 2
    assert check_chain(old, [key]) == ()
    assert check_chain([*old, new], [key, CD.public]) == ()
    assert receipts.open_intents(old) == ()


def test_format_1_cannot_say_what_came_later() -> None:
    """A field that nobody signed in an old receipt makes it none."""
    (path,) = OLD.glob("*-1.json")
    forged = path.read_bytes().replace(b'"counts"', b'"about":"x","counts"')

    with pytest.raises(FormatError):
        receipts.read(forged, path=f"receipts/dev/{path.name}")


def test_a_fork_shows() -> None:
    """Two receipts of one number are a fork, whoever signed them."""
    first, second, _ = three()
    other = receipts.make(statement(run="other"), previous=first, now=NOW, private_key=CD.private)

    (problem,) = [each for each in check_chain([first, second, other], [CD.public]) if each.fault == "doubled"]

    assert problem.number == 2 and "forked" in problem.what


def test_a_cut_end_shows_by_a_checkpoint() -> None:
    """The chain alone is whole; what somebody beside the ledger remembers says which receipts are missing."""
    entries = three()
    seen = Checkpoint("dev", 3, entries[2].digest, "the mark on this host")

    assert check_end(entries, seen) == ()
    (problem,) = check_end(entries[:1], seen)
    assert check_chain(entries[:1], [CD.public]) == ()
    assert problem.fault == "truncated" and problem.number == 2
    assert "receipts 2 to 3 are missing at the end: the mark on this host has seen receipt 3" in problem.what


def test_a_replaced_end_shows_by_a_checkpoint() -> None:
    """An end that was cut and written anew, even with CD's key, is not the one that was seen."""
    entries = three()
    seen = Checkpoint("dev", 3, entries[2].digest, "the record")
    anew = receipts.make(statement(run="other"), previous=entries[1], now=NOW, private_key=CD.private)

    (problem,) = check_end([*entries[:2], anew], seen)

    assert problem.fault == "forked" and problem.where == anew.path


def test_receipts_that_came_in_another_order_show() -> None:
    """A ledger whose history adds receipt 2 before receipt 1 was written anew."""
    paths = [entry.path for entry in three()]

    assert check_order([("a" * 40, paths[0]), ("b" * 40, paths[1])]) == ()
    (problem,) = check_order([("b" * 40, paths[1]), ("a" * 40, paths[0])])
    assert problem.fault == "reordered" and problem.where == f"commit {'a' * 12}"
