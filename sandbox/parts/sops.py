"""sops and age, the programs that others seal secrets with."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sandbox.golang import cached, provide_binaries
from sandbox.part import Report, Unstarted, clean_environment
from sandbox.place import Place


class Sops(Unstarted):
    """Not a program that runs: it answers when the programs are there."""

    name = "sops"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "sops.log"
        # Known from here on: a test may have another home, and so another cache, when it runs them.
        self._folder = cached("sops")

    def provide(self, report: Report) -> None:
        provide_binaries("sops", report=report)

    def sops(self, *arguments: str, given: str, identity: Path | None = None) -> str:
        """`sops ARGUMENTS` with a document on its standard input; `identity` is the file of a private key."""
        keys = {"SOPS_AGE_KEY_FILE": str(identity)} if identity else {}
        return self._run("sops", "--disable-version-check", *arguments, given=given, **keys)

    def keygen(self, file: Path) -> str:
        """A new identity in a file, by age itself; gives its recipient."""
        self._run("age-keygen", "-o", str(file))
        return self._run("age-keygen", "-y", str(file)).strip()

    def _run(self, program: str, *arguments: str, given: str = "", **variables: str) -> str:
        done = subprocess.run(
            [str(self._folder / program), *arguments],
            input=given,
            env=clean_environment(HOME=str(self.place.state), **variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise subprocess.SubprocessError(f"{program} {' '.join(arguments[:1])}: {done.stderr}")
        return done.stdout
