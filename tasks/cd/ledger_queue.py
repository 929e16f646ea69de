"""Receipts that wait on this host until the ledger can be reached: signed, in the order in which they were made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from interlock.cd import receipts
from interlock.cd.receipts import Entry
from tasks.common.file_lock import guarded as locked
from tasks.common.whole_file import write_whole


@contextmanager
def guarded(state: Path, ledger: str) -> Iterator[None]:
    """Around everything that reads and changes what waits: one process of this host at a time."""
    folder = _folder(state, ledger)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        yield


def waiting(state: Path, ledger: str) -> tuple[Entry, ...]:
    """Oldest first; FormatError when somebody has changed one."""
    return tuple(_read(_folder(state, ledger) / name) for name in _names(state, ledger))


def put(state: Path, ledger: str, entry: Entry) -> None:
    """Behind the others; the same receipt twice is there once."""
    found = waiting(state, ledger)
    if any(each.data == entry.data for each in found):
        return
    newest = max((int(name.partition("-")[0]) for name in _names(state, ledger)), default=0)
    name = f"{newest + 1:08d}-{entry.path.replace('/', '+')}"
    write_whole(_folder(state, ledger) / name, entry.data)


def remove(state: Path, ledger: str, entries: Iterable[Entry]) -> None:
    """Those that the ledger has now."""
    gone = {entry.path.replace("/", "+") for entry in entries}
    for name in _names(state, ledger):
        if name.partition("-")[2] in gone:
            (_folder(state, ledger) / name).unlink(missing_ok=True)


def _names(state: Path, ledger: str) -> list[str]:
    with suppress(FileNotFoundError):
        return sorted(each.name for each in _folder(state, ledger).iterdir() if not each.name.startswith("."))
    return []


def _read(path: Path) -> Entry:
    return receipts.read(path.read_bytes(), path=path.name.partition("-")[2].replace("+", "/"))


def _folder(state: Path, ledger: str) -> Path:
    return state / "ledger-queue" / ledger
