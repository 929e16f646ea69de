"""Asking the signer, and keeping what it signed in the registry."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from interlock.ci import signing
from interlock.ci.signing import Request, Signed
from interlock.contract.host import Registry
from interlock.errors import Refused, ToolError
from tasks.ci.referrers import keep_signed
from tasks.common.effect import effect

_SECONDS = 180.0
"""The signer fetches two repositories before it answers, and may be busy with another component."""
_MOST_ANSWER_BYTES = 512 << 20


@effect(name="sign", retries=3)
def request_signatures(listening: Path, request: Request) -> Signed:
    """What the signer at this socket signs. Refused when it does not, ToolError when it is away."""
    image = request.facts.image
    answer = _read(_ask(listening, request.model_dump_json().encode()))
    if error := answer.get("error"):
        told = {key: str(error.get(key, "")) for key in ("message", "hint", "rule")}
        if told["rule"]:
            raise Refused(told["message"], rule=told["rule"], hint=told["hint"])
        raise ToolError(told["message"], hint=told["hint"], transient=error.get("transient") is True)
    return signing.read_signed(answer, image=image)


def _ask(listening: Path, request: bytes) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(listening))
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            except BrokenPipeError:
                pass  # it has heard enough, and says why
            return _receive(connection)
    except OSError as error:
        raise ToolError(
            f"the signer at {listening}: {error.strerror or error}",
            hint="does `interlock signer` run on this host?",
            transient=True,
        ) from error


def _read(answer: bytes) -> dict[str, Any]:
    try:
        read = json.loads(answer)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise ToolError(
            f"the signer ended after {len(answer)} bytes, without an answer", hint="see its log", transient=True
        )
    return read


def _receive(connection: socket.socket) -> bytes:
    answer = bytearray()
    while piece := connection.recv(1 << 16):
        answer += piece
        if len(answer) > _MOST_ANSWER_BYTES:
            raise ToolError(f"the signer's answer is larger than {_MOST_ANSWER_BYTES >> 20} MiB")
    return bytes(answer)


@effect(name="attach signatures", retries=2)
def attach_signatures(registry: Registry, signed: Signed, *, image: str) -> None:
    """Keep signature and attestations in the registry, in both forms that cosign knows."""
    repository, _, image_digest = image.partition("@")
    kept = signing.kept(signed)
    keep_signed(
        registry,
        repository=repository,
        image_digest=image_digest,
        bundles=kept.bundles,
        signatures=kept.signatures,
        attestations=kept.attestations,
    )
