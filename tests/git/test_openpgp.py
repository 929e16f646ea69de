"""Commits that GnuPG signed, judged without it."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interlock.contract import commit as commits
from interlock.contract import layout, openpgp, signature, strict_yaml
from interlock.contract.verification import trust_of
from interlock.errors import FormatError, Refused
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.git.conftest import Repository, Server
from tests.git.verified import World, make_world

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="GnuPG is not installed")
VALUES = layout.values(ENVIRONMENT, APPLICATION)


@dataclass(frozen=True)
class Gpg:
    """A person's GnuPG with keys of theirs; its folder's name is short, because of the agent's socket."""

    home: Path

    def __call__(self, *words: str, stdin: bytes = b"") -> bytes:
        command = ("gpg", "--homedir", str(self.home), "--batch", "--quiet", "--passphrase", "", *words)
        return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=60).stdout

    def key(self, name: str, *, until: str = "never", algorithm: str = "ed25519") -> str:
        """A new key's public half, armored."""
        address = f"{name}@example.org"
        self("--quick-generate-key", address, algorithm, "sign", until)
        return self.public(address)

    def public(self, address: str) -> str:
        return self("--armor", "--export", address).decode()

    def signed(self, repository: Repository, parent: str, changes: dict[str, bytes | None], *, by: str) -> str:
        """What `git commit -S` with this key makes."""
        plain = commits.parse(git_bytes(repository, repository.write(parent, changes)))
        data = plain.payload
        armored = self("--armor", "--detach-sign", "--local-user", f"{by}@example.org", stdin=data).decode()
        head, _, body = data.partition(b"\n\n")
        folded = armored.rstrip("\n").replace("\n", "\n ").encode()
        made = head + b"\ngpgsig " + folded + b"\n\n" + body
        command = ("git", f"--git-dir={repository.mirror}", "hash-object", "-t", "commit", "-w", "--stdin")
        return subprocess.run(command, input=made, capture_output=True, check=True).stdout.decode().strip()


def git_bytes(repository: Repository, commit: str) -> bytes:
    command = ("git", f"--git-dir={repository.mirror}", "cat-file", "commit", commit)
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return make_world(server, tmp_path)


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
    yield Gpg(home)
    subprocess.run(("gpgconf", "--homedir", str(home), "--kill", "all"), check=True, timeout=60)
    shutil.rmtree(home)


def signers(world: World, bob: str, **more: object) -> dict[str, bytes | None]:
    """Bob signs with OpenPGP beside those who are there."""
    text = environment_tree(person_key=world.ada.public, machine_key=world.ci.public).text(layout.SIGNERS)
    value: Any = strict_yaml.load(text, path="x").value
    listed = [*value["signers"], {"name": "bob", "key": bob, "writes": ["environments/**"], **more}]
    return {layout.SIGNERS: strict_yaml.dump({"format": 1, "signers": listed}).encode()}


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa3072", "nistp256"])
def test_a_commit_by_gnupg_is_accepted(world: World, gpg: Gpg, algorithm: str) -> None:
    """The key stands in signers.yaml as an armored block, and the commit is its person's."""
    start = world.push(world.root, signers(world, gpg.key(f"good-{algorithm}", algorithm=algorithm)), by=world.ada)
    world.force(gpg.signed(world.repository, start, {VALUES: b"replicas: 4\n"}, by=f"good-{algorithm}"))

    last = world.fetch(start).new_commits[-1]

    assert last.signer == "bob" and re.fullmatch("[0-9A-F]{40}", last.key)
    assert world.fetch(last.commit).new_commits == ()


def test_git_makes_the_commits_that_are_tested(world: World, gpg: Gpg, tmp_path: Path) -> None:
    """`git commit -S` of a plain git with gpg as its program passes as well."""
    start = world.push(world.root, signers(world, gpg.key("plain")), by=world.ada)
    clone = tmp_path / "clone"
    environment = {**os.environ, "GNUPGHOME": str(gpg.home), "GIT_CONFIG_GLOBAL": "/dev/null"}

    def run(*words: str) -> None:
        subprocess.run(("git", *words), check=True, env=environment, capture_output=True, timeout=60)

    run("clone", "--quiet", str(world.repository.bare), str(clone))
    (clone / VALUES).write_text("replicas: 7\n")
    identity = ("-c", "user.name=Bob", "-c", "user.email=bob@example.org", "-c", "user.signingkey=plain@example.org")
    run("-C", str(clone), *identity, "-c", "gpg.format=openpgp", "commit", "--quiet", "-S", "-am", "Scale")
    run("-C", str(clone), "push", "--quiet", "origin", "HEAD:main")

    assert [each.signer for each in world.fetch(start).new_commits] == ["bob"]


