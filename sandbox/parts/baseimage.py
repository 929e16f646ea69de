"""The base image of the example services: a small Debian with Python, under a name that no public registry has."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sandbox.debian import provide_packages
from sandbox.part import Report, clean_environment, wait_until
from sandbox.parts.docker import Docker
from sandbox.place import Place, cache_root
from sandbox.provision import only_one, run_reported

NAME, TAG = "interlock.sandbox/python", "3.11"
_LABEL = "interlock.sandbox.recipe"
_SUITE = "bookworm"
_INCLUDE = ("python3-minimal", "libpython3-stdlib")
_MIRROR = "http://deb.debian.org/debian"
# debootstrap mounts /proc in its folder, and a kill would leave it there.
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
# Not needed to run a program. The package database stays: it is what a scanner reads.
_REMOVE = (
    "var/lib/apt/lists/*",
    "var/cache/apt/*",
    "var/cache/debconf/*",
    "var/log/*",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/lintian",
)


class BaseImage:
    """`interlock.sandbox/python:3.11` in the daemon. Not a program: it answers when the image is there."""

    name = "baseimage"
    needs: ClassVar[Sequence[str]] = ("docker",)
    address = f"{NAME}:{TAG}"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "baseimage.log"

    def provide(self, report: Report) -> None:
        if _archive().exists():
            return
        provide_packages(("debootstrap", "debian-archive-keyring"), report=report)
        with only_one(cache_root() / "baseimage.lock", part=self.name, report=report):
            if not _archive().exists():
                _build(report)

    def start(self) -> None:
        import docker

        client = docker.APIClient(base_url=Docker(self.place).docker_host, timeout=120)
        try:
            if not client.images(name=f"{NAME}:{TAG}", filters={"label": f"{_LABEL}={_recipe()}"}):
                change = f"LABEL {_LABEL}={_recipe()}"
                answer = client.import_image(str(_archive()), repository=NAME, tag=TAG, changes=[change])
                self.log.write_text(f"imported {_archive()}: {answer}\n")
        finally:
            client.close()

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"image {NAME}:{TAG}", seconds=seconds, log=self.log)

    def _answers(self) -> bool:
        import docker

        client = docker.APIClient(base_url=Docker(self.place).docker_host, timeout=10)
        try:
            return bool(client.images(name=f"{NAME}:{TAG}"))
        finally:
            client.close()

    def stop(self) -> None:
        """An image needs no stopping; it goes with the daemon's data, or stays in a daemon that was there before."""

    def sweep(self) -> None:
        """Everything it has is in the state folder."""


def _recipe() -> str:
    words = "\n".join((_SUITE, *_INCLUDE, *_REMOVE))
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def _archive() -> Path:
    return cache_root() / f"baseimage-{_recipe()}.tar"


def _build(report: Report) -> None:
    """Build beside the archive and rename at the end. A killed build's folder is removed by the next."""
    root = cache_root() / ".baseimage.building"
    shutil.rmtree(root, ignore_errors=True)
    mirror = os.environ.get("INTERLOCK_SANDBOX_MIRROR", _MIRROR)
    seconds = run_reported(
        [
            *_OWN_MOUNTS,
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(_INCLUDE)}",
            _SUITE,
            str(root),
            mirror,
        ],
        part="baseimage",
        doing="building a Debian base image with Python, about a minute",
        log=cache_root() / "baseimage.log",
        env=clean_environment(HOME="/root", **_proxies()),
        report=report,
    )
    _strip(root)
    draft = _archive().with_suffix(".new")
    subprocess.run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(draft), "."], check=True)
    draft.replace(_archive())
    shutil.rmtree(root)
    report("baseimage", f"built in {seconds:.0f} s")


def _strip(root: Path) -> None:
    for pattern in _REMOVE:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    (root / "usr/bin/python").symlink_to("python3")


def _proxies() -> dict[str, str]:
    return {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ}
