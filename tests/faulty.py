"""Servers that fail as they are told: by method, by path, for the n-th request. Who stands behind them is another's."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Failure = Literal["refuse", "reset", "lost", "half", "slow"]
Answer = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers, body."""


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


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections end in all ways here."""


@contextmanager
def serving(server: Server) -> Iterator[None]:
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Passes on what comes, unless a fault is due."""

    proxy: Proxy
    protocol_version = "HTTP/1.1"
    hop = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})
    """Headers that are of one connection alone."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.body()
        fault = self.proxy.due(self.command, self.path)
        if fault is None:
            self.answer(*self.asked(body))
        elif fault.failure == "refuse":
            self.refuse(fault)
        elif fault.failure == "slow":
            time.sleep(fault.seconds)
            self.answer(*self.asked(body))
        elif fault.failure == "half":
            self.answer(*self.asked(body), half=True)
        else:
            if fault.failure == "lost":
                self.asked(body)
            self.reset()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def asked(self, body: bytes) -> Answer:
        """What the server behind says."""
        raise NotImplementedError

    def refuse(self, fault: Fault) -> None:
        """As the server behind would."""
        raise NotImplementedError

    def reset(self) -> None:
        """A TCP reset."""
        raise NotImplementedError

    def passed_on(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.lower() not in self.hop}

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, half: bool = False) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in self.hop:
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), "")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self.wfile.flush()
            self.close_connection = True
