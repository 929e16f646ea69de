"""CI's one write into the environment repository: a signed commit, pushed only onto what was verified."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from interlock.ci.host import CiHost
from interlock.contract.commit import COMMIT_ID, Person
from interlock.contract.models import CommitId
from interlock.contract.trailers import Trailers, message
from interlock.errors import HostConfigError
from tasks.common import git
from tasks.common.effect import effect
from tasks.common.environment_repository import verify
from tasks.common.whole_file import write_whole

_MARK = "verified-head"


@effect(name="push release commit", retries=2)
def push_release(
    host: CiHost, *, parent: CommitId, changes: Mapping[str, bytes | None], subject: str, trailers: Trailers
) -> str:
    """Write, sign and push; the new commit's id. PushRejected when the branch is no longer at `parent`.

    Refused, and nothing pushed, when the rules would refuse the commit: nobody could deploy past it.
    """
    remote = host.environment_repository
    mirror = git.mirror_path(host.state, remote.name)
    commit = git.write_commit(
        mirror,
        parent,
        changes,
        message=message(subject, trailers),
        key=host.signing.key,
        author=Person(host.signing.signer, f"{host.signing.signer}@interlock.invalid"),
    )
    verify(mirror, remote.root, commit, since=parent)
    git.push(mirror, commit, remote, expected=parent)
    return commit


def read_mark(state: Path) -> str | None:
    """The commit of the environment repository that CI verified last; what follows must descend from it."""
    with contextlib.suppress(FileNotFoundError):
        mark = (state / _MARK).read_text().strip()
        if not COMMIT_ID.fullmatch(mark):
            raise HostConfigError(f"{state / _MARK} does not hold a commit id", hint="delete it; all is verified again")
        return mark
    return None


def write_mark(state: Path, commit: str) -> None:
    """Whole or not at all."""
    write_whole(state / _MARK, f"{commit}\n".encode())
