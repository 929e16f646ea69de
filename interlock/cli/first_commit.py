"""A new repository with one signed commit, and a git configuration that signs the later ones."""

from __future__ import annotations

import shutil
import sys
import time
from io import BytesIO
from pathlib import Path

import git
from gitdb import IStream

from interlock.cli.key import SigningKey
from interlock.contract import commit
from interlock.contract.commit import Person
from interlock.errors import GitError

BRANCH = "main"


def create(folder: Path, paths: list[str], *, message: str, key: SigningKey, author: Person) -> str:
    """Make the folder a repository whose only commit holds just these files; its id.

    The commit is made here rather than by `git commit`, so that no hook or configuration of the person's has a say.
    """
    try:
        with git.Repo.init(folder, initial_branch=BRANCH) as repository:
            _configure(repository, key, author)
            repository.index.add(paths)
            tree = repository.index.write_tree().hexsha
            data = commit.unsigned(tree=tree, parents=(), author=author, seconds=int(time.time()), message=message)
            data = commit.signed(data, key.private)
            repository.odb.store(IStream("commit", len(data), BytesIO(data)))
            made = commit.object_id("commit", data)
            repository.git.update_ref(f"refs/heads/{BRANCH}", made)
            return made
    except (git.GitError, OSError) as error:
        raise GitError(f"{folder}: git: {error}") from error


def _configure(repository: git.Repo, key: SigningKey, author: Person) -> None:
    """`git commit` in this repository signs with the same key, and `git log --show-signature` knows it."""
    allowed = Path(repository.git_dir) / "interlock-allowed-signers"
    allowed.write_text(f"{author.email} {key.public}\n")
    with repository.config_writer() as config:
        config.set_value("user", "name", author.name)
        config.set_value("user", "email", author.email)
        config.set_value("user", "signingkey", str(key.path))
        config.set_value("gpg", "format", "ssh")
        config.set_value("commit", "gpgsign", "true")
        config.set_value('gpg "ssh"', "allowedSignersFile", str(allowed.absolute()))
        if shutil.which("ssh-keygen") is None:
            config.set_value('gpg "ssh"', "program", str(Path(sys.executable).with_name("interlock-ssh-sign")))


def author_of(folder: Path, *, name: str) -> Person:
    """Whom git says that the person is, else the signer's name."""
    with git.Repo.init(folder, initial_branch=BRANCH) as repository, repository.config_reader() as config:
        given = str(config.get_value("user", "name", name))
        email = str(config.get_value("user", "email", f"{name}@localhost"))
    return Person(given, email)
