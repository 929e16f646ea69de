"""A real HTTP proxy in front of a registry or a git server that fails as it is told (tests.cluster.faulty has the
faults). `refuse` with the status 200 answers with the fault's message in the server's place.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cluster.faulty import Fault, Proxy

_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "expect"})
_SECONDS = 60


@contextmanager
def before(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of `host:port`; its `address` is a `host:port` too."""
    proxy = Proxy("")
    handler = type("Handler", (_Handler,), {"proxy": proxy, "upstream": upstream})
    server = _Server(("127.0.0.1", 0), handler)
    proxy.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections end in all ways here."""


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    upstream: str
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        """Docker tries TLS first, and must hear at once that nobody here speaks it, as from any server."""
        if self.rfile.peek(1)[:1] == b"\x16":  # type: ignore[attr-defined]  # it is a BufferedReader
            self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            return
        super().handle()

    def do_GET(self) -> None:
        body = self._body()
        fault = self.proxy.due(self.command, self.path)
        if fault is None:
            self._answer(*self._asked(body))
        elif fault.failure == "refuse":
            self._refuse(fault)
        elif fault.failure == "slow":
            time.sleep(fault.seconds)
            self._answer(*self._asked(body))
        elif fault.failure == "half":
            self._answer(*self._asked(body), half=True)
        else:
            if fault.failure == "lost":
                self._asked(body)
            self._reset()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(100).split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline(100)
        while self.rfile.readline(1000).strip():
            pass  # trailers
        return b"".join(pieces)

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        connection = http.client.HTTPConnection(self.upstream, timeout=_SECONDS)
        try:
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, half: bool = False) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), "")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self.close_connection = True

    def _refuse(self, fault: Fault) -> None:
        body = fault.message
        if fault.status >= 400:
            body = json.dumps({"errors": [{"code": fault.reason or "UNKNOWN", "message": fault.message}]})
        self._answer(fault.status, [("Content-Type", "application/json")], body.encode())

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
