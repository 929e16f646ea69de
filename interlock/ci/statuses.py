"""What stands beside a source commit on its forge: that its release is under way, and what came of it."""

from __future__ import annotations

from interlock.ci.forge import MAX_DESCRIPTION, State, Status
from interlock.contract.forge import shortened
from interlock.errors import Blocked, InputError, InterlockError, Refused, Superseded, TestsFailed, Unbound

CONTEXT = "interlock/release"
_COMMITS_FAULT = (Blocked, InputError, Refused, TestsFailed)


def pending(commit: str, *, url: str) -> Status:
    return Status(commit, "pending", CONTEXT, "built, scanned and tested now", url)


def passed(commit: str, *, told: str, url: str) -> Status:
    return Status(commit, "success", CONTEXT, _line(told), url)


def failed(commit: str, error: BaseException, *, url: str) -> Status:
    """What is not the commit's fault is told only on the run's page: it may name what is in our own network."""
    state: State = "failure" if isinstance(error, _COMMITS_FAULT) else "error"
    if isinstance(error, Unbound):
        state = "success"  # nothing was asked of it
    return Status(commit, state, CONTEXT, _line(_why(error)), url)


def _why(error: BaseException) -> str:
    if isinstance(error, Unbound):
        return "there is no environment that it may be released to"
    if isinstance(error, Superseded):
        return "a newer commit is released"
    if isinstance(error, _COMMITS_FAULT):
        return error.message.splitlines()[0]
    return "a tool failed; it is tried again" if isinstance(error, InterlockError) else "the run was stopped"


def _line(text: str) -> str:
    return shortened(" ".join(text.split()), MAX_DESCRIPTION)


def run_url(prefect_ui: str | None, run: str) -> str:
    """The page of a run; empty when nobody said where people see it."""
    return f"{prefect_ui.rstrip('/')}/runs/flow-run/{run}" if prefect_ui else ""
