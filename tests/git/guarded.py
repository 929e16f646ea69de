"""An environment repository on the git server, whose pushes are judged by a hook that can be taken out."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from interlock.cd.host import CdHost
from interlock.contract import commit as commits
from interlock.contract import layout
from interlock.contract.forge import ForgeAccount
from interlock.contract.host import EnvironmentRemote, RootPin
from interlock.contract.push import HookFile
from tasks.common import freshness, git, receive_hook
from tasks.common.environment_repository import VerifiedHead, fetch_verified
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.git.conftest import ACCOUNTS, AUTHOR, Key, Repository, Server, make_repository

VALUES = layout.values(ENVIRONMENT, APPLICATION)


@dataclass
class Guarded:
    """`ada` may write everything, `ci` releases; the account of whoever pushes has the right to."""

    repository: Repository
    ada: Key
    ci: Key
    state: Path
    root: str

    @property
    def pin(self) -> RootPin:
        return RootPin(commit=self.root, keys=(self.ada.public,))

    @property
    def at(self) -> str:
        """Where the server's branch is."""
        return git.head_of(self.repository.bare, "main") or ""

    def guard(self) -> None:
        receive_hook.install(self.repository.bare, HookFile(format=1, root=self.pin))

    def unguard(self) -> None:
        (self.repository.bare / "hooks" / "pre-receive").unlink()

    def write(self, changes: dict[str, bytes | None], *, on: str | None = None, by: Key | None = None) -> str:
        return self.repository.write(on or self.at, changes, by=by or self.ada)

    def git(self, *arguments: str, given: str = "") -> str:
        """In the developer's mirror."""
        command = ("git", f"--git-dir={self.repository.mirror}", *arguments)
        return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout

    def wrote(self, kind: str, content: str) -> str:
        return self.git("hash-object", "-t", kind, "-w", "--stdin", given=content).strip()

    def blob(self, content: str) -> str:
        return self.wrote("blob", content)

    def push(self, *refspecs: str, account: str = "developer", force: bool = False) -> tuple[int, str]:
        """With git itself, over HTTP: the exit code, and what the terminal shows."""
        login = base64.b64encode(f"{account}:{ACCOUNTS[account]}".encode()).decode()
        options = ("--force",) if force else ()
        done = subprocess.run(
            (
                "git",
                f"--git-dir={self.repository.mirror}",
                "push",
                *options,
                "--",
                self.repository.remote.url,
                *refspecs,
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={
                **os.environ,
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "http.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Basic {login}",
            },
        )
        return done.returncode, done.stderr

    def push_head(self, commit: str, **how: object) -> tuple[int, str]:
        return self.push(f"{commit}:refs/heads/main", **how)  # type: ignore[arg-type]

    def refuses(self, commit: str, *, rule: str, fix: str, deletion: bool = False) -> None:
        """A push by force of what the rule forbids: the branch stays, and the terminal has its word and what to do."""
        at = self.at

        code, said = self.push(f"{'' if deletion else commit}:refs/heads/main", force=True)

        assert code != 0 and self.at == at
        assert f"remote: error: refused ({rule}): " in said and "remote:   hint: " in said and fix in said
        assert "Traceback" not in said

    def has(self, commit: str) -> bool:
        """Whether the server's repository holds it, on a branch or not."""
        command = ("git", f"--git-dir={self.repository.bare}", "cat-file", "-e", commit)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unsigned(self, changes: dict[str, bytes | None], *, parents: tuple[str, ...] = ()) -> str:
        """A commit as git makes it without a key; with several parents, a merge."""
        tree = git.tree_id(self.repository.mirror, self.write(changes))
        on = [word for parent in parents or (self.at,) for word in ("-p", parent)]
        who = {
            f"GIT_{role}_{what}": "eve@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        made = subprocess.run(
            ("git", f"--git-dir={self.repository.mirror}", "commit-tree", tree, *on, "-m", "Change"),
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **who},
        )
        return made.stdout.strip()

    def state_freshness(self, head: str) -> None:
        """As CI does."""
        remote, mirror = self.repository.remote, self.repository.mirror
        freshness.state.fn(remote, mirror, head=head, signer="ci-shop", key=self.ci.path)

    def deploys(self, since: str | None = None) -> VerifiedHead:
        """What CD begins with."""
        reader = self.repository.as_role("cd")
        remote = EnvironmentRemote(name="environments", root=self.pin, url=reader.url, auth=reader.auth)
        return fetch_verified.fn(remote, state=self.state, since=since)


def cd_host(guarded: Guarded, folder: Path, forges: Mapping[str, ForgeAccount] | None = None) -> CdHost:
    """Of the environment `dev`, on a cluster that nobody asks."""
    reader = guarded.repository.as_role("cd")
    own = {"name": "environments", "url": reader.url, "auth": reader.auth, "root": guarded.pin}
    return CdHost.model_validate(
        {
            "format": 1,
            "prefect": "http://127.0.0.1:4200/api",
            "state": guarded.state,
            "environment_repository": own,
            "ledger": {"name": "ledger", "url": "http://127.0.0.1:1/ledger.git"},
            "signing": {"signer": "cd", "key": folder / "cd.key"},
            "clusters": {"sandbox": {"kubeconfig": folder / "kubeconfig"}},
            "environments": {
                ENVIRONMENT: {"cluster": "sandbox", "namespaces": ("shop",), "control_namespace": "interlock-dev"}
            },
            "forges": forges or {},
            "deny_list": folder / "deny.yaml",
        }
    )


def make_guarded(server: Server, folder: Path) -> Guarded:
    repository = make_repository(server, folder)
    ada, ci = Key.make(folder / "ada"), Key.make(folder / "ci")
    tree = environment_tree(released=False, person_key=ada.public, machine_key=ci.public)
    root = repository.write(None, dict(tree.files), by=ada)
    git.push(repository.mirror, root, repository.remote, expected=None)
    guarded = Guarded(repository, ada, ci, folder / "state", root)
    guarded.guard()
    return guarded


def with_entry(guarded: Guarded, entry: str) -> str:
    """A commit signed by ada, with a tree that has one line more, as only git makes it."""
    tree = guarded.git("mktree", "--missing", given=f"{guarded.git('ls-tree', guarded.at)}{entry}\n").strip()
    data = commits.unsigned(tree=tree, parents=(guarded.at,), author=AUTHOR, seconds=1_700_000_000, message="Link")
    return guarded.wrote("commit", commits.signed(data, guarded.ada.path.read_bytes()).decode())


def raw_push(guarded: Guarded, moves: list[tuple[str, str]]) -> str:
    """The bytes of a push, with any commands for the protected branch."""
    revisions = "".join(f"{new}\n" for _, new in moves) + f"^{guarded.root}\n"
    command = ("git", f"--git-dir={guarded.repository.mirror}", "pack-objects", "--stdout", "--revs", "--quiet")
    pack = subprocess.run(command, input=revisions.encode(), capture_output=True, check=True).stdout
    lines = [f"{old} {new} refs/heads/main".encode() for old, new in moves]
    lines[0] += b"\0 report-status"
    body = b"".join(b"%04x%s" % (len(line) + 4, line) for line in lines) + b"0000" + pack
    login = base64.b64encode(f"developer:{ACCOUNTS['developer']}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/x-git-receive-pack-request"}
    url = f"{guarded.repository.remote.url}/git-receive-pack"
    return httpx.post(url, content=body, headers=headers, timeout=60).text
