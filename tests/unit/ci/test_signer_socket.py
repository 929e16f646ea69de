"""What the signer takes from a socket: so much, for so long, from its own clients."""

from __future__ import annotations

import json
import os
import socket
import threading
import time

import pytest

from interlock.errors import Refused, ToolError
from tasks.ci import signatures, signer


def test_a_request_ends_with_its_half_of_the_connection() -> None:
    """However many pieces it comes in."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for _ in range(3):
            theirs.sendall(b"x" * 1000)
        theirs.shutdown(socket.SHUT_WR)

        assert signer._receive(ours, most=3000) == b"x" * 3000


def test_a_request_without_an_end_is_cut_off() -> None:
    """By its size, which the sender is told."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * 3001)

        with pytest.raises(Refused, match="a request of more than"):
            signer._receive(ours, most=3000)
        assert "larger than" in json.loads(theirs.recv(1 << 16))["error"]["message"]


def test_a_slow_request_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its time as a whole: a byte now and then keeps nobody else waiting."""
    monkeypatch.setattr(signer, "READ_SECONDS", 0.5)
    ours, theirs = socket.socketpair()
    drip = threading.Thread(target=_drip, args=(theirs,), daemon=True)
    with ours, theirs:
        drip.start()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            signer._receive(ours, most=3000)
        assert time.monotonic() - began < 60
    drip.join()


def _drip(connection: socket.socket) -> None:
    for _ in range(100):
        try:
            connection.sendall(b"x")
        except OSError:
            return
        time.sleep(0.1)


def test_who_asks_is_told_by_the_kernel() -> None:
    """A client's name; anybody else is refused, and told so."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert signer._asker(ours, {os.geteuid(): "ci"}) == "ci"
        with pytest.raises(Refused, match="may not ask"):
            signer._asker(ours, {os.geteuid() + 1: "ci"})
        assert json.loads(theirs.recv(1 << 16))["error"]["rule"] == "signer-client"


def test_what_somebody_puts_into_a_request_stays_on_one_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """A line that looks like another one of ours would be a lie in the log."""
    signer._say("ci: x\n2030-01-01 00:00:00 signer: ci: signed everything\x1b[31m")

    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b"[" * 100_000])
def test_half_an_answer_may_be_asked_for_again(answer: bytes) -> None:
    """The signer was killed, and will be back."""
    with pytest.raises(ToolError, match="without an answer") as caught:
        signatures._read(answer)
    assert caught.value.transient
