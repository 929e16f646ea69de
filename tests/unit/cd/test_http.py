"""What is said on a connection to an API server, by two ends of a real socket."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tasks.cd.connection import Answer, Connection

OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Ends:
    ours: Connection
    theirs: socket.socket

    def answered(self, *pieces: bytes, ends: bool = False) -> Answer:
        """What we make of an answer that comes in pieces."""
        for piece in pieces:
            self.theirs.sendall(piece)
        if ends:
            self.theirs.close()
        answer: Answer = self.ours.getresponse()
        return answer


@pytest.fixture
def ends() -> Iterator[Ends]:
    one, other = socket.socketpair()
    connection = Connection("cluster.example", 6443, timeout=5)
    connection.sock = one
    with other:
        yield Ends(connection, other)
        with suppress(OSError):
            connection.close()


def test_a_request_is_one_piece(ends: Ends) -> None:
    """Host, length and all headers, then the body."""
    ends.ours.request("PATCH", "/api?a=b", body=b"{}", headers={"Accept": "application/json"})
    head, _, body = ends.theirs.recv(1 << 16).partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"PATCH /api?a=b HTTP/1.1",
        b"Host: cluster.example:6443",
        b"Accept-Encoding: identity",
        b"Accept: application/json",
        b"Content-Length: 2",
    ]
    assert body == b"{}"


def test_a_request_without_a_body_names_no_length(ends: Ends) -> None:
    """And the usual port is not named."""
    ends.ours.host, ends.ours.port = "::1", 443
    ends.ours.request("GET", "/version")
    said = b"GET /version HTTP/1.1\r\nHost: [::1]\r\nAccept-Encoding: identity\r\n\r\n"
    assert ends.theirs.recv(1 << 16) == said


@pytest.mark.parametrize(("url", "token"), [("/a", "x\r\nHost: b"), ("/a", "x\nb: c"), ("/a\r\nb: c", "x")])
def test_no_line_is_smuggled_into_a_request(ends: Ends, url: str, token: str) -> None:
    """Whatever a file with a token holds."""
    with pytest.raises(ValueError, match="a header has a line's end in it"):
        ends.ours.request("GET", url, headers={"Authorization": token})


@pytest.mark.parametrize(
    "pieces",
    [
        (OK + b"Content-Length: 4\r\n\r\nabcd",),
        (OK + b"Content-", b"Length: 4\r\n\r\nab", b"cd"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"3\r\nb", b"cd\r\n0\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n", OK + b"Content-Length: 4\r\n\r\nabcd"),
    ],
)
def test_an_answer_is_read_whole(ends: Ends, pieces: tuple[bytes, ...]) -> None:
    """However it is cut, and the connection is kept."""
    answer = ends.answered(*pieces)
    assert (answer.status, answer.data, answer.headers.get("A")) == (200, b"abcd", None)
    assert not ends.ours.is_closed


def test_headers_are_found_however_they_are_written(ends: Ends) -> None:
    """A refusal may name a time to wait."""
    answer = ends.answered(b"HTTP/1.1 429 Too Many Requests\r\nretry-AFTER: 7\r\nContent-Length: 0\r\n\r\n")
    assert (answer.status, answer.headers.get("Retry-After"), answer.data) == (429, "7", b"")


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
        OK + b"Content-Length: 2\r\n\r\nab" + OK + b"Content-Length: 1\r\n\r\nc",
    ],
)
def test_a_connection_is_not_kept_when_it_ends_or_says_more_than_was_asked(ends: Ends, answer: bytes) -> None:
    """Or else the next request would get what was meant for another."""
    assert ends.answered(answer).data == b"ab"
    assert ends.ours.is_closed


def test_an_answer_may_last_as_long_as_its_connection(ends: Ends) -> None:
    """Some proxies still say no length."""
    assert ends.answered(b"HTTP/1.0 503 Busy\r\n\r\nlater", ends=True).data == b"later"
    assert ends.ours.is_closed


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", http.client.RemoteDisconnected),
        (b"HTTP/1.1 20", http.client.IncompleteRead),
        (OK + b"Content-Length: 9\r\n", http.client.IncompleteRead),
        (OK + b"Content-Length: 9\r\n\r\nabcd", http.client.IncompleteRead),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", http.client.IncompleteRead),
        (b"SSH-2.0-OpenSSH_9.2\r\n", http.client.HTTPException),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabcd", http.client.HTTPException),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", http.client.HTTPException),
    ],
)
def test_half_an_answer_is_none(ends: Ends, said: bytes, error: type[Exception]) -> None:
    """Nor is what is no HTTP."""
    with pytest.raises(error):
        ends.answered(said, ends=True)
