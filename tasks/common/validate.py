"""Holding manifests against schemas and rules. Rules are other people's programs: a process of its own runs them."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from interlock.contract import layout, strict_yaml, validation
from interlock.contract.manifest import Manifest
from interlock.contract.render import Rendered
from interlock.contract.repository import Repository
from interlock.contract.rules import Broken, Rule, Subject, to_json
from interlock.contract.unread import Unread
from interlock.contract.validation import Violation
from interlock.errors import FormatError, ToolError
from tasks.common.confined import ask
from tasks.common.effect import effect
from tasks.common.kubernetes_schemas import minors, schemas

COMMAND = (sys.executable, "-I", "-m", "tasks.common.judge_child")
TIMEOUT_SECONDS = 60
MOST_TOGETHER = 500
"""Objects that are judged in one process, whose limits they share."""


@dataclass(frozen=True)
class Validated:
    """What is wrong with manifests, waived or not, and what could not be looked at."""

    violations: tuple[Violation, ...]
    notes: tuple[str, ...]


@effect(name="validate", task_run_name="validate {rendered.environment}", retries=1)
def validate_offline(
    repository: Repository, rendered: Rendered, applications: Collection[str] | None = None
) -> Validated:
    """Hold an environment's manifests against the schemas of its Kubernetes version and the repository's rules.

    All of them, or those of some `applications`. What the render passed over is noted too.
    """
    environment = rendered.environment
    chosen = repository.environments[environment].applications if applications is None else applications
    manifests = tuple(each for each in rendered.manifests if each.application in chosen)
    minor = repository.environments[environment].kubernetes
    if minor and minor not in minors():
        message = f"kubernetes: there are no schemas of {minor}"
        hint = f"it may be {minors()[0]} to {minors()[-1]}; newer ones come with a newer Interlock"
        raise FormatError(message, path=layout.environment(environment), hint=hint)
    known = schemas(minor)
    found = (*validation.misfits(manifests, known), *broken_rules(repository.rules, manifests, environment))
    unseen = (
        f"{kind} of {version}: there is no schema for it, its manifests are not validated before the cluster is asked"
        for version, kind in validation.without_schema(manifests, known)
    )
    passed_over = (each for each in rendered.unread if each.application in chosen)
    unread = (f"{each}{_given_at(repository, environment, each)}" for each in passed_over)
    return Validated(excused(repository, environment, found), (*unseen, *unread))


def _given_at(repository: Repository, environment: str, unread: Unread) -> str:
    """The line of the values file that gives it; the environment's comes before the shared one."""
    for path in (layout.values(environment, unread.application), layout.shared_values(unread.application)):
        if path in repository.tree.files:
            document = strict_yaml.load(repository.tree.text(path), path=path)
            if unread.path in document.places:
                return f" ({path}:{document.line(unread.path)})"
    return ""


def excused(repository: Repository, environment: str, found: Iterable[Violation]) -> tuple[Violation, ...]:
    """The same, with the repository's waivers as they hold today (UTC)."""
    components = components_of(repository, environment)
    return validation.waived(found, repository.waivers, components, dt.datetime.now(dt.UTC).date())


def components_of(repository: Repository, environment: str) -> validation.Components:
    applications = repository.environments[environment].applications
    return {name: application.components for name, application in applications.items()}


def broken_rules(rules: Sequence[Rule], manifests: Iterable[Manifest], environment: str) -> tuple[Violation, ...]:
    """What rules in CEL say of manifests. FormatError when one takes too much time or memory: nothing is known then."""
    every = tuple(manifests)
    about = validation.judged(rules, every, environment)
    parts = [about[at : at + MOST_TOGETHER] for at in range(0, len(about), MOST_TOGETHER)]

    def judge(part: Sequence[Manifest]) -> tuple[Violation, ...]:
        return validation.violations(part, judge_apart(rules, validation.subjects(part, environment)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return (*chain.from_iterable(pool.map(judge, parts)), *validation.podless(rules, every))


def judge_apart(rules: Sequence[Rule], subjects: Sequence[Subject]) -> list[tuple[int, Broken]]:
    """Judge in a child with an empty environment, limited memory and time, and no files."""
    request = json.dumps({"rules": to_json(rules), "subjects": [vars(each) for each in subjects]})
    name = "the process that judges by rules"
    found = ask(COMMAND, request, name=name, seconds=TIMEOUT_SECONDS)
    if found.exhausted:
        raise _endless(rules, found.said)
    try:
        return [(index, Broken(*fields)) for index, fields in json.loads(found.text)]
    except (ValueError, TypeError) as error:
        raise ToolError(f"{name} answered something else: {found.text[:80]!r}") from error


def _endless(rules: Sequence[Rule], said: str) -> FormatError:
    """The child says which rule it begins with."""
    known = {rule.name for rule in rules}
    begun = [line for line in said.splitlines() if line in known]
    name = f"the rule {begun[-1]}" if begun else "judging"
    hint = "ask for less: do not multiply texts or lists"
    return FormatError(f"{name} takes too much time or memory, so nothing passes", path=layout.RULES, hint=hint)
