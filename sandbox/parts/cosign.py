"""cosign, the verifier that others have: version 2 with its older places, version 3 with bundles."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from sandbox.golang import provide_binaries
from sandbox.part import Report, clean_environment
from sandbox.place import Place

Major = Literal[2, 3]
MAJORS: tuple[Major, ...] = (2, 3)
_OFFLINE = ("--insecure-ignore-tlog=true", "--private-infrastructure", "--allow-http-registry")


class Cosign:
    """Not a program that runs: it answers when both versions are there."""

    name = "cosign"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "cosign.log"

    def provide(self, report: Report) -> None:
        for major in MAJORS:
            provide_binaries(f"cosign{major}", report=report)

    def start(self) -> None:
        """Nothing runs."""

    def wait(self, seconds: float) -> None:
        """Provided is there."""

    def stop(self) -> None:
        """Nothing runs."""

    def sweep(self) -> None:
        """Both are in the cache, for every sandbox."""

    def run(
        self, major: Major, command: str, image: str, *options: str, key: Path, login: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """`cosign COMMAND` on an image by a public key, without the network's certificates or logs.

        `login` is `user:password` for the registry.
        """
        folder = provide_binaries(f"cosign{major}", report=lambda part, message: None)
        user, _, password = login.partition(":")
        account = ("--registry-username", user, "--registry-password", password) if login else ()
        return subprocess.run(
            [str(folder / "cosign"), command, "--key", str(key), *_OFFLINE, *account, *options, image],
            env=clean_environment(HOME=str(self.place.state), COSIGN_EXPERIMENTAL="0"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
