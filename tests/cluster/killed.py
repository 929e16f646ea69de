"""Deploys, and kills itself at a named point.

POINT is `before EFFECT N` or `after EFFECT N` for the Nth run of an effect, `write N` for the moment after the Nth
object was written to the API server, or `job runs 1` for the moment in which a release Job runs. With `stop N` it stops
itself (SIGSTOP) just before that write is sent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

from flows.cd.deploy import deploy_order
from tasks.cd.cluster import Cluster
from tasks.cd.host import load_cd
from tasks.common.effect import Effect
from tests.cluster.worlds import Recorder
from tests.killed import stand_still

P = ParamSpec("P")
R = TypeVar("R")


class Killer(Recorder):
    def __init__(self, point: str) -> None:
        super().__init__()
        self.when, rest = point.split(" ", 1)
        self.effect, _, number = rest.rpartition(" ")
        self.number = int(number)

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        reached = effect.name == self.effect and self.steps.count(effect.name) == self.number - 1
        if reached and self.when == "before":
            die()
        if self.when in {"write", "stop"} and effect.name in {"apply stage", "apply applications", "prune"}:
            _count_writes(args[0], self.number, stop=self.when == "stop")
        result = await super().step(effect, *args, **kwargs)
        if reached and self.when == "after":
            die()
        return result

    def say(self, message: str) -> None:
        if self.when == "job" and " runs " in message:
            die()
        super().say(message)


def _count_writes(cluster: Any, number: int, *, stop: bool) -> None:
    written = 0
    guard = threading.Lock()

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal written
            if stop:
                with guard:
                    written += 1
                    if written == number:
                        stand_still()
                return write(*args, **kwargs)
            done = write(*args, **kwargs)
            with guard:
                written += 1
                if written == number:
                    die()
            return done

        return call

    assert isinstance(cluster, Cluster)
    cluster.apply = counted(cluster.apply)  # type: ignore[method-assign]
    cluster.delete = counted(cluster.delete)  # type: ignore[method-assign]
    cluster.patch = counted(cluster.patch)  # type: ignore[method-assign]


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def run(config: str, point: str, environment: str = "dev") -> None:
    """Deploy with the host's file `config` until `point`."""
    asyncio.run(deploy_order(Killer(point), load_cd(Path(config)), environment))
