"""Holds a plan to the repository's rules, and to those of the commits that it follows: the stricter ones win."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from interlock.cd.plan import Plan
from interlock.cd.policed import policed
from interlock.contract.host import EnvironmentRemote
from interlock.contract.manifest import Manifest
from interlock.contract.repository import Repository
from interlock.contract.rules import stricter
from tasks.common.effect import effect
from tasks.common.environment_repository import read_older_rules
from tasks.common.validate import broken_rules, excused


@effect(name="judge by rules", retries=1)
def hold_to_rules(
    plan: Plan,
    manifests: Sequence[Manifest],
    repository: Repository,
    *,
    older: Collection[str],
    remote: EnvironmentRemote,
    state: Path,
) -> Plan:
    """The plan's manifests that it would write, judged by the rules of its commit and of the `older` ones.

    FormatError when a rule takes too much time or memory.
    """
    rules = repository.rules
    for commit, known in read_older_rules(remote, state=state, commits=older).items():
        rules = stricter(rules, known, since=commit[:12])
    return policed(plan, excused(repository, plan.environment, broken_rules(rules, manifests, plan.environment)))
