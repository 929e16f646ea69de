"""Reading the host's own file. The halves' own readers are `tasks.ci.host.load_ci` and `tasks.cd.host.load_cd`."""

from __future__ import annotations

import os
import re
import stat
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from interlock.contract import strict_yaml
from interlock.contract.builtin import Half
from interlock.contract.models import File
from interlock.errors import FormatError, HostConfigError

VARIABLE = "INTERLOCK_CONFIG"
_WANTED = "a CI host's ci.yaml, or a CD host's cd.yaml"
M = TypeVar("M", bound=File)


def path(wanted: str = _WANTED) -> Path:
    """The file that INTERLOCK_CONFIG names; `wanted` tells who has none what it would be."""
    named = os.environ.get(VARIABLE)
    if not named:
        raise HostConfigError(f"{VARIABLE} is not set", hint=f"on the host, export it as the path of {wanted}")
    return Path(named)


def load(model: type[M], file: Path | None = None, *, wanted: str = _WANTED) -> M:
    """The host's file as a model.

    HostConfigError when it is missing or wrong, or when anybody but root could have written it: everything that
    Interlock may touch follows from it.
    """
    chosen = file or path(wanted)
    try:
        with chosen.open("rb") as opened:
            _refuse_writable(chosen, os.fstat(opened.fileno()))
            text = opened.read().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise HostConfigError(f"{chosen}: {reason}", hint=f"{VARIABLE} names the host's file") from error
    try:
        return strict_yaml.parse(text, model, path=str(chosen))
    except FormatError as error:
        if whose := _another_hosts(text, model):
            raise HostConfigError(
                f"{chosen} is {whose} file, and this asks for {wanted}", hint=f"let {VARIABLE} name the right one"
            ) from error
        raise HostConfigError(error.message, hint=error.hint) from error


def load_half(half: Half) -> Any:
    """The half's host file: CiHost or CdHost. Imported by name, so that no half ever imports the other."""
    return getattr(import_module(f"tasks.{half}.host"), f"load_{half}")()


def half() -> Half:
    """Whose host this is, by the file that INTERLOCK_CONFIG names; the half's own reader says whether it is sound."""
    try:
        value = strict_yaml.load(path().read_text(), path=str(path())).value
    except (OSError, UnicodeDecodeError) as error:
        raise HostConfigError(f"{path()} cannot be read: {error}", hint=f"{VARIABLE} names the host's file") from None
    except FormatError as error:
        raise HostConfigError(error.message, hint=error.hint) from None
    if isinstance(value, dict) and "registry" in value:
        return "ci"
    if isinstance(value, dict) and "ledger" in value:
        return "cd"
    raise HostConfigError(f"{path()} is neither ci.yaml nor cd.yaml", hint=f"let {VARIABLE} name one of them")


_MARKS = {
    "clients": "a signer's",
    "docker": "a CI host's",
    "registry": "a CI host's",
    "clusters": "a CD host's",
    "listen": "a receiver's",
}
"""A field that only one kind of host file has, and whose it is."""


def _another_hosts(text: str, model: type[File]) -> str:
    """Whose the file is, when it is another kind of host's; empty otherwise."""
    for field, whose in _MARKS.items():
        if field not in model.model_fields and re.search(rf"^{field}:", text, re.MULTILINE):
            return whose
    return ""


def _refuse_writable(file: Path, status: os.stat_result) -> None:
    if status.st_uid != 0:
        raise HostConfigError(f"{file} belongs to user {status.st_uid}, not root", hint=f"chown root {file}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise HostConfigError(f"{file} is writable for others than root", hint=f"chmod go-w {file}")
