"""HTTP/1.1 with an API server, on urllib3's connections: it connects, verifies and pools them.

What is said on one is written and read here, because http.client takes more of the processor than the server's TLS:
it reads headers as e-mail, and writes a request in two pieces. httptools reads as Node.js does.
"""

from __future__ import annotations

import http.client
from typing import Any

import httptools
import urllib3.connection

_PIECE = 1 << 14
"""What one TLS record may hold: the connection gives no more at once."""
_DEFAULT_PORT = 443


class Headers(dict[str, str]):
    """By name, however that is written."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Answer:
    """One answer, read whole. What urllib3's pool asks of a response is here, too."""

    length_remaining = 0
    version_string = "HTTP/1.1"

    def __init__(self, status: int, headers: Headers, data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data

    def get_redirect_location(self) -> bool:
        """Nobody is followed to another place."""
        return False


class _Reading:
    """The parser's view of one answer. What comes behind that is nobody's, and the connection ends with it."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.answer: Answer | None = None
        self.keep = self._begun = self._headed = False
        self._headers = Headers()
        self._body: list[bytes] = []

    def on_message_begin(self) -> None:
        self._begun, self.keep = True, False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() >= http.HTTPStatus.OK and not self.answer:
            self.answer, self.keep = self._whole(), bool(self.parser.should_keep_alive())
        self._headers, self._headed = Headers(), False  # this one only said that another comes

    def end(self) -> Answer:
        """The answer when the connection has ended; an HTTPException, unless that is what says how long it is."""
        if not self._begun:
            raise http.client.RemoteDisconnected("the server ended the connection without an answer")
        if not self._headed or self._headers.keys() & {"content-length", "transfer-encoding"}:
            raise http.client.IncompleteRead(b"")
        return self._whole()

    def _whole(self) -> Answer:
        return Answer(self.parser.get_status_code(), self._headers, b"".join(self._body))


class Connection(urllib3.connection.HTTPSConnection):
    """A kept-alive connection. Requests have a body in memory, or none."""

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Any = None,
        **_options: Any,
    ) -> None:
        said = {"Host": self._named, "Accept-Encoding": "identity", **(headers or {})}
        if body is not None:
            said["Content-Length"] = str(len(body))
        lines = (f"{method} {url} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()))
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header has a line's end in it")
        self.sock.settimeout(self.timeout)
        self.sock.sendall("\r\n".join((*lines, "", "")).encode("latin-1") + (body or b""))

    @property
    def _named(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORT else f"{host}:{self.port}"

    def getresponse(self) -> Any:
        """The whole answer; an HTTPException when it is none, or half of one."""
        self.sock.settimeout(self.timeout)
        reading = _Reading()
        answer = self._read(reading)
        if not reading.keep:
            self.close()
        return answer

    def _read(self, reading: _Reading) -> Answer:
        feed = reading.parser.feed_data
        try:
            while reading.answer is None:
                data = self.sock.recv(_PIECE)
                if not data:
                    return reading.end()
                feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise http.client.HTTPException(f"this is no HTTP: {error}") from error
        return reading.answer
