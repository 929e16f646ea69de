"""`interlock secrets`: keys, sealing, editing and rotation in a clone."""

from __future__ import annotations

import json
import resource
import stat
from pathlib import Path

import pytest

from interlock.contract import layout, sops
from tasks.common.age import data_key, read_identity
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.sealing import OWN_PLACE, identity, recipients_file, seal
from tests.unit.cli.commands import Done, git, interlock

PATH = layout.secrets(ENVIRONMENT, APPLICATION)
PLAIN = "database:\n  password: canary-hunter2\n  port: 5432\n  tls: true\n"


class Here:
    """A clone, an identity whose recipient it declares, and the command in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clone = folder / "environments"
        self.key = folder / "age.key"
        done = self("keygen", self.key)
        self.recipient = done.stdout.strip()
        for path, content in environment_tree().files.items():
            self.write(path, content.decode())
        self.declare(self.recipient)
        git("init", "--quiet", folder=self.clone)

    def __call__(self, *words: str | Path, **env: str) -> Done:
        where = ("--repository", "environments") if words[0] != "keygen" else ()
        return interlock("secrets", *words, *where, folder=self.folder, env=env)

    def write(self, path: str, text: str) -> None:
        (self.clone / path).parent.mkdir(parents=True, exist_ok=True)
        (self.clone / path).write_text(text)

    def declare(self, *recipients: str) -> None:
        self.write(layout.RECIPIENTS, recipients_file(*recipients))

    def seal(self, text: str = PLAIN) -> Done:
        (self.folder / "plain.yaml").write_text(text)
        return self("seal", ENVIRONMENT, APPLICATION, "--from", "plain.yaml")

    def opened(self, key: Path | None = None) -> dict[str, bytes]:
        file = sops.read((self.clone / PATH).read_text(), path=PATH)
        found = sops.opened(file, data_key(file, read_identity(key or self.key)))
        return {value.name: found[value.digest].text for value in file.values}


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


OPENED = {"database.password": b"canary-hunter2", "database.port": b"5432", "database.tls": b"true"}


def test_an_identity_is_made_once_and_its_recipient_printed(here: Here) -> None:
    """Only its owner reads the file, and a second call changes nothing."""
    before = here.key.read_bytes()
    again = here("keygen", here.key, "--output", "json")
    assert json.loads(again.stdout) == {"identity": str(here.key), "recipient": here.recipient, "created": False}
    assert (here.key.read_bytes(), stat.S_IMODE(here.key.stat().st_mode)) == (before, 0o600)
    assert "AGE-SECRET-KEY" not in again.stdout + again.stderr


def test_sealing_needs_no_key_and_what_is_sealed_passes_the_check(here: Here) -> None:
    """Written whole into the clone; nothing of the values is printed."""
    done = here.seal()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "canary" not in done.stderr + (here.clone / PATH).read_text()
    assert here.opened() == OPENED
    checked = here("check")
    assert checked.stdout == f"{PATH}: 3 sealed values, recipients: {here.recipient}\n", checked.stderr


def test_editing_seals_what_the_editor_leaves_and_leaves_nothing_open(here: Here) -> None:
    """The editor gets a file in memory that nobody else reads, and that is gone afterwards."""
    here.seal()
    editor = here.folder / "editor"
    editor.write_text(f'#!/bin/sh\nstat -fc "%T %n" "$1" > {here.folder}/seen\nsed -i s/hunter2/s3same/ "$1"\n')
    editor.chmod(0o755)

    done = here("edit", ENVIRONMENT, APPLICATION, "--identity", here.key, EDITOR=str(editor))

    assert done.returncode == 0, done.stderr
    assert here.opened() == {**OPENED, "database.password": b"canary-s3same"}
    kind, _, file = (here.folder / "seen").read_text().strip().partition(" ")
    assert kind in {"tmpfs", "ramfs"}
    assert not Path(file).exists()


def test_no_core_dump_holds_what_is_open(here: Here) -> None:
    """Neither the command's nor the editor's, whatever the person's shell allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    assert hard != 0, "where no process may dump, this says nothing"
    here.seal()
    editor = here.folder / "editor"
    editor.write_text(f"#!/bin/sh\nulimit -Sc > {here.folder}/seen\n")
    editor.chmod(0o755)

    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        here("edit", ENVIRONMENT, APPLICATION, "--identity", here.key, EDITOR=str(editor))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))

    assert (here.folder / "seen").read_text().strip() == "0"


