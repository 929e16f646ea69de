"""`interlock init environment`: a repository that both halves accept, from its first commit."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.contract import signature
from interlock.contract.host import RootPin
from interlock.contract.repository import Repository, read
from tasks.common import environment_repository
from tasks.common import git as mirrors
from tests.unit.cli.commands import git, interlock

OPTIONS = ("--application", "shop", "--image", "127.0.0.1:5000/shop/web", "--ci-key", "ci.key.pub")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A person's home with CI's public key in it."""
    done = interlock("key", "ci.key", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def made(home: Path, *options: str) -> RootPin:
    done = interlock("init", "environment", "environments", *OPTIONS, *options, "--yes", "-o", "json", folder=home)
    assert done.returncode == 0, done.stderr
    return RootPin.model_validate_json(json.dumps(json.loads(done.stdout)["root"]))


def verified(home: Path, root: RootPin) -> Repository:
    """What CI and CD make of the newest commit, with the root pin that the command printed."""
    mirror = home / "mirror.git"
    mirrors.create(mirror)
    git("push", "--quiet", mirror, "+main:refs/heads/main", folder=home / "environments")
    head = git("rev-parse", "main", folder=home / "environments").strip()
    environment_repository.verify(mirror, root, head, since=None)
    return read(mirrors.read_tree(mirror, head))


def test_the_new_repository_is_read_and_verified(home: Path) -> None:
    """Its root pin fits, and everything that was asked for is where the format has it."""
    repository = verified(home, made(home, "--port", "9000", "--namespace", "front", "--cluster", "edge"))

    environment = repository.environments["dev"]
    shop = environment.applications["shop"]
    assert (environment.cluster, environment.namespaces, environment.drift) == ("edge", ("front",), "undo")
    assert shop.values == {"port": 9000, "health": "/health", "replicas": 1}
    assert shop.awaiting == ("web",)
    assert list(environment.applications["platform"].manifests) == [
        "environments/dev/platform/manifests/namespace.yaml"
    ]
    binding = repository.bindings[0]
    assert (binding.source, binding.image, binding.signer) == ("shop", "127.0.0.1:5000/shop/web", "ci-shop")


def test_later_commits_are_signed_without_a_thought(home: Path) -> None:
    """A plain `git commit` in the new clone passes verification."""
    root = made(home)
    values = home / "environments" / "environments" / "dev" / "shop" / "values.yaml"
    values.write_text("replicas: 3\n")
    git("commit", "--quiet", "--all", "--message", "Three of them", folder=home / "environments")

    assert verified(home, root).environments["dev"].applications["shop"].values["replicas"] == 3


def test_git_knows_its_own_signatures(home: Path) -> None:
    """`git log --show-signature` says good, and names the person."""
    made(home)
    shown = git("log", "--format=%G? %GS", folder=home / "environments")

    assert shown.split() == ["G", "ada@localhost"]


def test_without_openssh_our_own_signer_serves_git(home: Path) -> None:
    """On a machine with git alone, `git commit` signs all the same."""
    root = made(home)
    clone = home / "environments"
    git("config", "gpg.ssh.program", Path(sys.executable).with_name("interlock-ssh-sign"), folder=clone)
    (clone / "environments" / "dev" / "shop" / "values.yaml").write_text("replicas: 2\n")
    git("commit", "--quiet", "--all", "--message", "Two of them", folder=clone)

    assert verified(home, root).environments["dev"].applications["shop"].values["replicas"] == 2


def test_a_key_is_made_when_there_is_none(home: Path) -> None:
    """It is said where, nobody else may read it, and a second repository uses the same one."""
    first = interlock("init", "environment", "one", *OPTIONS, "--yes", folder=home)
    second = interlock("init", "environment", "two", *OPTIONS, "--yes", folder=home)

    key = home / ".config" / "interlock" / "signing-key"
    assert f"made a signing key: {key}" in first.stderr
    assert "made a signing key" not in second.stderr
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert signature.public_key(key.read_bytes()) in first.stdout
    assert signature.public_key(key.read_bytes()) in second.stdout


def test_the_private_key_stays_out_of_the_repository(home: Path) -> None:
    """Nothing in the folder, git's own files included, holds a private key."""
    made(home)
    files = [path for path in (home / "environments").rglob("*") if path.is_file()]

    assert files
    assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--environment", "../../etc"), "--environment"),
        (("--application", "Shop"), "--application"),
        (("--application", "shop\ndrift: observe"), "--application"),
        (("--image", "127.0.0.1:5000/shop/web:latest"), "--image"),
        (("--component", "a b"), "--component"),
        (("--port", "0"), "--port"),
        (("--ci-key", "absent.pub"), "public key absent.pub"),
        (("--ci-key", "ci.key"), "private half"),
        (("--ci-key", "ssh-ed25519 AAAA"), "not an OpenSSH public key"),
        (("--template", "nothing"), "template set nothing"),
        (("--health", "no\u2028slash"), "--health"),
    ],
)
def test_a_wrong_answer_is_one_clear_line_and_nothing_is_written(
    home: Path, options: tuple[str, ...], message: str
) -> None:
    """Exit code 2, the option or its subject in the first line, no folder."""
    done = interlock("init", "environment", "environments", *OPTIONS, *options, "--yes", folder=home)

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (home / "environments").exists()


def test_an_existing_repository_is_left_alone(home: Path) -> None:
    """A folder that is a git repository is refused, with --force too."""
    made(home)
    head = git("rev-parse", "main", folder=home / "environments")
    again = interlock("init", "environment", "environments", *OPTIONS, "--yes", "--force", folder=home)

    assert again.returncode == 2
    assert "a git repository already" in again.stderr
    assert git("rev-parse", "main", folder=home / "environments") == head


def test_the_persons_git_settings_have_no_say_in_the_first_commit(home: Path) -> None:
    """No hook of theirs runs, and another signing setup of theirs is not used."""
    hooks = home / "hooks"
    hooks.mkdir()
    for hook in ("pre-commit", "commit-msg", "post-commit"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch {home}/ran\nexit 1\n")
        (hooks / hook).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\n\thooksPath = {hooks}\n\tautocrlf = true\n[user]\n\tname = Ada\n\temail = ada@example.org\n"
        "[gpg]\n\tprogram = /bin/false\n"
    )
    root = made(home)

    assert not (home / "ran").exists()
    assert verified(home, root).environments
    assert git("log", "--format=%an <%ae>", folder=home / "environments") == "Ada <ada@example.org>\n"


def test_key_refuses_a_key_that_others_may_read(home: Path) -> None:
    """A signing key with loose permissions is not used, and the error says what to do."""
    (home / "ci.key").chmod(0o644)
    done = interlock("key", "ci.key", folder=home)

    assert done.returncode == 2
    assert "chmod 600" in done.stderr


def test_the_signer_refuses_what_is_not_a_key(home: Path) -> None:
    """git gets a clear error from interlock-ssh-sign, not a traceback."""
    (home / "message").write_text("hello")
    program = Path(sys.executable).with_name("interlock-ssh-sign")
    done = subprocess.run(
        [program, "-Y", "sign", "-n", "git", "-f", "ci.key.pub", "message"],
        cwd=home,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: signing key: not an unencrypted OpenSSH private key")
