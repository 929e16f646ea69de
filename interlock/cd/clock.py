"""Whether CD's clock may be believed: by the receipts that it wrote, and by the API server's clock."""

from __future__ import annotations

import datetime as dt

from interlock.errors import ClockWrong

TOLERANCE = dt.timedelta(minutes=1)
"""How far two clocks may be apart."""


def require_sound(now: dt.datetime, *, receipt: dt.datetime | None, server: dt.datetime | None) -> None:
    """ClockWrong when the clock lies before the last receipt, or differs from the API server's.

    `receipt` is when the newest receipt was written, `server` what the API server's clock says now; None: not known.
    """
    if receipt and now < receipt - TOLERANCE:
        raise ClockWrong(
            f"this host's clock says {_written(now)}, before the last receipt of {_written(receipt)}",
            hint="nothing was written; set the clock of this host right, or of the one that wrote the receipt",
        )
    if server and abs(now - server) > TOLERANCE:
        raise ClockWrong(
            f"this host's clock says {_written(now)}, the API server's {_written(server)}",
            hint="nothing was written; set right the one of them that is wrong",
        )


def _written(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
