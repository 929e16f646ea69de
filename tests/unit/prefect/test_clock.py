"""When the worker's own clock starts a sync that Prefect's schedule should have started."""

from __future__ import annotations

import pytest

from flows.clock import SLACK_SECONDS, late


@pytest.mark.parametrize(
    ("seconds_ago", "watched", "expected"),
    [
        pytest.param(100.0, 1000.0, False, id="a run came a moment ago"),
        pytest.param(200.0 + SLACK_SECONDS + 1, 1000.0, True, id="none for two intervals and some"),
        pytest.param(1000.0, 100.0, False, id="we have not looked for long: we were away ourselves"),
        pytest.param(None, 100.0, False, id="there was never one, and we have just begun"),
        pytest.param(None, 200.0 + SLACK_SECONDS + 1, True, id="there was never one"),
    ],
)
def test_a_sync_is_late_when_no_run_looked_for_so_long(
    seconds_ago: float | None, watched: float, *, expected: bool
) -> None:
    """Of a schedule every 100 s: twice that and some slack, of which we have seen all."""
    assert late(every=100.0, seconds_ago=seconds_ago, watched=watched) is expected
