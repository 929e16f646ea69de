"""Open pull requests of the environment repository: listed, fetched into a mirror of their own, verified, commented."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from interlock.cd import pull_requests as form
from interlock.cd.host import CdHost
from interlock.cd.pull_requests import Account, Commenter, PullRequest, Told, ours
from interlock.contract import signature
from interlock.contract.host import ForgeAccount, ForgeKind
from interlock.errors import GitError, HostConfigError, Refused, UnderWay
from tasks.cd import commenting
from tasks.common import clock, git
from tasks.common.effect import effect
from tasks.common.environment_repository import VerifiedHead, judged
from tasks.common.file_lock import lock
from tasks.common.forges import connected, insist, read_token, request_ref
from tasks.common.redaction import redacted
from tasks.common.squashes import Squashes
from tasks.common.whole_file import write_whole

R = TypeVar("R")
LARGEST_BYTES = 512 << 20
"""Of a file that the fetch of a request may write."""
_MOST_BYTES = 2 << 30
"""Of the requests' mirror: when it has grown beyond, it is fetched anew."""


# the forge -------------------------------------------------------------------------------------------


@effect(name="list the open pull requests")
def open_requests(account: ForgeAccount, base: str) -> tuple[PullRequest, ...]:
    """Those against the branch, newest first."""
    return _asked(account, lambda forge: forge.open_requests(base))


@effect(name="comment", task_run_name="comment on pull request {number}")
def comment(account: ForgeAccount, number: int, *, own: Account, mark: str, body: str) -> str:
    """Our one comment on the request with this text; what became of it: added, edited or as it was.

    Where so many comments stand that ours may be one of those that were not read, none is added.
    """
    text = redacted(body, sealed=False)

    def ensure(forge: Commenter) -> str:
        found = forge.comments(number)
        there = ours(found, own, mark)
        if there is None and len(found) >= form.MAX_LISTED:
            return "left out: there are too many comments"
        if there is None:
            forge.add(number, text)
            return "added"
        # Forges may give other ends of lines back than they got.
        if there.body.replace("\r\n", "\n").strip() == text.strip():
            return "as it was"
        forge.edit(number, there.id, text)
        return "edited"

    return _asked(account, ensure)


@effect(name="ask whose token it is")
def whose(account: ForgeAccount) -> Account:
    """The account of the token; HostConfigError when it could do more than comment."""
    found = _asked(account, lambda forge: forge.account())
    if found.pushes:
        raise HostConfigError(
            f"{account.project} on {account.url}: {found.name} may push there, and CD's comments need no such right",
            hint=f"put a token of an account into {account.token} that may only read and comment: docs/forges.md",
        )
    return found


def _asked(account: ForgeAccount, call: Callable[[Commenter], R]) -> R:
    """As a whole again when the forge is away or busy, so `call` looks at what is there before it makes something."""
    forge = _connected(account, read_token(account))
    return insist(account, lambda: call(forge))


@cache
def _connected(account: ForgeAccount, token: str) -> Commenter:
    commenter: Commenter = connected(commenting.__name__, account, token)
    return commenter


# git -------------------------------------------------------------------------------------------------


def mirror(host: CdHost) -> Path:
    """Apart from the branch's: what people push for a request never gets into that."""
    return git.mirror_path(_folder(host.state), host.environment_repository.name)


@effect(name="fetch the pull request", task_run_name="fetch pull request {number}")
def fetch(host: CdHost, kind: ForgeKind, number: int) -> str:
    """The commit that the request is at."""
    remote, into = host.environment_repository, mirror(host)
    if into.exists() and sum(each.stat().st_size for each in into.rglob("*") if each.is_file()) > _MOST_BYTES:
        shutil.rmtree(into)
    ref = request_ref(kind, number)
    head = git.fetch_request(into, remote, ref, largest=LARGEST_BYTES)
    if head is None:
        raise GitError(f"{remote.url} has no {ref}", hint="is it the repository that `pull_requests.forge` names?")
    return head


@effect(name="verify the pull request", task_run_name="verify {head}")
def verify(host: CdHost, head: str, *, base: str, since: str | None) -> VerifiedHead:
    """The request's commit as a deploy would take it if the branch were moved there; Refused when it would not.

    `base` is the branch's commit, `since` the verified head. Nothing of the request is read as files before each of
    its commits has passed.
    """
    remote, at = host.environment_repository, mirror(host)
    if head == base:
        raise Refused(f"it has no commit that {remote.branch} has not", rule="nothing-new")
    if not git.is_ancestor(at, base, head):
        raise Refused(
            f"{head[:12]} does not lie on top of {remote.branch}, which is at {base[:12]}: bring it up to date",
            rule="behind",
        )
    return _judged(host, head, since=since)


@effect(name="read what the branch declares", task_run_name="read {base}")
def verified_base(host: CdHost, base: str, *, since: str | None) -> VerifiedHead:
    """The branch's commit, which lies below the request's and was verified with it."""
    return _judged(host, base, since=since)


def _judged(host: CdHost, commit: str, *, since: str | None) -> VerifiedHead:
    remote, today = host.environment_repository, clock.now(host.state).date()
    vouch = Squashes(remote, host.state).vouch
    return judged(mirror(host), remote.root, commit, since=since, today=today, vouch=vouch)


# what was told ---------------------------------------------------------------------------------------


def mark(host: CdHost) -> str:
    """What this host's comments begin with."""
    return form.marker(signature.fingerprint(signature.public_key(git.read_key(host.signing.key))))


def read_told(state: Path) -> dict[int, Told]:
    data = b""
    with suppress(OSError):
        data = _file(state).read_bytes()
    return form.read_told(data)


def note_told(state: Path, told: Mapping[int, Told]) -> None:
    """A disk that is full costs the next run its time."""
    with suppress(OSError):
        write_whole(_file(state), form.write_told(told))


def now() -> float:
    return time.time()


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """UnderWay while another run of this host is at it."""
    _folder(state).mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        file = lock(_folder(state) / "lock")
    except BlockingIOError:
        raise UnderWay("another run looks at the pull requests") from None
    try:
        yield
    finally:
        os.close(file)


def _folder(state: Path) -> Path:
    return state / "pull-requests"


def _file(state: Path) -> Path:
    return _folder(state) / "told.json"
