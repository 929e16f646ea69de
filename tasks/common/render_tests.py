"""Running render tests: the same process renders them that renders environments, the same one judges them by rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from interlock.contract import validation
from interlock.contract.manifest import Manifest
from interlock.contract.render import Rendered
from interlock.contract.render_tests import Case, Outcome, TemplateFiles, inputs
from interlock.contract.rules import Broken, Rule, Subject
from interlock.contract.validation import Violation
from interlock.errors import RenderError
from tasks.common.kubernetes_schemas import minors, schemas
from tasks.common.render import render_each
from tasks.common.validate import MOST_TOGETHER, judge_apart


def run(cases: Sequence[Case], files: TemplateFiles, rules: Sequence[Rule]) -> tuple[Outcome, ...]:
    """What each test of one template set renders to, and what of that breaks a rule or does not fit its schema."""
    for case in cases:
        _require_known(case)
    made = render_each([inputs(case, files) for case in cases])
    manifests = [each.manifests if isinstance(each, Rendered) else () for each in made]
    broken = _broken(rules, cases, manifests)
    return tuple(
        Outcome(each) if isinstance(each, RenderError) else Outcome(each, (*_misfits(case, each), *broken[at]))
        for at, (case, each) in enumerate(zip(cases, made, strict=True))
    )


def _require_known(case: Case) -> None:
    minor = case.test.environment.kubernetes
    if minor and minor not in minors():
        where = ("tests", case.index, "environment", "kubernetes")
        hint = f"it may be {minors()[0]} to {minors()[-1]}; newer ones come with a newer Interlock"
        raise case.document.error(f"there are no schemas of {minor}", where, hint=hint)


def _misfits(case: Case, rendered: Rendered) -> Iterator[Violation]:
    return validation.misfits(rendered.manifests, schemas(case.test.environment.kubernetes or ""))


def _broken(
    rules: Sequence[Rule], cases: Sequence[Case], manifests: Sequence[Sequence[Manifest]]
) -> Mapping[int, Sequence[Violation]]:
    """What rules say, by test: all tests are judged together, since starting the judge takes longest."""
    judged = [
        (at, manifest, subject)
        for at, (case, made) in enumerate(zip(cases, manifests, strict=True))
        for about in [validation.judged(rules, made, case.test.environment.name)]
        for manifest, subject in zip(about, validation.subjects(about, case.test.environment.name), strict=True)
    ]
    found: dict[int, list[Violation]] = {at: [] for at in range(len(cases))}
    for index, broken in _judged(rules, [subject for _, _, subject in judged]):
        at, manifest, _ = judged[index]
        found[at] += validation.violations([manifest], [(0, broken)])
    return found


def _judged(rules: Sequence[Rule], subjects: Sequence[Subject]) -> Iterator[tuple[int, Broken]]:
    parts = (
        [(first + index, broken) for index, broken in judge_apart(rules, subjects[first : first + MOST_TOGETHER])]
        for first in range(0, len(subjects), MOST_TOGETHER)
    )
    return chain.from_iterable(parts)
