"""A part that answers with the credential it was asked with brings that credential into our logs.

Number: 13
Defence: each secret is made known at the door where it is read, and masked as it is, as base64 and in addresses in
every log line, report, state and error (tasks/common/redaction.py); credentials are never arguments.
Not defended: secrets of fewer than six characters; encodings of other kinds, such as hex or encryption; a program of
others that logs by itself, such as the git server.
"""

from __future__ import annotations

import base64
import io
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from interlock.contract.host import EnvironmentRemote, RootPin
from interlock.errors import GitError
from tasks.common import git
from tasks.common.effect import effect
from tests.examples_of_repositories import PERSON_KEY

PASSWORD = "canary-push-password"
ENCODED = base64.b64encode(f"cd:{PASSWORD}".encode()).decode()


class Echo(BaseHTTPRequestHandler):
    """A proxy in its debug mode: what it was sent stands in its answer, which git repeats."""

    def do_GET(self) -> None:
        body = f"denied, with the headers {dict(self.headers)}\n".encode()
        self.send_response(403)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not here."""


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[EnvironmentRemote]:
    """A repository on that server, and a file with the account there."""
    auth = tmp_path / "git.auth"
    auth.touch(mode=0o600)
    auth.write_text(f"cd:{PASSWORD}\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/environments.git"
        root = RootPin(commit="0" * 40, keys=(PERSON_KEY,))
        yield EnvironmentRemote(name="environments", url=url, auth=auth, root=root)
        server.shutdown()


def told(remote: EnvironmentRemote, folder: Path) -> str:
    """The error of a fetch, and what a logger writes of it with its traceback."""

    @effect(name="fetch")
    def fetch() -> None:
        git.fetch(folder / "mirror.git", remote)

    log = io.StringIO()
    logger = logging.getLogger(f"threat-{id(log)}")
    logger.addHandler(logging.StreamHandler(log))
    logger.propagate = False
    try:
        fetch.fn()
    except GitError as error:
        logger.exception("the fetch failed")
        return f"{error} {log.getvalue()}"
    raise AssertionError("the server refuses everything")


def test_the_credential_reaches_the_log_succeeds_when_nobody_knows_it(
    remote: EnvironmentRemote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real git repeats what the server said, and so would the error, the log and the page of the run."""
    monkeypatch.setattr(git, "know", lambda *_: None)
    assert ENCODED in told(remote, tmp_path)


def test_the_credential_is_masked_in_error_and_log(remote: EnvironmentRemote, tmp_path: Path) -> None:
    """In both, while the rest of what the server said is there."""
    said = told(remote, tmp_path)
    assert ENCODED not in said and PASSWORD not in said
    assert said.count("denied, with the headers") >= 2
