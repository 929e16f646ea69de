"""Base images, made of Debian packages and without a registry, under names that no public registry has.

One for the example services: a small Debian with Python. One for Interlock's own images, which has git as well; from a
registry's Debian, `images/base/Dockerfile` makes the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sandbox.debian import provide_packages
from sandbox.part import Report, clean_environment, wait_until
from sandbox.parts.docker import Docker
from sandbox.place import Place, cache_root
from sandbox.provision import only_one, run_reported

_LABEL = "interlock.sandbox.recipe"
_SUITE = "bookworm"
_MIRROR = "http://deb.debian.org/debian"
# debootstrap mounts /proc in its folder, and a kill would leave it there.
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
# What a Dockerfile's RUN may want. What none of these and none of a recipe's own needs is taken out again: half of the
# image, which every build would save, scan and push.
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


@dataclass(frozen=True)
class Recipe:
    """Which packages an image has. `never` is taken out although something asks for it."""

    stem: str
    include: tuple[str, ...]
    never: frozenset[str] = _NEVER

    @property
    def digest(self) -> str:
        words = "\n".join((_SUITE, *self.include, *_KEEP, *sorted(self.never), *_REMOVE))
        return hashlib.sha256(words.encode()).hexdigest()[:12]

    @property
    def archive(self) -> Path:
        return cache_root() / f"{self.stem}-{self.digest}.tar"

    @property
    def kept(self) -> tuple[str, ...]:
        return (*self.include, *_KEEP)


_PYTHON = ("python3-minimal", "libpython3-stdlib")
# Git fetches and pushes without Perl.
_WITHOUT_PERL = _NEVER | {"git-man", "liberror-perl", "perl", "perl-modules-5.36", "libperl5.36"}


class BaseImage:
    """`interlock.sandbox/python:3.11` in the daemon. Not a program: it answers when the image is there."""

    name = "baseimage"
    needs: ClassVar[Sequence[str]] = ("docker",)
    address = "interlock.sandbox/python:3.11"
    recipe = Recipe("baseimage", _PYTHON)

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / f"{self.name}.log"

    def provide(self, report: Report) -> None:
        if self.recipe.archive.exists():
            return
        provide_packages(("debootstrap", "debian-archive-keyring"), report=report)
        with only_one(cache_root() / f"{self.recipe.stem}.lock", part=self.name, report=report):
            if not self.recipe.archive.exists():
                _build(self.recipe, report)

    def start(self) -> None:
        import docker

        repository, _, tag = self.address.partition(":")
        client = docker.APIClient(base_url=Docker(self.place).docker_host, timeout=120)
        try:
            if not client.images(name=self.address, filters={"label": f"{_LABEL}={self.recipe.digest}"}):
                change = f"LABEL {_LABEL}={self.recipe.digest}"
                answer = client.import_image(str(self.recipe.archive), repository=repository, tag=tag, changes=[change])
                self.log.write_text(f"imported {self.recipe.archive}: {answer}\n")
        finally:
            client.close()

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"image {self.address}", seconds=seconds, log=self.log)

    def _answers(self) -> bool:
        import docker

        client = docker.APIClient(base_url=Docker(self.place).docker_host, timeout=10)
        try:
            return bool(client.images(name=self.address))
        finally:
            client.close()

    def stop(self) -> None:
        """An image needs no stopping; it goes with the daemon's data, or stays in a daemon that was there before."""

    def sweep(self) -> None:
        """Everything it has is in the state folder."""


class WorkerBaseImage(BaseImage):
    """`interlock.sandbox/base:3.11`: what Interlock's own images stand on."""

    name = "workerbase"
    address = "interlock.sandbox/base:3.11"
    recipe = Recipe("workerbase", (*_PYTHON, "ca-certificates", "git", "tini", "util-linux"), _WITHOUT_PERL)


def _build(recipe: Recipe, report: Report) -> None:
    """Build beside the archive and rename at the end. A killed build's folder is removed by the next."""
    root = cache_root() / f".{recipe.stem}.building"
    shutil.rmtree(root, ignore_errors=True)
    mirror = os.environ.get("INTERLOCK_SANDBOX_MIRROR", _MIRROR)
    seconds = run_reported(
        [
            *_OWN_MOUNTS,
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(recipe.include)}",
            _SUITE,
            str(root),
            mirror,
        ],
        part=recipe.stem,
        doing="building a Debian base image with Python, about a minute",
        log=cache_root() / f"{recipe.stem}.log",
        env=clean_environment(HOME="/root", **_proxies()),
        report=report,
    )
    _remove_packages(root, recipe)
    _strip(root)
    draft = recipe.archive.with_suffix(".new")
    subprocess.run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(draft), "."], check=True)
    draft.replace(recipe.archive)
    shutil.rmtree(root)
    report(recipe.stem, f"built in {seconds:.0f} s")


def _remove_packages(root: Path, recipe: Recipe) -> None:
    """Take out what nobody needs, files and entry in the package database, as if it had never been installed."""
    entries = {entry.split()[1]: entry for entry in (root / _STATUS).read_text().split("\n\n") if entry.strip()}
    kept = _with_dependencies(entries, recipe)
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


def _with_dependencies(entries: Mapping[str, str], recipe: Recipe) -> frozenset[str]:
    """The recipe's packages and, of those that are installed, all that they depend on."""
    kept: set[str] = set()
    waiting = list(recipe.kept)
    while waiting:
        name = waiting.pop()
        if name in entries and name not in kept and name not in recipe.never:
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
