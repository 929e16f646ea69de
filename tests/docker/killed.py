"""A release that is killed at an effect."""

from __future__ import annotations

import asyncio
from pathlib import Path

from flows.ci.release import in_own_process
from interlock.ci.host import CiHost
from tests.docker.recorder import Recorder


def run(host: str, when: str, effect: str) -> None:
    """Release with the host's file `host`; `when` is "during" or "after"."""
    recorder = Recorder(kill_during=effect) if when == "during" else Recorder(kill_after=effect)
    loaded = CiHost.model_validate_json(Path(host).read_text())
    asyncio.run(in_own_process(recorder, "shop", None, host=loaded))
