"""A real git server over HTTP for these tests: `git http-backend` with one account per role."""

from __future__ import annotations

import base64
import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ACCOUNTS = {"developer": "dev-pass", "ci": "ci-pass", "cd": "cd-pass"}
READ_ONLY = frozenset({"cd"})


class GitServer(http.server.ThreadingHTTPServer):
    """Serves every bare repository below `root`; `delay` seconds may be put before each answer."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.backend = subprocess.check_output(["git", "--exec-path"], text=True).strip() + "/git-http-backend"
        self.hang = threading.Event()
        self.requests: list[str] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}.git"

    def create(self, name: str) -> Path:
        path = self.root / f"{name}.git"
        subprocess.run(["git", "init", "--bare", "--quiet", "--initial-branch=main", str(path)], check=True)
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)
        return path


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GitServer

    def log_message(self, *_: Any) -> None:
        """Tests read failures, not access logs."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.server.requests.append(f"{self.command} {self.path}")
        user = self._user()
        if self.server.hang.is_set():
            threading.Event().wait(20)
        if user is None:
            return self._answer(401, {"WWW-Authenticate": "Basic realm=git"}, b"")
        if user in READ_ONLY and "git-receive-pack" in self.path:
            return self._answer(403, {}, b"")
        done = subprocess.run(
            [self.server.backend],
            input=self._body(),
            capture_output=True,
            check=False,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": "/nonexistent",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "GIT_PROJECT_ROOT": str(self.server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "REMOTE_USER": user,
                "REMOTE_ADDR": "127.0.0.1",
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            },
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        return self._answer(int(headers.pop("Status", "200").split()[0]), headers, body)

    do_POST = do_GET

    def _user(self) -> str | None:
        kind, _, login = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(login).decode().partition(":") if kind == "Basic" else ("", "", "")
        return user if ACCOUNTS.get(user) == password and password else None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(root: Path) -> Iterator[GitServer]:
    with GitServer(root) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
