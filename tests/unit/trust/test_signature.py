"""Signatures as OpenSSH makes them: the same bytes from the same key, and nothing but them accepted."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
)

from interlock.contract import signature
from interlock.errors import FormatError, Refused
from tests.unit.trust.openssh_signatures import ED25519_SEED, SHORT_RSA, SIGNATURES

MESSAGE = b"hello\n"


def keys_of(public: str) -> dict[bytes, str]:
    return {signature.key_blob(public): "owner"}


@pytest.mark.parametrize(("public", "armored"), SIGNATURES.values(), ids=SIGNATURES)
def test_accepts_openssh_signatures(public: str, armored: str) -> None:
    """What ssh-keygen signed with an ed25519, ecdsa or rsa key is that key's owner's."""
    assert signature.verify(armored, MESSAGE, keys_of(public)) == "owner"


@pytest.mark.parametrize(("public", "armored"), SIGNATURES.values(), ids=SIGNATURES)
def test_refuses_openssh_signatures_over_other_bytes(public: str, armored: str) -> None:
    """One changed byte, and the signature does not fit."""
    with pytest.raises(Refused, match="does not fit") as refused:
        signature.verify(armored, b"hallo\n", keys_of(public))

    assert refused.value.rule == "bad-signature"


def test_signs_as_openssh_does() -> None:
    """An ed25519 signature has one form: ours is ssh-keygen's, byte for byte."""
    key = Ed25519PrivateKey.from_private_bytes(ED25519_SEED)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    assert signature.sign(private, MESSAGE) == SIGNATURES["ed25519"][1]


def test_generated_keys_sign_and_verify() -> None:
    """A new key's public half verifies what its private half signs, and only in the same namespace."""
    private, public = signature.generate_key("somebody")
    armored = signature.sign(private, MESSAGE, namespace="interlock-receipt")

    assert public.startswith(signature.public_key(private)) and public.endswith(" somebody")
    assert signature.verify(armored, MESSAGE, keys_of(public), namespace="interlock-receipt") == "owner"
    with pytest.raises(Refused, match="namespace"):
        signature.verify(armored, MESSAGE, keys_of(public))


def test_refuses_a_key_that_nobody_holds() -> None:
    """A good signature by another key is refused with the key's fingerprint."""
    public, armored = SIGNATURES["ed25519"]
    with pytest.raises(Refused, match=r"SHA256:[A-Za-z0-9+/]{43}") as refused:
        signature.verify(armored, MESSAGE, keys_of(SIGNATURES["rsa 2048"][0]))

    assert refused.value.rule == "unknown-key"
    assert signature.fingerprint(public) in refused.value.message


def test_refuses_short_rsa_keys() -> None:
    """RSA keys of 1024 bits can be broken, whoever holds them."""
    public, armored = SHORT_RSA
    with pytest.raises(Refused, match="1024 bits"):
        signature.verify(armored, MESSAGE, keys_of(public))


def test_refuses_security_keys_with_a_clear_word() -> None:
    """An sk-* key is refused by its name: its signatures have a form that we do not read."""
    kind = b"sk-ssh-ed25519@openssh.com"
    blob = _string(kind) + _string(b"k" * 32) + _string(b"ssh:")
    fields = (blob, b"git", b"", b"sha512", _string(kind) + _string(b"s" * 64) + b"\1\0\0\0\1")

    with pytest.raises(Refused, match="security-key"):
        signature.verify(_armor(fields), MESSAGE, {blob: "owner"})


def test_refuses_sha1_rsa_signatures() -> None:
    """An RSA signature of the old kind, ssh-rsa with SHA-1, is refused even if it verified."""
    public, _ = SIGNATURES["rsa 2048"]
    blob = signature.key_blob(public)
    fields = (blob, b"git", b"", b"sha512", _string(b"ssh-rsa") + _string(b"s" * 256))

    with pytest.raises(Refused, match="algorithm"):
        signature.verify(_armor(fields), MESSAGE, {blob: "owner"})


