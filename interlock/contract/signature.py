"""SSH signatures (SSHSIG, as `ssh-keygen -Y sign` makes them) over commits and receipts: sign and verify.

Verifies ed25519, ecdsa and rsa (sha2) keys, and over commits those of OpenPGP too; signs with ed25519. Who may sign
what is decided elsewhere.
Source of the form: PROTOCOL.sshsig in OpenSSH.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import textwrap
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHPublicKeyTypes,
    load_ssh_private_key,
    load_ssh_public_key,
)

from interlock.contract import openpgp
from interlock.errors import FormatError, Refused

Owner = TypeVar("Owner")
_PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_ARMOR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n?")
_MAGIC = b"SSHSIG"
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_RSA = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}
_ECDSA: dict[bytes, hashes.HashAlgorithm] = {
    b"ecdsa-sha2-nistp256": hashes.SHA256(),
    b"ecdsa-sha2-nistp384": hashes.SHA384(),
    b"ecdsa-sha2-nistp521": hashes.SHA512(),
}
_SMALLEST_RSA_BITS = 2048


def generate_key(comment: str = "interlock") -> tuple[bytes, str]:
    """A new ed25519 key: (OpenSSH private key file, its one-line public key)."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, f"{_public_line(key)} {comment}"


def public_key(private_key: bytes) -> str:
    """The one-line public key (no comment) of an OpenSSH private key file's bytes."""
    return _public_line(_load_private(private_key))


def key_blob(public: str) -> bytes:
    """The binary form of a one-line public key: what identifies a key, whatever its comment says."""
    if openpgp.is_key(public):
        return openpgp.key_blob(public)
    words = public.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
        kind, _ = _field(blob, 0)
    except (IndexError, ValueError, Refused):
        if "PRIVATE KEY" in public:  # of which not a letter may reach a terminal or a log
            raise FormatError("this is a private key", path="public key", hint="give the .pub beside it") from None
        raise FormatError(f"not an OpenSSH public key: {public[:60]!r}", path="public key") from None
    if kind != words[0].encode():
        raise FormatError(f"the key says {words[0]} outside and {kind!r} inside", path="public key")
    return blob


def require_usable(public: str) -> None:
    """Refused when nothing that a key signs would count: too short, of another kind, or in another form."""
    blob = key_blob(public)
    if not blob.startswith(openpgp.PREFIX):
        _load_public(blob)


