"""After a worker was away, each schedule's work is done once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect.client.schemas.objects import FlowRun

from flows.worker import outdated

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RESYNC, POLL, FLOW = uuid4(), uuid4(), uuid4()


def run(deployment: UUID, minutes: int, *, by_schedule: bool = True, **parameters: Any) -> FlowRun:
    return FlowRun(
        flow_id=FLOW,
        deployment_id=deployment,
        parameters=parameters,
        auto_scheduled=by_schedule,
        expected_start_time=NOON + timedelta(minutes=minutes),
    )


def test_only_the_newest_of_a_schedule_is_left() -> None:
    """Of each deployment with the same parameters the last one counts, in whatever order they come."""
    late = [run(RESYNC, minute, environment="dev") for minute in (2, 0, 1)]
    other = run(RESYNC, 0, environment="prod")
    poll = run(POLL, 0)

    assert outdated([*late, other, poll]) == {late[1].id, late[2].id}


def test_what_a_person_or_a_push_asked_for_is_never_left_out() -> None:
    """Runs that no schedule made stay, however many are alike."""
    asked = [run(RESYNC, minute, by_schedule=False, environment="dev") for minute in range(3)]

    assert outdated([*asked, run(RESYNC, 9, environment="dev")]) == frozenset()


def test_a_schedule_does_not_overtake_itself() -> None:
    """While the same is under way, a schedule's run is left out, and other runs are not."""
    again, prod = run(RESYNC, 0, environment="dev"), run(RESYNC, 0, environment="prod")
    asked = run(RESYNC, 0, by_schedule=False, environment="dev")

    under_way = {f"{FLOW} {RESYNC} [('environment', 'dev')]"}

    assert outdated([again, prod, asked], under_way) == {again.id}
