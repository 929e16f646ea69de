"""`python -m tests.docker.killed HOST_JSON during|after EFFECT`: a release that is killed at that effect."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from flows.ci.release import release_order
from interlock.ci.host import CiHost
from tests.docker.recorder import Recorder

if __name__ == "__main__":
    host = CiHost.model_validate_json(Path(sys.argv[1]).read_text())
    recorder = Recorder(**{f"kill_{sys.argv[2]}": sys.argv[3]})  # type: ignore[arg-type]
    asyncio.run(release_order(recorder, host, "shop", None))
