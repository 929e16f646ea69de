"""Signed statements: what is signed verifies, nothing else does, and a key never shows itself."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from interlock.contract import dsse
from interlock.contract.dsse import Envelope, LocalKey
from interlock.errors import FormatError, Refused

KEY = LocalKey(dsse.generate_key())
OTHER = LocalKey(dsse.generate_key())
PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'


def test_what_is_signed_verifies() -> None:
    """By its own key, by none other, and it comes back from its JSON."""
    envelope = dsse.sign(KEY, PAYLOAD)

    read = dsse.read_envelope(envelope.to_json())

    assert read == envelope
    dsse.require_signed(read, KEY.public, subject="it")
    with pytest.raises(Refused, match=r"it is not signed by the key SHA256:") as refused:
        dsse.require_signed(read, OTHER.public, subject="it")
    assert refused.value.rule == "attestation"


def test_every_changed_byte_is_found() -> None:
    """In the payload and in the signature; and an envelope that nobody signed is signed by nobody."""
    envelope = dsse.sign(KEY, PAYLOAD)
    signature = envelope.signatures[0]

    changed = [replace(envelope, payload=_flipped(PAYLOAD, position)) for position in range(len(PAYLOAD))] + [
        replace(envelope, signatures=(replace(signature, value=_flipped(signature.value, position)),))
        for position in range(len(signature.value))
    ]

    for each in [*changed, Envelope(PAYLOAD)]:
        with pytest.raises(Refused):
            dsse.require_signed(each, KEY.public, subject="it")


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_the_form_is_that_of_the_specification() -> None:
    """The example of DSSE's own protocol.md, for our payload type."""
    assert dsse._encoding(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"


def test_the_same_statement_gets_the_same_signature() -> None:
    """So that what is stored again is the same."""
    assert dsse.sign(KEY, PAYLOAD) == dsse.sign(KEY, PAYLOAD)


def test_a_fingerprint_is_what_others_call_it(tmp_path: Path) -> None:
    """As ssh-keygen prints it; the hint of a bundle is of the binary form."""
    public = load_pem_public_key(KEY.public.encode())
    (tmp_path / "key.pub").write_bytes(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    binary = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    said = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], check=True, capture_output=True, text=True
    ).stdout

    assert said.split()[1] == dsse.fingerprint(KEY.public)
    assert dsse.hint(KEY.public) == base64.b64encode(hashlib.sha256(binary).digest()).decode()


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("private", "said"),
    [
        (b"", "not a private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n", "not a private key in PEM"),
        (_pem(ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (_pem(rsa.generate_private_key(65537, 2048)), "P-256"),
        (KEY.public.encode(), "not a private key in PEM"),
    ],
    ids=["empty", "broken", "curve", "kind", "public"],
)
def test_another_key_is_told_without_quoting_it(private: bytes, said: str) -> None:
    """What it must be, how to make one, and never what it holds."""
    with pytest.raises(FormatError, match=said) as caught:
        LocalKey(private)

    assert "s3cret" not in str(caught.value)
    assert "interlock key --attestation" in caught.value.hint
    assert "PRIVATE" not in repr(KEY)


@pytest.mark.parametrize(
    "given",
    [
        {"payloadType": "text/plain", "payload": "", "signatures": []},
        {"payloadType": dsse.PAYLOAD_TYPE, "payload": "!", "signatures": []},
        {"payloadType": dsse.PAYLOAD_TYPE, "payload": "", "signatures": [{"keyid": "x", "sig": "!"}]},
    ],
)
def test_what_is_no_envelope_is_an_error(given: dict[str, object]) -> None:
    """Another payload type, what is not base64."""
    with pytest.raises(ValueError, match=r"."):
        dsse.read_envelope(given)