@pytest.mark.parametrize("editor", ["true", "false"])
def test_an_editor_that_changes_nothing_or_fails_leaves_the_file_as_it_is(here: Here, editor: str) -> None:
    """Not even another ciphertext."""
    here.seal()
    before = (here.clone / PATH).read_bytes()
    done = here("edit", ENVIRONMENT, APPLICATION, "--identity", here.key, EDITOR=editor)
    assert done.returncode == (0 if editor == "true" else 4)
    assert (here.clone / PATH).read_bytes() == before


def test_no_editor_opens_where_nothing_could_be_sealed(here: Here) -> None:
    """Nobody types values into a file that has no recipients, or is of no application, and loses them."""
    (here.clone / layout.RECIPIENTS).unlink()
    editor = here.folder / "editor"
    editor.write_text(f"#!/bin/sh\ntouch {here.folder}/opened\n")
    editor.chmod(0o755)

    for application, said in ((APPLICATION, "names nobody for"), ("nosuch", "there is no application")):
        done = here("edit", ENVIRONMENT, application, "--identity", here.key, EDITOR=str(editor))
        assert done.returncode == 2 and said in done.stderr
    assert not (here.folder / "opened").exists()


def test_rotation_seals_the_same_to_the_declared_recipients_with_another_key(here: Here, tmp_path: Path) -> None:
    """The new one opens it, the old one does not, and every ciphertext is another one."""
    here.seal()
    before = (here.clone / PATH).read_text()
    new = tmp_path / "new.key"
    here.declare(here("keygen", new).stdout.strip())
    assert "is sealed to" in here("check").stderr

    done = here("rotate", ENVIRONMENT, "--identity", here.key)

    assert done.returncode == 0, done.stderr
    assert here.opened(new) == OPENED
    assert here("check").returncode == 0
    again = here("rotate", ENVIRONMENT, "--identity", here.key)
    assert again.returncode == 2
    assert f"{PATH} is not sealed to {here.recipient}" in again.stderr
    old, now = (sops.read(text, path=PATH).values for text in (before, (here.clone / PATH).read_text()))
    assert not {each.text for each in old} & {each.text for each in now}


def test_what_is_not_as_declared_is_refused_with_its_line(here: Here) -> None:
    """In the open, of another application, to a foreign recipient: exit code 2, before CI sees it."""
    cases = {
        "is not sealed": "password: hunter2\n",
        "is sealed to": seal({"a": "b"}, here.recipient, to=OWN_PLACE.replace("shop", "till")),
        "is sealed to age1": seal({"a": "b"}, here.recipient, identity()[1]),
    }
    for said, text in cases.items():
        here.write(PATH, text)
        done = here("check")
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
        assert f"{PATH}:1:1" in done.stderr or f"{PATH}:" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "must be a mapping"),
        ("a:b: c\n", "has a colon"),
        ("x_unencrypted: c\n", "SOPS leaves open"),
    ],
)
def test_what_cannot_be_sealed_is_one_clear_error(here: Here, text: str, said: str) -> None:
    """And nothing is written."""
    done = here.seal(text)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (here.clone / PATH).exists()


@pytest.mark.parametrize(
    ("application", "said"),
    [("../../../outside", "is not"), ("Shop", "is not"), ("nope", f"there are: {APPLICATION}")],
)
def test_only_an_application_that_is_there_is_sealed_for(here: Here, application: str, said: str) -> None:
    """A name that leads out, is none, or is nobody's is an error of the command line, and no file comes to be."""
    before = {path for path in here.folder.rglob("*") if path.is_file()}
    (here.folder / "plain.yaml").write_text(PLAIN)
    done = here("seal", ENVIRONMENT, application, "--from", "plain.yaml")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert {path for path in here.folder.rglob("*") if path.is_file()} == {*before, here.folder / "plain.yaml"}


def test_an_environment_without_recipients_says_who_makes_one(here: Here) -> None:
    """Nothing can be sealed to nobody."""
    (here.clone / layout.RECIPIENTS).unlink()
    done = here.seal()
    assert done.returncode == 2
    assert "names nobody for dev" in done.stderr
    assert "keygen" in done.stderr
