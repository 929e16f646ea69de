"""Histories of an environment repository as plain values, with real signatures and without git."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from interlock.contract import commit as commits
from interlock.contract import layout, signature, strict_yaml
from interlock.contract.commit import Change, Person, RawCommit
from interlock.contract.host import RootPin
from interlock.contract.verification import Point, Verified, Vouch, nobody_asks, verify_range, verify_root

AUTHOR = Person("Anybody", "anybody@example.org")
NOWHERE = "0" * 40
TODAY = dt.date(2030, 1, 1)
Files = Mapping[str, bytes | None]


@dataclass(frozen=True)
class Key:
    private: bytes
    public: str


def new_key() -> Key:
    return Key(*signature.generate_key())


def signer(name: str, key: Key, *writes: str, machine: bool = False, approves: bool = False) -> dict[str, object]:
    return {"name": name, "key": key.public, "writes": list(writes), "machine": machine, "approves": approves}


def signers_file(*signers: Mapping[str, object], ended: Sequence[Mapping[str, object]] = ()) -> bytes:
    more = {"ended": list(ended)} if ended else {}
    return strict_yaml.dump({"format": 1, "signers": list(signers), **more}).encode()


def ended(name: str, key: Key, **how: str) -> dict[str, object]:
    return {"name": name, "key": key.public, **how}


def binding(component: str, by: str, *, application: str = "shop", environment: str = "dev") -> dict[str, object]:
    return {
        "source": "shop",
        "component": component,
        "application": application,
        "environments": [environment],
        "image": f"registry.example.org/{component}",
        "signer": by,
    }


def bindings_file(*bindings: Mapping[str, object]) -> bytes:
    return strict_yaml.dump({"format": 1, "bindings": list(bindings)}).encode()


def release_file(**components: str) -> bytes:
    """A release.yaml; each component's text tells its entries apart."""
    entries = {
        name: {
            "image": f"registry.example.org/{name}@{_digest(text)}",
            "source": {"repository": "shop", "commit": commits.object_id("commit", text.encode())},
            "evidence": _digest(text),
        }
        for name, text in sorted(components.items())
    }
    return strict_yaml.dump({"format": 1, "components": entries}).encode()


def _digest(text: str) -> str:
    return "sha256:" + commits.object_id("blob", text.encode()).ljust(64, "0")


@dataclass
class History:
    """Commits by id with their files. `commit` adds one; `verify` judges from one to another."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    raw: dict[str, RawCommit] = field(default_factory=dict)
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def commit(
        self,
        parent: str | None,
        changes: Files,
        *,
        by: Key | None,
        message: str = "Change",
        modes: Mapping[str, str] | None = None,
        second: str | None = None,
        tamper: Callable[[bytes], bytes] = bytes,
    ) -> str:
        before = self.files[parent] if parent else {}
        merged: Files = {**before, **changes}
        after = {path: content for path, content in merged.items() if content is not None}
        parents = tuple(each for each in (parent, second) if each)
        data = commits.unsigned(
            tree=_tree(after), parents=parents, author=AUTHOR, seconds=1_700_000_000, message=message
        )
        data = tamper(commits.signed(data, by.private) if by else data)
        made = RawCommit(commits.object_id("commit", data), data, self._changes(before, after, modes or {}))
        self.files[made.id], self.raw[made.id], self.parents[made.id] = after, made, parents
        return made.id

    def point(self, root: str, key: Key) -> Point:
        return self.root(root, key)[0]

    def root(self, root: str, *keys: Key, pin: str = "") -> tuple[Point, Verified]:
        pinned = RootPin(commit=pin or root, keys=tuple(key.public for key in keys))
        return verify_root(self.raw[root], pin=pinned, blobs=self.blobs.get)

    def verify(self, base: Point, new: str, *, known: bool = False, today: dt.date = TODAY) -> tuple[Verified, ...]:
        """Judge what `git rev-list base..new` would give."""
        return self.judge(base, new, known=known, today=today)[0]

    def judge(
        self, base: Point, new: str, *, known: bool = False, today: dt.date = TODAY, vouch: Vouch = nobody_asks
    ) -> tuple[tuple[Verified, ...], Point]:
        range_ = [self.raw[each] for each in self.raw if each in self._reachable(new) - self._reachable(base.commit)]
        return verify_range(range_, base=base, new=new, blobs=self.blobs.get, today=today, known=known, vouch=vouch)

    def _reachable(self, commit: str) -> set[str]:
        found, waiting = set[str](), [commit]
        while waiting:
            at = waiting.pop()
            if at not in found:
                found.add(at)
                waiting += self.parents.get(at, ())
        return found

    def _changes(
        self, before: Mapping[str, bytes], after: Mapping[str, bytes], modes: Mapping[str, str]
    ) -> tuple[Change, ...]:
        for content in after.values():
            self.blobs[commits.object_id("blob", content)] = content
        differing = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        return tuple(
            Change(
                path, *_mode(before, path, {}), *_mode(after, path, modes), *_blob(before, path), *_blob(after, path)
            )
            for path in differing
        )


def _tree(files: Mapping[str, bytes]) -> str:
    """Something that differs when the files differ: the rules only compare trees."""
    return commits.object_id("tree", repr(sorted(files.items())).encode())


def _mode(files: Mapping[str, bytes], path: str, modes: Mapping[str, str]) -> tuple[str]:
    return (modes.get(path, "100644") if path in files else commits.ABSENT,)


def _blob(files: Mapping[str, bytes], path: str) -> tuple[str]:
    return (commits.object_id("blob", files[path]) if path in files else NOWHERE,)


SIGNERS, BINDINGS = layout.SIGNERS, layout.BINDINGS
