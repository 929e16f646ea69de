"""Finds the health rules of older commits that still judge what the newest one changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock.cd.record import Known
from interlock.cd.strict_health import differing
from interlock.contract.health import HealthRules
from interlock.contract.host import EnvironmentRemote
from interlock.contract.kinds import BUILT_IN_GROUPS
from interlock.contract.manifest import Identity, Manifest
from interlock.contract.repository import Repository
from interlock.errors import InputError
from tasks.common import renders
from tasks.common.effect import effect
from tasks.common.environment_repository import read_older_health, read_verified
from tasks.common.render import render_environment


@dataclass(frozen=True)
class OlderHealth:
    """Rules, and the objects that they still judge."""

    rules: tuple[HealthRules, ...] = ()
    changed: frozenset[Identity] = frozenset()


NO_OLDER = OlderHealth()


@effect(name="read older health rules", retries=1)
def older_health(
    repository: Repository,
    environment: str,
    manifests: Sequence[Manifest],
    known: Known,
    *,
    remote: EnvironmentRemote,
    state: Path,
) -> OlderHealth:
    """Of the verified head and of what is deployed, as far as they say something else of the custom kinds in Git."""
    custom = [each for each in manifests if each.identity.group not in BUILT_IN_GROUPS]
    commits = {each for each in (known.since, known.deployed) if each} - {repository.commit}
    if not custom or not commits:
        return NO_OLDER
    kinds = {(each.identity.group, each.identity.kind) for each in custom}
    rules = differing(read_older_health(remote, state=state, commits=commits), repository.health, kinds)
    if not rules:
        return NO_OLDER
    before = _deployed(environment, known.deployed, remote=remote, state=state)
    return OlderHealth(rules, frozenset(each.identity for each in custom if each.fingerprint not in before))


def _deployed(environment: str, commit: str | None, *, remote: EnvironmentRemote, state: Path) -> Collection[str]:
    """What the deployed commit renders to; nothing when it cannot be rendered any more: then all is changed."""
    if commit is None:
        return ()
    try:
        head = read_verified.fn(remote, state=state, commit=commit)
        rendered = render_environment.fn(head.repository, environment, kept=renders.path(state))
    except (InputError, KeyError):
        return ()
    return {each.fingerprint for each in rendered.manifests}
