"""The time of a run's stages, for its page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flows import trail
from interlock.ci.stages import Stage


@dataclass(frozen=True)
class Clock:
    """Begins with the run. A stage is of the component that the steps in it are about."""

    began: float = field(default_factory=time.monotonic)
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            self.stages.append(Stage(trail.subject(), name, began - self.began, ended - self.began))
