"""A registry's login goes where the registry says, and nowhere else."""

from __future__ import annotations

import httpx
import pytest

from tasks.common.registry import Login, _Auth

REGISTRY = "https://registry.example/v2/shop/web/blobs/sha256:1"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="https://evil.example/token",service="registry",scope="x"'}


def next_request(answered_by: str) -> httpx.Request | None:
    """What is asked after a challenge by that address; None when nothing is."""
    flow = _Auth(Login("ada", "hunter2")).auth_flow(httpx.Request("GET", REGISTRY))
    next(flow)
    try:
        return flow.send(httpx.Response(401, headers=CHALLENGE, request=httpx.Request("GET", answered_by)))
    except StopIteration:
        return None


@pytest.mark.parametrize(
    "elsewhere",
    ["https://storage.example/1", "https://registry.example:8443/1", "http://registry.example/1"],
)
def test_a_challenge_by_where_the_registry_redirects_to_is_not_heeded(elsewhere: str) -> None:
    """A storage would be given the registry's password by naming a token server of its own."""
    assert next_request(elsewhere) is None


def test_the_registrys_own_challenge_is_heeded() -> None:
    """Its token server is asked with the login, also when another path of it answers."""
    asked = next_request("https://registry.example/v2/elsewhere")

    assert asked is not None
    assert asked.url.host == "evil.example"
    assert asked.headers["Authorization"].startswith("Basic ")
