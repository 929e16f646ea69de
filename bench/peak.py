"""`python -m bench.peak [CD_YAML]`: how much memory one deploy needs at most, in MB (10^6 bytes), imports included.

A process of its own, because a peak never goes down again. Without a file only what is imported is measured.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from bench.estate import NAME, Quiet
from flows.cd.deploy import deploy_order
from tasks.cd.host import load_cd


def main() -> None:
    for file in sys.argv[1:]:
        asyncio.run(deploy_order(Quiet(), load_cd(Path(file)), NAME))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    main()
