"""policy/health.yaml: when a custom resource is healthy, said in CEL over the object as it lives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from interlock.contract.cel import CelError, Program, compiled


@dataclass(frozen=True)
class Verdict:
    """`state` is `healthy`, `failed`, `progressing`, or `unknown` when an expression had no answer."""

    state: str
    reason: str = ""


class Judge(Protocol):
    """Whoever judges objects of one kind."""

    def judge(self, body: Mapping[str, object]) -> Verdict | None:
        """None when it has nothing to say of this object."""


class Judges(Protocol):
    """Who judges which kind."""

    def of(self, group: str, kind: str) -> Judge | None: ...


@dataclass(frozen=True)
class HealthRule:
    """One rule. `failed` is asked first; what is neither failed nor healthy is in progress."""

    name: str
    group: str
    """Exact, or `*.` and the end of one: `*.crossplane.io`."""
    kind: str
    """Exact, or `*`."""
    healthy: str
    failed: str = ""
    message: str = ""

    def program(self, field: str) -> Program | None:
        """The expression of a field, or None when it is empty; CelError when it is none."""
        text: str = getattr(self, field)
        return compiled(text, "object") if text else None

    def judge(self, body: Mapping[str, object]) -> Verdict:
        """An expression that has no answer is no answer: the object is waited for, and the reason told."""
        try:
            failed = self._holds("failed", body)
            if not failed and self._holds("healthy", body):
                return Verdict("healthy")
        except CelError as error:
            return Verdict("unknown", f"the rule {self.name} has no answer: {error}")
        return Verdict("failed" if failed else "progressing", self._said(self.program("message"), body))

    def _holds(self, field: str, body: Mapping[str, object]) -> bool:
        program = self.program(field)
        value = program.evaluate(object=body) if program else False
        if not isinstance(value, bool):
            raise CelError(f"{field} gives {type(value).__name__}, not true or false")
        return value

    def _said(self, message: Program | None, body: Mapping[str, object]) -> str:
        """What is missing; a message that cannot be made hides no verdict."""
        plain = f"the rule {self.name} does not hold"
        if message is None:
            return plain
        try:
            said = message.evaluate(object=body)
        except CelError as error:
            return f"{plain} (no message: {error})"
        return said if isinstance(said, str) and said.strip() else plain


@dataclass(frozen=True)
class HealthRules:
    """All rules of a repository; the one that names a kind most exactly counts."""

    rules: tuple[HealthRule, ...] = ()

    def of(self, group: str, kind: str) -> HealthRule | None:
        for names in _spellings(group, kind):
            if rule := self._by_kind.get(names):
                return rule
        return None

    @cached_property
    def _by_kind(self) -> Mapping[tuple[str, str], HealthRule]:
        return {(rule.group, rule.kind): rule for rule in self.rules}


def _spellings(group: str, kind: str) -> Iterable[tuple[str, str]]:
    """From the most exact to the widest: the group itself, then `*.` and its ends, each with the kind before `*`."""
    parts = group.split(".")
    ends = ["*." + ".".join(parts[start:]) for start in range(1, len(parts))]
    return ((spelt, named) for spelt in (group, *ends) for named in (kind, "*"))
