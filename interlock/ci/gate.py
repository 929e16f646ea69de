"""The gate over a whole release: each environment by its own scans, rules and what is known of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from interlock.ci.junit import TestRun
from interlock.ci.known import known_of
from interlock.contract.evidence import Base
from interlock.contract.finding import Scan
from interlock.contract.gate import REQUIRED, Required, Verdict, judge
from interlock.contract.models import BuildRules, GateFile, Waiver
from interlock.contract.repository import Repository
from interlock.contract.sightings import NOTHING, Known


@dataclass(frozen=True)
class Scans:
    """What an image is judged by: its sources, itself, and what its environments would apply."""

    sources: tuple[Scan, ...]
    image: Scan
    manifests: Mapping[str, Scan] = field(default_factory=dict)

    def of(self, environment: str) -> tuple[Scan, ...]:
        return *self.sources, self.manifests[environment], self.image


def judge_release(
    scans: Scans,
    tests: TestRun,
    *,
    policy: Repository,
    environments: Iterable[str],
    source: str,
    component: str,
    now: dt.datetime,
    bases: Sequence[Base] | None,
) -> dict[str, Verdict]:
    """The verdict on a component for each environment, by the rules and waivers of the environment repository.

    `source` is the component's repository. Whoever signs for a release asks this once more, with a policy that he has
    fetched himself.
    """
    before = known_of(policy, source=source, component=component)
    return judge_each(
        scans.of,
        tests,
        gate=policy.gate,
        waivers=policy.waivers,
        component=component,
        now=now,
        known={environment: before.get(environment, NOTHING) for environment in environments},
        bases=bases,
    )


def judge_each(
    scans: Callable[[str], Sequence[Scan]],
    tests: TestRun | None,
    *,
    gate: GateFile,
    waivers: Sequence[Waiver],
    component: str,
    now: dt.datetime,
    known: Mapping[str, Known],
    required: Sequence[Required] = REQUIRED,
    bases: Sequence[Base] | None = (),
) -> dict[str, Verdict]:
    """The verdict for each environment of `known`, each by its own scans, by its own rules or by those for all."""
    return {
        environment: judge(
            scans(environment),
            tests,
            rules=gate.environments.get(environment, gate.rules),
            waivers=waivers,
            component=component,
            now=now,
            required=required,
            known=before,
            bases=bases,
        )
        for environment, before in known.items()
    }


def build_rules(gate: GateFile, environments: Iterable[str]) -> tuple[BuildRules, ...]:
    """What these environments let a build take from elsewhere, each by itself; without any, the rules for all."""
    names = dict.fromkeys(environments)
    return tuple(gate.environments.get(name, gate.rules).build for name in names) or (gate.rules.build,)


def asks_for_licences(gate: GateFile) -> bool:
    """Whether any environment's rules say something about licences, so that they must be looked for."""
    return any(rules.licences is not None for rules in (gate.rules, *gate.environments.values()))
