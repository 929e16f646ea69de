"""The git server, with an account per role; see git_server.py for the protocol and git_hook.py for webhooks."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import httpx

from sandbox import git_hook
from sandbox.http import LOCAL
from sandbox.part import Daemon, Report, SandboxError, clean_environment, wait_until
from sandbox.place import Place
from sandbox.users import as_user, own_folder, user, write_private

Kind = Literal["application", "environment", "ledger"]
ACCOUNTS = ("developer", "ci", "cd", "signer")
_RIGHTS: dict[Kind, dict[str, str]] = {
    "application": {"developer": "write", "ci": "read", "signer": "read"},
    "environment": {"developer": "write", "ci": "write", "cd": "read", "signer": "read"},
    "ledger": {"cd": "write"},
}
_CONFIG = {
    "http.receivepack": "true",
    "receive.denyDeletes": "true",
    "receive.denyNonFastForwards": "false",
    "receive.fsckObjects": "true",
    "receive.maxInputSize": "50m",
    "transfer.fsckObjects": "true",
    "gc.auto": "0",
    "core.bigFileThreshold": "1m",  # wheels and archives have no deltas, and looking for them takes minutes
}


class Git:
    """Bare repositories on 127.0.0.1; `create_repository` adds one at any time."""

    name = "git"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "git.log"
        self.folder = git_folder(place)
        self._daemon = Daemon("git", self.log)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.place.git_port}"

    def provide(self, report: Report) -> None:
        if shutil.which("git") is None:
            raise SandboxError("git: not on PATH; install it: apt-get install git")

    def start(self) -> None:
        if not self.folder.exists():
            self._lay_out()
        command = [sys.executable, "-m", "sandbox.git_server", str(self.folder), str(self.place.git_port)]
        account = user(self.place, "git")
        env = clean_environment(HOME=str(self.folder / "home"), PYTHONDONTWRITEBYTECODE="1")
        self._daemon.start(as_user(account, command), env=env)

    def _lay_out(self) -> None:
        server, receiver = user(self.place, "git"), user(self.place, "receiver")
        # Others may pass to the credentials that are theirs, and read nothing else.
        own_folder(self.folder, server, mode=0o711)
        for name in ("repositories", "home", "hooks"):
            own_folder(self.folder / name, server)
        write_private(self.folder / "webhook.secret", secrets.token_hex(32), owner=server.id, group=receiver.id)
        self._write_hook()
        self._write_accounts()
        write_private(self.folder / "rights.json", json.dumps({name: {} for name in ACCOUNTS}), owner=server.id)

    def _write_hook(self) -> None:
        server, hooks = user(self.place, "git"), self.folder / "hooks"
        config = {
            "receiver": f"http://127.0.0.1:{self.place.receiver_port}",
            "clone_root": self.address,
            "secret": str(self.folder / "webhook.secret"),
            "silence": str(self.folder / "webhooks-off"),
        }
        write_private(hooks / "hook.json", json.dumps(config), owner=server.id)
        source = Path(git_hook.__file__).read_text()
        hook = hooks / "post-receive"
        write_private(hook, f"#!{sys.executable} -IS\n{source}", owner=server.id)
        hook.chmod(0o700)

    def _write_accounts(self) -> None:
        readers = {"developer": 0, **{name: user(self.place, name).id for name in ("ci", "cd", "signer")}}
        digests = {}
        for name, reader in readers.items():
            password = secrets.token_urlsafe(24)
            digests[name] = hashlib.sha256(password.encode()).hexdigest()
            write_private(credentials(self.place, name), f"{name}:{password}", owner=reader)
        write_private(self.folder / "accounts.json", json.dumps(digests), owner=user(self.place, "git").id)

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"git server at {self.address}", seconds=seconds, daemon=self._daemon)

    def _answers(self) -> bool:
        try:
            return LOCAL.get(f"{self.address}/ready", timeout=2).status_code == 404
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self._daemon.stop()

    def sweep(self) -> None:
        """Everything it has is in the state folder."""


def git_folder(place: Place) -> Path:
    return place.state / "git"


def credentials(place: Place, account: str) -> Path:
    """The file with `account:password`, readable by its role's user only (developer's: by root)."""
    return git_folder(place) / f"{account}.auth"


def repository_url(place: Place, name: str) -> str:
    return f"http://127.0.0.1:{place.git_port}/{name}.git"


def create_repository(place: Place, name: str, *, kind: Kind) -> str:
    """Make an empty bare repository whose branch will be `main`, with the rights of its kind; returns its address.

    application: developer pushes, ci and signer read. environment: developer and ci push, cd and signer read.
    ledger: cd pushes.
    Runs as root beside a running server; making one that exists is an error.
    """
    path = repository_path(place, name)
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) is None or name.endswith(".git"):
        raise SandboxError(f"repository {name!r}: give a name of small letters, digits, dots and dashes")
    if path.exists():
        raise SandboxError(f"repository {name}: exists already")
    _git_as_server(place, "init", "--quiet", "--bare", "--initial-branch=main", str(path))
    for key, value in {**_CONFIG, "core.hooksPath": str(git_folder(place) / "hooks")}.items():
        _git_as_server(place, "-C", str(path), "config", key, value)
    _grant(place, name, _RIGHTS[kind])
    return repository_url(place, name)


def repository_path(place: Place, name: str) -> Path:
    """The bare repository itself, for looking into it as root without the server."""
    return git_folder(place) / "repositories" / f"{name}.git"


def switch_webhooks(place: Place, *, on: bool) -> None:
    """Off: pushes reach the repository and nobody hears of them, as when a forge loses a webhook."""
    switch = git_folder(place) / "webhooks-off"
    if on:
        switch.unlink(missing_ok=True)
    else:
        switch.touch()


def _grant(place: Place, repository: str, rights: dict[str, str]) -> None:
    path = git_folder(place) / "rights.json"
    table = json.loads(path.read_text())
    for account, right in rights.items():
        table[account][repository] = right
    write_private(path, json.dumps(table), owner=user(place, "git").id)


def _git_as_server(place: Place, *arguments: str) -> None:
    account = user(place, "git")
    home = str(git_folder(place) / "home")
    subprocess.run(
        ["git", *arguments],
        check=True,
        user=account.id,
        group=account.id,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": home, "GIT_CONFIG_NOSYSTEM": "1"},
    )
