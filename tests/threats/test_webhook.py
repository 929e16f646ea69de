"""Somebody forges or replays a webhook, to have something deployed, or to keep the workers busy.

Number: 20
Defence: HMAC over the raw body with a secret of the repository's own, the same signed bytes passed on once, whatever
id a header gives them (interlock/contract/webhook.py, tasks/common/receiver.py). What a delivery says is never used:
it only means "fetch now".
Not defended: who has a hook's secret can have branches fetched as often as once a second. Who floods the port can keep
deliveries out; polling goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from interlock.contract.host import Hook, ReceiverHost
from interlock.contract.webhook import delivery_id, sign, sign_standard
from tasks.common import receiver
from tasks.common.prefect_api import Api
from tests.prefect.conftest import Server, until

SECRET = "0123456789abcdef0123456789abcdef"
Send = Callable[..., "httpx.Response"]


@pytest.fixture
async def client(tmp_path: Path, prefect_server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """The receiver, which tells the real Prefect."""
    secret = tmp_path / "hook"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    host = ReceiverHost(format=1, prefect=prefect_server.api, repositories={"environments": Hook(secret=secret)})
    app = receiver.application(
        receiver.Registered(host, lambda: host),
        seen=receiver.Seen(tmp_path / "seen"),
        events=receiver.Events(prefect_server.api),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as client:
        yield client


def body() -> bytes:
    """That nobody has sent before, and that asks for more than a fetch."""
    return json.dumps({"after": "f" * 40, "environment": "production", "nonce": str(uuid4())}).encode()


def forge_headers(sent: bytes) -> dict[str, dict[str, str]]:
    now = str(int(time.time()))
    old = str(int(time.time()) - 3600)
    key = SECRET.encode()
    return {
        "nothing": {},
        "another secret": {"X-Hub-Signature-256": sign(sent, b"guessed" * 6)},
        "an empty secret": {"X-Hub-Signature-256": sign(sent, b"")},
        "another body's": {"X-Hub-Signature-256": sign(sent + b" ", key)},
        "SHA-1": {"X-Hub-Signature": "sha1=" + "0" * 40},
        "GitLab's token": {"X-Gitlab-Token": SECRET},
        "an old time": {
            "webhook-id": "1",
            "webhook-timestamp": old,
            "webhook-signature": sign_standard(sent, key, delivery="1", time=old),
        },
        "another time": {
            "webhook-id": "1",
            "webhook-timestamp": now,
            "webhook-signature": sign_standard(sent, key, delivery="1", time=old),
        },
    }


def events(api: Api, sent: bytes) -> int:
    wanted = {"filter": {"id": {"id": [str(delivery_id("environments", sent))]}}}
    return int(api.post("/events/filter", wanted)["total"])


async def test_a_forged_delivery_succeeds_where_nothing_verifies_it(
    client: httpx.AsyncClient, prefect_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody who reaches the port makes events in Prefect."""
    monkeypatch.setattr(receiver, "verify", lambda *_, **__: None)
    sent = body()

    assert (await client.post("/hooks/environments", content=sent)).status_code == 202
    until("event", lambda: events(prefect_api, sent) == 1)


@pytest.mark.parametrize("kind", forge_headers(b""))
async def test_a_forged_delivery_is_refused(client: httpx.AsyncClient, prefect_api: Api, kind: str) -> None:
    """Unsigned, wrongly signed, too old, or only with a token that covers nothing: 401, and no event."""
    sent = body()

    answer = await client.post("/hooks/environments", content=sent, headers=forge_headers(sent)[kind])

    assert answer.status_code == 401
    assert events(prefect_api, sent) == 0


async def test_a_replay_succeeds_where_only_the_id_is_looked_at(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header with a delivery's id is not signed: a new one makes an old delivery a new one."""
    monkeypatch.setattr(receiver, "delivery_id", lambda *_: uuid4())
    sent = body()
    answers = [
        await client.post(
            "/hooks/environments", content=sent, headers={"X-Hub-Signature-256": sign(sent, SECRET.encode())}
        )
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [202, 202]


async def test_a_replay_is_refused(client: httpx.AsyncClient, prefect_api: Api) -> None:
    """The same bytes with other ids, in another header, are the delivery that was there before: one event."""
    sent = body()
    signature = sign(sent, SECRET.encode())
    answers = [
        await client.post(
            "/hooks/environments", content=sent, headers={name: signature, "X-GitHub-Delivery": str(uuid4())}
        )
        for name in ("X-Hub-Signature-256", "X-Hub-Signature-256", "X-Interlock-Signature-256")
    ]

    assert [answer.status_code for answer in answers] == [202, 200, 200]
    until("event", lambda: events(prefect_api, sent) == 1)


async def test_what_a_delivery_says_reaches_nobody(client: httpx.AsyncClient, prefect_api: Api) -> None:
    """A well signed one for another environment and commit makes the event of any other."""
    sent = body()
    await client.post("/hooks/environments", content=sent, headers={"X-Hub-Signature-256": sign(sent, SECRET.encode())})
    until("event", lambda: events(prefect_api, sent) == 1)

    wanted = {"filter": {"id": {"id": [str(delivery_id("environments", sent))]}}}
    (event,) = prefect_api.post("/events/filter", wanted)["events"]
    assert event["payload"] == {} and "production" not in json.dumps(event) and "f" * 40 not in json.dumps(event)
