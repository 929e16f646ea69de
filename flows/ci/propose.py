"""A release to environments that people release to: a branch with CI's commit, and one pull request that is kept up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flows.ci.race import fetch_environments
from flows.ci.together import all_of
from interlock.ci.forge import MAX_TEXT
from interlock.ci.proposal import (
    Proposal,
    already_proposed,
    body_of,
    branch_of,
    carried,
    differences,
    title_of,
    with_changes,
)
from interlock.ci.statuses import run_url
from interlock.ci.targets import changes, targets
from interlock.contract.canonical import digest
from interlock.contract.forge import shortened
from interlock.contract.report import Report, cell
from interlock.contract.repository import read
from interlock.contract.trailers import Trailers
from interlock.errors import GitError, InterlockError, PushRejected
from tasks.ci.forge import ensure_pull_request, withdraw_pull_request
from tasks.ci.release_commit import left_behind, push_branch, release_branches, remove_merged
from tasks.ci.source import Authors
from tasks.common.render import render_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.presenter import Presenter
    from interlock.ci.host import CiHost
    from interlock.ci.proposal import LeftBehind
    from interlock.ci.targets import Proven, Target
    from interlock.contract.models import Source
    from interlock.contract.repository import Repository
    from tasks.common.environment_repository import VerifiedHead


@dataclass(frozen=True)
class Offer:
    """A component's release that the gate let pass, for environments with `promotion: pull-request`."""

    component: str
    image: str
    source: Source
    head: str
    """The commit that releases it, where another one built it."""
    run: str
    proven: Sequence[Proven]
    bound: Sequence[Target]
    """All that its bindings give it."""
    tests: str
    findings: str
    """Markdown."""
    authors: Authors = field(default_factory=Authors)

    @property
    def commit(self) -> str:
        """What people are asked to release: the newest commit, whichever built the image."""
        return self.head or self.source.commit

    @property
    def environments(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.target.environment for each in self.proven))


@dataclass(frozen=True)
class Proposed:
    """The commit at the branch; where its pull request is, or empty when the forge could not be told."""

    branch: str
    commit: str
    url: str


async def propose(presenter: Presenter, host: CiHost, head: VerifiedHead, offer: Offer) -> Proposed:
    """Push the branch, then see to the pull request. PushRejected when another host moved the branch meanwhile.

    May be killed anywhere: what is there already is found, and what is missing is made.
    """
    branch = branch_of(offer.source.repository, offer.component, offer.bound, head.repository)
    wanted = changes(head.tree, offer.proven, image=offer.image, source=offer.source, head=offer.head)
    targets = [each.target for each in offer.proven]
    title = title_of(offer.component, offer.commit, offer.environments)
    commit = await presenter.step(
        push_branch,
        host,
        branch=branch,
        parent=head.commit,
        changes=wanted,
        subject=title,
        trailers=Trailers(
            source_repository=offer.source.repository,
            source_commit=offer.commit,
            run=offer.run,
            evidence_digest=digest(offer.proven[0].evidence),
            component=offer.component,
            authors=offer.authors.people,
            source_keys=offer.authors.keys,
        ),
        stays=lambda texts: already_proposed(
            texts, targets, image=offer.image, commit=offer.commit, repository=offer.source.repository
        ),
    )
    body = body_of(
        component=offer.component,
        image=offer.image,
        repository=offer.source.repository,
        commit=offer.commit,
        branch=branch,
        base=host.environment_repository.branch,
        run=run_url(host.prefect_ui, offer.run),
        tests=offer.tests,
        findings=offer.findings,
        differences=await _differences(presenter, head, wanted, targets),
    )
    proposal = Proposal(branch, host.environment_repository.branch, offer.commit, title, body)
    return Proposed(branch, commit, await _ask(presenter, host, proposal))


async def _differences(
    presenter: Presenter, head: VerifiedHead, wanted: Mapping[str, bytes | None], targets: Sequence[Target]
) -> dict[str, str]:
    """By environment, what would be applied otherwise than now."""
    after = read(with_changes(head.tree, wanted, commit=head.commit))

    async def difference(target: Target) -> str:
        repositories: tuple[Repository, ...] = (head.repository, after)
        old, new = await all_of(presenter.step(render_environment, each, target.environment) for each in repositories)
        return differences(old, new, application=target.application)

    return {each.environment: await difference(each) for each in targets}


