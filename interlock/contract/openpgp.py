"""OpenPGP signatures over commits, as GnuPG makes them. The only module that imports `pysequoia`.

Sequoia's standard policy decides what is sound: no SHA-1, no short keys, no expired or revoked subkeys.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from functools import lru_cache

import pysequoia

from interlock.errors import FormatError, Refused

_ARMOR = re.compile(
    r"-----BEGIN PGP SIGNATURE-----\n(?:(?!--)[A-Za-z0-9+/=:.,() \n-])*\n-----END PGP SIGNATURE-----\n*"
)
PREFIX = b"openpgp\0"
"""What the binary form of such a key begins with, among those of SSH keys."""


def is_key(public: str) -> bool:
    return public.startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")


def is_signature(armored: str) -> bool:
    return armored.startswith("-----BEGIN PGP SIGNATURE-----")


def key_blob(public: str) -> bytes:
    """The form in which keys are compared; FormatError when it is no key."""
    blob = PREFIX + "\n".join(line.strip() for line in public.strip().splitlines()).encode()
    try:
        _certificate(blob)
    except RuntimeError as error:
        raise FormatError(f"not an OpenPGP public key: {_said(error)}", path="public key") from None
    return blob


def fingerprint(blob: bytes) -> str:
    """The primary key's, as `gpg --list-keys` prints it: hex digits in capitals."""
    return str(_certificate(blob).fingerprint).upper()


def verify(armored: str, message: bytes, blobs: Sequence[bytes]) -> bytes:
    """Which of the keys made this signature over exactly this message; Refused when it is none of them."""
    if not _ARMOR.fullmatch(armored):
        raise Refused("not one armored OpenPGP signature", rule="bad-signature")
    known = {_certificate(blob).fingerprint: blob for blob in blobs}
    try:
        signature = pysequoia.Sig.from_bytes(armored.encode())
    except RuntimeError as error:
        raise Refused(f"the OpenPGP signature cannot be read: {_said(error)}", rule="bad-signature") from None
    try:
        found = pysequoia.verify(
            bytes=message, store=lambda _: [_certificate(blob) for blob in blobs], signature=signature
        )
    except RuntimeError:
        raise Refused(
            f"the OpenPGP signature, by {signature.issuer_fingerprint or 'nobody'}, is of none of the keys here, or "
            "does not fit the signed bytes",
            rule="bad-signature",
        ) from None
    return known[found.valid_sigs[0].certificate]


def last_day(blob: bytes) -> dt.date | None:
    """The last day on which the key is good by its own word; `date.min` for a revoked one, or one without a word."""
    certificate = _certificate(blob)
    try:
        if certificate.is_revoked:
            return dt.date.min
        return certificate.expiration.date() if certificate.expiration else None
    except RuntimeError:  # nothing that it signed binds its parts together
        return dt.date.min


@lru_cache(maxsize=256)
def _certificate(blob: bytes) -> pysequoia.Cert:
    return pysequoia.Cert.from_bytes(blob.removeprefix(PREFIX))


def _said(error: RuntimeError) -> str:
    """What Sequoia says, without the stack that it appends."""
    return str(error).partition("\n")[0]
