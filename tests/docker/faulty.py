"""A real HTTP proxy in front of a registry or a git server that fails as it is told (tests.faulty has the faults).
`refuse` with the status 200 answers with the fault's message in the server's place.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.faulty import Answer, Fault, Handler, Proxy, Server, serving

_SECONDS = 60


@contextmanager
def before(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of `host:port`; its `address` is a `host:port` too."""
    proxy = Proxy("")
    server = Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy, "upstream": upstream}))
    proxy.address = f"127.0.0.1:{server.server_address[1]}"
    with serving(server):
        yield proxy


class _Handler(Handler):
    upstream: str
    timeout = _SECONDS
    hop = Handler.hop | {"expect"}

    def handle(self) -> None:
        """Docker tries TLS first, and must hear at once that nobody here speaks it, as from any server."""
        if self.rfile.peek(1)[:1] == b"\x16":  # type: ignore[attr-defined]  # it is a BufferedReader
            self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            return
        super().handle()

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return super().body()
        pieces = []
        while size := int(self.rfile.readline(100).split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline(100)
        while self.rfile.readline(1000).strip():
            pass  # trailers
        return b"".join(pieces)

    def asked(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.upstream, timeout=_SECONDS)
        try:
            connection.request(self.command, self.path, body=body, headers=self.passed_on())
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def refuse(self, fault: Fault) -> None:
        body, kind = fault.message, "application/vnd.docker.distribution.manifest.v2+json"
        if fault.status >= 400:
            kind = "application/json"
            body = json.dumps({"errors": [{"code": fault.reason or "UNKNOWN", "message": fault.message}]})
        self.answer(fault.status, [("Content-Type", kind)], body.encode())

    def reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
