"""The statement of freshness that a host makes, whichever half's file it has."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict

from interlock.contract.commit import COMMIT_ID
from interlock.contract.host import HostFile
from interlock.errors import ParameterError
from tasks.common import freshness, git, host
from tasks.common.environment_repository import fetch_verified


class _Host(HostFile):
    """What every half's file begins with."""

    model_config = ConfigDict(extra="ignore")


def state(file: Path | None, commit: str | None = None) -> str:
    """Sign and push that the verified head, or `commit`, is the newest; which it was.

    Refused when the head does not pass; ParameterError when the branch does not have the commit: then the git server
    withholds it from this host too.
    """
    if commit is not None and not COMMIT_ID.fullmatch(commit):
        raise ParameterError(f"--commit: {commit[:60]!r} is no full commit id (40 hex digits)")
    found = host.load(_Host, file)
    remote = found.environment_repository
    mirror = git.mirror_path(found.state, remote.name)
    head = fetch_verified.fn(remote, state=found.state, since=git.kept(mirror)).commit
    signing = found.signing
    freshness.state.fn(remote, mirror, head=commit or head, signer=signing.signer, key=signing.key)
    if commit and not git.is_ancestor(mirror, commit, head):
        raise ParameterError(
            f"the git server gives {head[:12]} as the newest commit, which does not contain {commit[:12]}",
            hint="it was stated all the same, and CD freezes until you state another: find out why it is withheld",
        )
    return commit or head
