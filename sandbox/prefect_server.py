"""Prefect's server, whose garbage is collected in a thread of its own: `python -m sandbox.prefect_server --port …`.

With SQLite the server stands still for up to a minute otherwise: the collector, run by the event loop's thread,
finalizes a cursor of a connection that is just waiting for the database's write lock, and waits for that connection;
but who has the lock needs the event loop to give it back.
"""

from __future__ import annotations

import gc
import sys
import threading
import time

COLLECT_SECONDS = 3.0


def _collect() -> None:
    while True:
        time.sleep(COLLECT_SECONDS)
        gc.collect()


def main() -> None:
    """`prefect server start` with these arguments, in this process."""
    gc.disable()
    threading.Thread(target=_collect, name="garbage", daemon=True).start()
    from prefect.cli import app

    sys.argv[1:1] = ["server", "start"]
    app()


if __name__ == "__main__":
    main()
