"""When CD believes its clock."""

from __future__ import annotations

import datetime as dt

import pytest

from interlock.cd.clock import require_sound
from interlock.errors import ClockWrong

NOW = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("receipt_seconds", "server_seconds", "sound"),
    [
        (None, None, True),
        (-3600, 0, True),
        (0, 59, True),
        (0, -59, True),
        (59, 0, True),
        (61, 0, False),
        (61, None, False),
        (-3600, 61, False),
        (-3600, -61, False),
        (None, 86400, False),
    ],
)
def test_a_clock_is_believed_beside_others(
    receipt_seconds: int | None, server_seconds: int | None, *, sound: bool
) -> None:
    """Not before the last receipt, and within a minute of the API server's; what is not known is not asked."""
    receipt, server = (
        NOW + dt.timedelta(seconds=each) if each is not None else None for each in (receipt_seconds, server_seconds)
    )
    try:
        require_sound(NOW, receipt=receipt, server=server)
    except ClockWrong as wrong:
        assert not sound and "2030-01-02T03:04:05Z" in wrong.message and wrong.hint
    else:
        assert sound