def test_another_persons_gnupg_key_is_refused(world: World, gpg: Gpg) -> None:
    """Whatever name it carries."""
    gpg.key("stranger")
    start = world.push(world.root, signers(world, gpg.key("known")), by=world.ada)
    world.force(gpg.signed(world.repository, start, {VALUES: b"replicas: 4\n"}, by="stranger"))

    assert world.refusal(start) == "bad-signature"


def test_what_gnupg_signed_cannot_be_changed(gpg: Gpg) -> None:
    """Not a byte; nor does something that is not one armored signature pass."""
    blob = signature.key_blob(gpg.key("exact"))
    armored = gpg("--armor", "--detach-sign", "--local-user", "exact@example.org", stdin=b"hello").decode()

    assert signature.verify(armored, b"hello", {blob: "bob"}) == "bob"
    for text, message in ((armored, b"hellO"), (armored + armored, b"hello"), (armored.replace("\n\n", "\n"), b"x")):
        with pytest.raises(Refused) as refused:
            signature.verify(text, message, {blob: "bob"})
        assert refused.value.rule == "bad-signature"
    with pytest.raises(Refused):
        signature.verify(armored, b"hello", {})
    with pytest.raises(Refused):
        signature.verify(armored, b"hello", {blob: "bob"}, namespace="interlock-receipt")


def test_a_gnupg_key_that_is_over_signs_nothing_new(world: World, gpg: Gpg) -> None:
    """By its own last day, and by our clock; a revoked one never."""
    start = world.push(world.root, signers(world, gpg.key("short", until="1d")), by=world.ada)
    head = gpg.signed(world.repository, start, {VALUES: b"replicas: 4\n"}, by="short")
    world.force(head)
    assert world.fetch(start).commit == head

    blob = signature.key_blob(gpg.public("short@example.org"))
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    assert openpgp.last_day(blob) in {tomorrow, tomorrow - dt.timedelta(days=1)}
    assert openpgp.last_day(signature.key_blob(gpg.key("endless"))) is None

    gpg.key("gone")
    armored = gpg("--armor", "--detach-sign", "--local-user", "gone@example.org", stdin=b"hello").decode()
    fingerprint = signature.fingerprint(gpg.public("gone@example.org"))
    revocation = (gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
    gpg("--import", stdin=revocation.encode())
    revoked = signature.key_blob(gpg.public("gone@example.org"))
    assert openpgp.last_day(revoked) == dt.date.min
    with pytest.raises(Refused):
        signature.verify(armored, b"hello", {revoked: "bob"})


@pytest.mark.parametrize(
    "block", ["-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"]
)
def test_a_block_that_is_no_key_is_refused(block: str) -> None:
    """With one line, and no stack of the library's."""
    with pytest.raises(FormatError, match="not an OpenPGP public key") as error:
        signature.key_blob(block)
    assert "\n" not in error.value.message


def test_one_gnupg_key_is_one_signers(world: World, gpg: Gpg) -> None:
    """The same key with other words in its armor is no second person's."""
    key = gpg.key("bob")
    again = key.replace("BLOCK-----\n", "BLOCK-----\nComment: another\n", 1)
    assert again != key
    files = {path: text for path, text in signers(world, key).items() if text}
    value = strict_yaml.load(files[layout.SIGNERS].decode(), path="").value
    assert isinstance(value, dict)
    value["signers"].append({"name": "zed", "key": again, "writes": ["**"]})
    tree = environment_tree()
    trust = {layout.SIGNERS: strict_yaml.dump(value).encode(), layout.BINDINGS: tree.files[layout.BINDINGS]}

    with pytest.raises(Refused, match="two signers share a key"):
        trust_of(trust, commit="1" * 40)
