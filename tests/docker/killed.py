"""`python -m tests.docker.killed HOST_JSON EFFECT`: a release that is killed when that effect has ended."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from flows.ci.release import release_order
from interlock.ci.host import CiHost
from tests.docker.recorder import Recorder

if __name__ == "__main__":
    host = CiHost.model_validate_json(Path(sys.argv[1]).read_text())
    asyncio.run(release_order(Recorder(kill_after=sys.argv[2]), host, "shop", None))
