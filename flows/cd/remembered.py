"""What an environment's cluster remembers of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.cd import record
from tasks.cd.cluster import connect

if TYPE_CHECKING:
    from flows.presenter import Presenter
    from interlock.cd.host import CdHost
    from interlock.cd.record import Record


async def in_cluster(presenter: Presenter, host: CdHost, name: str, *, environment_id: str) -> Record | None:
    """The record, None when there is none. The error of a cluster that does not answer is for whoever asks."""
    ceiling = host.environments[name]
    with connect(host.clusters[ceiling.cluster].kubeconfig) as cluster:
        stored = await presenter.step(
            record.read_stored,
            cluster,
            control_namespace=ceiling.control_namespace,
            environment_id=environment_id,
        )
    return stored.record
