"""Statements of freshness: signed and pushed by who knows the head, fetched by CD."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from interlock.contract import freshness
from interlock.contract.commit import Person
from interlock.contract.freshness import BRANCHES
from interlock.contract.host import Remote
from interlock.errors import GitError, Refused
from tasks.common import git
from tasks.common.effect import effect

_AUTHOR = Person("Interlock", "interlock@localhost")


@dataclass(frozen=True)
class Stated:
    """What a signer's branch holds, as yet unproven, or why it could not be read."""

    signer: str
    data: bytes = b""
    problem: str = ""


@effect(name="state what the newest commit is", retries=2)
def state(remote: Remote, mirror: Path, *, head: str, signer: str, key: Path) -> str:
    """Sign that `head` is the branch's now, and push it in the place of the signer's statement before; its commit."""
    message = freshness.message(remote.branch, head)
    commit = git.write_commit(mirror, None, {}, message=message, key=key, author=_AUTHOR)
    own = _on(remote, f"{BRANCHES}{signer}")
    before = git.list_branches(mirror, own, BRANCHES).get(own.branch)
    git.push(mirror, commit, own, expected=before, rewrite=True)
    return commit


@effect(name="fetch the statements of freshness", retries=2)
def fetch(remote: Remote, mirror: Path, signers: Iterable[str]) -> tuple[Stated, ...]:
    """What is on the branches of these signers, each by itself; others may have branches there too, full of anything.

    The branch that the statements are about is fetched after them: what somebody saw at its head must be in it.
    """
    there = git.list_branches(mirror, remote, BRANCHES)
    found = tuple(_stated(remote, mirror, each) for each in signers if f"{BRANCHES}{each}" in there)
    git.fetch(mirror, remote)
    return found


def _stated(remote: Remote, mirror: Path, signer: str) -> Stated:
    try:
        commit = git.fetch_other(mirror, _on(remote, f"{BRANCHES}{signer}"))
        return Stated(signer, git.read_signed(mirror, commit).data if commit else b"")
    except (GitError, Refused) as error:
        return Stated(signer, problem=error.message)


def _on(remote: Remote, branch: str) -> Remote:
    return remote.model_copy(update={"branch": branch})
