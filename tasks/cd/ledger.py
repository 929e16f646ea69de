"""The ledger: receipts in a git repository of their own, to which only CD pushes, and only ever adds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from interlock.cd import ledger_check, receipts
from interlock.cd.clock import require_sound
from interlock.cd.host import CdHost
from interlock.cd.ledger_check import Checked, Checkpoint, Problem
from interlock.cd.receipts import Entry, Statement
from interlock.contract import commit as commits
from interlock.contract import signature
from interlock.contract.commit import Person, RawCommit
from interlock.contract.host import LedgerRemote
from interlock.errors import FormatError, GitError, PushRejected, Refused
from tasks.cd import ledger_queue as queue
from tasks.common import git
from tasks.common.effect import effect

AUTHOR = Person("Interlock CD", "cd@interlock.invalid")
_ATTEMPTS = 20
"""How often a push is tried again when other environments' receipts come first."""
_ALL = 1_000_000
Keys = tuple[str, ...]


def keys_of(host: CdHost) -> Keys:
    """Whose signatures a receipt may have: this host's key, and those that cd.yaml names beside it."""
    return _keys(host.ledger, git.read_key(host.signing.key))


def _keys(ledger: LedgerRemote, private_key: bytes) -> Keys:
    return signature.public_key(private_key), *ledger.keys


@effect(name="write a receipt", retries=3, task_run_name="write {statement.kind} receipt of {statement.environment}")
def append(ledger: LedgerRemote, statement: Statement, *, state: Path, key: Path) -> Entry:
    """Add a receipt behind the environment's last one, and push it, with what waits on this host before it.

    Written twice, the same statement (of one run) becomes one receipt. `key` is CD's private key file. Where cd.yaml
    lets receipts queue, one that cannot be pushed is signed and kept on this host.
    """
    private_key = git.read_key(key)
    mirror = git.mirror_path(state, ledger.name)
    with queue.guarded(state, ledger.name):
        try:
            _push_waiting(ledger, state=state, key=key, private_key=private_key)
            return _append(ledger, mirror, statement, key=key, private_key=private_key)
        except GitError as error:
            if not (error.transient and ledger.unreachable == "queue"):
                raise
        entry = _behind_waiting(ledger, mirror, statement, state=state, private_key=private_key)
        queue.put(state, ledger.name, entry)
        return replace(entry, queued=True)


def _append(ledger: LedgerRemote, mirror: Path, statement: Statement, *, key: Path, private_key: bytes) -> Entry:
    for attempt in range(_ATTEMPTS):
        # What this run has seen is mostly the newest still; a push upon anything else is rejected.
        head = (git.kept(mirror) if attempt == 0 else None) or _fetch(mirror, ledger)
        previous = _last(mirror, head, statement.environment, _keys(ledger, private_key))
        if previous is not None and previous.statement == statement:
            return previous
        entry = receipts.make(statement, previous=previous, now=_now(previous), private_key=private_key)
        new = git.write_commit(mirror, head, {entry.path: entry.data}, message=_message(entry), key=key, author=AUTHOR)
        try:
            git.push(mirror, new, ledger, expected=head)
        except PushRejected:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            git.keep(mirror, new, forward=True)
            return entry
    raise AssertionError("the last attempt returns or raises")


# what waits ------------------------------------------------------------------------------------------


def _behind_waiting(
    ledger: LedgerRemote, mirror: Path, statement: Statement, *, state: Path, private_key: bytes
) -> Entry:
    """The receipt as it follows the newest that this host knows, without the network."""
    mine = [each for each in queue.waiting(state, ledger.name) if each.statement.environment == statement.environment]
    keys = _keys(ledger, private_key)
    previous = mine[-1] if mine else _last(mirror, git.kept(mirror), statement.environment, keys)
    if previous is not None and previous.statement == statement:
        return previous
    return receipts.make(statement, previous=previous, now=_now(previous), private_key=private_key)


