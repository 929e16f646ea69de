"""A sandbox cluster's own certificate authority: keys and certificates as PEM, made in memory."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=30)
CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, stem: Path) -> None:
        """Write STEM.crt and STEM.key; the key is readable by its owner only."""
        write_private(stem.with_suffix(".key"), self.key)
        stem.with_suffix(".crt").write_bytes(self.certificate)


@dataclass(frozen=True)
class Authority:
    """Signs certificates for one sandbox."""

    pair: Pair

    @classmethod
    def at(cls, stem: Path) -> Authority:
        """The one kept in STEM.crt and STEM.key; made there when there is none yet."""
        certificate, key = stem.with_suffix(".crt"), stem.with_suffix(".key")
        if certificate.exists():
            return cls(Pair(certificate.read_bytes(), key.read_bytes()))
        made = cls(_self_signed(stem.name))
        made.pair.write(stem)
        return made

    def client(self, user: str, *, groups: Sequence[str] = ()) -> Pair:
        """What proves to the API server that the bearer is `user` in `groups`."""
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._sign(subject, usage=ExtendedKeyUsageOID.CLIENT_AUTH, hosts=())

    def server(self, name: str, *, hosts: Sequence[str]) -> Pair:
        """What a server shows that answers at `hosts`, each an address or a DNS name."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._sign(subject, usage=ExtendedKeyUsageOID.SERVER_AUTH, hosts=hosts)

    def _sign(self, subject: x509.Name, *, usage: x509.ObjectIdentifier, hosts: Sequence[str]) -> Pair:
        issuer = x509.load_pem_x509_certificate(self.pair.certificate)
        signer = cast(ec.EllipticCurvePrivateKey, serialization.load_pem_private_key(self.pair.key, password=None))
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _certificate(subject, issuer=issuer.subject, key=key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(h) for h in hosts]), critical=False
            )
        return _pair(builder.sign(signer, hashes.SHA256()), key)


def _self_signed(name: str) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"interlock sandbox {name}")])
    builder = (
        _certificate(subject, issuer=subject, key=key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def _certificate(subject: x509.Name, *, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), private_pem(key))


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def write_private(path: Path, content: bytes, *, owner: int | None = None) -> None:
    """Put the content at `path`, mode 0600, for this one owner; whole or not at all, and never through a link."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if owner is not None:
            os.fchown(descriptor, owner, owner)
        file.write(content)
    scratch.replace(path)
