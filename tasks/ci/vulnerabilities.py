"""The vulnerability database as files: whose it is, which it is, how it is replaced, and that nobody swaps it."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from interlock.ci.findings import read_database
from interlock.contract.finding import Database
from interlock.errors import ScanFailed

_FILES = ("trivy.db", "metadata.json")
_REFRESH_HOURS = 6


def lay_out_cache(cache: Path, database: Path) -> None:
    """Our own cache folder beside the database, which may belong to somebody else and be read-only."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_private(cache, "cache")
    if cache.stat().st_uid != os.geteuid():
        raise ScanFailed(f"{cache}: the scanner's cache belongs to somebody else", hint="find out who; remove it")
    link = cache / "db"
    wanted = database / "db"
    if not (link.is_symlink() and link.readlink() == wanted):
        link.unlink(missing_ok=True)
        link.symlink_to(wanted)


def read(folder: Path, *, pinned: bool, accepted: str) -> Database:
    """The database below a folder. ScanFailed when there is none, others may write it, or another is wanted."""
    try:
        for path in (folder / "db", *(folder / "db" / name for name in _FILES)):
            _require_private(path, "vulnerability database")
        mark = _mark(folder)
        with (folder / "db" / "trivy.db").open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        described = (folder / "db" / "metadata.json").read_bytes()
    except OSError as error:
        raise ScanFailed(
            f"there is no vulnerability database in {folder / 'db'}: {error.strerror}",
            hint="fetch it, or correct trivy.cache in ci.yaml",
        ) from error
    if accepted not in ("", digest):
        raise ScanFailed(
            f"the vulnerability database in {folder / 'db'} is {digest}, and ci.yaml accepts {accepted} alone",
            hint="find out who replaced it, or correct trivy.digest",
        )
    return read_database(described, digest=digest, pinned=pinned, mark=mark)


def is_fresh(folder: Path) -> bool | None:
    """Whether the database is some hours old at most; None when there is none."""
    try:
        found = read(folder, pinned=False, accepted="")
    except ScanFailed:
        return None
    return dt.datetime.now(dt.UTC) - found.updated < dt.timedelta(hours=_REFRESH_HOURS)


@contextlib.contextmanager
def fetching(folder: Path) -> Iterator[Path]:
    """A new folder beside the database's, to fetch another into."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder, ignore_cleanup_errors=True) as new:
        yield Path(new)


def replace(folder: Path, new: Path) -> None:
    """Put the database below `new` in the place of the one below `folder`."""
    (folder / "db").mkdir(mode=0o700, exist_ok=True)
    for name in _FILES:
        (new / "db" / name).replace(folder / "db" / name)


@contextlib.contextmanager
def unchanged(folder: Path, database: Database | None) -> Iterator[None]:
    """Hold that the files are those that were looked at, before and after what is done with them."""
    _require_same(folder, database)
    yield
    _require_same(folder, database)


def _require_same(folder: Path, database: Database | None) -> None:
    if database is not None and database.mark and database.mark != _mark(folder):
        raise ScanFailed(
            "the vulnerability database was replaced while it was used",
            hint="another run may have fetched a newer one: start this one again",
            transient=True,
        )


def _mark(folder: Path) -> tuple[int, ...]:
    """Changes whenever a file is written or replaced."""
    found = [(folder / "db" / name).stat() for name in _FILES]
    return tuple(value for each in found for value in (each.st_dev, each.st_ino, each.st_size, each.st_ctime_ns))


def _require_private(path: Path, what: str) -> None:
    if stat.S_IMODE(path.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise ScanFailed(
            f"{path}: others may write the scanner's {what}, and so decide what it finds",
            hint=f"find out who did; fetch it anew; chmod go-w {path}",
        )