def _now(previous: Entry | None) -> dt.datetime:
    """The clock, which must not lie before the receipt that is followed."""
    now = dt.datetime.now(dt.UTC)
    require_sound(now, receipt=previous.time if previous else None, server=None)
    return now


def _push_waiting(ledger: LedgerRemote, *, state: Path, key: Path, private_key: bytes) -> None:
    """Everything that waits, in its order and in one push; killed at any moment, the next time does the rest."""
    mirror = git.mirror_path(state, ledger.name)
    for attempt in range(_ATTEMPTS):
        waiting = queue.waiting(state, ledger.name)
        if not waiting:
            return
        head = start = _fetch(mirror, ledger)
        keys, names = _keys(ledger, private_key), {each.statement.environment for each in waiting}
        last = {name: _last(mirror, head, name, keys) for name in names}
        renamed: dict[str, str] = {}
        for entry in waiting:
            before = last[entry.statement.environment]
            if before and _has(mirror, start, entry):
                continue
            follows = _following(entry, before, renamed, private_key)
            last[entry.statement.environment] = follows
            files: dict[str, bytes | None] = {follows.path: follows.data}
            head = git.write_commit(mirror, head, files, message=_message(follows), key=key, author=AUTHOR)
        try:
            if head and head != start:
                git.push(mirror, head, ledger, expected=start)
                git.keep(mirror, head, forward=True)
        except PushRejected:
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        queue.remove(state, ledger.name, waiting)
        return


def _following(entry: Entry, before: Entry | None, renamed: dict[str, str], private_key: bytes) -> Entry:
    """The entry as it was signed, where it still follows the newest one; else its statement, signed anew behind what
    others wrote meanwhile, with the time at which it was signed first.
    """
    if entry.receipt.previous == (before.digest if before else None):
        return entry
    said = entry.statement
    intent = renamed.get(said.intent, said.intent) if said.intent else None
    moved = said.model_copy(update={"queued": said.queued or entry.receipt.time, "intent": intent})
    made = receipts.make(moved, previous=before, now=_now(before), private_key=private_key)
    renamed[entry.digest] = made.digest
    return made


def _has(mirror: Path, head: str | None, entry: Entry) -> bool:
    """Whether the ledger has it already: we were killed between push and removal."""
    files = git.list_files(mirror, head, under=receipts.folder(entry.statement.environment)) if head else ()
    blobs = {file.path: file.blob for file in files}
    if entry.path not in blobs:
        return False
    return git.read_blobs(mirror, [blobs[entry.path]])[blobs[entry.path]] == entry.data


# reading ---------------------------------------------------------------------------------------------


@effect(name="read the ledger", retries=3)
def read(ledger: LedgerRemote, environment: str, *, state: Path, keys: Keys) -> tuple[Entry, ...]:
    """All receipts of an environment, oldest first; Refused when one of them is none of CD's."""
    mirror = git.mirror_path(state, ledger.name)
    head = _seen(mirror, ledger)
    return (*(_entries(mirror, head, environment, keys) if head else ()), *_mine(ledger, environment, state))


@effect(name="read the ledger as this host saw it last")
def read_seen(ledger: LedgerRemote, environment: str, *, state: Path, keys: Keys) -> tuple[Entry, ...]:
    """The same without the network."""
    mirror = git.mirror_path(state, ledger.name)
    head = git.kept(mirror)
    return (*(_entries(mirror, head, environment, keys) if head else ()), *_mine(ledger, environment, state))


@effect(name="read the last receipts", retries=3)
def tail(ledger: LedgerRemote, environment: str, *, state: Path, keys: Keys, most: int = 12) -> tuple[Entry, ...]:
    """The environment's newest receipts, oldest first; Refused when one of them is none of CD's."""
    mirror = git.mirror_path(state, ledger.name)
    head = _seen(mirror, ledger)
    there = _entries(mirror, head, environment, keys, most=most) if head else ()
    return (*there, *_mine(ledger, environment, state))[-most:]