def test_a_key_has_one_form() -> None:
    """The same RSA key with a padded exponent has another fingerprint, and would be a second person's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    usual = signature.key_blob(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())
    padded = usual.replace(_string(b"\1\0\1"), _string(b"\0\1\0\1"), 1)
    digest = hashlib.sha512(MESSAGE).digest()
    payload = b"SSHSIG" + b"".join(map(_string, (b"git", b"", b"sha512", digest)))
    made = _string(b"rsa-sha2-512") + _string(key.sign(payload, padding.PKCS1v15(), hashes.SHA512()))

    assert signature.fingerprint(usual) != signature.fingerprint(padded)
    assert signature.verify(_armor((usual, b"git", b"", b"sha512", made)), MESSAGE, {usual: "owner"}) == "owner"
    with pytest.raises(Refused, match="form"):
        signature.verify(_armor((padded, b"git", b"", b"sha512", made)), MESSAGE, {padded: "owner"})


def test_a_certificate_is_no_key() -> None:
    """An SSH certificate of a signer's key would be that key under another fingerprint."""
    key = Ed25519PrivateKey.generate()
    builder = SSHCertificateBuilder().public_key(key.public_key()).type(SSHCertificateType.USER).serial(1)
    made = builder.key_id(b"x").valid_principals([b"x"]).valid_after(0).valid_before(2**63).sign(key)
    blob = signature.key_blob(made.public_bytes().decode())
    kind = b"ssh-ed25519-cert-v01@openssh.com"
    payload = b"SSHSIG" + b"".join(map(_string, (b"git", b"", b"sha512", hashlib.sha512(MESSAGE).digest())))
    signed = _string(kind) + _string(key.sign(payload))

    with pytest.raises(Refused, match="form"):
        signature.verify(_armor((blob, b"git", b"", b"sha512", signed)), MESSAGE, {blob: "owner"})


def test_refuses_weak_hashes() -> None:
    """Only sha256 and sha512 digest what is signed."""
    blob = signature.key_blob(SIGNATURES["ed25519"][0])
    with pytest.raises(Refused, match="hash"):
        signature.verify(_armor((blob, b"git", b"", b"md5", b"")), MESSAGE, {blob: "owner"})


def _pem(body: str) -> str:
    return f"-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n"


DAMAGED = {
    "nothing": "",
    "a PGP signature": "-----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n",
    "not base64": _pem("A"),
    "another magic": _pem(base64.b64encode(b"SSHSEG\0\0\0\1").decode()),
    "another version": _pem(base64.b64encode(b"SSHSIG\0\0\0\2").decode()),
    "cut short": _pem(base64.b64encode(b"SSHSIG\0\0\0\1\0\0\0\x40abc").decode()),
    "text before it": "x\n" + SIGNATURES["ed25519"][1],
    "a second one": SIGNATURES["ed25519"][1] * 2,
}


@pytest.mark.parametrize("armored", DAMAGED.values(), ids=DAMAGED)
def test_refuses_what_is_no_signature(armored: str) -> None:
    """Damaged armor is a refusal, never an accident."""
    with pytest.raises(Refused) as refused:
        signature.verify(armored, MESSAGE, keys_of(SIGNATURES["ed25519"][0]))

    assert refused.value.rule == "bad-signature"


@pytest.mark.parametrize("size", range(0, 168, 7))
def test_refuses_every_truncation(size: int) -> None:
    """A signature cut anywhere is refused."""
    body = base64.b64decode("".join(SIGNATURES["ed25519"][1].splitlines()[1:-1]))
    with pytest.raises(Refused):
        signature.verify(_pem(base64.b64encode(body[:size]).decode()), MESSAGE, keys_of(SIGNATURES["ed25519"][0]))


def test_refuses_bytes_that_nothing_covers() -> None:
    """A signature with something appended, or something in its reserved field, is refused."""
    body = base64.b64decode("".join(SIGNATURES["ed25519"][1].splitlines()[1:-1]))
    with pytest.raises(Refused, match="nothing covers"):
        signature.verify(_pem(base64.b64encode(body + b"\0").decode()), MESSAGE, keys_of(SIGNATURES["ed25519"][0]))


@pytest.mark.parametrize(
    "public", ["", "ssh-ed25519", "ssh-ed25519 ???", "ssh-rsa " + SIGNATURES["ed25519"][0].split()[1]]
)
def test_a_public_key_must_be_one(public: str) -> None:
    """Text that is no key, or says another kind outside than inside, is an error of ours to report."""
    with pytest.raises(FormatError):
        signature.key_blob(public)


def test_a_private_key_in_a_public_ones_place_is_not_quoted() -> None:
    """Whoever gives the wrong half is told so, and no letter of it reaches a terminal or a log."""
    private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIsecret\n-----END PRIVATE KEY-----\n"

    with pytest.raises(FormatError, match="this is a private key") as caught:
        signature.key_blob(private)
    assert "secret" not in str(caught.value) and caught.value.hint == "give the .pub beside it"


@pytest.mark.parametrize(
    "private", [b"", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"]
)
def test_a_private_key_must_be_one(private: bytes) -> None:
    """A broken key file says how to make a good one."""
    with pytest.raises(FormatError, match="ssh-keygen"):
        signature.sign(private, MESSAGE)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _armor(fields: tuple[bytes, ...]) -> str:
    return _pem(base64.b64encode(b"SSHSIG\0\0\0\1" + b"".join(map(_string, fields))).decode())
