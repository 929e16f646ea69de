"""The HTTP face: three paths, plain text and JSON, nothing but the standard library."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shop import __version__


def answer(path: str, *, greeting: str, commit: str) -> tuple[int, str, str]:
    """(status, content type, body) for a GET of this path. `commit`: what the running image was built from."""
    if path == "/":
        return 200, "text/plain; charset=utf-8", f"{greeting} This is shop {__version__}.\n"
    if path == "/health":
        return 200, "application/json", json.dumps({"status": "ok"}) + "\n"
    if path == "/version":
        return 200, "application/json", json.dumps({"version": __version__, "commit": commit}) + "\n"
    return 404, "text/plain; charset=utf-8", "no such page\n"


class Shop(ThreadingHTTPServer):
    """Listens on all addresses. Port 0 picks a free one."""

    daemon_threads = True

    def __init__(self, port: int, *, greeting: str, commit: str = "unknown") -> None:
        super().__init__(("0.0.0.0", port), _Handler)
        self.greeting = greeting
        self.commit = commit


class _Handler(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        status, kind, body = answer(path, greeting=self.server.greeting, commit=self.server.commit)
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Probes ask every few seconds; only what failed is worth a line."""
        if len(args) > 1 and str(args[1]) >= "400":
            super().log_message(format, *args)
