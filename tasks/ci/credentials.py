"""The first step of every release: prove that CI can reach no cluster."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from interlock.ci.credentials import MOST_BYTES, Probe, usable
from interlock.ci.host import CiHost
from interlock.errors import CredentialFound
from tasks.common.effect import effect

TOKEN_MOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_ADDRESSES = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_MASTER")
_MOST_FILES = 5000
_DEPTH = 4
# Objects of git, layers of images, other people's packages: large, and nothing that a client would read.
_SKIPPED = {".git", ".venv", "node_modules", "site-packages", "mirrors", "scanner", "__pycache__"}


@effect(name="look for cluster credentials")
def probe(
    host: CiHost,
    *,
    environment: Mapping[str, str] | None = None,
    home: Path | None = None,
    token_mount: Path = TOKEN_MOUNT,
) -> Probe:
    """Where was looked, when nothing that this process may read is usable against a cluster.

    CredentialFound names the file or the variable, never what it holds. A cluster's address alone is no credential.
    """
    surroundings = os.environ if environment is None else environment
    own_home = home or Path(surroundings.get("HOME", "/nonexistent"))
    checked = (
        *_check_variables(surroundings),
        *_check_mount(token_mount),
        *_check_files((own_home / ".kube" / "config", *_configured(host))),
        *_check_folders(_apart(own_home, host.state)),
    )
    return Probe(checked, tuple(f"{name}={surroundings[name]}" for name in _ADDRESSES if name in surroundings))


def _check_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """A variable may hold a kubeconfig, or name files that are one."""
    for name, value in environment.items():
        if found := usable(value.encode(errors="surrogateescape")):
            raise _found(f"the variable {name} holds a kubeconfig with the {found}")
        for path in value.split(os.pathsep):
            if path.startswith("/"):
                _check(Path(path), f"the file {path}, which the variable {name} names,")
    yield f"{len(environment)} environment variables" + (", KUBECONFIG too" if "KUBECONFIG" in environment else "")


def _check_mount(mount: Path) -> Iterator[str]:
    token = mount / "token"
    if _read(token):
        raise _found(f"{token} is a service account's token")
    yield str(token)


def _check_files(paths: Iterable[Path]) -> Iterator[str]:
    for path in dict.fromkeys(paths):
        _check(path, f"the file {path}")
        yield str(path)


def _check_folders(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        count = 0
        for path in _files_below(folder):
            if count == _MOST_FILES:
                break
            count += 1
            _check(path, f"the file {path}")
        yield f"{folder}/ ({count} files" + (", the others were not read)" if count == _MOST_FILES else ")")


def _files_below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        depth = len(Path(here).relative_to(folder).parts)
        folders[:] = sorted(set(folders) - _SKIPPED) if depth < _DEPTH else []
        yield from (Path(here, name) for name in sorted(files))


def _apart(*folders: Path) -> tuple[Path, ...]:
    """The folders, without those that lie in another one."""
    return tuple(each for each in folders if not any(other in each.parents for other in folders))


def _configured(host: CiHost) -> Iterator[Path]:
    """Every file that the host config names."""

    def paths(value: object) -> Iterator[Path]:
        if isinstance(value, Path):
            yield value
        elif isinstance(value, BaseModel):
            yield from (path for _, field in value for path in paths(field))
        elif isinstance(value, Mapping):
            yield from (path for field in value.values() for path in paths(field))

    return paths(host)


def _check(path: Path, subject: str) -> None:
    if found := usable(_read(path)):
        raise _found(f"{subject} is a kubeconfig with the {found}")


def _read(path: Path) -> bytes:
    """A regular file's first bytes; nothing when it is not there, not ours to read, or not a file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, MOST_BYTES + 1) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    finally:
        os.close(file)


def _found(message: str) -> CredentialFound:
    return CredentialFound(
        f"CI can reach a cluster: {message}",
        hint="remove it, or take its rights from CI's user; only CD may hold cluster credentials",
    )
