"""A smart-HTTP git server with an account per role: `git http-backend` behind a threaded HTTP server.

`python -m sandbox.git_server FOLDER PORT`. FOLDER holds `repositories/`, `accounts.json` ({account: SHA-256 of its
password}) and `rights.json` ({account: {repository: "read" or "write"}}), both read anew for every request.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

_PATH = re.compile(r"/(?P<repository>[a-z0-9][a-z0-9._-]*)\.git/(?P<rest>info/refs|git-upload-pack|git-receive-pack)")
_BLOCK = 65536
_SECONDS = 300


class GitServer(ThreadingHTTPServer):
    """Serves the repositories of one folder on loopback."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder = folder

    def account(self, header: str | None) -> str | None:
        """Whose name and password the Authorization header carries; None when they are nobody's."""
        scheme, _, encoded = (header or "").partition(" ")
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return None
        expected = json.loads((self.folder / "accounts.json").read_text()).get(name, "")
        given = hashlib.sha256(password.encode()).hexdigest()
        return name if scheme.lower() == "basic" and hmac.compare_digest(given, expected) else None

    def right(self, account: str, repository: str) -> str | None:
        """ "read", "write" or None."""
        rights = json.loads((self.folder / "rights.json").read_text())
        right: str | None = rights.get(account, {}).get(repository)
        return right


class _Handler(BaseHTTPRequestHandler):
    server: GitServer
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        match = _PATH.fullmatch(path)
        if match is None:
            return self._refuse(404, f"{path}: no such repository or service")
        account = self.server.account(self.headers["Authorization"])
        if account is None:
            return self._refuse(401, "name and password are asked for, and must be an account's")
        service = query.removeprefix("service=") if match["rest"] == "info/refs" else match["rest"]
        if service not in {"git-upload-pack", "git-receive-pack"}:
            return self._refuse(403, "only the smart protocol is served")
        right = self.server.right(account, match["repository"])
        if right is None or (service == "git-receive-pack" and right != "write"):
            wish = "push to" if service == "git-receive-pack" else "read"
            return self._refuse(403, f"account {account} may not {wish} {match['repository']}")
        return self._backend(path, query, account)

    def _refuse(self, status: int, reason: str) -> None:
        body = f"{reason}\n".encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="interlock sandbox"')
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # the request's body was not read
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _backend(self, path: str, query: str, account: str) -> None:
        backend = subprocess.Popen(
            ["git", "http-backend"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment(path, query, account),
        )
        assert backend.stdin and backend.stdout  # noqa: S101 -- both are pipes
        feeder = threading.Thread(target=self._feed, args=(backend.stdin,), daemon=True)
        feeder.start()
        with backend:
            self._answer(backend.stdout)
            feeder.join(_SECONDS)

    def _environment(self, path: str, query: str, account: str) -> dict[str, str]:
        folder = self.server.folder
        given = {
            "CONTENT_TYPE": self.headers["Content-Type"],
            "CONTENT_LENGTH": self.headers["Content-Length"],
            "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"],
            "GIT_PROTOCOL": self.headers["Git-Protocol"],
        }
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROJECT_ROOT": str(folder / "repositories"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": account,
            "REMOTE_ADDR": self.client_address[0],
            **{name: value for name, value in given.items() if value},
        }

    def _feed(self, sink: IO[bytes]) -> None:
        """The request's body, decoded from chunks if it comes in chunks, into the backend."""
        try:
            for block in self._body():
                sink.write(block)
            sink.close()
        except (BrokenPipeError, ConnectionError, ValueError) as error:
            self.close_connection = True
            self.log_error("request body: %s", error)

    def _body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline(100).split(b";")[0], 16):
                yield from self._blocks(size)
                self.rfile.readline(100)
            while self.rfile.readline(_BLOCK).strip():
                pass  # trailers
        else:
            yield from self._blocks(int(self.headers.get("Content-Length", 0)))

    def _blocks(self, size: int) -> Iterator[bytes]:
        while size > 0:
            block = self.rfile.read(min(size, _BLOCK))
            if not block:
                raise ConnectionError(f"ended {size} bytes early")
            size -= len(block)
            yield block

    def _answer(self, source: IO[bytes]) -> None:
        """The backend's CGI answer, its body in chunks as it comes."""
        headers = [line.decode().rstrip().partition(": ") for line in iter(source.readline, b"\r\n") if line.strip()]
        fields = {name: value for name, _, value in headers}
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while block := source.read1(_BLOCK):  # type: ignore[attr-defined]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")


if __name__ == "__main__":
    GitServer(Path(sys.argv[1]), int(sys.argv[2])).serve_forever()
