"""Dependencies that no scanner can judge, because no file says which versions are meant.

Who removes a lock file, or writes a range instead of a version, makes every finding in dependencies go away.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import PurePosixPath

from interlock.contract.finding import Finding

UNLOCKED = "unlocked"
"""The id of the finding."""
_REQUIREMENTS = re.compile(r"(.*/)?requirements([^/]*|/[^/]+)\.txt")
_PINNED = re.compile(r"[A-Za-z0-9._-]+(\[[^\]]*\])?\s*==\s*[A-Za-z0-9.!+_-]+\s*([;#\\].*)?(\s--hash=.*)?")
_OPTION = re.compile(r"-(?!(e|r|c|-editable|-requirement|-constraint).*://).*")
"""An option, unless it names something at an address, which may be another thing tomorrow."""
_COMMENT = re.compile(r"(^|\s)#.*")


def unlocked(files: Mapping[str, bytes], paths: Collection[str]) -> tuple[Finding, ...]:
    """A finding for each manifest without a lock file in its folder or above it, and for each line without a version.

    `files` holds the manifests (those of `is_manifest`), `paths` every file of the tree.
    """
    found = [*_manifests(files, frozenset(paths)), *_lines(files)]
    return tuple(sorted(found, key=lambda finding: finding.order))


def is_manifest(path: str) -> bool:
    """Whether `unlocked` must see what is in a file."""
    return PurePosixPath(path).name in _LOCKS or _REQUIREMENTS.fullmatch(path) is not None


def _manifests(files: Mapping[str, bytes], paths: frozenset[str]) -> Iterator[Finding]:
    for path, content in files.items():
        locks, depends = _LOCKS.get(PurePosixPath(path).name, ((), None))
        if depends and depends(content) and not any(_beside(path, lock, paths) for lock in locks):
            yield _finding(path, f"nothing says which versions are meant: commit {' or '.join(locks)}")


def _beside(path: str, lock: str, paths: frozenset[str]) -> bool:
    """Whether a lock file is in the manifest's folder or above it, where a workspace has its own."""
    return any(str(folder / lock) in paths for folder in PurePosixPath(path).parents)


def _lines(files: Mapping[str, bytes]) -> Iterator[Finding]:
    for path, content in files.items():
        if not _REQUIREMENTS.fullmatch(path):
            continue
        lines = content.decode("utf-8-sig", errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            text = _COMMENT.sub("", line).strip()
            if text and not _OPTION.fullmatch(text) and not _PINNED.fullmatch(text):
                yield _finding(path, "the line does not name one version: write name==version", line=number)


def _finding(path: str, title: str, *, line: int | None = None) -> Finding:
    return Finding("misconfiguration", UNLOCKED, "HIGH", path, title, line=line)


def _json_depends(*names: str) -> Callable[[bytes], bool]:
    def depends(content: bytes) -> bool:
        try:
            body = json.loads(content)
        except ValueError:
            return True  # what we cannot read, an installer may
        return not isinstance(body, dict) or any(body.get(name) for name in names)

    return depends


def _toml_depends(*paths: tuple[str, ...]) -> Callable[[bytes], bool]:
    def depends(content: bytes) -> bool:
        try:
            body = tomllib.loads(content.decode())
        except ValueError:
            return True
        return any(_at(body, path) for path in paths)

    return depends


def _at(body: object, path: tuple[str, ...]) -> object:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    # Poetry counts Python itself among the dependencies.
    return body if not isinstance(body, dict) else body.keys() - {"python"}


_LOCKS: Mapping[str, tuple[tuple[str, ...], Callable[[bytes], bool]]] = {
    "package.json": (
        ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock"),
        _json_depends("dependencies", "devDependencies", "optionalDependencies"),
    ),
    "composer.json": (("composer.lock",), _json_depends("require", "require-dev")),
    "pyproject.toml": (
        ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "requirements.txt"),
        _toml_depends(("project", "dependencies"), ("tool", "poetry", "dependencies")),
    ),
    "Pipfile": (("Pipfile.lock",), _toml_depends(("packages",), ("dev-packages",))),
    "Cargo.toml": (("Cargo.lock",), _toml_depends(("dependencies",), ("workspace", "dependencies"))),
    "Gemfile": (("Gemfile.lock",), lambda content: b"gem" in content),
}
