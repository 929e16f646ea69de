"""How much of a plan's new and changed objects the server is asked about before anything is written.

An object that fits the server's own schema, and whose metadata is right, is sent to a dry run only as the first of its
kind in its namespace (quota, admission), when an admission webhook or policy may judge its kind, when its kind has
rules in CEL, or when there is no schema. The dry run also has the last word on what does not fit: a schema may say
more than the server asks for. The same holds for a living object of which it is known without the server what an
apply makes of it (`interlock.cd.predict`); all others that differ are asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from interlock.cd.plan import STOPS, Action, PlanItem, Wanted
from interlock.contract.manifest import Identity, Manifest
from interlock.contract.schema import Problem, Schema
from interlock.contract.validation import misfit_by


@dataclass(frozen=True)
class Proof:
    """What is known of a new or changed object. `asked`: whether a dry run is needed too."""

    problems: tuple[Problem, ...]
    asked: bool


ASKED = Proof((), asked=True)
UNKNOWN_ADMISSION = (
    "the cluster's admission webhooks and policies cannot be read: of each kind of new objects one was tried in every "
    "namespace; --prove-all tries all of them"
)


def proofs(
    wants: Iterable[Wanted],
    *,
    schema: Callable[[Manifest], Schema | None],
    judged: Callable[[Manifest], bool],
    everything: bool = False,
) -> Mapping[Identity, Proof]:
    """Of each new or predicted object. `judged` says whether admission may judge its kind; `everything` asks all."""
    found: dict[Identity, Proof] = {}
    tried: set[_Sample] = set()
    for want in wants:
        manifest, sample = want.manifest, _sample(want)
        fits = schema(manifest)
        problems = misfit_by(fits, manifest)
        unsure = fits is None or fits.has_rules or bool(problems)
        asked = everything or unsure or sample not in tried or judged(manifest)
        if not problems:
            tried.add(sample)
        found[want.identity] = Proof(problems, asked)
    return found


_Sample = tuple[str, str, str, bool]


def _sample(want: Wanted) -> _Sample:
    return *want.manifest.type, want.identity.namespace, want.live is None


def beside_refused(
    wants: Iterable[Wanted], proven: Mapping[Identity, Proof], items: Mapping[Identity, PlanItem]
) -> tuple[Identity, ...]:
    """The objects that nobody asked about, and whose sample did not pass."""
    those = [want for want in wants if want.identity in proven]
    sound = [want for want in those if not proven[want.identity].problems]
    refused = {_sample(want) for want in sound if not _passed(want, items[want.identity])}
    return tuple(want.identity for want in those if not proven[want.identity].asked and _sample(want) in refused)


def _passed(want: Wanted, item: PlanItem) -> bool:
    return item.action == Action.CREATE if want.live is None else item.action not in STOPS


def misfit(want: Wanted, problems: Collection[Problem], refused: str = "") -> PlanItem:
    """An object that does not fit its schema, with the field and the template's line of each problem.

    What the server `refused` it for is told too, unless that is about one of these fields.
    """
    reasons = [told(want.manifest, problem) for problem in problems]
    if refused and not any(str(problem.where[-1]) in refused for problem in problems if problem.where):
        reasons.append(refused)
    return want.item(Action.BLOCKED, "; ".join(reasons))


def told(manifest: Manifest, problem: Problem) -> str:
    """A problem with the place in Git that made it."""
    origin = manifest.origin(problem.where)
    return f"{problem} at {origin.path}:{origin.line}"
