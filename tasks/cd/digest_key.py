"""The host's own key for the digests of Secrets in names: without it nobody can try values against a name."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from interlock.errors import HostConfigError

_BYTES = 32


def digest_key(state: Path) -> bytes:
    """The key in CD's state folder; made when there is none. When it is lost, Secrets that roll do so once more."""
    file = state / "digest.key"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(file)
    except FileNotFoundError:
        state.mkdir(parents=True, exist_ok=True)
        return digest_key(state)
    with os.fdopen(descriptor, "wb") as made:
        made.write(secrets.token_bytes(_BYTES))
    return _read(file)


def _read(file: Path) -> bytes:
    key = file.read_bytes()
    if len(key) != _BYTES:
        raise HostConfigError(f"{file} is not a key of {_BYTES} bytes", hint="remove it: the next run makes one")
    return key
