"""Signed commits on a person's branch that are judged, as hosts will judge them, before the branch moves to them."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import git
from gitdb import IStream

from interlock.cli import clone
from interlock.contract import verification
from interlock.contract.commit import ABSENT, Change, RawCommit
from interlock.contract.host import RootPin
from interlock.errors import GitError, InputError, Refused

_HINT = "git signs with the person's own settings: user.signingkey and gpg.format"


class Draft:
    """Commits behind the newest of the branch that is checked out; nothing shows before `land`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with clone.opened(folder) as repository:
            valid = repository.head.is_valid()
            self.start = repository.head.commit.hexsha if valid else None
        self.head = self.start

    def resolve(self, name: str) -> str:
        """The full id of a commit that is the branch's newest or before it."""
        with clone.opened(self._folder) as repository:
            try:
                found = repository.commit(name)
            except (git.BadName, ValueError):
                raise InputError(f"{name}: there is no such commit in {self._folder.absolute()}") from None
            if not repository.is_ancestor(found, repository.head.commit):
                raise InputError(f"{name} is not in the history of the branch that is checked out")
            return found.hexsha

    def commit(self, changes: Mapping[str, str], message: str, *, key: Path | None = None) -> str:
        """One commit with these files, signed by git's settings or by the private key in a file."""
        with clone.opened(self._folder) as repository, tempfile.TemporaryDirectory() as folder:
            environment = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
            try:
                if self.head:
                    repository.git.execute(["git", "read-tree", self.head], env=environment)
                for path, text in changes.items():
                    data = text.encode()
                    blob = repository.odb.store(IStream("blob", len(data), BytesIO(data))).hexsha.decode()
                    entry = f"100644,{blob},{path}"
                    repository.git.execute(["git", "update-index", "--add", "--cacheinfo", entry], env=environment)
                tree = str(repository.git.execute(["git", "write-tree"], env=environment))
                return self._made(repository, tree, message, key)
            except git.GitCommandError as error:
                raise GitError(f"{self._folder}: git: {clone.said(error)}", hint=_HINT) from error

    def restore(self, commit: str, message: str) -> str:
        """One commit with exactly the files of an earlier one."""
        with clone.opened(self._folder) as repository:
            try:
                return self._made(repository, repository.commit(commit).tree.hexsha, message, None)
            except git.GitCommandError as error:
                raise GitError(f"{self._folder}: git: {clone.said(error)}", hint=_HINT) from error

    def _made(self, repository: git.Repo, tree: str, message: str, key: Path | None) -> str:
        parent = ("-p", self.head) if self.head else ()
        sign = f"-S{key.absolute()}" if key else "-S"
        try:
            self.head = str(repository.git.execute(["git", "commit-tree", sign, *parent, "-m", message, tree]))
        except git.GitCommandError as error:
            with repository.config_reader() as config:
                chosen = key or config.get_value("user", "signingkey", "")
            if chosen or not _about_signing(error):
                raise
            hint = "git config user.signingkey FILE; git config gpg.format ssh"
            raise InputError(f"{self._folder}: no signing key: {clone.said(error)}", hint=hint) from error
        return self.head

    def judge(self, since: str) -> None:
        """As a host would whose verified head is `since`; Refused when it would not accept all up to here."""
        with clone.opened(self._folder) as repository:
            base, head = repository.commit(since), str(self.head)
            line = list(repository.iter_commits(f"{since}..{head}"))
            judged = [clone.raw_commit(repository, each) for each in line]
            blobs = {blob: data for _, read in judged for blob, data in read.items()}
            trust = verification.trust_of(clone.trust_files(base).files, commit=since)
            point = verification.Point(since, base.tree.hexsha, trust)
            range_ = [raw for raw, _ in judged]
            today = dt.datetime.now(dt.UTC).date()
            verification.verify_range(range_, base=point, new=head, blobs=blobs.get, today=today, known=True)

    def judge_root(self, keys: tuple[str, ...]) -> RootPin:
        """As a host would whose root pin is the draft, signed by one of the keys."""
        with clone.opened(self._folder) as repository:
            commit = repository.commit(str(self.head))
            blobs = [each for each in commit.tree.traverse() if isinstance(each, git.Blob)]
            changes = tuple(Change(str(each.path), ABSENT, f"{each.mode:06o}", "0" * 40, each.hexsha) for each in blobs)
            raw = RawCommit(commit.hexsha, repository.odb.stream(commit.binsha).read(), changes)
            contents = {each.hexsha: each.data_stream.read() for each in blobs if str(each.path).startswith("trust/")}
            pin = RootPin(commit=commit.hexsha, keys=keys)
            try:
                verification.verify_root(raw, pin=pin, blobs=contents.get)
            except Refused as refusal:
                hint = "give with --key the public half of the key that git signs with"
                raise Refused(refusal.message, rule=refusal.rule, hint=hint) from refusal
            return pin

    def land(self) -> str:
        """Move the branch, and the files that lie there, to the draft."""
        with clone.opened(self._folder) as repository:
            try:
                repository.git.merge("--ff-only", "--quiet", str(self.head))
            except git.GitCommandError as error:
                hint = "commit or put away what is changed there, then run again"
                raise GitError(f"{self._folder}: git: {clone.said(error)}", hint=hint) from error
            return str(self.head)


def _about_signing(error: git.GitCommandError) -> bool:
    """git fails here also for want of a name and an address."""
    return any(word in str(error.stderr) for word in ("sign", "gpg"))
