"""Signed statements: DSSE envelopes and keys of ECDSA P-256, in the form that cosign and in-toto's tools read.

Source of the form: https://github.com/secure-systems-lab/dsse, protocol version 1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from interlock.errors import FormatError, Refused

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_KEY = "attestation key"


class Key(Protocol):
    """What signs without showing itself: a key in memory, or one that never leaves a KMS."""

    @property
    def public(self) -> str:
        """The public half: P-256, SubjectPublicKeyInfo as PEM."""

    def sign(self, message: bytes) -> bytes:
        """ECDSA with SHA-256 over the message, as DER."""


@dataclass(frozen=True)
class Signature:
    """`key` is the public key's fingerprint, `SHA256:…`: a hint which key it was, never a proof."""

    key: str
    value: bytes

    def to_json(self) -> dict[str, str]:
        return {"keyid": self.key, "sig": base64.b64encode(self.value).decode()}


@dataclass(frozen=True)
class Envelope:
    """An in-toto statement's bytes, and who signed them."""

    payload: bytes
    signatures: tuple[Signature, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(self.payload).decode(),
            "signatures": [each.to_json() for each in self.signatures],
        }


def read_envelope(given: Mapping[str, Any]) -> Envelope:
    """ValueError, KeyError or TypeError when it is not one of in-toto's."""
    if given["payloadType"] != PAYLOAD_TYPE:
        raise ValueError(f"the payload is {str(given['payloadType'])[:100]!r}")
    signatures = tuple(Signature(str(each["keyid"]), _decoded(each["sig"])) for each in given["signatures"])
    return Envelope(_decoded(given["payload"]), signatures)


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def sign(key: Key, payload: bytes) -> Envelope:
    return Envelope(payload, (Signature(fingerprint(key.public), key.sign(_encoding(payload))),))


def require_signed(envelope: Envelope, public: str, *, subject: str) -> None:
    """Refused unless this key has signed the envelope."""
    if not is_signed_envelope(envelope, public):
        raise Refused(
            f"{subject} is not signed by the key {fingerprint(public)}",
            rule="attestation",
            hint="it was made by somebody else, or changed since",
        )


def is_signed_envelope(envelope: Envelope, public: str) -> bool:
    """Whether this key has signed it, whatever the envelope says which keys have."""
    message = _encoding(envelope.payload)
    return any(is_signed(public, message, each.value) for each in envelope.signatures)


def is_signed(public: str, message: bytes, signature: bytes) -> bool:
    try:
        _load_public(public).verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _encoding(payload: bytes) -> bytes:
    """What is signed: the type and the payload, each with its length, so that neither can pass for the other."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


# keys ------------------------------------------------------------------------------------------------


class LocalKey:
    """A private key in this process's memory."""

    def __init__(self, private: bytes) -> None:
        """`private` is PEM (PKCS#8 or SEC1) without a passphrase; FormatError when it is not a P-256 key."""
        try:
            loaded = load_pem_private_key(private, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # What the library says may quote the key.
            raise FormatError("not a private key in PEM without a passphrase", path=_KEY, hint=_HINT) from None
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or not isinstance(loaded.curve, ec.SECP256R1):
            raise FormatError("must be ECDSA on the curve P-256", path=_KEY, hint=_HINT)
        self._key = loaded
        self.public = _public_pem(loaded.public_key())

    def sign(self, message: bytes) -> bytes:
        """The same message always gets the same signature (RFC 6979), so that what is stored again is the same."""
        return self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def __repr__(self) -> str:
        return f"LocalKey({fingerprint(self.public)})"


_HINT = "`interlock key --attestation FILE` makes one"


def generate_key() -> bytes:
    """A new private key: P-256, PKCS#8 as PEM, no passphrase."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def fingerprint(public: str) -> str:
    """`SHA256:…` of a public key, as `ssh-keygen -l` and cosign compute it."""
    blob = _load_public(public).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    return "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")


def hint(public: str) -> str:
    """How a sigstore bundle names a key: base64 of the digest of its binary form."""
    blob = _load_public(public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(blob).digest()).decode()


def _load_public(public: str) -> ec.EllipticCurvePublicKey:
    try:
        loaded = load_pem_public_key(public.encode())
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        raise FormatError("not a public key in PEM", path=_KEY, hint=_HINT) from None
    if not isinstance(loaded, ec.EllipticCurvePublicKey) or not isinstance(loaded.curve, ec.SECP256R1):
        raise FormatError("must be ECDSA on the curve P-256", path=_KEY, hint=_HINT)
    return loaded


def _public_pem(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
