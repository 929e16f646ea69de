"""Where an attestation key comes from: a file, a variable, or a KMS by a plug-in. Never from an argument."""

from __future__ import annotations

import os
import stat
from importlib import metadata

from interlock.ci.host import KeySource
from interlock.contract import dsse
from interlock.contract.dsse import Key, LocalKey
from interlock.errors import FormatError, HostConfigError
from tasks.common.redaction import know

KMS = "interlock.kms"
"""The group of entry points: a plug-in's name is what stands before the colon of an address, and it is a function of
the rest that returns a `interlock.contract.dsse.Key`."""
_PROBE = b"interlock: a signature to see that the key signs"


def load_key(source: KeySource, *, owner: str) -> Key:
    """The key, after it has signed once; HostConfigError, which never quotes it, when that is not possible.

    `owner` is the repository that it is for.
    """
    try:
        key = _load(source)
        signs = dsse.is_signed(key.public, _PROBE, key.sign(_PROBE))
    except FormatError as error:
        raise HostConfigError(f"the key of {owner}: {error.message}", hint=error.hint) from None
    if not signs:
        raise HostConfigError(f"the key of {owner}: what it signs does not fit its own public half")
    return key


def _load(source: KeySource) -> Key:
    if source.file is not None:
        return _from_file(source)
    if source.environment is not None:
        return _from_variable(source.environment)
    return _from_kms(source.kms or "")


def _from_file(source: KeySource) -> Key:
    assert source.file is not None  # noqa: S101 - the caller's choice
    try:
        with source.file.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise HostConfigError(f"{source.file}: others may read it", hint=f"chmod 600 {source.file}")
            key = file.read(1 << 16)
            know(key)
            return LocalKey(key)
    except OSError as error:
        raise HostConfigError(
            f"{source.file}: {error.strerror}", hint=f"`interlock key --attestation {source.file}` makes one"
        ) from None


def _from_variable(name: str) -> Key:
    """What this process starts later does not inherit it."""
    text = os.environ.pop(name, None)
    if not text:
        raise HostConfigError(f"the variable {name} is not set, or another repository has it already")
    know(text)
    return LocalKey(text.encode())


def _from_kms(address: str) -> Key:
    name, _, rest = address.partition(":")
    found = [each for each in metadata.entry_points(group=KMS) if each.name == name]
    if len(found) != 1:
        raise HostConfigError(
            f"{len(found)} installed plug-ins know keys of the kind {name}:",
            hint=f"install one package with an entry point {name!r} in the group {KMS}",
        )
    try:
        key: Key = found[0].load()(rest)
        dsse.fingerprint(key.public)
    except FormatError:
        raise
    except Exception as error:
        raise HostConfigError(f"the plug-in for {name}: failed: {type(error).__name__}: {error}") from error
    return key
