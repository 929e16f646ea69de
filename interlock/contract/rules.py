"""policy/rules.yaml: what no manifest may be, said in CEL over the manifest. Light enough for a process of its own.

An expression says what must hold, as in a ValidatingAdmissionPolicy; one that has no answer does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from interlock.contract.cel import MOST_CHARACTERS, CelError, Program, compiled
from interlock.contract.workloads import Places, Pod, makes_pods, mapping, pods

Severity = Literal["deny", "warn"]
VARIABLES = ("object", "pod", "containers", "pod_metadata", "environment", "application")
"""`pod` is the specification of the pods that an object makes, `containers` has all of theirs, `pod_metadata` is what
their template says of them; all three may be empty.
"""
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_MOST_SAID = 500


@dataclass(frozen=True)
class Rule:
    name: str
    expression: str
    """What must hold."""
    message: str = ""
    message_expression: str = ""
    """CEL that gives the message; when it has no answer, `message` stands in for it."""
    severity: Severity = "deny"
    waivable: bool = True
    kinds: tuple[str, ...] = ()
    """`Deployment` of whatever group, or `Deployment.apps`; empty for all."""
    environments: tuple[str, ...] = ()
    """Names; empty for all."""
    pods: bool = False
    """Only about kinds that make pods."""
    places: Places = ()
    """Where custom kinds have their pods."""
    since: str = ""
    """The older commit that the rule comes from, and whose successor it still judges."""
    built_in: bool = False
    """Ours: it takes little, and may be asked together with others of ours."""

    def about(self, api_version: str, kind: str, environment: str) -> bool:
        if self.environments and environment not in self.environments:
            return False
        group = api_version.rpartition("/")[0]
        if self.kinds and kind not in self.kinds and f"{kind}.{group}" not in self.kinds:
            return False
        return not self.pods or makes_pods(group, kind, self.places)

    def program(self, field: str) -> Program | None:
        """Of the field `expression` or `message_expression`. None when it is empty, CelError when it is no CEL."""
        text: str = getattr(self, field)
        return compiled(text, *VARIABLES) if text else None


@dataclass(frozen=True)
class Broken:
    """A rule that an object breaks, and what is said about it."""

    rule: str
    severity: Severity
    message: str
    waivable: bool
    since: str = ""
    """As the rule's."""


@dataclass(frozen=True)
class Subject:
    """An object that is judged, and whose it is."""

    body: Mapping[str, Any]
    environment: str
    application: str

    @property
    def type(self) -> tuple[str, str]:
        """`apiVersion` and `kind`."""
        return str(self.body["apiVersion"]), str(self.body["kind"])

    @property
    def names(self) -> dict[str, str]:
        return {"environment": self.environment, "application": self.application}


Judged = tuple[Rule, tuple[tuple[int, Broken], ...]]
"""A rule, and what it says of objects, by their index."""


def judge(
    rules: Sequence[Rule], subjects: Sequence[Subject], *, begins: Callable[[Rule], None] = lambda _: None
) -> Iterator[Judged]:
    """Rule by rule, what it says of each object that it is about. `begins` is called before a rule is asked."""
    bench = _Bench(subjects)
    parts = {rule: part for part in _parts(rules) for rule in part.rules}
    for rule in rules:
        begins(rule)
        part = parts.get(rule)
        asked = [index for index in bench.about(rule) if not (part and bench.holds(part, index))]
        yield rule, tuple((index, found) for index in asked if (found := bench.broken(rule, index)))


@dataclass(frozen=True, eq=False)
class _Part:
    """Built-in rules that are about the same objects, as one expression: most objects hold to all, at a fifth of the
    cost.
    """

    rules: tuple[Rule, ...]
    text: str


def _parts(rules: Iterable[Rule]) -> Iterator[_Part]:
    alike: dict[object, list[Rule]] = {}
    for rule in rules:
        if rule.built_in:
            alike.setdefault((rule.kinds, rule.environments, rule.pods, rule.places), []).append(rule)
    for together in alike.values():
        taken: list[Rule] = []
        for rule in together:
            if len(_joined((*taken, rule))) > MOST_CHARACTERS:
                yield _Part(tuple(taken), _joined(taken))
                taken = []
            taken.append(rule)
        yield _Part(tuple(taken), _joined(taken))


def _joined(rules: Iterable[Rule]) -> str:
    return " && ".join(f"({rule.expression})" for rule in rules)


