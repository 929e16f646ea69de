"""Whose the state folder of a host is: mirrors, marks and workspaces are one user's."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from interlock.errors import InputError
from tasks.common.host import VARIABLE


def require_own(state: Path, *, half: str) -> None:
    """InputError unless it is this user's: used by another, even root, it would be refused later, or spoilt."""
    if state.exists() and state.stat().st_uid != os.geteuid():
        user = state.stat().st_uid
        raise InputError(
            f"{state} belongs to user {_name(user)}, {half}'s on this host",
            hint="run it as that user: "
            f"setpriv --reuid {user} --regid {user} --clear-groups env {VARIABLE}=${VARIABLE} interlock …",
        )


def _name(user: int) -> str:
    """The user's name, or the number of one that this machine has no name for."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
