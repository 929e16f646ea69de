"""A forge of the tests on a port of its own: it knows one token, answers JSON, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from interlock.contract.forge import ForgeAccount
from tests.forges.server import PROJECT, TOKEN, Kind

Answer = tuple[int, Any]
"""The status and what is sent as JSON."""


@dataclass
class Served:
    kind: Kind
    port: int = field(default=0, init=False)
    requests: list[str] = field(default_factory=list, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def account(self, token: Path) -> ForgeAccount:
        token.touch(mode=0o600)
        token.write_text(f"{TOKEN}\n")
        return ForgeAccount(kind=self.kind, url=self.url, project=PROJECT, token=token)

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """To who has the token."""
        raise NotImplementedError


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        forge, url = self.server.forge, urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        forge.requests.append(f"{self.command} {unquote(url.path)}")
        given = self.headers.get("PRIVATE-TOKEN") or (self.headers.get("Authorization") or " ").split()[-1]
        if given != TOKEN:
            status, body = 401, {"message": "Bad credentials"}
        else:
            status, body = forge.answer(self.command, unquote(url.path), query, json.loads(raw) if raw else {})
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that http.server looks for


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, forge: Served) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forge = forge
        forge.port = self.server_port


F = TypeVar("F", bound=Served)


@contextmanager
def serving(forge: F) -> Iterator[F]:
    with _Server(forge) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield forge
        server.shutdown()
