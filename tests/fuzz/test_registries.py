"""A registry that answers whatever it likes, over real HTTP."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.contract import oci
from interlock.contract.host import Registry
from interlock.errors import RegistryError
from tasks.ci import referrers
from tasks.common import registry
from tests.fuzz.hostile import EXAMPLES, fuzzed, hostile, hostile_text, only_ours

DIGEST = "sha256:" + "1" * 64
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": {"digest": DIGEST}}).encode()
TOKEN = b'{"token": "abc", "expires_in": 60}'


@dataclass
class Server:
    """What it answers to everything."""

    port: int
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    endless: bool = False

    def registry(self, auth: Path) -> Registry:
        return Registry(host=f"127.0.0.1:{self.port}", auth=auth, insecure=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response_only(said.status)
            for name, value in said.headers:
                self.wfile.write(f"{name}: {value}\r\n".encode("latin-1", errors="replace"))
            if not said.endless:
                self.wfile.write(b"Content-Length: %d\r\n" % len(said.body))
            self.wfile.write(b"Connection: close\r\n\r\n")
            self.wfile.write(said.body * (0 if self.command == "HEAD" else 1))
            while said.endless and self.command != "HEAD":
                self.wfile.write(said.body)
            self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = answer  # noqa: N815 - as http.server wants them

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

        def send_response_only(self, code: int, message: str | None = None) -> None:
            self.wfile.write(f"HTTP/1.1 {code} x\r\n".encode())

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is what is looked for."""

    with Quiet(("127.0.0.1", 0), Answer) as running:
        said = Server(running.server_port)
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield said
        running.shutdown()


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("registry") / "auth"
    path.write_text("ci:hunter2\n")
    return path


REALM = 'Bearer realm="https://127.0.0.1:1/token",service="x",scope="y"'
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["WWW-Authenticate", "Location", "Content-Type", "OCI-Subject", "Content-Encoding", "X"]),
        hostile_text([REALM, "/v2/a/uploads/1?x=y", oci.MANIFEST, "https://h:99999/", "gzip", "//[", "é"]).map(
            lambda text: text.replace("\r", "").replace("\n", "")[:500]
        ),
    ),
    max_size=3,
)


def uploaded(asked: Registry) -> None:
    with registry.connected(asked) as http:
        registry.upload(http, "a", b"{}")


STATUS = st.sampled_from([200, 201, 202, 204, 301, 307, 400, 401, 403, 404, 429, 500, 503, 599])


@settings(fuzzed, max_examples=max(5, EXAMPLES // 20))
@given(STATUS, HEADERS, hostile([MANIFEST, TOKEN, b'{"errors": [{"code": "DENIED"}]}']))
def test_answers(server: Server, auth: Path, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Whatever it says to whatever is asked: one of our errors, or an image by a digest that fits."""
    server.status, server.headers, server.body, server.endless = status, headers, body, False
    asked = server.registry(auth)
    repository = f"{asked.host}/a"
    found = only_ours(lambda: registry.find_image.fn(asked, repository=repository, tag="1"))
    only_ours(lambda: registry.confirm_image.fn(asked, repository=repository, image_digest=DIGEST, image_id=DIGEST))
    artifact = oci.Artifact("sbom", oci.CYCLONEDX, b"{}")
    attach = referrers.attach.fn
    only_ours(lambda: attach(asked, repository=repository, image_digest=DIGEST, artifacts=[artifact]))
    only_ours(lambda: uploaded(asked))
    request = httpx.Request("GET", "https://token.example.org/")
    only_ours(lambda: registry._token(httpx.Response(200, content=body, request=request)))

    assert found is None or found.config.startswith("sha256:")


@pytest.mark.parametrize("status", [200, 500])
def test_an_endless_answer_is_cut_off(server: Server, auth: Path, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good one and an error alike: it fills neither memory nor time."""
    monkeypatch.setattr(registry, "_MOST_ANSWERED", 2 << 20)
    server.status, server.headers, server.body, server.endless = status, [], b"x" * (1 << 16), True
    asked = server.registry(auth)

    with pytest.raises(RegistryError, match="MiB"):
        registry.find_image.fn(asked, repository=f"{asked.host}/a", tag="1")


def test_a_packed_answer_is_not_unpacked(server: Server, auth: Path) -> None:
    """A few kilobytes may be gigabytes."""
    bomb = gzip.compress(b"0" * (64 << 20))
    server.status, server.headers, server.body, server.endless = 500, [("Content-Encoding", "gzip")], bomb, False
    asked = server.registry(auth)

    with pytest.raises(RegistryError, match="packs its answer"):
        registry.find_image.fn(asked, repository=f"{asked.host}/a", tag="1")
