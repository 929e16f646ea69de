"""Whether a wait has become pointless: the branch has a newer commit that passes."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

from interlock.contract.host import EnvironmentRemote
from interlock.errors import InterlockError
from tasks.common import git
from tasks.common.environment_repository import passes

ASK_SECONDS = 5.0
"""How often the git server is asked at most, by all waits of a host together."""
LONGEST_SECONDS = 60.0
"""The same while it does not answer."""
_FETCH_SECONDS = 20.0


class NewerCommit:
    """May be asked as often as one likes.

    What anybody on this host has fetched is seen at once: a run that a push started fetches before it waits for the
    lock that this one holds. The server itself is asked beside the wait, and its silence does not end the wait.
    """

    def __init__(self, remote: EnvironmentRemote, *, state: Path, commit: str) -> None:
        self._remote, self._state = remote, state
        self._mirror = git.mirror_path(state, remote.name)
        self._commit = commit
        self._refused = {commit}
        self._pause = ASK_SECONDS
        self._asking: threading.Thread | None = None

    def __call__(self) -> bool:
        self._ask()
        head = git.fetched_head(self._mirror)
        if head is None or head in self._refused:
            return False
        if passes(self._remote, head, state=self._state, since=self._commit):
            return True
        self._refused.add(head)
        return False

    def _ask(self) -> None:
        """Fetch in the background when that is due, unless another wait of this host has just done so."""
        if (self._asking and self._asking.is_alive()) or not self._due():
            return
        self._asking = threading.Thread(target=self._fetch, daemon=True)
        self._asking.start()

    def _due(self) -> bool:
        asked = self._mirror.with_suffix(".asked")
        with suppress(FileNotFoundError):
            if 0 <= time.time() - asked.stat().st_mtime < self._pause:
                return False
        asked.touch()
        return True

    def _fetch(self) -> None:
        try:
            git.fetch(self._mirror, self._remote, timeout=_FETCH_SECONDS)
        except InterlockError:
            # The run itself has fetched before: that the server is away now is for the next run to tell.
            self._pause = min(LONGEST_SECONDS, self._pause * 2)
        else:
            self._pause = ASK_SECONDS
