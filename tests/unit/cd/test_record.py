"""Record, mark and inventory as values: what they say together, and that nothing of them is guessed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from interlock.cd import record as form
from interlock.cd.inventory import Entry, Inventory, decode, encode
from interlock.cd.record import Known, Mark, Record
from interlock.contract.render import Identity
from interlock.errors import LedgerCut, Refused

A, B, C = "a" * 40, "b" * 40, "c" * 40
ID = "0123456789ab"


def _agreed(record: Record | None, mark: Mark | None, receipts: int = 0) -> Known:
    return form.agreed(record, mark, environment="dev", receipts=receipts)


def test_a_new_environment_begins_at_the_root_pin() -> None:
    """Nothing is known, nothing has to be contained."""
    assert _agreed(None, None) == Known(None, None, None)


def test_a_commit_goes_on_by_the_allowance_that_its_sync_began_by() -> None:
    """One that stands in the commit and let nothing pass, such as an earlier change's, lets nothing pass later."""
    record = Record(ID, B, A, B, allowed="0" * 16, covered="a" * 16 + "b" * 16)
    known = _agreed(form.read(Record, form.write(record), subject="r"), Mark(ID, B, A))
    assert known.began(B, "0" * 16) == {"a" * 16, "b" * 16}
    assert not known.began(B, "1" * 16)
    assert not known.began(C, "0" * 16)
    assert not _agreed(Record(ID, B, A, B), Mark(ID, B, A)).began(B, "")


def test_what_agrees_goes_on_from_there() -> None:
    """Verification starts at the mark's verified head."""
    assert _agreed(Record(ID, B, A, B), Mark(ID, B, A), 0) == Known(B, A, B)


@pytest.mark.parametrize(
    ("record", "mark", "receipts"),
    [
        (Record(ID, A, A), Mark(ID, B, A), 0),
        (Record(ID, B, B), Mark(ID, B, A), 0),
        (Record("ffffffffffff", B, A), Mark(ID, B, A), 0),
        (Record(ID, B, A), Mark(ID, B, A, receipts=3), 2),
    ],
)
def test_a_contradiction_freezes(record: Record, mark: Mark, receipts: int) -> None:
    """One of them was turned back, or the ledger lost receipts."""
    with pytest.raises(Refused) as refused:
        _agreed(record, mark, receipts)
    assert refused.value.rule == "record-mismatch"


def test_a_crash_between_mark_and_record_is_no_contradiction() -> None:
    """The mark is ahead by one: it knows what the record said before, however often that happened."""
    record = Record(ID, A, A)
    mark = Mark(ID, A, A).ahead(record, verified=B).ahead(record, verified=C)
    assert _agreed(record, mark) == Known(C, A, None)


@pytest.mark.parametrize(("record", "mark"), [(Record(ID, B, A), None), (None, Mark(ID, B, A))])
def test_a_loss_restarts_at_the_root_pin_and_must_find_what_was_known(record: Record | None, mark: Mark | None) -> None:
    """Everything is verified again, and the history has to hold what the other one knows."""
    known = _agreed(record, mark)
    assert known.since is None
    assert known.must_contain == {A, B}
    form.require_contained(known, [A, B, C], environment="dev")
    with pytest.raises(Refused):
        form.require_contained(known, [A, C], environment="dev")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format":2}', '{"format":1,"environment_id":"x","extra":1}'])
def test_a_record_of_another_form_is_refused(text: str) -> None:
    """A record is never guessed."""
    with pytest.raises(Refused) as refused:
        form.read(Record, text, subject="record")
    assert refused.value.rule == "record-damaged"


@pytest.mark.parametrize("more", [{"weakened": None}, {"after": 1}, {"after": {"shop": 1}}])
def test_a_record_with_what_is_not_its_own_is_refused(more: dict[str, object]) -> None:
    """A mark's field, or one of another shape, is no defect of ours: the record says which one is damaged."""
    text = json.dumps({**json.loads(form.write(Record(ID, A, A))), **more})
    with pytest.raises(Refused) as refused:
        form.read(Record, text, subject="record")
    assert refused.value.rule == "record-damaged"


def test_a_record_reads_what_it_wrote() -> None:
    """Both forms survive their bytes."""
    assert form.read(Record, form.write(Record(ID, B, A, B, 2)), subject="record") == Record(ID, B, A, B, 2)
    assert form.read(Mark, form.write(Mark(ID, B, A)), subject="mark") == Mark(ID, B, A)


