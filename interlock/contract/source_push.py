"""What an application repository's branch takes where a hook guards it, as the environment repository wants it. Pure.

policy/protection.yaml says how strict, `commit_keys` in trust/attesters.yaml whose signatures count. Who signed is
asked of the same function that CI asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.contract import commit as commits
from interlock.contract import layout, protection, source_rule
from interlock.contract.commit import RawCommit
from interlock.contract.models import CommitId, Model, PublicKey, RepositoryName
from interlock.contract.protection import Wanted
from interlock.contract.report import counted
from interlock.contract.repository import Repository
from interlock.errors import InputError, ParameterError, Refused


class SourceRules(Model):
    """What the environment repository wanted of an application repository when the hook was written."""

    source: RepositoryName
    policy: CommitId
    """The commit of the environment repository that said so."""
    signed_commits: bool
    """Whether each new commit has to be signed by one of `commit_keys`, and not only the newest."""
    linear_history: bool
    commit_keys: tuple[PublicKey, ...] = ()
    """Without any nothing has to be signed."""


def wanted(repository: Repository, source: str) -> tuple[Wanted, SourceRules]:
    """How the source's branch has to be guarded, and what of it a hook can hold."""
    file = protection.read(repository.tree)
    attesters = repository.attesters.attesters if repository.attesters else ()
    known = {each.source for each in repository.bindings} | {each.source for each in attesters}
    known |= file.repositories.keys()
    if source not in known:
        hint = f"it has: {', '.join(sorted(known)) or 'none'}"
        raise ParameterError(f"the environment repository names no source {source!r}", hint=hint)
    want = file.wanted(source)
    attester = next((each for each in attesters if each.source == source), None)
    if attester and attester.branch not in (None, want.branch):
        raise InputError(
            f"{layout.ATTESTERS} releases {source} from {attester.branch}, {layout.PROTECTION} guards {want.branch}",
            hint=f"give {source} its `branch` in {layout.PROTECTION}; without one it is main",
        )
    keys = attester.commit_keys if attester else ()
    if want.signed_commits and not keys:
        raise InputError(
            f"{source}: {layout.PROTECTION} wants signed commits, and nothing says whose signatures count",
            hint=f"name the keys in `commit_keys` of {source} in {layout.ATTESTERS}, "
            f"or say `signed_commits: false` for {source} in {layout.PROTECTION}",
        )
    rules = SourceRules(
        source=source,
        policy=repository.tree.commit,
        signed_commits=want.signed_commits,
        linear_history=want.linear_history,
        commit_keys=keys,
    )
    return want, rules


def not_held(want: Wanted) -> Iterator[tuple[protection.Rule, str]]:
    """What is wanted and no hook can hold: a plain git server knows pushes, and no requests."""
    if want.reviews:
        by = f" of {', '.join(want.reviewers)}" if want.reviewers else ""
        yield "reviews", f"wanted is at least {want.reviews}{by}; a plain git server asks nobody"
        but = f" but {', '.join(want.may_push)}" if want.may_push else ""
        yield "direct-push", f"wanted is nobody{but}; whoever the server lets push does so without a review"
    if want.checks:
        yield "checks", f"wanted are {', '.join(want.checks)}; a plain git server waits for none"


def told(rules: SourceRules) -> str:
    """What the hook holds, in a line."""
    keys = counted(len(rules.commit_keys), "key counts", "keys count")
    signed = f"{'every commit' if rules.signed_commits else 'the newest commit'} signed ({keys})"
    merges = "no merges" if rules.linear_history else "merges allowed"
    return ", ".join((signed if rules.commit_keys else "unsigned commits allowed", merges, "no rewrite, no deletion"))


def require_allowed(rules: SourceRules, raw: RawCommit, *, since: str | None) -> None:
    """Refused when a commit that is new after `since` may not be a part of the branch."""
    if rules.linear_history and len(commits.parse(raw.data).parents) > 1:
        raise Refused(
            f"commit {raw.id[:12]} is a merge; {layout.PROTECTION} wants {rules.source} to be one line",
            rule="merge",
            hint="rebase instead of merging: `git pull --rebase`",
        )
    if rules.signed_commits:
        _require_signed(rules, raw, since)


def _require_signed(rules: SourceRules, raw: RawCommit, since: str | None) -> None:
    try:
        source_rule.signed_by(rules, raw.id, raw.data)
    except Refused as refusal:
        raise Refused(
            refusal.message,
            rule=refusal.rule,
            hint=f"sign every new commit, `git rebase --force-rebase --gpg-sign {since[:12] if since else '--root'}`, "
            f"with a key that {layout.ATTESTERS} names in `commit_keys` of {rules.source}",
        ) from refusal


def rewritten(old: str, new: str) -> Refused:
    return Refused(
        f"{new[:12]} does not descend from {old[:12]}, where the branch is: history would be rewritten or go back",
        rule="rewritten",
        hint="`git pull --rebase`, then push again; undo what is wrong by a new commit, not by a forced push",
    )
