"""CI states what the newest commit of the environment repository is, where policy/freshness.yaml names it."""

from __future__ import annotations

import time
from pathlib import Path

from flows.ci.race import fetch_environments
from flows.presenter import Presenter
from interlock.ci.host import CiHost
from interlock.errors import InputError, Refused
from tasks.common import freshness, git
from tasks.common.whole_file import write_whole

EVERY_SECONDS = 900.0


async def keep_fresh(presenter: Presenter, host: CiHost) -> bool:
    """Whether it was stated now. Not oftener than every quarter of an hour."""
    path = host.state / "freshness"
    if _age(path) < EVERY_SECONDS:
        return False
    write_whole(path, b"")
    try:
        head = await fetch_environments(presenter, host)
    except (Refused, InputError) as error:
        presenter.say(f"freshness is not stated: {error.message}")  # a release run says the same, and fails for it
        return False
    policy = head.repository.freshness
    named = policy is not None and host.signing.signer in policy.signers
    if named:
        remote = host.environment_repository
        mirror = git.mirror_path(host.state, remote.name)
        signing = host.signing
        await presenter.step(freshness.state, remote, mirror, head=head.commit, signer=signing.signer, key=signing.key)
    return named


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
