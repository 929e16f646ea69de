"""What keeps a commit from a cluster though it was verified: this host denies it, or has frozen the environment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flows.cd.guard import guarded_lately
from interlock.cd import freeze
from interlock.contract.manifest import Manifest
from interlock.errors import Refused
from tasks.cd import deny_list, freezes
from tasks.common import git
from tasks.common.environment_repository import VerifiedHead

if TYPE_CHECKING:
    from flows.cd.walk import Site


async def require_free(site: Site, head: VerifiedHead, manifests: Iterable[Manifest], *, deployed: str | None) -> None:
    """Refused (`denied` or `frozen`). A plan of a frozen environment is shown all the same: it writes nothing."""
    denied = await asyncio.to_thread(deny_list.read, site.host.deny_list)
    mirror = git.mirror_path(site.host.state, site.host.environment_repository.name)
    await asyncio.to_thread(deny_list.require_none, denied, mirror, head, manifests, environment=site.name)
    if site.what != "plan":
        await guarded_lately(site.presenter, site.host, head)
    found = await asyncio.to_thread(freezes.read, site.host.state, site.name)
    try:
        freeze.require_free(site.name, found, commit=head.commit, deployed=deployed)
    except Refused as refusal:
        if site.what != "plan":
            raise
        site.presenter.say(str(refusal))
    else:
        for each in found:
            site.presenter.say(f"{site.name} is frozen: {each}")
