"""Brings the Debian packages that a part needs, after saying so. Never starts a service of theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
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


def provide_unpacked(name: str, *, report: Report) -> Path:
    """The files of one package in a folder of the cache, installed nowhere; needs root only for old package lists."""
    folder = unpacked(name)
    if folder.exists():
        return folder
    if shutil.which("apt-get") is None:
        raise SandboxError(f"{PART}: this is not Debian or Ubuntu (no apt-get); put the files of {name} into {folder}")
    with only_one(cache_root() / "packages.lock", part=PART, report=report):
        if not folder.exists():
            _unpack(name, folder, report=report)
    return folder


def unpacked(name: str) -> Path:
    """Where `provide_unpacked` puts a package's files."""
    return cache_root() / "debian" / name


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
    words = ["install", "--yes", "--no-install-recommends", "--", *missing]
    seconds = _apt_fetching(*words, doing=f"installing {' '.join(missing)}", report=report)
    if absent := missing_packages(missing):
        raise SandboxError(f"{PART}: apt-get ended well, but these are not installed: {' '.join(absent)}")
    report(PART, f"installed {' '.join(missing)} in {seconds:.0f} s")


def _unpack(name: str, folder: Path, *, report: Report) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.") as own:
        # apt fetches as a user of its own, who may write nothing of ours: it falls back to us, with a warning.
        _apt_fetching("download", "--", name, doing=f"fetching {name} from Debian", report=report, cwd=Path(own))
        (package,) = Path(own).glob("*.deb")
        files = Path(own) / "files"
        subprocess.run(["dpkg-deb", "--extract", str(package), str(files)], check=True, env=clean_environment())
        files.rename(folder)


def _apt_fetching(*words: str, doing: str, report: Report, cwd: Path | None = None) -> float:
    """What needs the package lists: read where there are none, and once more where the mirror has dropped theirs."""
    fresh = not any(LISTS.glob("*_Packages*"))
    if fresh:
        _apt("update", doing="reading the package lists", report=report)
    try:
        return _apt(*words, doing=doing, report=report, cwd=cwd)
    except SandboxError:
        if fresh:
            raise
        _apt("update", doing="reading the package lists again", report=report)
        return _apt(*words, doing=doing, report=report, cwd=cwd)


def _apt(*words: str, doing: str, report: Report, cwd: Path | None = None) -> float:
    proxies = {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ}
    return run_reported(
        ["apt-get", "-o", "DPkg::Lock::Timeout=300", *words],
        part=PART,
        doing=doing,
        log=cache_root() / "packages.log",
        env=clean_environment(DEBIAN_FRONTEND="noninteractive", NEEDRESTART_SUSPEND="1", **proxies),
        report=report,
        cwd=cwd,
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
