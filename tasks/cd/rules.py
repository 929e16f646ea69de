"""Holds a plan to the repository's policy, and to that of the commits that it follows: the stricter ones win."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from pathlib import Path

from interlock.cd.plan import Plan
from interlock.cd.policed import policed
from interlock.contract.host import EnvironmentRemote
from interlock.contract.manifest import Manifest
from interlock.contract.repository import Repository
from interlock.contract.rules import stricter
from interlock.contract.validation import Policy, waived_by_all
from tasks.common.effect import effect
from tasks.common.environment_repository import read_older_policies
from tasks.common.validate import broken_rules, components_of


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
    """The plan's manifests that it would write, judged by the rules and waivers of its commit and of the `older` ones.

    FormatError when a rule takes too much time or memory.
    """
    policies = read_older_policies(remote, state=state, commits=older)
    rules = repository.rules
    for each in policies:
        rules = stricter(rules, each.rules, since=each.commit)
    found = broken_rules(rules, manifests, plan.environment)
    newest, today = Policy(repository.rules, repository.waivers), dt.datetime.now(dt.UTC).date()
    components = components_of(repository, plan.environment)
    return policed(plan, waived_by_all(found, newest, policies, components, today))
