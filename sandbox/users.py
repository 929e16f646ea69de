"""The sandbox's users, and the view of the machine that a program started as one of them gets.

The machine's own user database stays as it is: the supervisor lays copies over it in its private mount namespace.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import enter
from sandbox.part import SandboxError
from sandbox.place import Place

CHECKOUT = Path(__file__).resolve().parents[1]
_FIRST_ID = 64101
_NAMES = ("ci", "cd", "prefect", "git", "receiver", "registry", "signer")


@dataclass(frozen=True)
class User:
    """One role's account; its group has the same name and number."""

    name: str
    id: int


@dataclass(frozen=True)
class Cover:
    """An empty folder that anybody may pass is laid over this one."""

    path: Path


@dataclass(frozen=True)
class Show:
    """What lay at this path before the covers is seen there again, read-only."""

    path: Path


Step = Cover | Show


def user(place: Place, role: str) -> User:
    """The account of `ci`, `cd`, `prefect`, `git`, `receiver`, `registry` or `signer` in this sandbox."""
    return User(name=f"interlock-{role}", id=_FIRST_ID + 10 * place.slot + _NAMES.index(role))


def install_users(place: Place) -> None:
    """Lay user and group files that also name the sandbox's users over the machine's, in this mount namespace."""
    folder = place.state / "etc"
    folder.mkdir(exist_ok=True)
    accounts = [user(place, role) for role in _NAMES]
    _overlay(folder / "passwd", "".join(f"{a.name}:x:{a.id}:{a.id}::/nonexistent:/bin/sh\n" for a in accounts))
    _overlay(folder / "group", "".join(f"{a.name}:x:{a.id}:\n" for a in accounts))


def _overlay(copy: Path, lines: str) -> None:
    original = Path("/etc") / copy.name
    copy.write_text(original.read_text().rstrip("\n") + "\n" + lines)
    copy.chmod(0o644)
    subprocess.run(["mount", "--bind", str(copy), str(original)], check=True)


def own_folder(path: Path, owner: User, *, mode: int = 0o700) -> Path:
    """A folder that belongs to the user; made if missing."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, owner.id, owner.id)
    path.chmod(mode)
    return path


def write_private(path: Path, text: str, *, owner: int, group: int | None = None) -> None:
    """Write a file that only its owner, and the group when given, can read. It appears whole or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        os.fchown(file.fileno(), owner, owner if group is None else group)
        os.fchmod(file.fileno(), 0o600 if group is None else 0o640)
    draft.replace(path)


def closed_to_others(folder: Path) -> bool:
    """Users other than its owner cannot pass through this folder."""
    return not folder.stat().st_mode & stat.S_IXOTH


def reachable(paths: Iterable[Path], *, closed: Callable[[Path], bool] = closed_to_others) -> list[Step]:
    """The mounts after which every user can pass to these paths; none where they already can.

    The topmost closed folder above a path is covered, and only the paths asked for are shown in it. So a home folder
    in which the checkout lies stays hidden with everything else that it holds.
    """
    wanted = sorted(set(paths))
    outermost = [path for path in wanted if not any(other in path.parents for other in wanted)]
    covered = {path: top for path in outermost if (top := _topmost_closed(path, closed)) is not None}
    return [*(Cover(top) for top in sorted(set(covered.values()))), *(Show(path) for path in covered)]


def _topmost_closed(path: Path, closed: Callable[[Path], bool]) -> Path | None:
    return next((folder for folder in reversed(path.parents) if closed(folder)), None)


def program_paths() -> tuple[Path, ...]:
    """What a program of ours reads: this checkout, its virtual environment, and the Python it is made from."""
    return (CHECKOUT, Path(sys.prefix), Path(sys.base_prefix))


def as_user(
    account: User, command: Sequence[str | Path], *, groups: Sequence[int] = (), reads: Sequence[Path] = ()
) -> list[str]:
    """The command that runs `command` as the user, in a mount namespace where it reaches our programs and `reads`."""
    paths = (*program_paths(), *reads)
    for path in paths:
        if (path.stat().st_mode & 0o005) != 0o005:
            raise SandboxError(f"{path}: only its owner can read it; run: chmod -R o+rX {path}")
    spec = {
        "user": account.id,
        "groups": list(groups),
        "steps": [[type(step).__name__, str(step.path)] for step in reachable(paths)],
    }
    python = sys.executable
    return [python, "-I", "-S", enter.__file__, json.dumps(spec), *(str(word) for word in command)]
