"""Statuses that a forge was away for: kept on this host until they are sent, or too old to matter."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from interlock.ci.forge import Status
from tasks.common.whole_file import write_whole

_FOLDER = "unsent"
KEPT_SECONDS = 24 * 3600.0


def keep_unsent(state: Path, repository: str, status: Status) -> None:
    """In the place of what was to be said of the commit before."""
    text = json.dumps({"repository": repository, "status": asdict(status)})
    write_whole(_path(state, repository, status.commit), text.encode())


def drop_unsent(state: Path, repository: str, commit: str) -> None:
    """Something newer is said of it."""
    _path(state, repository, commit).unlink(missing_ok=True)


def unsent(state: Path) -> Iterator[tuple[str, Status]]:
    """Repository and status. What is too old, or cannot be read, is gone after that."""
    for path in sorted((state / _FOLDER).glob("*.json")):
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            if time.time() - path.stat().st_mtime < KEPT_SECONDS:
                found = json.loads(path.read_text())
                yield found["repository"], Status(**found["status"])
                continue
        path.unlink(missing_ok=True)


def _path(state: Path, repository: str, commit: str) -> Path:
    return state / _FOLDER / f"{repository.replace('/', '%2F')}-{commit}.json"
