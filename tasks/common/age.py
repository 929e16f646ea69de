"""age, by which a file's data key is sealed to recipients: the one door to its library, and identities in files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyrage

from interlock.contract.sops import RECIPIENT, SealedFile
from interlock.errors import HostConfigError, InputError
from tasks.common.git import read_private
from tasks.common.redaction import know

_MARK = "AGE-SECRET-KEY-1"


class Identity:
    """A private key of age, and where it lies. Never shown."""

    def __init__(self, key: pyrage.x25519.Identity, path: Path) -> None:
        self._key = key
        self.path = path
        self.recipient = str(key.to_public())

    def __repr__(self) -> str:
        return f"Identity({self.recipient}, {self.path})"

    @property
    def text(self) -> str:
        """The key itself, to be looked for where it must not be."""
        return str(self._key)

    def open(self, sealed: str) -> bytes:
        """What was sealed to its recipient; ValueError when that was another one, or the text is none of age's."""
        try:
            return bytes(pyrage.decrypt(sealed.encode(), [self._key]))
        except pyrage.DecryptError as error:
            raise ValueError(str(error)) from None


def read_identity(path: Path) -> Identity:
    """The one identity in a file as `age-keygen` and `interlock secrets keygen` write it, which nobody else may read.

    HostConfigError otherwise.
    """
    text = read_private(path, others=0o077, what="age identity", wanted="0600").decode(errors="replace")
    found = [line.strip() for line in text.splitlines() if line.strip().startswith(_MARK)]
    if len(found) != 1:
        message = f"{path}: the age identity must be one line {_MARK}…, and there are {len(found)}"
        raise HostConfigError(message, hint=f"`interlock secrets keygen {path}` makes a new file")
    know(found[0])
    try:
        return Identity(pyrage.x25519.Identity.from_str(found[0]), path)
    except pyrage.IdentityError:
        raise HostConfigError(f"{path}: the age identity is damaged", hint="bring it back from its backup") from None


def new_identity() -> str:
    """A new identity, as its file has it."""
    return str(pyrage.x25519.Identity.generate())


def data_key(file: SealedFile, identity: Identity) -> bytes:
    """The key that the file's values are sealed with; InputError when it is not sealed to this identity."""
    sealed = file.recipients.get(identity.recipient)
    if sealed is None:
        raise InputError(
            f"{file.path} is not sealed to {identity.recipient}, the identity in {identity.path}",
            hint=f"it is sealed to {', '.join(sorted(file.recipients))}: give the file of one of these",
        )
    try:
        return identity.open(sealed)
    except ValueError:
        message = f"{file.path}: what is sealed to {identity.recipient} does not open with it"
        raise InputError(message, hint="seal the file anew: `interlock secrets seal`") from None


def sealed_to(recipients: Iterable[str], key: bytes) -> Mapping[str, str]:
    """The data key for each recipient, in age's text form."""
    return {each: pyrage.encrypt(key, [_recipient(each)], armored=True).decode() for each in recipients}


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        if RECIPIENT.fullmatch(text):
            return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        pass
    raise InputError(f"{text} is no recipient of age", hint="copy it from `interlock secrets keygen`, as a whole")
