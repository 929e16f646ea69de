"""The git server: accounts, rights, protocol and webhooks, with git itself as the client."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import os
import secrets
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from sandbox.parts.git import Git, Kind, create_repository, credentials, git_folder, repository_path, switch_webhooks
from sandbox.place import Place


@pytest.fixture
def place(git_server: Git) -> Place:
    return git_server.place


def git(place: Place, account: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run git as one of the accounts, without leaving its password anywhere."""
    token = base64.b64encode(credentials(place, account).read_bytes()).decode()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {token}",
        "GIT_TERMINAL_PROMPT": "0",
        **{f"GIT_{who}_{what}": "dev@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    return subprocess.run(["git", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def commit(place: Place, folder: Path, *, size: int = 10) -> None:
    (folder / "file").write_bytes(secrets.token_bytes(size))
    git(place, "developer", "add", "file", cwd=folder)
    git(place, "developer", "commit", "-qm", "Change", cwd=folder)


@pytest.fixture
def clone(place: Place, tmp_path: Path) -> Path:
    """A working copy of a new application repository, with one commit pushed; its name is the folder's."""
    url = create_repository(place, f"shop-{secrets.token_hex(4)}", kind="application")
    folder = tmp_path / url.rpartition("/")[2].removesuffix(".git")
    git(place, "developer", "clone", "-q", url, cwd=tmp_path)
    commit(place, folder)
    git(place, "developer", "push", "-q", "origin", "HEAD:main", cwd=folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "account", "may"),
    [
        ("application", "developer", "read and push"),
        ("application", "ci", "read"),
        ("application", "cd", "nothing"),
        ("environment", "developer", "read and push"),
        ("environment", "ci", "read and push"),
        ("environment", "cd", "read"),
        ("ledger", "developer", "nothing"),
        ("ledger", "ci", "nothing"),
        ("ledger", "cd", "read and push"),
    ],
)
def test_each_account_has_its_role_s_rights_and_no_others(
    place: Place, tmp_path: Path, kind: Kind, account: str, may: str
) -> None:
    """An account reads and pushes exactly what its role may."""
    url = create_repository(place, f"{kind}-{account}-{secrets.token_hex(4)}", kind=kind)
    git(place, account, "init", "-q", ".", cwd=tmp_path)
    commit(place, tmp_path)

    assert (git(place, account, "ls-remote", url, cwd=tmp_path).returncode == 0) is ("read" in may)
    assert (git(place, account, "push", url, "HEAD:main", cwd=tmp_path).returncode == 0) is ("push" in may)


def test_a_refusal_names_account_and_repository(place: Place, clone: Path) -> None:
    """Whoever is refused reads in git's own output who may not do what."""
    commit(place, clone)
    answer = git(place, "ci", "push", "origin", "HEAD:main", cwd=clone)
    assert f"account ci may not push to {clone.name}" in answer.stderr


@pytest.mark.parametrize("header", [None, "Basic !", "Basic Y2k6d3Jvbmc=", "Bearer Y2k6d3Jvbmc="])
def test_nobody_is_nobody(place: Place, clone: Path, header: str | None) -> None:
    """Without an account's name and password there is no answer but 401."""
    url = f"http://127.0.0.1:{place.git_port}/{clone.name}.git/info/refs?service=git-upload-pack"
    answer = httpx.get(url, headers={"Authorization": header} if header else {})
    assert answer.status_code == 401


def test_a_large_push_arrives_whole(place: Place, clone: Path) -> None:
    """A pack that git sends in chunks, larger than any buffer, is stored as it was sent."""
    commit(place, clone, size=12_000_000)
    pushed = git(place, "developer", "-c", "http.postBuffer=65536", "push", "-q", "origin", "HEAD:main", cwd=clone)
    assert pushed.returncode == 0, pushed.stderr

    head = git(place, "developer", "rev-parse", "HEAD", cwd=clone).stdout
    served = git(place, "developer", "ls-remote", "origin", "refs/heads/main", cwd=clone).stdout
    assert served.split()[0] == head.strip()


def test_a_compressed_request_is_understood(place: Place, clone: Path) -> None:
    """A request body in gzip, as git sends long negotiations, gets the answer that the plain one gets."""
    url = f"http://127.0.0.1:{place.git_port}/{clone.name}.git/git-upload-pack"
    body = b"0014command=ls-refs\n00010009peel\n0000"
    token = base64.b64encode(credentials(place, "ci").read_bytes()).decode()
    headers = {
        "Authorization": f"Basic {token}",
        "Content-Type": "application/x-git-upload-pack-request",
        "Git-Protocol": "version=2",
    }
    plain = httpx.post(url, content=body, headers=headers)
    packed = httpx.post(url, content=gzip.compress(body), headers={**headers, "Content-Encoding": "gzip"})
    assert b"refs/heads/main" in plain.content
    assert packed.content == plain.content


