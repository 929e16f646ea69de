"""What scanners of this host found before, sealed: who writes into the folder without the key changes no verdict.

A result is kept under all that it rests on. One that is missing, damaged or planted is found anew.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.ci import remembered

_SEAL_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Kept:
    """The key lies beside the folder, and nobody but CI's user may read it. `about`: whose files they are about."""

    folder: Path
    about: str

    def name(self, *ground: str) -> str:
        """What a result is kept under that rests on this."""
        return remembered.key(self.about, *ground)

    def read(self, name: str) -> bytes | None:
        """None when it is not there, or nobody who has the key wrote it under this name."""
        key, found = self._key(), remembered.read(self.folder, name)
        if key is None or found is None:
            return None
        seal, content = found[:_SEAL_BYTES], found[_SEAL_BYTES:]
        return content if hmac.compare_digest(seal, _seal(key, name, content)) else None

    def write(self, name: str, content: bytes) -> None:
        """Where it cannot be kept, the next run finds it anew."""
        if key := self._key():
            remembered.write(self.folder, name, _seal(key, name, content) + content)

    def _key(self) -> bytes | None:
        path = self.folder.with_name(f"{self.folder.name}.key")
        with suppress(OSError):
            if not path.exists():
                _make_key(path)
            with path.open("rb") as file:
                mine = os.fstat(file.fileno())
                key = file.read(_SEAL_BYTES + 1)
            if mine.st_uid == os.geteuid() and not stat.S_IMODE(mine.st_mode) & 0o077 and len(key) == _SEAL_BYTES:
                return key
        return None


def _make_key(path: Path) -> None:
    """Whole or not at all; of two runs that make one at the same time the first counts."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, new = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SEAL_BYTES))
        with suppress(FileExistsError):
            path.hardlink_to(new)
    finally:
        Path(new).unlink()


def _seal(key: bytes, name: str, content: bytes) -> bytes:
    return hmac.digest(key, name.encode() + b"\0" + content, "sha256")
