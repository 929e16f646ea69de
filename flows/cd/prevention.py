"""The lock in the API server, as far as it is CD's work: the list of images, and a look whether the policies are there.

It costs nothing where the host has no `admission_lock` for the environment.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flows.cd.receipts import tell_lock
from interlock.cd import reports, running
from interlock.cd.admission_lock import Locked
from interlock.contract.render import Rendered
from interlock.contract.repository import Repository
from tasks.cd import admission_lock

if TYPE_CHECKING:
    from flows.cd.walk import Decision, Site


async def restored(site: Site, rendered: Rendered, repository: Repository) -> None:
    """Before a plan: without the list, the API server would refuse even the plan's dry runs."""
    if site.ceiling.admission_lock is None or site.what == "plan":
        return
    if not await site.presenter.step(admission_lock.is_listing, site.cluster, site.ceiling.control_namespace):
        await _listed(site, rendered, repository, only=False)


async def may_run(site: Site, decision: Decision) -> None:
    """Before the first write: what Git has now may run, and still what ran until now."""
    await _listed(site, decision.rendered, decision.head.repository, only=False)


async def alone_may_run(site: Site, decision: Decision) -> None:
    """Healthy: what ran before comes back no more."""
    await _listed(site, decision.rendered, decision.head.repository, only=True)


async def _listed(site: Site, rendered: Rendered, repository: Repository, *, only: bool) -> None:
    if site.ceiling.admission_lock is None:
        return
    images = running.may_run(rendered.manifests, repository.images.places)
    control = site.ceiling.control_namespace
    await site.presenter.step(admission_lock.list_images, site.cluster, control, images, only=only)


async def tell_weakened(site: Site, decision: Decision) -> Decision:
    """Every run says what somebody took from the lock. It stops nothing: without it, CD is needed the more."""
    if site.ceiling.admission_lock is None:
        return decision
    environment = decision.environment
    user = await asyncio.to_thread(lambda: site.cluster.username)
    locked = Locked(
        site.name,
        environment.id,
        site.ceiling.control_namespace,
        environment.namespaces,
        site.ceiling.admission_lock,
        user="" if user.startswith("system:serviceaccount:") else user,
        wide=bool(environment.cluster_kinds),
    )
    lines = await site.presenter.step(admission_lock.weakened, site.cluster, locked)
    if lines:
        await site.presenter.tag("lock:weakened")
        await site.presenter.show(reports.lock_report(site.name, lines))
    return await tell_lock(site, decision, lines)
