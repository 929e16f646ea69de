"""The base image of the example services: a small Debian with Python, under a name that no public registry has."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
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
# What a Dockerfile's RUN may want. What none of these and none of _INCLUDE needs is taken out again: half of the image,
# which every build would save, scan and push.
_KEEP = ("base-files", "coreutils", "dash", "grep", "login", "passwd", "sed")
_NEVER = frozenset({"apt", "debconf", "dpkg", "perl-base"})
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
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/python3*/pydoc_data",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/info/*.[!l]*",
)
_STATUS = "var/lib/dpkg/status"


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
    words = "\n".join((_SUITE, *_INCLUDE, *_KEEP, *sorted(_NEVER), *_REMOVE))
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
    _remove_packages(root)
    _strip(root)
    draft = _archive().with_suffix(".new")
    subprocess.run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(draft), "."], check=True)
    draft.replace(_archive())
    shutil.rmtree(root)
    report("baseimage", f"built in {seconds:.0f} s")


def _remove_packages(root: Path) -> None:
    """Take out what nobody needs, files and entry in the package database, as if it had never been installed."""
    entries = {entry.split()[1]: entry for entry in (root / _STATUS).read_text().split("\n\n") if entry.strip()}
    kept = _with_dependencies(entries, (*_INCLUDE, *_KEEP))
    lists = {name: _files(root, name) for name in entries}
    needed = {file for name in kept for file in lists[name]}
    for name in entries.keys() - kept:
        for file in sorted(lists[name] - needed, reverse=True):  # what is in a folder comes before the folder
            _remove(root / file.lstrip("/"))
        for described in _described(root, name):
            described.unlink()
    (root / _STATUS).write_text(
        "\n\n".join(entry.strip("\n") for name, entry in entries.items() if name in kept) + "\n"
    )


def _with_dependencies(entries: Mapping[str, str], names: Sequence[str]) -> frozenset[str]:
    """These packages and, of those that are installed, all that they depend on."""
    kept: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in entries and name not in kept and name not in _NEVER:
            kept.add(name)
            fields = re.findall(r"^(?:Pre-)?Depends: (.*)$", entries[name], re.MULTILINE)
            waiting += [re.split(r"[ (:|]", each.strip())[0] for field in fields for each in field.split(",")]
    return frozenset(kept)


def _files(root: Path, package: str) -> frozenset[str]:
    lists = (each for each in _described(root, package) if each.suffix == ".list")
    return frozenset(line for each in lists for line in each.read_text().splitlines())


def _described(root: Path, package: str) -> list[Path]:
    """What the package database has about one package: `dash.list`, `zlib1g:amd64.list`."""
    return list((root / "var/lib/dpkg/info").glob(f"{package}[.:][a-z]*"))


def _remove(path: Path) -> None:
    """A file, or a folder that has become empty."""
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(OSError):
            path.rmdir()
    else:
        path.unlink(missing_ok=True)


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
