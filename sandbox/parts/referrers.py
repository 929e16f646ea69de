"""A small registry in memory that lists an image's referrers by itself, as registries of OCI 1.1 do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import httpx

from sandbox.golang import provide_binaries
from sandbox.http import LOCAL
from sandbox.part import Daemon, Report, wait_until
from sandbox.place import Place


class Referrers:
    """On loopback, without accounts; it forgets everything when it stops."""

    name = "referrers"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "referrers.log"
        self._daemon = Daemon("referrers", self.log)

    @property
    def host(self) -> str:
        """Its name in image references."""
        return f"127.0.0.1:{self.place.referrers_port}"

    @property
    def address(self) -> str:
        return f"http://{self.host}"

    def provide(self, report: Report) -> None:
        provide_binaries("referrers", report=report)

    def start(self) -> None:
        program = provide_binaries("referrers", report=lambda part, message: None) / "referrers"
        self._daemon.start([program, str(self.place.referrers_port)])

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"registry at {self.address}", seconds=seconds, daemon=self._daemon)

    def _answers(self) -> bool:
        try:
            return LOCAL.get(f"{self.address}/v2/", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self._daemon.stop()

    def sweep(self) -> None:
        """It keeps nothing."""
