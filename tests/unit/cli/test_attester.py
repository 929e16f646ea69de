"""`interlock attester`: whose word about images counts, written so that CD reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interlock.contract import dsse
from interlock.contract.attesters import AttestersFile, read_attesters
from interlock.contract.tree import Tree
from tests import examples_of_repositories as example
from tests.unit.cli.commands import interlock

PATH = "trust/attesters.yaml"
SIGNER = example.PERSON_KEY.rpartition(" ")[0]


@pytest.fixture
def key(home: Path) -> str:
    assert interlock("key", "--attestation", "shop.key", folder=home).returncode == 0
    return (home / "shop.key.pub").read_text()


def declared(home: Path) -> AttestersFile:
    found = read_attesters(Tree.of({PATH: (home / "environments" / PATH).read_bytes()}))
    assert found is not None
    return found


def test_a_key_is_declared_and_a_second_one_stands_beside_it(home: Path, key: str) -> None:
    """The branch and the keys of commits stay; what other sources declared stays too."""
    first = ("attester", "shop", "environments", "--key", "shop.key.pub", "--branch", "main", "--yes")
    assert (
        interlock(
            "attester", "old", "environments", "--unsigned", "no signer there yet", "--yes", folder=home
        ).returncode
        == 0
    )
    assert interlock(*first, folder=home).returncode == 0
    path = home / "environments" / PATH
    path.write_text(re.sub(r"( *)branch: main\n", rf"\g<0>\1commit_keys: [{SIGNER}]\n", path.read_text()))
    (home / "new.pub").write_text(dsse.LocalKey(dsse.generate_key()).public)

    done = interlock("attester", "shop", "environments", "--key", "new.pub", "--yes", folder=home)

    assert done.returncode == 0, done.stderr
    shop = declared(home).of("shop")
    assert shop is not None
    assert shop.keys == (key, (home / "new.pub").read_text())
    assert shop.branch == "main"
    assert shop.commit_keys == (SIGNER,)
    assert declared(home).of("old") is not None


def test_what_is_no_public_key_is_refused_and_nothing_is_written(home: Path, key: str) -> None:
    """Above all the private half."""
    for wrong in ("shop.key", "missing.pub"):
        done = interlock("attester", "shop", "environments", "--key", wrong, "--yes", folder=home)
        assert done.returncode == 2, done.stderr
    assert "PRIVATE" not in done.stderr
    assert not (home / "environments" / PATH).exists()


def test_a_source_that_is_bound_without_an_entry_gets_the_command(home: Path, key: str) -> None:
    """`bind` says which one is missing, and writes nothing."""
    assert interlock("attester", "shop", "environments", "--key", "shop.key.pub", "--yes", folder=home).returncode == 0
    wish = ("bind", "environments", "--application", "hello", "--image", "127.0.0.1:5000/hello/web", "--yes")

    done = interlock(*wish, folder=home)

    assert done.returncode == 2
    assert "interlock attester hello --key FILE.pub" in done.stderr
    assert not (home / "environments" / "applications" / "hello").exists()
    assert interlock("attester", "hello", "environments", "--key", "shop.key.pub", "--yes", folder=home).returncode == 0
    assert interlock(*wish, folder=home).returncode == 0
