"""The environment repository's history in a person's own clone, and one commit more on its server's branch.

The person's own git reads, signs and pushes: what they have set up for that counts. The working copy is left alone.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import git

from interlock.cli import clone
from interlock.errors import GitError, InputError, PushRejected

if TYPE_CHECKING:
    from tasks.common.mirrored import Mirrored


@dataclass(frozen=True)
class Cloned:
    """A clone with the branch that it follows. Nothing of it is verified."""

    repository: git.Repo
    remote: str
    branch: str

    @property
    def folder(self) -> str:
        return str(self.repository.working_dir)

    def fetched(self) -> str:
        """The commit at the server's branch, now."""
        try:
            self.repository.git.fetch(self.remote, self.branch)
            return str(self.repository.git.rev_parse("FETCH_HEAD"))
        except git.GitCommandError as error:
            raise GitError(
                f"{self.folder}: git fetch {self.remote} {self.branch} failed: {clone.said(error)}"
            ) from error

    def resolve(self, revision: str) -> str:
        try:
            return str(self.repository.commit(revision).hexsha)
        except (git.BadName, ValueError):
            raise InputError(f"{revision}: there is no such commit in {self.folder}") from None

    @contextmanager
    def history(self, commit: str) -> Iterator[Mirrored]:
        """The commits up to one, in a mirror for a moment: there no setting of the clone has a say."""
        from tasks.common import git as plumbing
        from tasks.common.mirrored import Mirrored

        with tempfile.TemporaryDirectory() as folder:
            mirror = Path(folder, "mirror.git")
            plumbing.create(mirror)
            try:
                self.repository.git.push("--quiet", "--no-verify", str(mirror), f"{commit}:refs/heads/main")
            except git.GitCommandError as error:
                raise GitError(f"{self.folder}: its commits cannot be copied: {clone.said(error)}") from error
            yield Mirrored(mirror)


@contextmanager
def opened(folder: Path) -> Iterator[Cloned]:
    """The clone that a folder is in, with the branch of its server that is checked out."""
    with clone.opened(folder) as repository:
        if repository.head.is_detached:
            raise InputError(f"{folder}: no branch is checked out", hint="git switch main")
        branch = repository.active_branch
        follows = branch.tracking_branch()
        if follows is not None:
            yield Cloned(repository, follows.remote_name, follows.remote_head)
        elif repository.remotes:
            yield Cloned(repository, repository.remotes[0].name, branch.name)
        else:
            raise InputError(
                f"{folder}: it has no remote, and what counts is the branch on the server",
                hint="git remote add origin URL",
            )


@dataclass(frozen=True)
class PersonsKey:
    """How a person signs with SSH: by a file, or by an agent that has the private half of a public one."""

    name: str
    public: str
    in_agent: bool
    program: str

    def sign(self, message: bytes, *, namespace: str) -> str:
        """By the program that git is told to sign with, else OpenSSH, else ours."""
        from tasks.common import ssh_sign

        return ssh_sign.sign(
            self.program, message, namespace=namespace, key=self.name, public=self.public, in_agent=self.in_agent
        )


def persons_key(cloned: Cloned, given: Path | None) -> PersonsKey:
    """The key of `--key`, else the one that git signs with."""
    from interlock.contract import signature

    with cloned.repository.config_reader() as config:
        name = str(given.absolute()) if given else str(config.get_value("user", "signingkey", ""))
        program = str(config.get_value('gpg "ssh"', "program", "")) or _program()
    if not name:
        hint = "git config gpg.format ssh; git config user.signingkey FILE; or give --key FILE"
        raise InputError("git does not say which key you sign with", hint=hint)
    if name.startswith(("key::", "ssh-", "ecdsa-")):
        return PersonsKey(name, " ".join(name.removeprefix("key::").split()[:2]), in_agent=True, program=program)
    path = Path(cloned.folder, Path(name).expanduser())  # as git takes it: from the clone on
    try:
        if path.suffix == ".pub" or path.read_bytes().startswith((b"ssh-", b"ecdsa-")):
            public = " ".join(path.read_text().split()[:2])
            private = path.with_suffix("") if path.suffix == ".pub" else path
            alone = path.suffix == ".pub" and private.exists()
            if alone:
                _require_private(private)
            return PersonsKey(str(private if alone else path), public, in_agent=not alone, program=program)
        _require_private(path)
        beside = path.with_name(path.name + ".pub")
        public = (
            " ".join(beside.read_text().split()[:2]) if beside.exists() else signature.public_key(path.read_bytes())
        )
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the key cannot be read: {error}", hint="give --key FILE") from error
    return PersonsKey(str(path), public, in_agent=False, program=program)


def _require_private(path: Path) -> None:
    """ssh-keygen takes no key that others may read, and says only that there is none."""
    if path.stat().st_mode & 0o077:
        raise InputError(f"{path}: others may read the key", hint=f"chmod 600 {path}")


def _program() -> str:
    return shutil.which("ssh-keygen") or str(Path(sys.executable).with_name("interlock-ssh-sign"))


def push(cloned: Cloned, parent: str, files: Mapping[str, bytes], *, message: str, key: PersonsKey) -> str:
    """One signed commit upon `parent` on the server's branch; its id. PushRejected when the branch has moved on."""
    repository = cloned.repository
    settings = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={_spelt(key)}", "-c", f"gpg.ssh.program={key.program}")
    with tempfile.TemporaryDirectory() as folder:
        environment = {"GIT_INDEX_FILE": str(Path(folder, "index"))}  # the person's own stays as it is
        try:
            repository.git.execute(["git", "read-tree", parent], env=environment)
            for path, data in files.items():
                blob = Path(folder, "blob")
                blob.write_bytes(data)
                id_ = repository.git.execute(["git", "hash-object", "-w", "--no-filters", str(blob)])
                entry = f"100644,{id_},{path}"
                repository.git.execute(["git", "update-index", "--add", "--cacheinfo", entry], env=environment)
            tree = repository.git.execute(["git", "write-tree"], env=environment)
            made = str(
                repository.git.execute(["git", *settings, "commit-tree", "-S", "-p", parent, "-m", message, str(tree)])
            )
        except git.GitCommandError as error:
            raise GitError(f"{cloned.folder}: git cannot make a signed commit: {clone.said(error)}") from error
    try:
        repository.git.execute(["git", "push", "--quiet", cloned.remote, f"{made}:refs/heads/{cloned.branch}"])
    except git.GitCommandError as error:
        moved = any(word in str(error.stderr) for word in ("fetch first", "non-fast-forward", "stale info"))
        kind = PushRejected if moved else GitError
        raise kind(f"{cloned.folder}: git push failed: {clone.said(error)}") from error
    return made


def _spelt(key: PersonsKey) -> str:
    return f"key::{key.public}" if key.in_agent else key.name