def test_a_branch_cannot_be_deleted_but_rewritten(place: Place, clone: Path) -> None:
    """A developer may force-push, and nobody may delete a branch."""
    deleted = git(place, "developer", "push", "origin", ":main", cwd=clone)
    git(place, "developer", "commit", "-q", "--amend", "-m", "Rewritten", cwd=clone)
    forced = git(place, "developer", "push", "--force", "origin", "HEAD:main", cwd=clone)
    assert (deleted.returncode, forced.returncode) == (1, 0), deleted.stderr + forced.stderr


@pytest.mark.parametrize("path", ["/../accounts.json", "/x.git/../../rights.json", "/x.git/objects/info/packs", "/"])
def test_only_the_smart_protocol_is_served(place: Place, path: str) -> None:
    """No path reaches a file, with or without an account."""
    with httpx.Client(auth=tuple(credentials(place, "developer").read_text().split(":"))) as client:  # type: ignore[arg-type]
        assert client.get(f"http://127.0.0.1:{place.git_port}{path}").status_code == 404


@contextmanager
def receiver(place: Place) -> Iterator[list[tuple[str, str, bytes]]]:
    """Listens where the sandbox's receiver would; each delivery is path, signature, body."""
    deliveries: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            deliveries.append((self.path, self.headers["X-Interlock-Signature-256"], body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- the base class's name
            return

    with ThreadingHTTPServer(("127.0.0.1", place.receiver_port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield deliveries
        server.shutdown()


def test_a_push_is_told_to_the_receiver_signed_over_its_raw_body(place: Place, clone: Path) -> None:
    """A push makes one signed delivery with the ref, both commits, the repository and who pushed."""
    before = git(place, "developer", "rev-parse", "HEAD", cwd=clone).stdout.strip()
    commit(place, clone)
    after = git(place, "developer", "rev-parse", "HEAD", cwd=clone).stdout.strip()
    with receiver(place) as deliveries:
        pushed = git(place, "developer", "push", "origin", "HEAD:main", cwd=clone)
    assert "webhook: delivered, 202" in pushed.stderr

    [(path, signature, body)] = deliveries
    secret = (git_folder(place) / "webhook.secret").read_bytes()
    assert path == f"/hooks/{clone.name}"
    assert signature == "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    assert json.loads(body) == {
        "ref": "refs/heads/main",
        "before": before,
        "after": after,
        "repository": {
            "full_name": clone.name,
            "clone_url": f"http://127.0.0.1:{place.git_port}/{clone.name}.git",
        },
        "pusher": {"name": "developer"},
    }


def test_a_push_succeeds_without_a_receiver_and_says_so(place: Place, clone: Path) -> None:
    """A receiver that is down costs a line on the pusher's terminal, never the push."""
    commit(place, clone)
    pushed = git(place, "developer", "push", "origin", "HEAD:main", cwd=clone)
    assert (pushed.returncode, "webhook: not delivered" in pushed.stderr) == (0, True), pushed.stderr


def test_a_switched_off_webhook_is_lost(place: Place, clone: Path) -> None:
    """With the switch off a push arrives and nobody is told."""
    commit(place, clone)
    switch_webhooks(place, on=False)
    try:
        with receiver(place) as deliveries:
            pushed = git(place, "developer", "push", "origin", "HEAD:main", cwd=clone)
    finally:
        switch_webhooks(place, on=True)
    assert (pushed.returncode, deliveries) == (0, [])


def test_a_malformed_object_is_refused(place: Place, clone: Path) -> None:
    """A commit that fsck rejects does not get in."""
    raw = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor x <x> 1 +0000\ncommitter x 1 +0000\n\nx\n"
    subprocess.run(["git", "hash-object", "-t", "tree", "-w", "--stdin"], cwd=clone, input=b"", check=True)
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin"],
        cwd=clone,
        input=raw,
        text=True,
        capture_output=True,
        check=True,
    ).stdout.strip()
    pushed = git(place, "developer", "push", "--force", "origin", f"{made}:refs/heads/bad", cwd=clone)
    assert pushed.returncode != 0
    refs = repository_path(place, clone.name) / "refs" / "heads"
    assert sorted(path.name for path in refs.iterdir()) == ["main"]
