"""A commit as bytes: what was signed, what it changed, and how a signed one is made. Git's own parser is not asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interlock.contract import signature
from interlock.errors import FormatError, Refused

COMMIT_ID = re.compile(r"[0-9a-f]{40}")
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The id that git gives to a tree without entries."""
ABSENT = "000000"
"""The mode of a side of a change on which the file is not."""
SUBMODULE = "160000"


@dataclass(frozen=True)
class Change:
    """One path that differs from the parent. Mode `000000` means absent; bytes that are not UTF-8 become surrogates."""

    path: str
    old_mode: str
    new_mode: str
    old_blob: str
    new_blob: str

    @property
    def is_deletion(self) -> bool:
        return self.new_mode == ABSENT


@dataclass(frozen=True)
class RawCommit:
    """A commit as it lies in the object store, and its changes against its first parent (all of its files, if none)."""

    id: str
    data: bytes
    changes: tuple[Change, ...] = ()


_COMMITTED = re.compile(rb"^committer [^\n]*> ([0-9]{1,11}) [+-][0-9]{4}$", re.MULTILINE)


def committed(data: bytes) -> int | None:
    """When the commit says that it was made, in seconds since 1970."""
    found = _COMMITTED.search(data.partition(b"\n\n")[0])
    return int(found[1]) if found else None


_AUTHOR = re.compile(rb"^author ([^\n]*)$", re.MULTILINE)
_PERSON = re.compile(r"([^<>]*)<([^<>]*)>.*")


def author(data: bytes) -> str:
    """Who the commit says that its author is: name, address and time, as git writes them. It proves nothing."""
    found = _AUTHOR.search(data.partition(b"\n\n")[0])
    return found[1].decode(errors="replace") if found else ""


def person(text: str) -> tuple[str, str]:
    """Name and address of `Name <address> …`; empty texts for anything else."""
    found = _PERSON.fullmatch(text)
    return (found[1].strip(), found[2]) if found else ("", "")


@dataclass(frozen=True)
class Parsed:
    """A commit taken apart. `signature` is armored or None; `payload` is what it must cover."""

    tree: str
    parents: tuple[str, ...]
    message: str
    signature: str | None
    payload: bytes

    @property
    def subject(self) -> str:
        return self.message.partition("\n")[0]


@dataclass(frozen=True)
class Person:
    """An author for a commit. It proves nothing: only the key does."""

    name: str
    email: str

    def __post_init__(self) -> None:
        if re.search(r"[<>\n\0]", self.name + self.email) or not self.name:
            raise FormatError("a name and e-mail must be without <, > and line breaks", path=f"author {self.name!r}")

    def at(self, seconds: int) -> str:
        return f"{self.name} <{self.email}> {seconds} +0000"


def is_plain_path(path: str) -> bool:
    """Whether a path is printable UTF-8 that stays in its folder and out of `.git`."""
    if not path.isprintable() or "\\" in path:
        return False
    return not any(part in ("", ".", "..") or part.lower() == ".git" for part in path.split("/"))


def object_id(kind: str, data: bytes) -> str:
    """Git's id (SHA-1) of an object; git's own collision detection guards it on the way in."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data, usedforsecurity=False).hexdigest()


def parse(data: bytes) -> Parsed:
    """Take a commit apart, as strictly as git writes it: tree, parents, author, committer, the rest, the message."""
    head, blank, body = data.partition(b"\n\n")
    if not blank or b"\0" in data:
        raise _malformed("no message, or a NUL byte")
    headers = _headers(head)
    names = [name for name, _ in headers]
    parents = [value for name, value in headers if name == b"parent"]
    expected = [b"tree", *[b"parent"] * len(parents), b"author", b"committer"]
    rest = names[len(expected) :]
    if names[: len(expected)] != expected or set(rest) & set(expected):
        raise _malformed("its headers are not in git's order")
    signatures = [value for name, value in headers if name == b"gpgsig"]
    if len(signatures) > 1 or any(name.startswith(b"gpgsig-") or name == b"mergetag" for name in rest):
        raise _malformed("more than one signature, or one of a kind that is not accepted")
    return Parsed(
        tree=_id(headers[0][1]),
        parents=tuple(_id(parent) for parent in parents),
        message=body.decode(errors="replace"),
        signature=signatures[0].decode(errors="replace") if signatures else None,
        payload=_join(header for header in headers if header[0] != b"gpgsig") + b"\n" + body,
    )


def unsigned(*, tree: str, parents: Sequence[str], author: Person, seconds: int, message: str) -> bytes:
    """The bytes of a commit without a signature; `seconds` since 1970, in UTC."""
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    lines += [f"author {author.at(seconds)}", f"committer {author.at(seconds)}"]
    return "\n".join((*lines, "", message.rstrip("\n") + "\n")).encode()


def signed(data: bytes, private_key: bytes) -> bytes:
    """The same commit with a signature in its header."""
    head, _, body = data.partition(b"\n\n")
    armored = signature.sign(private_key, data).rstrip("\n").replace("\n", "\n ").encode()
    return head + b"\ngpgsig " + armored + b"\n\n" + body


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values in order; a folded value keeps its line breaks."""
    headers: list[tuple[bytes, list[bytes]]] = []
    for line in head.split(b"\n"):
        if line.startswith(b" "):
            if not headers:
                raise _malformed("it begins with a continuation line")
            headers[-1][1].append(line[1:])
        else:
            name, _, value = line.partition(b" ")
            headers.append((name, [value]))
    return [(name, b"\n".join(lines)) for name, lines in headers]


def _join(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(name + b" " + value.replace(b"\n", b"\n ") + b"\n" for name, value in headers)


def _id(value: bytes) -> str:
    text = value.decode(errors="replace")
    if not COMMIT_ID.fullmatch(text):
        raise _malformed(f"{text[:50]!r} is not an object id")
    return text


def _malformed(why: str) -> Refused:
    return Refused(f"the commit is malformed: {why}", rule="bad-signature")
