"""Lays out the context of Interlock's own images: `python -m images.collect FOLDER`.

Afterwards FOLDER is an application repository: Dockerfiles, interlock.yaml, and every wheel that uv.lock names for one
of the halves, with its hash, so that a build fetches nothing. Ask for it again and only what is new is fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.markers import Marker

CHECKOUT = Path(__file__).resolve().parents[1]
HALVES = ("ci", "cd")
PYTHON = "3.11.2"
"""The base image's: Debian 12 has it."""
_SURROUNDINGS = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": PYTHON,
    "python_version": "3.11",
    "sys_platform": "linux",
}
_PIECE_BYTES = 24 << 20
"""Forges and Interlock itself refuse large files, so larger wheels come in pieces that the Dockerfile joins."""
_COPIED = ("interlock.yaml", "check.py", "ci/Dockerfile", "cd/Dockerfile")


def collect(folder: Path, cache: Path) -> None:
    """Fill `folder`. `cache` keeps what was fetched."""
    wheels = folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    for name in _COPIED:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(CHECKOUT / "images" / name, folder / name)
    pip = folder / "pip.txt"
    _export(pip, "--only-group", "images")
    _export(folder / "ci.txt", "--no-default-groups", "--extra", "ci")
    # Prefect asks for Docker's SDK, and loads it only for runs in containers of its own, which Interlock has none of.
    _export(folder / "cd.txt", "--no-default-groups", "--extra", "cd", "--no-emit-package", "docker")
    for requirements in (pip, *(folder / f"{half}.txt" for half in HALVES)):
        for wheel in _downloaded(requirements, cache):
            shutil.copyfile(wheel, wheels / wheel.name)
    pip.unlink()
    (folder / "interlock.txt").write_text(_own_wheel(wheels))
    for wheel in sorted(wheels.iterdir()):
        _split(wheel)


def _export(file: Path, *options: str) -> None:
    command = (_uv(), "export", "--frozen", "--quiet", "--no-emit-project", "--no-header", "--no-annotate")
    _run(*command, *options, "--output-file", str(file))
    file.write_text(_for_base(file.read_text()))


def _for_base(exported: str) -> str:
    """What is meant for the base image, whatever Python this is run with."""
    kept = []
    for requirement in re.split(r"^(?=\S)", exported, flags=re.MULTILINE):
        named, _, hashes = requirement.partition("\\\n")
        name, _, marker = named.partition(" ; ")
        if requirement and (not marker or Marker(marker.strip()).evaluate(_SURROUNDINGS)):
            kept.append(f"{name.strip()} \\\n{hashes}")
    return "".join(kept)


def _downloaded(requirements: Path, cache: Path) -> list[Path]:
    """The wheels of one list, each with the hash that stands there."""
    chosen = cache / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    if not chosen.exists():
        draft = chosen.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", PYTHON)
        pip = (_uv(), "tool", "run", "--from", f"pip=={_locked('pip')}", "pip", "download", "--quiet")
        _run(*pip, *options, "-r", str(requirements), "-d", str(draft))
        draft.rename(chosen)
    return sorted(chosen.iterdir())


def _locked(name: str) -> str:
    packages = tomllib.loads((CHECKOUT / "uv.lock").read_text())["package"]
    return next(str(each["version"]) for each in packages if each["name"] == name)


def _own_wheel(wheels: Path) -> str:
    """Interlock's own wheel beside the others, as a requirement with its hash."""
    before = set(wheels.iterdir())
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels))
    (wheel,) = set(wheels.iterdir()) - before
    return f"./wheels/{wheel.name} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def _split(wheel: Path) -> None:
    content = wheel.read_bytes()
    if len(content) <= _PIECE_BYTES:
        return
    for number, start in enumerate(range(0, len(content), _PIECE_BYTES)):
        (wheel.parent / f"{wheel.name}.a{chr(ord('a') + number)}").write_bytes(content[start : start + _PIECE_BYTES])
    wheel.unlink()


def _uv() -> str:
    """The one on PATH, or the one that `make setup` installed."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interlock"
    found = shutil.which("uv") or next(map(str, sorted(caches.glob("uv-*/bin/uv"), reverse=True)), None)
    if found is None:
        raise SystemExit("images: there is no uv; `make setup` installs one")
    return found


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=CHECKOUT, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m images.collect FOLDER")
    chosen_folder = Path(sys.argv[1]).resolve()
    collect(chosen_folder, chosen_folder.parent / f".{chosen_folder.name}.wheels")
