"""RPM's database with one package in it, as `rpm` itself would leave it."""

from __future__ import annotations

import sqlite3
import struct
import tempfile
from pathlib import Path

PATH = "var/lib/rpm/rpmdb.sqlite"
_STRING = 6
# Name, version, release, vendor, architecture, and the file that it was made from.
_TAGS = (1000, 1001, 1002, 1011, 1022, 1044)


def database(*, name: str = "glibc", version: str = "2.34", release: str = "1.el9") -> bytes:
    """The file at PATH."""
    texts = (name, version, release, "Red Hat, Inc.", "x86_64", f"{name}-{version}-{release}.src.rpm")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rpmdb.sqlite"
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
            connection.execute("INSERT INTO Packages (blob) VALUES (?)", (_header(texts),))
        connection.close()
        return path.read_bytes()


def _header(texts: tuple[str, ...]) -> bytes:
    """Counts, then sixteen bytes for each tag with the place of its text, then the texts."""
    index, data = b"", b""
    for tag, text in zip(_TAGS, texts, strict=True):
        index += struct.pack(">IIII", tag, _STRING, len(data), 1)
        data += text.encode() + b"\0"
    return struct.pack(">II", len(texts), len(data)) + index + data
