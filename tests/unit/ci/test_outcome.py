"""The one end of a run in which several components had ends of their own."""

from __future__ import annotations

from interlock.ci.outcome import failed, outcome_error
from interlock.ci.targets import Released, Target
from interlock.errors import Blocked, DockerError, InputError, Superseded

WEB = Released("web", "r/web@sha256:1", ("dev",), "c" * 40)
API = [Target("dev", "shop", "api", "r/api", None)]
JOB = [Target("prod", "shop", "job", "r/job", None)]


def test_all_released_is_no_error() -> None:
    """Also when there was nothing to do."""
    assert outcome_error([WEB, Released("api", "", ("dev",), "")]) is None


def test_an_only_component_ends_as_it_ended() -> None:
    """The very error, hint and kind."""
    error = DockerError("building failed", hint="look", transient=True)

    assert outcome_error([failed(API, error)]) is error


def test_a_tools_failure_comes_first_and_all_is_told() -> None:
    """The kind says that the run is worth repeating; the message has a line for each component."""
    blocked, broken = Blocked("api is not released to dev", reasons=("tests: a failed",)), DockerError("no disk")

    error = outcome_error([failed(API, blocked), failed(JOB, broken), WEB])

    assert isinstance(error, DockerError)
    lines = ["api is not released to dev", "  - tests: a failed", "no disk", "web is released to dev"]
    assert error.message.splitlines() == lines
    assert broken.message == "no disk"


def test_what_only_people_can_change_is_ranked() -> None:
    """Bad input before the gate's no; a component that a newer commit overtook is no failure of the others."""
    blocked, old = Blocked("api: no", reasons=("a",)), Superseded("job: newer")

    assert isinstance(outcome_error([failed(API, blocked), failed(JOB, InputError("line 3"))]), InputError)
    both = outcome_error([failed(API, blocked), failed(JOB, old)])
    assert isinstance(both, Blocked)
    assert both.reasons == ("a",)
    assert isinstance(outcome_error([failed(JOB, old), WEB]), Superseded)


def test_a_component_kept_out_of_one_environment_is_an_error() -> None:
    """Although it was released to another."""
    error = outcome_error([Released("web", "r", ("dev",), "c" * 40, blocked=("prod",), reasons=("old",)), WEB])

    assert isinstance(error, Blocked)
    assert error.reasons == ("old",)
    assert "web is not released to prod" in error.message
