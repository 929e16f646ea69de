"""The ledger: receipts in a git repository of their own, to which only CD pushes, and only ever adds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from interlock.cd import receipts
from interlock.cd.receipts import Entry, Statement
from interlock.contract import commit as commits
from interlock.contract import signature
from interlock.contract.commit import Person
from interlock.contract.host import LedgerRemote
from interlock.errors import PushRejected, Refused
from tasks.common import git
from tasks.common.effect import effect

AUTHOR = Person("Interlock CD", "cd@interlock.invalid")
_ATTEMPTS = 20
"""How often a push is tried again when other environments' receipts come first."""


@effect(name="write a receipt", retries=3, task_run_name="write {statement.kind} receipt of {statement.environment}")
def append(ledger: LedgerRemote, statement: Statement, *, state: Path, key: Path) -> Entry:
    """Add a receipt behind the environment's last one, and push it.

    Written twice, the same statement (of one run) becomes one receipt. `key` is CD's private key file.
    """
    private_key = git.read_key(key)
    mirror = git.mirror_path(state, ledger.name)
    for attempt in range(_ATTEMPTS):
        # What this run has seen is mostly the newest still; a push upon anything else is rejected.
        head = (git.kept(mirror) if attempt == 0 else None) or _fetch(mirror, ledger)
        previous = _last(mirror, head, statement.environment)
        if previous is not None and previous.statement == statement:
            return previous
        entry = receipts.make(statement, previous=previous, now=dt.datetime.now(dt.UTC), private_key=private_key)
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


@effect(name="read the ledger", retries=3)
def read(ledger: LedgerRemote, environment: str, *, state: Path) -> tuple[Entry, ...]:
    """All receipts of an environment, oldest first."""
    mirror = git.mirror_path(state, ledger.name)
    head = _fetch(mirror, ledger)
    return _entries(mirror, head, environment) if head else ()


@effect(name="read the last receipt", retries=3)
def last(ledger: LedgerRemote, environment: str, *, state: Path) -> Entry | None:
    """The environment's newest receipt; None when there is none."""
    mirror = git.mirror_path(state, ledger.name)
    return _last(mirror, _fetch(mirror, ledger), environment)


@effect(name="verify the ledger", retries=3)
def verify(ledger: LedgerRemote, *, state: Path, keys: tuple[str, ...]) -> tuple[str, ...]:
    """What is wrong with the whole ledger, a line each: commits that did more than add, and every chain."""
    mirror = git.mirror_path(state, ledger.name)
    head = _fetch(mirror, ledger)
    if head is None:
        return ()
    paths = [entry.path for entry in git.list_files(mirror, head)]
    environments = sorted({path.split("/")[1] for path in paths if path.startswith(f"{receipts.FOLDER}/")})
    problems = list(_commit_problems(mirror, head, keys))
    problems += [f"{path}: not a receipt" for path in paths if not path.startswith(f"{receipts.FOLDER}/")]
    for environment in environments:
        problems += receipts.verify_chain(_entries(mirror, head, environment), keys)
    return tuple(problems)


def _commit_problems(mirror: Path, head: str, keys: Iterable[str]) -> Iterable[str]:
    owners = {signature.key_blob(key): key for key in keys}
    for raw in git.read_commits(mirror, None, head, most=1_000_000):
        parsed = commits.parse(raw.data)
        if any(change.old_mode != commits.ABSENT for change in raw.changes) or len(parsed.parents) > 1:
            yield f"commit {raw.id[:12]}: it does more than add receipts"
        try:
            if parsed.signature is None:
                yield f"commit {raw.id[:12]}: it is not signed"
            else:
                signature.verify(parsed.signature, parsed.payload, owners)
        except Refused as refusal:
            yield f"commit {raw.id[:12]}: {refusal.message}"


def _fetch(mirror: Path, ledger: LedgerRemote) -> str | None:
    """The ledger's head, None while it is empty; Refused when it lost receipts that this host has seen."""
    try:
        return git.fetch_grown(mirror, ledger)
    except Refused as refusal:
        rule = "ledger-rewritten" if refusal.rule == "rewritten" else refusal.rule
        raise Refused(f"the ledger lost receipts: {refusal.message}", rule=rule, hint=refusal.hint) from refusal


def _entries(mirror: Path, head: str, environment: str) -> tuple[Entry, ...]:
    files = git.list_files(mirror, head, under=receipts.folder(environment))
    blobs = git.read_blobs(mirror, {file.blob for file in files})
    entries = (receipts.read(blobs[file.blob], path=file.path) for file in files)
    return tuple(sorted(entries, key=lambda entry: entry.receipt.number))


def _last(mirror: Path, head: str | None, environment: str) -> Entry | None:
    if head is None:
        return None
    files = git.list_files(mirror, head, under=receipts.folder(environment))
    if not files:
        return None
    newest = max(files, key=lambda file: receipts.number_of(file.path))
    return receipts.read(git.read_blobs(mirror, [newest.blob])[newest.blob], path=newest.path)


def _message(entry: Entry) -> str:
    statement = entry.statement
    return f"{statement.environment}: {statement.kind} {entry.receipt.number}\n\n{statement.outcome}".rstrip()
