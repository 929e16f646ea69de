"""What becomes of the branch's newest commit in one environment: is it deployed, and what keeps it from it? Pure."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from typing import Literal

from interlock.errors import AwaitsApproval, Blocked, InputError, InterlockError, LockHeld, Refused, Unhealthy

State = Literal["deployed", "waiting", "awaiting approval", "begun", "refused", "blocked", "unhealthy", "failed"]
WRONG: frozenset[State] = frozenset({"awaiting approval", "refused", "blocked", "unhealthy", "failed"})
"""What does not get better without somebody who does something about it."""
_STATES: tuple[tuple[type[InterlockError], State], ...] = (
    (Refused, "refused"),
    (InputError, "refused"),
    (Blocked, "blocked"),
    (Unhealthy, "unhealthy"),
    (LockHeld, "waiting"),
    (AwaitsApproval, "awaiting approval"),
)
_TO_DO: dict[State, str] = {
    "refused": "push a commit that mends it",
    "blocked": "push a commit that mends it",
    "unhealthy": "push a commit that mends it",
    "awaiting approval": "interlock approvals",
    "failed": "the next run tries again",
    "waiting": "the next run tries again",
}


@dataclass(frozen=True)
class Ending:
    """How the newest run that tried a commit ended without bringing it about. A memory of this host's."""

    commit: str
    state: State
    why: str
    to_do: str
    time: str
    """UTC."""
    rule: str = ""
    """The word of the rule that refused it; otherwise the error's name."""


def ending(commit: str, error: InterlockError, now: dt.datetime) -> Ending:
    time = f"{now.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
    rule = error.rule if isinstance(error, Refused) else type(error).__name__.lower()
    return Ending(commit, _state(error), error.message, _to_do(error), time, rule)


def _state(error: InterlockError) -> State:
    return next((state for kind, state in _STATES if isinstance(error, kind)), "failed")


def _to_do(error: InterlockError) -> str:
    """The error knows better than the usual word. The branch has one way back from a commit that verification refuses;
    any other can be followed by one that mends it.
    """
    usual = "bring the branch back to the verified head" if isinstance(error, Refused) else _TO_DO[_state(error)]
    return error.hint or usual


def write(value: Ending) -> bytes:
    return json.dumps(asdict(value)).encode()


def read(data: bytes) -> Ending | None:
    """What `write` wrote; None for anything else: a memory that cannot be read is none."""
    try:
        found = Ending(**json.loads(data))
    except (ValueError, TypeError):
        return None
    known = {*_TO_DO, "begun", "deployed"}
    return found if all(isinstance(each, str) for each in asdict(found).values()) and found.state in known else None


@dataclass(frozen=True)
class Outlook:
    """`why` has a line for each reason. `since` is the UTC time of the run that found it, empty when none did."""

    commit: str
    state: State
    why: str = ""
    to_do: str = ""
    since: str = ""

    @property
    def wrong(self) -> bool:
        return self.state in WRONG


def outlook(
    environment: str, newest: str, *, deployed: str, pending: str, refusal: InterlockError | None, last: Ending | None
) -> Outlook:
    """`refusal` is what verification or reading says of the newest commit now, `last` how the newest run ended."""
    if refusal:
        return Outlook(newest, _state(refusal), refusal.message, _to_do(refusal))
    if newest == deployed and pending != newest:
        return Outlook(newest, "deployed")
    if last and last.commit == newest:
        return Outlook(newest, last.state, last.why, last.to_do, last.time)
    if pending == newest:
        why = "a sync of it has begun, and has not ended"
        return Outlook(newest, "begun", why, f"wait for its run; when there is none: interlock sync {environment}")
    why = "no run of this host has tried it yet"
    return Outlook(newest, "waiting", why, f"the next run does; at once: interlock sync {environment}")