def test_the_sets_id_is_the_one_of_the_proposal() -> None:
    """KEP-3659: applyset-, the hash of name, namespace, kind and group of the parent, -v1."""
    import base64
    import hashlib

    hashed = hashlib.sha256(b"interlock-0123456789ab.control.ConfigMap.").digest()
    expected = f"applyset-{base64.urlsafe_b64encode(hashed).decode().rstrip('=')}-v1"
    assert form.part_of(ID, "control") == expected


# inventory -------------------------------------------------------------------------------------------


def _entries(count: int) -> list[Entry]:
    return [
        Entry(Identity("apps", "Deployment", "shop", f"web-{n}"), "shop", f"{n:016x}", f"u{n}") for n in range(count)
    ]


@pytest.mark.parametrize(("count", "shards"), [(0, 1), (1, 1), (4_000, 1), (4_001, 2), (12_001, 4)])
def test_an_inventory_survives_its_shards(count: int, shards: int) -> None:
    """It splits as it grows, each part well below a ConfigMap's size."""
    inventory = Inventory.of(_entries(count))
    texts = encode(inventory)
    assert decode(texts) == inventory
    assert len(texts) == shards
    assert all(len(text) < 1 << 19 for text in texts)


def test_the_same_inventory_has_the_same_bytes() -> None:
    """Whatever order it was made in: unchanged parts are not written again."""
    entries = _entries(50)
    assert encode(Inventory.of(entries)) == encode(Inventory.of(reversed(entries)))


@pytest.mark.parametrize("text", ["", "bm90IHpsaWI=", "%%%"])
def test_a_damaged_shard_is_refused(text: str) -> None:
    """Half an inventory would forget objects, so it is none."""
    with pytest.raises(Refused) as refused:
        decode([text])
    assert refused.value.rule == "record-damaged"


def test_uids_are_noted_and_entries_forgotten() -> None:
    """An intent becomes an entry by its UID; what is gone leaves."""
    first, second = _entries(2)
    inventory = Inventory.of([replace(first, uid=""), second])
    assert inventory.noted({first.identity: "new"}).entries[first.identity].uid == "new"
    assert list(inventory.without([first.identity]).entries) == [second.identity]
    assert (inventory.group_kinds, inventory.namespaces) == (("Deployment.apps",), ("shop",))


def test_the_order_of_what_left_git_is_remembered() -> None:
    """As long as it owns something; of what Git has, only what Git says now counts."""
    before = Record(ID, A, A, after={"shop": ("db",), "web": ("db",), "old": ("db",)})
    found = form.remembered_order({"web": ("cache",)}, {"web", "cache", "db"}, before, {"shop", "web", "db"})
    assert found == {"shop": ("db",), "web": ("cache",)}
    assert form.remembered_order({}, {"web"}, None, ()) == {}
    assert form.read(Record, form.write(before), subject="record") == before


@pytest.mark.parametrize("keeper", ["mark", "record"])
def test_a_ledger_that_lost_what_was_seen_is_cut(keeper: str) -> None:
    """Fewer receipts than mark or record have seen, or another one in the place of the last: LedgerCut."""
    seen = {"receipts": 4, "receipt": "sha256:" + "4" * 64}
    record = Record("d0", verified="a" * 40, deployed="a" * 40, **(seen if keeper == "record" else {}))  # type: ignore[arg-type]
    mark = Mark("d0", verified="a" * 40, deployed="a" * 40, **(seen if keeper == "mark" else {}))  # type: ignore[arg-type]

    def ask(receipts: int, digests: dict[int, str]) -> Known:
        return form.agreed(record, mark, environment="dev", receipts=receipts, digests=digests)

    assert ask(4, {4: str(seen["receipt"])}).deployed == "a" * 40
    assert ask(40, {4: str(seen["receipt"]), 40: "sha256:" + "9" * 64}).deployed == "a" * 40
    with pytest.raises(LedgerCut, match="receipt 4 in the ledger is not the one"):
        ask(40, {40: "sha256:" + "9" * 64})
    with pytest.raises(LedgerCut, match="has 3 receipts"):
        ask(3, {})
    with pytest.raises(LedgerCut, match="receipt 4 in the ledger is not the one"):
        ask(5, {4: "sha256:" + "0" * 64})
