"""A look into an image's archive with our own eyes: what an image has, whatever it says of itself."""

from __future__ import annotations

import io
import re
import tarfile
import time
from pathlib import Path
from typing import IO

from interlock.errors import ScanFailed

_LAYER = re.compile(r"(.*/)?layer\.tar|[^/]+\.tar(\.gz)?|blobs/sha256/[0-9a-f]{64}")
_PACKAGE_DATABASE = re.compile(
    r"(\./)?(var/lib/dpkg/(status|status\.d/[^/]+)|(usr/)?lib/apk/db/installed|(var/lib|usr/lib/sysimage)/rpm/[^/.][^/]*)"
)
_ZSTD = b"\x28\xb5\x2f\xfd"


def package_database(archive: Path, *, seconds: float) -> str:
    """The path of a system's package database in any of the image's layers, also of one that a later layer removes.

    Empty when there is none. ScanFailed when that takes too long or the archive is none.
    """
    deadline = time.monotonic() + seconds
    try:
        with tarfile.open(archive) as outer:
            layers = (member for member in outer if member.isfile() and _LAYER.fullmatch(member.name))
            files = (file for member in layers if (file := outer.extractfile(member)))
            return next((found for file in files if (found := _in_layer(_Timed(file, deadline)))), "")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ScanFailed(f"the image's archive cannot be read: {error}") from error


def _in_layer(file: _Timed) -> str:
    """The manifest and the configuration lie among the layers of some archives: what is no archive has nothing."""
    if file.read(len(_ZSTD)) == _ZSTD:
        return "a layer that we cannot unpack (zstd)"
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r|*") as layer:
            names = (member.name for member in layer if member.isfile())
            return next((name for name in names if _PACKAGE_DATABASE.fullmatch(name)), "")
    except tarfile.ReadError:
        return ""


class _Timed(io.RawIOBase):
    """A file that cannot be read for ever."""

    def __init__(self, file: IO[bytes], deadline: float) -> None:
        self._file, self._deadline = file, deadline

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._deadline:
            raise ScanFailed("the image's layers were not read in time")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readable(self) -> bool:
        return True
