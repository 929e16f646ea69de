"""What all doors to forges share: who speaks to which kind, the token, and how long one asks again while it is away."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from interlock.contract.forge import ForgeAccount, ForgeKind, failed
from interlock.errors import ForgeError, HostConfigError
from tasks.common import git
from tasks.common.redaction import know

R = TypeVar("R")
SECONDS = 20.0
"""How long one answer may take."""
_ATTEMPTS = 4
_LONGEST_SECONDS = 30.0
"""Of a pause; a forge that asks for a longer one is left alone."""

_REQUESTS: Mapping[ForgeKind, str] = {
    "github": "refs/pull/{}/head",
    "gitea": "refs/pull/{}/head",
    "gitlab": "refs/merge-requests/{}/head",
}


def connected(room: str, account: ForgeAccount, token: str) -> Any:
    """A door to this account, by the file of the room, a package, that is named as the kind of forge.

    The clients are slow to import, and not everybody has a forge of each kind.
    """
    try:
        door = importlib.import_module(f"{room}.{account.kind}")
    except ModuleNotFoundError as error:
        raise HostConfigError(
            f"{account.project}: what speaks to {account.kind} is not installed here: {error.name}",
            hint="in a checkout: pip install '.[cd]' or '.[ci]'",
        ) from error
    return door.connect(account, token, seconds=SECONDS)


def request_ref(kind: ForgeKind, number: int) -> str:
    """Where the forge keeps the newest commit of a pull request, or of a merge request."""
    return _REQUESTS[kind].format(number)


def insist(account: ForgeAccount, call: Callable[[], R]) -> R:
    """What `call` gives; made again as a whole, a few times, when the forge is away or busy."""
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except ForgeError as error:
            seconds = max(error.after_seconds, 2.0**attempt)
            if not error.transient or attempt == _ATTEMPTS - 1 or seconds > _LONGEST_SECONDS:
                raise
            time.sleep(seconds)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # The clients trust the form of an answer.
            said = f"an answer in a form that is not known ({type(error).__name__})"
            raise failed(account, "speak to it", status=0, said=said) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def read_token(account: ForgeAccount) -> str:
    """The token, from a file that others cannot read; read each time, so that a new one counts at once."""
    token = git.read_private(account.token, others=0o007, what="forge token", wanted="0600").strip()
    if not token.isascii() or not token.decode().isprintable() or b" " in token or not token:
        raise HostConfigError(f"{account.token}: it must hold one token, and nothing else")
    know(token)
    return token.decode()
