"""BuildKit's daemon, with the buildx that asks it to build. Builds in it get no network unless they are given one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sandbox.cgroups import remove_cgroups
from sandbox.debian import provide_packages
from sandbox.golang import cached, provide_binaries
from sandbox.part import Daemon, Report, clean_environment, wait_until
from sandbox.place import Place
from sandbox.users import user


class BuildKit:
    """A daemon of its own: Debian's Docker has an older BuildKit, which cannot make the same image twice."""

    name = "buildkit"
    needs: ClassVar[Sequence[str]] = ("registry",)

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "buildkit.log"
        self.folder = place.state / "buildkit"
        # Known from here on: a test may have another home, and so another cache, when it runs them.
        self._programs = cached("buildkit")
        self._daemon = Daemon("buildkit", self.log)

    @property
    def socket(self) -> Path:
        return self.folder / "buildkitd.sock"

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    @property
    def buildx(self) -> Path:
        return self._programs / "buildx"

    def provide(self, report: Report) -> None:
        provide_binaries("buildkit", report=report)
        provide_packages(("runc",), report=report)

    def start(self) -> None:
        """A group that may use the socket, as Docker's: CI's user."""
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        config = self.folder / "buildkitd.toml"
        config.write_text(self._config())
        command = [str(self._programs / "buildkitd"), "--config", str(config)]
        self._daemon.start(command, env=clean_environment(HOME=str(self.folder)))

    def _config(self) -> str:
        return f"""\
root = "{self.folder}/data"
[grpc]
  address = ["{self.address}"]
  gid = {user(self.place, "ci").id}
[worker.containerd]
  enabled = false
[worker.oci]
  enabled = true
  defaultCgroupParent = "/{self.place.cgroup}/buildkit"
[registry."{self.place.registry}"]
  http = true
"""

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"buildkit at {self.socket}", seconds=seconds, daemon=self._daemon)

    def _answers(self) -> bool:
        """Whether the daemon has a worker, asked as buildx does."""
        if not self.socket.exists():
            return False
        home = {"HOME": str(self.folder), "BUILDX_CONFIG": str(self.folder / "asked")}
        create = ["create", "--name", "asked", "--driver", "remote", self.address]
        for words in (create, ["inspect", "asked"]):
            done = subprocess.run(
                [str(self.buildx), *words], env=clean_environment(**home), capture_output=True, check=False, timeout=20
            )
        return b"running" in done.stdout

    def stop(self) -> None:
        self._daemon.stop()

    def sweep(self) -> None:
        remove_cgroups(f"{self.place.cgroup}/buildkit")