def fingerprint(public: str | bytes) -> str:
    """`SHA256:…`, as `ssh-keygen -l` prints it, of a public key or its binary form; hex digits of an OpenPGP one."""
    blob = key_blob(public) if isinstance(public, str) else public
    if blob.startswith(openpgp.PREFIX):
        return openpgp.fingerprint(blob)
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def sign(private_key: bytes, message: bytes, *, namespace: str = "git") -> str:
    """An armored signature, ending in a newline; `private_key` is an unencrypted OpenSSH ed25519 key file."""
    key = _load_private(private_key)
    payload = _signed_payload(message, namespace=namespace.encode(), hash_name=b"sha512")
    signature = _string(b"ssh-ed25519") + _string(key.sign(payload))
    fields = (key_blob(_public_line(key)), namespace.encode(), b"", b"sha512", signature)
    body = base64.b64encode(_MAGIC + b"\0\0\0\1" + b"".join(map(_string, fields))).decode()
    lines = textwrap.wrap(body, 70)
    return "\n".join(("-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""))


def verify(armored: str, message: bytes, keys: Mapping[bytes, Owner], *, namespace: str = "git") -> Owner:
    """Whose key made this signature over exactly this message; Refused when it is none of `keys` (by `key_blob`)."""
    if namespace == "git" and openpgp.is_signature(armored):
        return keys[openpgp.verify(armored, message, [blob for blob in keys if blob.startswith(openpgp.PREFIX)])]
    blob, found_namespace, _reserved, hash_name, signature = _unpack(armored)
    if found_namespace != namespace.encode():
        raise _bad(f"the signature is for namespace {found_namespace!r}, not {namespace!r}")
    if hash_name not in _HASHES:
        raise _bad(f"the signature uses the hash {hash_name!r}; sha256 and sha512 are accepted")
    if blob not in keys:
        raise Refused(
            f"signed by a key that nobody here holds: {fingerprint(blob)}",
            rule="unknown-key",
            hint="the key must be in trust/signers.yaml before the commit that it signs",
        )
    _check(blob, signature, _signed_payload(message, namespace=found_namespace, hash_name=hash_name))
    return keys[blob]


def maker(armored: str) -> str:
    """The fingerprint of the SSH key that a signature names as its own; whether it made it is for `verify` to say."""
    return fingerprint(_unpack(armored)[0])


def _check(blob: bytes, signature: bytes, payload: bytes) -> None:
    kind, _ = _field(blob, 0)
    algorithm, at = _field(signature, 0)
    raw, at = _field(signature, at)
    key = _load_public(blob)
    try:
        if isinstance(key, ed25519.Ed25519PublicKey) and algorithm == kind and at == len(signature):
            key.verify(raw, payload)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm == kind and at == len(signature):
            key.verify(_ecdsa_der(raw), payload, ec.ECDSA(_ECDSA[kind]))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm in _RSA and at == len(signature):
            key.verify(raw, payload, padding.PKCS1v15(), _RSA[algorithm])
        else:
            raise _bad(f"the signature's algorithm {algorithm!r} does not fit the key")
    except InvalidSignature:
        raise _bad("the signature does not fit the signed bytes") from None


@lru_cache(maxsize=256)
def _load_public(blob: bytes) -> _PublicKey:
    kind, _ = _field(blob, 0)
    if kind.startswith(b"sk-"):
        raise _bad("security-key (sk-*) signatures are not accepted: sign with an ed25519, ecdsa or rsa key")
    try:
        key = load_ssh_public_key(kind + b" " + base64.b64encode(blob))
    except (ValueError, UnsupportedAlgorithm):
        raise _bad(f"keys of type {kind!r} are not accepted") from None
    _require_usual_form(key, blob)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA_BITS:
        raise _bad(f"an RSA key of {key.key_size} bits is too short; {_SMALLEST_RSA_BITS} is the least")
    if isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return key
    raise _bad(f"keys of type {kind!r} are not accepted")


def _require_usual_form(key: SSHPublicKeyTypes, blob: bytes) -> None:
    """One key has one form, and so one fingerprint: padded numbers or a certificate would make another signer's of it.

    Refused when it has another.
    """
    usual = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    if base64.b64decode(usual) != blob:
        raise _bad("the key is not in the form that ssh-keygen gives it; `ssh-keygen -y` prints that one")


def _load_private(data: bytes) -> ed25519.Ed25519PrivateKey:
    hint = "make one with `ssh-keygen -t ed25519 -N '' -f FILE`"
    try:
        key = load_ssh_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FormatError("not an unencrypted OpenSSH private key", path="signing key", hint=hint) from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise FormatError("only ed25519 keys sign here", path="signing key", hint=hint)
    return key


def _public_line(key: ed25519.Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _signed_payload(message: bytes, *, namespace: bytes, hash_name: bytes) -> bytes:
    digest = _HASHES[hash_name](message).digest()
    return _MAGIC + b"".join(map(_string, (namespace, b"", hash_name, digest)))


def _unpack(armored: str) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """(public key, namespace, reserved, hash name, signature)"""
    found = _ARMOR.fullmatch(armored)
    if not found:
        raise _bad("not one armored SSH signature; X.509 signatures are not accepted")
    try:
        data = base64.b64decode(found[1].replace("\n", ""), validate=True)
    except binascii.Error:
        raise _bad("the armored signature is not base64") from None
    if data[:10] != _MAGIC + b"\0\0\0\1":
        raise _bad("not an SSH signature of version 1")
    fields, at = [], 10
    for _ in range(5):
        field, at = _field(data, at)
        fields.append(field)
    if at != len(data) or fields[2]:
        raise _bad("bytes in the signature that nothing covers")
    return fields[0], fields[1], fields[2], fields[3], fields[4]


def _field(data: bytes, at: int) -> tuple[bytes, int]:
    """The length-prefixed string at `at`, and where it ends."""
    start = at + 4
    end = start + int.from_bytes(data[at:start], "big")
    if start > len(data) or end > len(data):
        raise _bad("the signature or key is cut short")
    return data[start:end], end


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _ecdsa_der(raw: bytes) -> bytes:
    r, at = _field(raw, 0)
    s, at = _field(raw, at)
    if at != len(raw):
        raise _bad("bytes in the signature that nothing covers")
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _bad(message: str) -> Refused:
    return Refused(message, rule="bad-signature")
