"""A real HTTPS proxy in front of the API server that fails as it is told (tests.faulty has the faults)."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import yaml

from sandbox.parts.kubernetes import authority
from sandbox.place import Place
from tests.faulty import Answer, Fault, Handler, Proxy, Server, serving


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
    try:
        with serving(server):
            yield proxy
    finally:
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


class _Server(Server):
    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext):
        self._context = context
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake in the connection's own thread: a slow client stops nobody else."""
        request.settimeout(70)
        with self._context.wrap_socket(request, server_side=True) as wrapped:
            self.RequestHandlerClass(wrapped, client_address, self)  # type: ignore[arg-type]  # it is one


class _Handler(Handler):
    upstream: _Upstream
    disable_nagle_algorithm = True
    hop = Handler.hop | {"host"}
    _kept: dict[bool, http.client.HTTPSConnection]

    def setup(self) -> None:
        super().setup()
        self._kept = {}

    def finish(self) -> None:
        for connection in self._kept.values():
            connection.close()
        super().finish()

    def asked(self, body: bytes) -> Answer:
        token = "Authorization" in self.headers
        connection = self._kept.get(token) or self.upstream.connect(token=token)
        self._kept[token] = connection
        try:
            connection.request(self.command, self.path, body=body or None, headers=self.passed_on())
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException):
            # The server is gone, or closed what it kept: the client sees what the network would show.
            self._kept.pop(token).close()
            self.reset()
            raise

    def refuse(self, fault: Fault) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.status}
        body = json.dumps({**status, "message": fault.message, "reason": fault.reason}).encode()
        headers = [("Content-Type", "application/json")]
        if fault.retry_after:
            headers.append(("Retry-After", fault.retry_after))
        self.answer(fault.status, headers, body)

    def reset(self) -> None:
        """Nothing more is said, not even TLS's goodbye."""
        self.close_connection = True
        raw = socket.socket(fileno=os.dup(self.connection.fileno()))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        raw.close()
