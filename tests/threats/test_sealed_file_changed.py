"""Somebody who may not read a file of secrets changes it so that CD deploys something else than what was sealed.

Defence: every value must be sealed and SOPS' MAC is over all of them; files whose MAC leaves values out
(`mac_only_encrypted`), or that have values in the open, are refused without a key, and CD checks each value's place and
the MAC (interlock/contract/sops.py).
Not defended: who may sign commits for the path seals another file as a whole, or brings back an older one: that is what
signatures and approvals are for. Two items of one list, in the rare case that the texts of all values in a row stay the
same.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from interlock.contract import layout, sops
from interlock.errors import FormatError, Refused
from sandbox.parts.sops import Sops
from tasks.common.age import data_key, read_identity
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT
from tests.sealing import OWN_PLACE, identity, seal

PATH = layout.secrets(ENVIRONMENT, APPLICATION)
KEY, OWN = identity()
VALUES = {"host_unencrypted": "db.prod.example", "password": "canary-hunter2"}
OPEN = ("decrypt", "--input-type", "yaml", "--output-type", "json", "/dev/stdin")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "age.key"
    file.touch(mode=0o600)
    file.write_text(KEY)
    return file


def test_the_change_succeeds_with_sops_alone(sops_program: Sops, key: Path, tmp_path: Path) -> None:
    """The real sops accepts another host for the password, in a file whose MAC is over sealed values alone."""
    config = tmp_path / ".sops.yaml"
    config.write_text(f"creation_rules:\n  - age: {OWN}\n    mac_only_encrypted: true\n")
    arguments = ("--config", str(config), "encrypt", "--filename-override", str(tmp_path / "secrets.yaml"))
    text = sops_program.sops(*arguments, "/dev/stdin", given=yaml.safe_dump({OWN_PLACE: VALUES}))
    changed = text.replace("db.prod.example", "db.evil.example")

    opened = json.loads(sops_program.sops(*OPEN, given=changed, identity=key))

    assert opened[OWN_PLACE] == {**VALUES, "host_unencrypted": "db.evil.example"}
    with pytest.raises(FormatError, match="mac_only_encrypted"):
        sops.read(changed, path=PATH)


def test_a_value_in_the_open_is_refused(sops_program: Sops) -> None:
    """Whether the MAC has it or not."""
    arguments = ("encrypt", "--age", OWN, "--input-type", "yaml", "--output-type", "yaml", "/dev/stdin")
    text = sops_program.sops(*arguments, given=yaml.safe_dump({OWN_PLACE: VALUES}))
    with pytest.raises(FormatError, match="ends as those do that SOPS leaves open"):
        sops.read(text, path=PATH)


def test_a_value_dropped_is_refused(key: Path) -> None:
    """A file in which one value is missing has not the MAC that it was sealed with."""
    text = seal({"host": "db.prod.example", "password": "canary-hunter2"}, OWN)
    changed = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("  host:"))
    file = sops.read(changed, path=PATH)
    with pytest.raises(Refused, match="added, removed or moved") as caught:
        sops.opened(file, data_key(file, read_identity(key)))
    assert caught.value.rule == "sealed"
