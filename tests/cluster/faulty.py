"""A real HTTPS proxy in front of the API server that fails as it is told: by method, by path, for the n-th request."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import yaml

from sandbox.parts.kubernetes import authority
from sandbox.place import Place

Failure = Literal["refuse", "reset", "lost", "half", "slow"]


@dataclass
class Fault:
    """What happens to requests that match.

    `refuse` answers with `status` in the API server's place; `reset` ends the connection before the server sees the
    request, `lost` after it has answered; `half` sends half of the answer; `slow` waits `seconds` first.
    """

    failure: Failure
    method: str = ""
    path: str = ""
    times: int = 1
    skip: int = 0
    """So many matching requests pass unharmed before."""
    status: int = 503
    retry_after: str = ""
    message: str = "as the test wants it"
    reason: str = ""
    seconds: float = 0.0

    def matches(self, method: str, path: str) -> bool:
        return self.method in {"", method} and re.search(self.path, path) is not None


@dataclass
class Proxy:
    """`seen` has every request that came, with what was done to it; `most` how many were in work at once."""

    address: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *faults: Fault) -> None:
        with self._guard:
            self.faults += faults

    def clear(self) -> None:
        with self._guard:
            self.faults.clear()
            self.seen.clear()
            self.times.clear()

    def due(self, method: str, path: str) -> Fault | None:
        """The fault of this request; each is used up by what it hits."""
        with self._guard:
            self.times.append(time.monotonic())
            for fault in self.faults:
                if not fault.matches(method, path):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                elif fault.times > 0:
                    fault.times -= 1
                    self.seen.append((method, path, fault.failure))
                    return fault
            self.seen.append((method, path, ""))
            return None

    def asked(self, method: str, path: str, failure: str | None = None) -> int:
        """How many requests like this came; with `failure`, how many that ended so."""
        with self._guard:
            return sum(m == method and re.search(path, p) is not None and failure in {None, f} for m, p, f in self.seen)


@contextmanager
def through(place: Place, kubeconfig: Path) -> Iterator[Proxy]:
    """A proxy that a kubeconfig points to while the block runs. What has no token of its own is sent on with the
    kubeconfig's client certificate, and its own authority's certificate vouches for the proxy.
    """
    before = kubeconfig.read_bytes()
    config = yaml.safe_load(before)
    upstream = _upstream(place, config, kubeconfig.parent)
    folder = kubeconfig.parent
    authority(place).server("faulty", hosts=["127.0.0.1"]).write(folder / "faulty")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "faulty.crt", folder / "faulty.key")
    proxy = Proxy("")
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy, "upstream": upstream}), context)
    proxy.address = f"https://127.0.0.1:{server.server_address[1]}"
    config["clusters"][0]["cluster"]["server"] = proxy.address
    kubeconfig.write_text(yaml.safe_dump(config))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        kubeconfig.write_bytes(before)


@dataclass(frozen=True)
class _Upstream:
    port: int
    anonymous: ssl.SSLContext
    identified: ssl.SSLContext

    def connect(self, *, token: bool) -> http.client.HTTPSConnection:
        context = self.anonymous if token else self.identified
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=70, context=context)


def _upstream(place: Place, config: Any, folder: Path) -> _Upstream:
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    trusted = base64.b64decode(cluster["certificate-authority-data"]).decode()
    anonymous, identified = (ssl.create_default_context(cadata=trusted) for _ in range(2))
    if "client-certificate-data" in user:
        pair = folder / "faulty-client.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(b"\n".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
        identified.load_cert_chain(pair)
    return _Upstream(place.apiserver_port, anonymous, identified)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext):
        self._context = context
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake in the connection's own thread: a slow client stops nobody else."""
        request.settimeout(70)
        with self._context.wrap_socket(request, server_side=True) as wrapped:
            self.RequestHandlerClass(wrapped, client_address, self)  # type: ignore[arg-type]  # it is one

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections end in all ways here."""


_HOP = frozenset({"connection", "transfer-encoding", "content-length", "host", "keep-alive"})


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    upstream: _Upstream
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _kept: dict[bool, http.client.HTTPSConnection]

    def setup(self) -> None:
        super().setup()
        self._kept = {}

    def finish(self) -> None:
        for connection in self._kept.values():
            connection.close()
        super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
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

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        token = "Authorization" in self.headers
        connection = self._kept.get(token) or self.upstream.connect(token=token)
        self._kept[token] = connection
        try:
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException):
            # The server is gone, or closed what it kept: the client sees what the network would show.
            self._kept.pop(token).close()
            self._reset()
            raise

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, half: bool = False) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self.wfile.flush()
            self.close_connection = True

    def _refuse(self, fault: Fault) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.status}
        body = json.dumps({**status, "message": fault.message, "reason": fault.reason}).encode()
        headers = [("Content-Type", "application/json")]
        if fault.retry_after:
            headers.append(("Retry-After", fault.retry_after))
        self._answer(fault.status, headers, body)

    def _reset(self) -> None:
        """A TCP reset: nothing more is said, not even TLS's goodbye."""
        self.close_connection = True
        raw = socket.socket(fileno=os.dup(self.connection.fileno()))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        raw.close()