class _Bench:
    """The objects before rules, each read once."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects = subjects
        self._by_kind: dict[tuple[str, str, str], list[int]] = {}
        for index, subject in enumerate(subjects):
            self._by_kind.setdefault((*subject.type, subject.environment), []).append(index)
        self._bodies: dict[int, Mapping[str, Any]] = {}
        self._seen: dict[tuple[int, Places], tuple[Mapping[str, object], ...]] = {}
        self._held: dict[tuple[_Part, int], bool] = {}

    def about(self, rule: Rule) -> list[int]:
        return sorted(index for kind, indices in self._by_kind.items() if rule.about(*kind) for index in indices)

    def holds(self, part: _Part, index: int) -> bool:
        """Whether all of these hold; without an answer nothing is known of any."""
        key = part, index
        if key not in self._held:
            self._held[key] = all(_true(part.text, each) for each in self._variables(index, part.rules[0].places))
        return self._held[key]

    def broken(self, rule: Rule, index: int) -> Broken | None:
        said = (_broken(rule, each) for each in self._variables(index, rule.places))
        return next((found for found in said if found), None)

    def _variables(self, index: int, places: Places) -> tuple[Mapping[str, object], ...]:
        key = index, places
        if key not in self._seen:
            if index not in self._bodies:
                self._bodies[index] = without_secrets(_without_nulls(self._subjects[index].body))
            known = {**self._subjects[index].names, "object": self._bodies[index]}
            self._seen[key] = tuple(_variables(known, places))
        return self._seen[key]


def _true(text: str, variables: Mapping[str, object]) -> bool:
    try:
        return compiled(text, *VARIABLES).evaluate(**variables) is True
    except CelError:
        return False


def _variables(known: Mapping[str, Any], places: Places) -> Iterator[Mapping[str, object]]:
    """Once for the pods of each place; once also where there are none."""
    for pod in pods(known["object"], places) or (Pod({}, {}),):
        yield {**known, "pod": pod.spec, "containers": _containers(pod.spec), "pod_metadata": pod.metadata}


def _containers(spec: Any) -> object:
    """All of them; what is no list of containers as it is, so that no rule takes it for none."""
    if not isinstance(spec, Mapping):
        return spec
    lists = [spec[field] for field in _CONTAINERS if field in spec]
    wrong = next((each for each in lists if not isinstance(each, list)), None)
    return [container for each in lists for container in each] if wrong is None else wrong


def _without_nulls(value: Any) -> Any:
    """To the API server null is the same as nothing; a rule should not have to know."""
    if isinstance(value, dict):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    """A Secret with its keys alone: a message may say anything that a rule reads."""
    if (body["apiVersion"], body["kind"]) != ("v1", "Secret"):
        return body
    hidden: dict[str, Any] = {
        field: dict.fromkeys(mapping(body, (field,)), "") for field in ("data", "stringData") if field in body
    }
    return {**body, **hidden}


def _broken(rule: Rule, variables: Mapping[str, object]) -> Broken | None:
    try:
        program = rule.program("expression")
        holds = program.evaluate(**variables) if program else False
    except CelError as error:
        return _said(rule, f"the rule has no answer, so it does not hold: {error}")
    if holds is True:
        return None
    if holds is not False:
        return _said(rule, f"the rule gives {type(holds).__name__}, not true or false, so it does not hold")
    return _said(rule, _message(rule, variables))


def _message(rule: Rule, variables: Mapping[str, object]) -> str:
    plain = rule.message or f"must hold: {rule.expression}"
    try:
        program = rule.program("message_expression")
        said = program.evaluate(**variables) if program else plain
    except CelError:
        return plain
    return said if isinstance(said, str) and said.strip() else plain


def _said(rule: Rule, message: str) -> Broken:
    message = " ".join(message.split())
    message = message if len(message) <= _MOST_SAID else f"{message[: _MOST_SAID - 1]}…"
    older = f" (a rule of {rule.since}, which still judges this commit)" if rule.since else ""
    return Broken(rule.name, rule.severity, message + older, rule.waivable, rule.since)


def to_json(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    return [asdict(rule) for rule in rules]


def from_json(value: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """What `to_json` wrote, by way of JSON."""
    return tuple(Rule(**{name: _frozen(field) for name, field in each.items()}) for each in value)


def _frozen(value: Any) -> Any:
    """Lists as the tuples that they were."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def stricter(new: Sequence[Rule], old: Iterable[Rule], *, since: str) -> tuple[Rule, ...]:
    """Both: a rule that a commit changes or removes still judges that commit."""
    return (*new, *(replace(rule, since=since) for rule in old if rule not in new))
