"""What a developer's own checks found before: one small file a result, in a folder that only they can write.

A cache: whatever is wrong with it costs the next check its time, nothing else. CI seals what it keeps (tasks.ci.kept).
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MOST_FILES = 2_000
MOST_BYTES = 4 << 20
"""Of one result; a larger one is not kept."""


def read(folder: Path, key: str) -> bytes | None:
    """None when it is not there, or others could have written it."""
    with suppress(OSError):
        if _private(folder):
            path = folder / key
            content = path.read_bytes()
            os.utime(path)  # what was used last is forgotten last
            return content
    return None


def write(folder: Path, key: str, content: bytes) -> None:
    """Whole or not at all. What was not used for the longest time goes when there is too much."""
    if len(content) > MOST_BYTES:
        return
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _private(folder):
            return
        descriptor, path = tempfile.mkstemp(dir=folder, prefix=_UNFINISHED)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(path).replace(folder / key)
        _trim(folder)


_UNFINISHED = ".new-"


def _trim(folder: Path) -> None:
    files = sorted((entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(folder))
    if len(files) > MOST_FILES:
        for _, path in files[: len(files) - MOST_FILES // 2]:
            Path(path).unlink(missing_ok=True)


def _private(folder: Path) -> bool:
    """Whether it is a folder of this user's, into which nobody else may write."""
    found = folder.lstat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & others


def key(*parts: str) -> str:
    """A name for a result, made of all that it rests on."""
    found = hashlib.blake2b(digest_size=32)
    for part in parts:
        found.update(f"{len(part)}:".encode())
        found.update(part.encode(errors="surrogateescape"))
    return found.hexdigest()


def digest(folder: Path, names: Iterable[str]) -> str:
    """Of these files of a folder, with their names."""
    found = hashlib.blake2b(digest_size=32)
    for name in sorted(names):
        content = (folder / name).read_bytes()
        found.update(f"{len(name)}:{len(content)}:".encode())
        found.update(name.encode(errors="surrogateescape"))
        found.update(content)
    return found.hexdigest()


def names(folder: Path) -> list[str]:
    """Every regular file below a folder."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    )


def mark(path: Path) -> str:
    """Changes whenever the file is written or replaced."""
    try:
        found = path.stat()
    except OSError:
        return "none"
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_ctime_ns}"
