"""What became of the components of one commit, and the one failure that a run with several of them ends in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from interlock.ci.targets import Released, Target
from interlock.contract.gate import is_passing
from interlock.errors import Blocked, InputError, InterlockError, Superseded


def failed(bound: Sequence[Target], error: InterlockError) -> Released:
    """A component that is released nowhere by this run."""
    kept_out = tuple(each.environment for each in bound)
    reasons = error.reasons if isinstance(error, Blocked) else ()
    return Released(bound[0].component, "", (), "", blocked=kept_out, reasons=reasons, failure=error)


def outcome_error(components: Sequence[Released]) -> InterlockError | None:
    """None when every component is where it may be. Otherwise one failure, which says what became of each.

    Its kind is the worst: a tool's failure, which is tried again, comes before what only people can change.
    """
    errors = [error for each in components if (error := _error(each))]
    if not errors:
        return None
    worst = min(errors, key=_rank)
    if len(components) == 1:
        return worst
    lines = chain((error.message for error in errors), (each.said for each in components if not _error(each)))
    told = worst.with_message("\n".join(dict.fromkeys(lines)))  # what concerns several is told once
    if isinstance(told, Blocked):
        told.reasons = tuple(dict.fromkeys(reason for each in components for reason in each.reasons))
        told.passing = is_passing(told.reasons)
    return told


def _error(released: Released) -> InterlockError | None:
    if released.failure or not released.blocked:
        return released.failure
    return Blocked(
        f"{released.component} is not released to {', '.join(released.blocked)}",
        reasons=released.reasons,
        hint="it was released to the other environments; the gate's report says what to do",
        passing=is_passing(released.reasons),
    )


def _rank(error: InterlockError) -> int:
    match error:
        case Superseded():
            return 3
        case Blocked():
            return 2
        case InputError():
            return 1
    return 0
