"""CD's real flows, in a process that stops itself (SIGSTOP) just before it sends a write, when it is told to.

Told by a file `stop` in the host's state folder: the first run that is about to apply takes it away, and stops. All of
its own checks are behind it then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from flows import run
from tasks.cd.cluster import Applied, Cluster
from tasks.cd.host import load_cd
from tests.killed import stand_still


def _stopping(apply: Callable[..., Applied]) -> Callable[..., Applied]:
    def stopped(cluster: Cluster, body: dict[str, Any], *, dry_run: bool = False, **how: Any) -> Applied:
        if not dry_run and _told():
            stand_still()
        return apply(cluster, body, dry_run=dry_run, **how)

    return stopped


def _told() -> bool:
    try:
        (load_cd().state / "stop").rename(load_cd().state / "stopped")
    except FileNotFoundError:
        return False
    return True


if __name__ == "__main__":
    Cluster.apply = _stopping(Cluster.apply)  # type: ignore[method-assign]
    sys.exit(run.main(sys.argv[1:]))
