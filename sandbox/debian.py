"""Installs the Debian packages that a part needs, after saying so. Never starts a service of theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox.part import Report, SandboxError, clean_environment
from sandbox.place import cache_root
from sandbox.provision import only_one, run_reported

PART = "packages"
POLICY = Path("/usr/sbin/policy-rc.d")
# Debian asks this program whether a service may start; 101 forbids it.
POLICY_TEXT = "#!/bin/sh\n# Written by the Interlock sandbox while it installs packages.\nexit 101\n"
LISTS = Path("/var/lib/apt/lists")


def provide_packages(names: Sequence[str], *, report: Report) -> None:
    """Install those of `names` that are missing. Needs root on Debian or Ubuntu; else SandboxError says what to do."""
    if not missing_packages(names) and not _our_policy_stands():
        return
    _require_debian_root(names)
    with only_one(cache_root() / "packages.lock", part=PART, report=report), _no_service_starts():
        if missing := missing_packages(names):
            _install(missing, report=report)


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those that dpkg does not call installed, in the order given; all of them where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return list(names)
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def _require_debian_root(names: Sequence[str]) -> None:
    wanted = " ".join(missing_packages(names))
    if shutil.which("apt-get") is None:
        raise SandboxError(
            f"{PART}: this is not Debian or Ubuntu (no apt-get); install what these packages hold: {wanted}"
        )
    if os.geteuid() != 0:
        raise SandboxError(f"{PART}: only root can install; run `sudo apt-get install {wanted}` first")


def _install(missing: Sequence[str], *, report: Report) -> None:
    report(PART, f"installing from Debian: {' '.join(missing)}")
    fresh = not any(LISTS.glob("*_Packages*"))
    if fresh:
        _apt("update", doing="reading the package lists", report=report)
    try:
        seconds = _apt_install(missing, report=report)
    except SandboxError:
        if fresh:
            raise
        # Old lists name versions that the mirror has dropped; read them once and try again.
        _apt("update", doing="reading the package lists again", report=report)
        seconds = _apt_install(missing, report=report)
    if absent := missing_packages(missing):
        raise SandboxError(f"{PART}: apt-get ended well, but these are not installed: {' '.join(absent)}")
    report(PART, f"installed {' '.join(missing)} in {seconds:.0f} s")


def _apt_install(names: Sequence[str], *, report: Report) -> float:
    words = ["install", "--yes", "--no-install-recommends", "--", *names]
    return _apt(*words, doing=f"installing {' '.join(names)}", report=report)


def _apt(*words: str, doing: str, report: Report) -> float:
    proxies = {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ}
    return run_reported(
        ["apt-get", "-o", "DPkg::Lock::Timeout=300", *words],
        part=PART,
        doing=doing,
        log=cache_root() / "packages.log",
        env=clean_environment(DEBIAN_FRONTEND="noninteractive", NEEDRESTART_SUSPEND="1", **proxies),
        report=report,
        dies_with_us=False,
    )


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Forbid service starts meanwhile. What the machine forbids or allows by itself stays as it is."""
    if POLICY.exists() and not _our_policy_stands():
        yield
        return
    POLICY.write_text(POLICY_TEXT)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _our_policy_stands() -> bool:
    """Whether an install of ours is going on, or was killed and left its policy behind."""
    return POLICY.exists() and POLICY.read_text(errors="replace") == POLICY_TEXT
