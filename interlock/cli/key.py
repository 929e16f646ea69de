"""`interlock key`: a signing key for a person, CI or CD."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from interlock.cli import output
from interlock.cli.output import Format, Output
from interlock.errors import InputError

EXAMPLES = """\b
Examples:
  interlock key                             # your own, in ~/.config/interlock/signing-key
  interlock key /etc/interlock/ci.key       # CI's; prints the public half, which trust/signers.yaml needs
  interlock key --attestation shop.key      # the signer's, for one repository; cosign reads the public half
"""


@dataclass(frozen=True)
class SigningKey:
    """A key in a file, ed25519 for commits or P-256 for attestations. `created`: this call made it."""

    path: Path
    private: bytes
    public: str
    created: bool

    def __repr__(self) -> str:
        return f"SigningKey({self.path}, {self.public})"


def key(
    path: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The private key's file.", dir_okay=False)
    ] = None,
    *,
    attestation: Annotated[
        bool, typer.Option("--attestation", help="One for the signer (ECDSA P-256) instead of one for commits.")
    ] = False,
    form: Output = Format.TABLE,
) -> None:
    """Make a signing key when there is none, and print its public half.

    The private half stays in FILE (mode 0600, no passphrase); the public one is also in FILE.pub.
    """
    if attestation and path is None:
        raise InputError("an attestation key needs a FILE", hint="interlock key --attestation FILE")
    made = attestation_key(path) if attestation and path else signing_key(path or default_path())
    tell(made)
    if form is Format.JSON:
        output.show_json({"key": str(made.path), "public": made.public, "created": made.created})
    else:
        typer.echo(made.public.rstrip("\n"))


def default_path() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "interlock" / "signing-key"


def signing_key(path: Path) -> SigningKey:
    """The key in a file; a new one when there is no such file."""
    from interlock.contract import signature

    if not path.exists():
        return _new(path)
    private = _read(path)
    return SigningKey(path.absolute(), private, signature.public_key(private), created=False)


def tell(made: SigningKey) -> None:
    if made.created:
        output.note(f"made a signing key: {made.path} (0600, no passphrase); whoever reads it can sign in its name")


def attestation_key(path: Path, *, owner: tuple[int, int] | None = None) -> SigningKey:
    """The signer's key in a file; a new one, which belongs to the owner, when there is no such file."""
    from interlock.contract import dsse

    created = not path.exists()
    private = dsse.generate_key() if created else _read(path)
    public = dsse.LocalKey(private).public
    if created:
        _write(path, private, public, owner)
    return SigningKey(path.absolute(), private, public, created=created)


def _new(path: Path) -> SigningKey:
    from interlock.contract import signature

    private, public = signature.generate_key(comment=path.name)
    public = " ".join(public.split()[:2])
    _write(path, private, public + "\n", None)
    return SigningKey(path.absolute(), private, public, created=True)


def _write(path: Path, private: bytes, public: str, owner: tuple[int, int] | None) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
            if owner:
                os.fchown(file.fileno(), *owner)
        path.with_name(path.name + ".pub").write_text(public)
    except OSError as error:
        raise InputError(f"signing key {path}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_mode & 0o077:
            raise InputError(f"signing key {path}: others may read it", hint=f"chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"signing key {path}: {error.strerror}") from error


def public_key(given: str) -> str:
    """A public key from its text, or from a file that holds it; type and key, without a comment."""
    from interlock.contract import openpgp, signature

    path = Path(given)
    text = given
    if not given.startswith(("ssh-", "ecdsa-", "-----BEGIN")):
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            hint = f"`interlock key {given.removesuffix('.pub')}` makes one"
            raise InputError(f"public key {given}: not readable as a file or as a key", hint=hint) from error
    if "PRIVATE KEY" in text:
        raise InputError(f"public key {given}: this is the private half", hint=f"give {given}.pub")
    signature.key_blob(text)
    if openpgp.is_key(text):
        return text.strip() + "\n"
    return " ".join(text.split()[:2])
