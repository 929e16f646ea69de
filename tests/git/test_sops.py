"""Sealed files beside the real sops and age: each reads what the other wrote."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from interlock.contract import sops
from interlock.errors import FormatError, Refused
from sandbox.parts.sops import Sops
from tasks.common.age import data_key, read_identity
from tests.sealing import OWN_PLACE, seal

PATH = "environments/dev/shop/secrets.yaml"
VALUES = {
    "database": {"password": "hunter2", "port": 5432, "tls": True, "ratio": 0.25, "empty": ""},
    "certificate": "-----BEGIN\nüöä\n-----END\n",
    "list": ["one", "two"],
}
TEXTS = {
    "database.password": b"hunter2",
    "database.port": b"5432",
    "database.tls": b"true",
    "database.ratio": b"0.25",
    "certificate": VALUES["certificate"].encode(),  # type: ignore[attr-defined]
    "list.0": b"one",
    "list.1": b"two",
}


@pytest.fixture
def identity(sops_program: Sops, tmp_path: Path) -> tuple[Path, str]:
    """An identity that age-keygen made, and its recipient."""
    file = tmp_path / "age.key"
    return file, sops_program.keygen(file)


def _opened(text: str, identity: Path) -> dict[str, bytes]:
    file = sops.read(text, path=PATH)
    found = sops.opened(file, data_key(file, read_identity(identity)))
    return {value.name: found[value.digest].text for value in file.values}


def _encrypted(program: Sops, recipient: str, *options: str, place: str = OWN_PLACE) -> str:
    document = yaml.safe_dump({place: VALUES}, sort_keys=False, allow_unicode=True)
    arguments = ("encrypt", "--age", recipient, *options, "--input-type", "yaml", "--output-type", "yaml")
    return program.sops(*arguments, "/dev/stdin", given=document)


def test_what_sops_sealed_is_opened(sops_program: Sops, identity: tuple[Path, str]) -> None:
    """A file that the real sops wrote is read as it is, and its MAC is right."""
    file, recipient = identity
    assert _opened(_encrypted(sops_program, recipient), file) == TEXTS


def test_sops_opens_what_was_sealed_here(sops_program: Sops, identity: tuple[Path, str]) -> None:
    """Whoever has the key reads and edits our files with sops."""
    file, recipient = identity
    sealed = seal(VALUES, recipient)
    arguments = ("decrypt", "--input-type", "yaml", "--output-type", "json", "/dev/stdin")
    assert json.loads(sops_program.sops(*arguments, given=sealed, identity=file)) == {OWN_PLACE: VALUES}


def test_what_sops_changed_in_a_file_of_ours_is_opened(
    sops_program: Sops, identity: tuple[Path, str], tmp_path: Path
) -> None:
    """`sops set` keeps the data key and makes the MAC anew."""
    file, recipient = identity
    sealed = tmp_path / "secrets.yaml"
    sealed.write_text(seal(VALUES, recipient))
    where = f'["{OWN_PLACE}"]["database"]["password"]'
    sops_program.sops("set", str(sealed), where, '"hunter3"', given="", identity=file)
    assert _opened(sealed.read_text(), file) == {**TEXTS, "database.password": b"hunter3"}


def test_a_mac_over_encrypted_values_alone_is_refused(
    sops_program: Sops, identity: tuple[Path, str], tmp_path: Path
) -> None:
    """What sops itself lets be changed unseen is no sealed file here."""
    file, recipient = identity
    config = tmp_path / ".sops.yaml"
    config.write_text(f"creation_rules:\n  - age: {recipient}\n    mac_only_encrypted: true\n")
    arguments = ("--config", str(config), "encrypt", "--filename-override", str(tmp_path / "secrets.yaml"))
    text = sops_program.sops(*arguments, "/dev/stdin", given=yaml.safe_dump({OWN_PLACE: VALUES}))
    with pytest.raises(FormatError, match="mac_only_encrypted"):
        _opened(text, file)


def test_a_value_that_sops_left_open_is_refused(sops_program: Sops, identity: tuple[Path, str]) -> None:
    """`--encrypted-regex` leaves the rest open for everybody who reads the repository."""
    file, recipient = identity
    text = _encrypted(sops_program, recipient, "--encrypted-regex", "^password$")
    with pytest.raises(FormatError, match=r"the value database\.port is not sealed"):
        _opened(text, file)


def test_what_moved_to_another_place_opens_neither_there_nor_here(
    sops_program: Sops, identity: tuple[Path, str]
) -> None:
    """The ciphertext is sealed to its place by AES-GCM: sops refuses it too."""
    file, recipient = identity
    moved = _encrypted(sops_program, recipient).replace("/dev/shop", "/dev/till")
    with pytest.raises(Refused):
        _opened(moved, file)
    with pytest.raises(subprocess.SubprocessError, match="message authentication failed"):
        sops_program.sops(
            "decrypt", "--input-type", "yaml", "--output-type", "yaml", "/dev/stdin", given=moved, identity=file
        )
