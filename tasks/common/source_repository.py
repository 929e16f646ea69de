"""What is pushed to an application repository, judged before it is a part of the branch by what CI asks of it later."""

from __future__ import annotations

from pathlib import Path

from interlock.contract import application, layout, source_push, source_rule
from interlock.contract.source_push import SourceRules
from tasks.common import git


def judged(mirror: Path, rules: SourceRules, head: str, *, since: str | None) -> int:
    """How many commits the branch gets that were not in `since`: each of them allowed, and the newest one for CI."""
    if since is not None and not git.is_ancestor(mirror, since, head):
        raise source_push.rewritten(since, head)
    count = 0
    for raw in git.read_line(mirror, since, head):
        source_push.require_allowed(rules, raw, since=since)
        count += 1
    require_buildable(mirror, rules, head)
    return count


def require_buildable(mirror: Path, rules: SourceRules, head: str) -> None:
    """What CI asks of the commit that it builds: who signed it, plain files, and an interlock.yaml that can be read."""
    commit = git.read_signed(mirror, head)  # and no tag, which git would follow to one
    if rules.commit_keys:
        source_rule.signed_by(rules, commit.id, commit.data)
    blobs = {entry.path: entry.blob for entry in git.list_files(mirror, head)}
    if layout.APPLICATION_REPOSITORY not in blobs:
        raise application.missing(rules.source, head)
    blob = blobs[layout.APPLICATION_REPOSITORY]
    application.read_committed(git.read_blobs(mirror, [blob])[blob])
