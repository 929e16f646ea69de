"""`python -m shop`: serve until SIGTERM."""

from __future__ import annotations

import os
import signal
import sys

from shop.server import Shop


def main() -> None:
    # The service template sets PORT and VERSION; GREETING may stand under `env` in a values file.
    server = Shop(
        int(os.environ.get("PORT", "8080")),
        greeting=os.environ.get("GREETING", "Welcome."),
        commit=os.environ.get("VERSION", "unknown"),
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"shop listens on port {server.server_port}", flush=True)
    with server:
        server.serve_forever()


if __name__ == "__main__":
    main()
