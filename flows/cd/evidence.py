"""The step between rendering and planning: no image is planned that cannot prove where it came from."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from interlock.cd.evidence_report import evidence_report
from interlock.cd.proofs import NOT_ASKED, Proven, require_proven
from interlock.cd.record import Known
from interlock.contract.attesters import stricter
from interlock.contract.render import Rendered
from tasks.cd import proofs
from tasks.common.environment_repository import VerifiedHead

if TYPE_CHECKING:
    from flows.cd.walk import Site


async def proven(site: Site, head: VerifiedHead, rendered: Rendered, known: Known) -> Proven:
    """Refused unless every image has its proof. Nothing is looked at where nobody asks for evidence.

    The commits before keep what they ask: none takes away what judges it.
    """
    before = {commit for commit in (known.since, known.deployed) if commit and commit != head.commit}
    remote, state = site.host.environment_repository, site.host.state
    older = await asyncio.to_thread(proofs.older_attesters, remote, state=state, commits=before) if before else ()
    attesters, required = stricter(head.repository.attesters, older), site.host.evidence == "required"
    if attesters is None and not required:
        return NOT_ASKED
    found = await site.presenter.step(
        proofs.verify_evidence,
        rendered.manifests,
        head.repository,
        site.name,
        attesters=attesters,
        required=required,
        deployed=known.deployed,
        since=known.since,
        new=head.new_commits,
        registries=site.host.registries,
        remote=remote,
        state=state,
        keeps=site.proposed is None,
    )
    if any(each.faults or not each.known for each in found.images):
        await site.presenter.show(evidence_report(site.name, found))
    require_proven(found, environment=site.name, commit=head.commit)
    return found
