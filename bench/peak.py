"""`python -m bench.peak [CD_YAML]`: how much memory one deploy needs at most, in MB (10^6 bytes), imports included.

A process of its own, because a peak never goes down again. Without a file only what is imported is measured.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bench.estate import NAME, Quiet
from flows.cd.deploy import deploy_order
from tasks.cd.host import load_cd


def main() -> None:
    for file in sys.argv[1:]:
        asyncio.run(deploy_order(Quiet(), load_cd(Path(file)), NAME))
    print(_peak_bytes() / 1e6)


def _peak_bytes() -> int:
    """`VmHWM` of proc(5). What getrusage says would be the peak of whoever started us, if that was higher."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].removesuffix("kB")) * 1024


if __name__ == "__main__":
    main()
