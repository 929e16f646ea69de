"""One HTTP client for the parts, which are all on this machine."""

from __future__ import annotations

import ssl

import httpx

# A client that trusts nobody's certificates, as nobody here has one: reading the machine's would take longer than an
# answer. Without kept connections, because parts are stopped and started again.
LOCAL = httpx.Client(
    verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    trust_env=False,
    timeout=30,
    limits=httpx.Limits(max_keepalive_connections=0),
)