@effect(name="read the last receipt", retries=3)
def last(ledger: LedgerRemote, environment: str, *, state: Path, keys: Keys) -> Entry | None:
    """The environment's newest receipt; None when there is none."""
    mirror = git.mirror_path(state, ledger.name)
    mine = _mine(ledger, environment, state)
    return mine[-1] if mine else _last(mirror, _seen(mirror, ledger), environment, keys)


@effect(name="read single receipts", retries=3)
def numbered(
    ledger: LedgerRemote, environment: str, *, state: Path, keys: Keys, numbers: frozenset[int]
) -> tuple[Entry, ...]:
    """The environment's receipts of these numbers, which checkpoints remember, as far as this host has fetched."""
    mirror = git.mirror_path(state, ledger.name)
    head = git.kept(mirror)
    files = git.list_files(mirror, head, under=receipts.folder(environment)) if head else ()
    found = [file for file in files if receipts.number_of(file.path) in numbers]
    mine = (each for each in _mine(ledger, environment, state) if each.number in numbers)
    return (*(entry for file in found for entry in _trusted(mirror, [file], keys)), *mine)


def _mine(ledger: LedgerRemote, environment: str, state: Path) -> tuple[Entry, ...]:
    return tuple(each for each in queue.waiting(state, ledger.name) if each.statement.environment == environment)


def _seen(mirror: Path, ledger: LedgerRemote) -> str | None:
    """The ledger's head; where receipts may queue and it does not answer, the one that this host saw last."""
    try:
        return _fetch(mirror, ledger)
    except GitError as error:
        if error.transient and ledger.unreachable == "queue":
            return git.kept(mirror)
        raise


# verifying -------------------------------------------------------------------------------------------


@effect(name="verify the ledger", retries=3)
def check(
    ledger: LedgerRemote, *, state: Path, keys: tuple[str, ...], checkpoints: tuple[Checkpoint, ...] = ()
) -> Checked:
    """The whole ledger as its server has it: every commit, every chain, and its ends against the checkpoints.

    What this host has seen and the server has no more is told receipt by receipt.
    """
    mirror = git.mirror_path(state, ledger.name)
    head = git.fetch_or_empty(mirror, ledger)
    problems = [*_lost(mirror, head)]
    chains: dict[str, list[Entry]] = {each.environment: [] for each in checkpoints}
    if head:
        problems += _commit_problems(mirror, head, keys)
        for path, found in _receipts(mirror, head):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                # By its folder: a receipt that was moved into another environment's is a stranger there.
                chains.setdefault(path.split("/")[1], []).append(found)
    for environment in sorted(chains):
        problems += ledger_check.check_chain(chains[environment], keys)
        mine = [each for each in checkpoints if each.environment == environment]
        problems += [problem for each in mine for problem in ledger_check.check_end(chains[environment], each)]
    waiting = queue.waiting(state, ledger.name)
    return Checked(
        environments={name: len(chains[name]) for name in sorted(chains)},
        problems=tuple(problems),
        checkpoints=checkpoints,
        open=tuple(each.path for name in sorted(chains) for each in receipts.open_intents(chains[name])),
        waiting=len(waiting),
    )


def _lost(mirror: Path, head: str | None) -> Iterable[Problem]:
    """What this host saw in the ledger and is not there as it was."""
    seen = git.kept(mirror)
    if seen is None or (head and git.is_ancestor(mirror, seen, head)):
        return
    now = {file.path: file.blob for file in git.list_files(mirror, head)} if head else {}
    yield Problem("forked", f"commit {seen[:12]}", "this host has seen it, and the ledger's branch has it no more")
    for file in git.list_files(mirror, seen):
        if now.get(file.path) != file.blob:
            gone = file.path not in now
            what = "this host has seen it, and it is gone" if gone else "it is not as this host has seen it"
            environment, number = _place(file.path)
            yield Problem("truncated" if gone else "changed", file.path, what, environment, number)


