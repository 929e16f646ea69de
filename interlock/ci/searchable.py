"""What a scanner reads of a file: text that it would take for something else, and comments that make it look away."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePosixPath

_INLINE = re.compile(rb"(trivy|tfsec|cfsec)(?=:ignore)", re.IGNORECASE)
_MARKS = (  # the longer one first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Trivy takes a file with one of these near its beginning for a program or a picture, and passes over it.
_CONTROL = bytes(sorted(set(range(32)) - {*b"\t\n\f\r\x1b"})) + b"\x7f"
_BLANKED = bytes(ord(" ") if byte in _CONTROL else byte for byte in range(256))
_BEGINNING = 1024
_SMALL_BYTES = 1 << 20
_MOSTLY = 0.7

# Trivy searches nothing in folders and files of these names for secrets, whatever it is told.
_OVERLOOKED_FOLDERS = frozenset({"node_modules", ".git"})
_OVERLOOKED_FILES = frozenset(
    {"go.mod", "go.sum", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "Pipfile.lock", "Gemfile.lock"}
)
_OVERLOOKED_SUFFIXES = frozenset(
    {
        *(".bin", ".deb", ".doc", ".gif", ".gz", ".gzip", ".jpg", ".pdf"),
        *(".png", ".rpm", ".socket", ".svg", ".tar", ".zip"),
    }
)


def readable(content: bytes) -> bytes:
    """The same file as UTF-8, without the comments that tell a scanner to look away; its lines stay where they are."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            content = content.decode(encoding, errors="replace").encode()
            break
    return _INLINE.sub(lambda found: b"_" * len(found[0]), content)


def overlooked(path: str, content: bytes) -> bytes:
    """A file's text, when Trivy passes over it by its name, its folder or a stray byte; empty when it does not.

    A large file that is hardly text is left to Trivy.
    """
    name = PurePosixPath(path)
    by_name = name.name in _OVERLOOKED_FILES or name.suffix in _OVERLOOKED_SUFFIXES
    by_folder = not _OVERLOOKED_FOLDERS.isdisjoint(name.parts[:-1])
    by_byte = bool(content[:_BEGINNING].translate(None, delete=_TEXT))
    if not (by_name or by_folder or by_byte):
        return b""
    return text(content)


def text(content: bytes) -> bytes:
    """A file with its control characters blanked, so that it is searched; empty when it is large and hardly text."""
    if len(content) > _SMALL_BYTES and len(content.translate(None, delete=_PRINTABLE)) > (1 - _MOSTLY) * len(content):
        return b""
    return content.translate(_BLANKED)


_TEXT = bytes(byte for byte in range(256) if byte not in _CONTROL)
_PRINTABLE = bytes(range(32, 127)) + b"\t\n\r"
