"""The host's own key for the digests of Secrets in names: without it nobody can try values against a name."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from interlock.errors import HostConfigError

_BYTES = 32


def digest_key(state: Path) -> bytes:
    """The key in CD's state folder; made when there is none. When it is lost, Secrets that roll do so once more."""
    file = state / "digest.key"
    with suppress(FileNotFoundError):
        return _read(file)
    state.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=state, prefix=".digest.key.")
    try:
        with os.fdopen(handle, "wb") as made:
            made.write(secrets.token_bytes(_BYTES))
        with suppress(FileExistsError):  # of two runs that make one at once, both use the same
            os.link(draft, file)
    finally:
        Path(draft).unlink()
    return _read(file)


def _read(file: Path) -> bytes:
    key = file.read_bytes()
    if len(key) != _BYTES:
        raise HostConfigError(f"{file} is not a key of {_BYTES} bytes", hint="remove it: the next run makes one")
    return key
