"""A folder made ready to be scanned: every file is regular and readable, and none makes a scanner look away."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from interlock.ci.locks import is_manifest, unlocked
from interlock.ci.searchable import overlooked, readable
from interlock.contract.finding import Finding
from interlock.errors import ScanFailed

COPIES = "overlooked"


@dataclass(frozen=True)
class Ready:
    """What was seen of the files: the copies' names, below the folder, with the files that they are of; and locks."""

    own_names: Mapping[str, str]
    unlocked: tuple[Finding, ...]


def make_ready(folder: Path, subject: str) -> Ready:
    """Change the files of `folder/<subject>` in place, and copy what Trivy would pass over to names that it reads.

    ScanFailed when something in there is neither a regular file nor a folder, or cannot be read.
    """
    own_names: dict[str, str] = {}
    manifests: dict[str, bytes] = {}
    paths: list[str] = []
    root, copies = folder / subject, folder / COPIES
    try:
        for path in _files(root):
            name = path.relative_to(root).as_posix()
            content = path.read_bytes()
            if (changed := readable(content)) != content:
                path.write_bytes(changed)
            paths.append(name)
            if is_manifest(name):
                manifests[name] = changed
            if text := overlooked(name, changed):
                copies.mkdir(mode=0o700, exist_ok=True)
                copy = f"{len(own_names)}.txt"
                (copies / copy).write_bytes(text)
                own_names[f"{COPIES}/{copy}"] = name
    except OSError as error:
        raise ScanFailed(f"the {subject} cannot be read: {error}") from error
    return Ready(own_names, unlocked(manifests, paths))


def _files(folder: Path) -> Iterator[Path]:
    """Every regular file, in order, after its owner was given the right to read it."""
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            path.chmod(0o755)
            waiting.extend(sorted(path.iterdir(), reverse=True))
        elif stat.S_ISREG(mode):
            path.chmod(0o644)
            yield path
        else:
            raise ScanFailed(
                f"{path.relative_to(folder)} is neither a file nor a folder, so nobody knows what it leads to",
                hint="replace it by a regular file",
            )