async def _ask(presenter: Presenter, host: CiHost, proposal: Proposal) -> str:
    """The pull request's address. The branch is what counts: without the forge people can merge it all the same."""
    account = host.forges.get(host.environment_repository.name)
    if account is None:
        problem, hint = "no forge is named for the environment repository", "name it in ci.yaml, or merge by hand"
    else:
        try:
            found = await presenter.step(ensure_pull_request, account, proposal)
        except InterlockError as error:
            presenter.say(str(error))
            problem, hint = error.message, "the next run of this release opens it; or open it, or merge by hand"
        else:
            if found.state != "open":
                presenter.say(f"{found.url} of this very commit was {found.state} by people: they are not asked again")
            await presenter.link("pull-request", found.url, f"pull request {found.number}: {proposal.title}")
            return found.url
    text = f"{cell(problem)}: {cell(hint)}\n\nThe release lies on the branch `{proposal.branch}`.\n\n{proposal.body}"
    await presenter.show(Report("pull-request", f"No pull request: {proposal.title}", text))
    return ""


async def withdraw(presenter: Presenter, host: CiHost, *, branch: str, commit: str, reasons: Sequence[str]) -> None:
    """Nobody should merge what the gate refuses today; where the forge is away, people read it on the run's page."""
    account = host.forges.get(host.environment_repository.name)
    if account is None:
        return
    told = "\n".join(f"- {cell(reason)}" for reason in reasons)
    why = f"The gate does not let {commit[:12]} pass any more:\n\n{told}\n\nCI opens another when it does."
    try:
        found = await presenter.step(
            withdraw_pull_request,
            account,
            branch=branch,
            base=host.environment_repository.branch,
            commit=commit,
            why=shortened(why, MAX_TEXT),
        )
    except InterlockError as error:
        presenter.say(str(error))
        title = f"Do not merge {branch}: the forge could not be told"
        await presenter.show(Report("pull-request", title, f"{cell(error.message)}\n\n{why}"))
        return
    if found:
        presenter.say(f"{found.url} is withdrawn: the gate refuses it")


async def _is_merged(presenter: Presenter, host: CiHost, branch: str, tip: str, head: str) -> bool:
    try:
        return await presenter.step(remove_merged, host, branch, tip, head)
    except GitError as error:
        presenter.say(str(error))  # a server may keep branches; they do no harm
        return True


def _bound(host: CiHost, head: VerifiedHead, left: LeftBehind) -> tuple[Target, ...]:
    return targets(head.repository, source=None, signer=host.signing_of(left.trailers.source_repository).signer)


async def keep_up(presenter: Presenter, host: CiHost) -> tuple[str, ...]:
    """Put releases that others' commits have left behind on top of them, so that they can be merged; the branches.

    Branches that were merged are taken away.

    Nothing is judged for it: they were, by the policy that holds now. Else a run has to.
    """
    branches = await presenter.step(release_branches, host)
    if not branches:
        return ()
    head = await fetch_environments(presenter, host)
    moved: list[str] = []
    for branch, tip in branches.items():
        if await _is_merged(presenter, host, branch, tip, head.commit):
            continue
        left = await presenter.step(left_behind, host, branch, head.commit)
        found = carried(left, _bound(host, head, left)) if left else None
        if left is None or found is None:
            continue
        entry, proven = found
        try:
            await presenter.step(
                push_branch,
                host,
                branch=branch,
                parent=head.commit,
                changes=changes(head.tree, proven, image=entry.image, source=entry.source, head=entry.head or ""),
                subject=left.subject,
                trailers=left.trailers,
                stays=lambda _: False,
            )
        except PushRejected:
            continue  # a run has put something newer there
        presenter.say(f"{branch} lies on top of {head.commit[:12]} now")
        moved.append(branch)
    return tuple(moved)