def _receipts(mirror: Path, head: str) -> Iterable[tuple[str, Entry | Problem]]:
    files = git.list_files(mirror, head)
    blobs = git.read_blobs(mirror, {file.blob for file in files})
    for file in files:
        environment, number = _place(file.path)
        if not environment:
            yield file.path, Problem("unreadable", file.path, "not a receipt")
            continue
        try:
            yield file.path, receipts.read(blobs[file.blob], path=file.path)
        except FormatError as error:
            yield file.path, Problem("unreadable", file.path, error.problem, environment, number)


def _place(path: str) -> tuple[str, int]:
    """The environment and the number that a path gives."""
    parts = path.split("/")
    return (parts[1], receipts.number_of(path)) if len(parts) == 3 and parts[0] == receipts.FOLDER else ("", 0)


def _commit_problems(mirror: Path, head: str, keys: Iterable[str]) -> Iterable[Problem]:
    owners = {signature.key_blob(key): key for key in keys}
    found = git.read_commits(mirror, None, head, most=_ALL)
    for raw in found:
        yield from _commit_problem(raw, owners)
    added = [(raw.id, change.path) for raw in found for change in raw.changes if change.old_mode == commits.ABSENT]
    yield from ledger_check.check_order(each for each in added if each[1].startswith(f"{receipts.FOLDER}/"))


def _commit_problem(raw: RawCommit, owners: dict[bytes, str]) -> Iterable[Problem]:
    parsed, where = commits.parse(raw.data), f"commit {raw.id[:12]}"
    touched = [change for change in raw.changes if change.old_mode != commits.ABSENT]
    for change in touched:
        environment, number = _place(change.path)
        done = "removes" if change.is_deletion else "changes"
        fault = "missing" if change.is_deletion else "changed"
        what = f"it {done} {change.path}: a commit of the ledger only adds"
        yield Problem(fault, where, what, environment, number)  # type: ignore[arg-type]
    if len(parsed.parents) > 1:
        yield Problem("forked", where, "it has two parents")
    try:
        if parsed.signature is None:
            yield Problem("forged", where, "it is not signed")
        else:
            signature.verify(parsed.signature, parsed.payload, owners)
    except Refused as refusal:
        yield Problem("forged", where, refusal.message)


# within ----------------------------------------------------------------------------------------------


def _fetch(mirror: Path, ledger: LedgerRemote) -> str | None:
    """The ledger's head, None while it is empty; Refused when it lost receipts that this host has seen."""
    try:
        return git.fetch_grown(mirror, ledger)
    except Refused as refusal:
        rule = "ledger-rewritten" if refusal.rule == "rewritten" else refusal.rule
        hint = f"{refusal.hint}; `interlock ledger verify` says which receipts"
        raise Refused(f"the ledger lost receipts: {refusal.message}", rule=rule, hint=hint) from refusal


def _entries(mirror: Path, head: str, environment: str, keys: Keys, *, most: int = _ALL) -> tuple[Entry, ...]:
    files = git.list_files(mirror, head, under=receipts.folder(environment))
    return _trusted(mirror, sorted(files, key=lambda file: receipts.number_of(file.path))[-most:], keys)


def _trusted(mirror: Path, files: Sequence[git.Entry], keys: Keys) -> tuple[Entry, ...]:
    """Receipts that follow each other, in their order. Refused unless each is signed by a key of CD's: whoever may
    push to the ledger is not CD yet.
    """
    blobs = git.read_blobs(mirror, {file.blob for file in files})
    entries = sorted((receipts.read(blobs[file.blob], path=file.path) for file in files), key=lambda each: each.number)
    if problems := ledger_check.check_part(entries, keys):
        raise Refused(
            f"the ledger: {problems[0]}",
            rule="ledger-forged",
            hint="`interlock ledger verify` says more; where CD signed with another key before, name its public half "
            "in `ledger.keys` of cd.yaml",
        )
    return tuple(entries)


def _last(mirror: Path, head: str | None, environment: str, keys: Keys) -> Entry | None:
    found = _entries(mirror, head, environment, keys, most=1) if head else ()
    return found[-1] if found else None


def _message(entry: Entry) -> str:
    statement = entry.statement
    return f"{statement.environment}: {statement.kind} {entry.number}\n\n{statement.outcome}".rstrip()
