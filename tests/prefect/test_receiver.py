"""A signed webhook becomes one run; everything else becomes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from interlock.cli.main import main
from interlock.contract.webhook import MOST_BYTES, delivery_id, sign
from sandbox.http import LOCAL
from tasks.common.prefect_api import Api
from tasks.common.receiver import APART_SECONDS
from tests.prefect import hosts
from tests.prefect.conftest import WITH_US, Server, Worker, end, free_port, until

SECRET = "0123456789abcdef0123456789abcdef"


@dataclass
class Receiver:
    """`interlock receive` on a port of its own."""

    url: str

    def send(self, body: bytes, *, repository: str = "acme/shop", **headers: str) -> int:
        signed = headers or {"X-Interlock-Signature-256": sign(body, SECRET.encode())}
        return self.send_raw(body, repository=repository, headers=list(signed.items()))

    def send_raw(self, body: bytes, *, headers: list[tuple[str, str]], repository: str = "acme/shop") -> int:
        url = f"{self.url}/hooks/{repository}"
        return LOCAL.post(url, content=body, headers=headers).status_code


def configured(folder: Path, prefect: str, port: int, secret: str = SECRET) -> Path:
    file = folder / "hook"
    file.write_text(secret)
    file.chmod(0o600)
    entry = {"secret": str(file)}
    value: dict[str, Any] = {
        "format": 1,
        "prefect": prefect,
        "listen": f"127.0.0.1:{port}",
        "state": str(folder / "receiver"),
        "repositories": {"environments": entry, "acme/shop": entry},
    }
    return hosts.written(folder, "receiver.yaml", value)


@contextmanager
def running(folder: Path, prefect: str) -> Iterator[Receiver]:
    port = free_port()
    config = configured(folder, prefect, port)
    with (folder / "receiver.log").open("ab") as log:
        process = subprocess.Popen(
            [*WITH_US, str(Path(sys.executable).with_name("interlock")), "receive"],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "INTERLOCK_CONFIG": str(config)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    receiver = Receiver(f"http://127.0.0.1:{port}")
    try:
        until("receiver", lambda: _answers(receiver))
        yield receiver
    finally:
        end(process)
        print((folder / "receiver.log").read_text()[-2000:])  # noqa: T201 - shown when the test failed


def _answers(receiver: Receiver) -> bool:
    try:
        return LOCAL.get(f"{receiver.url}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Receiver]:
    with running(tmp_path_factory.mktemp("receiver"), server.api) as receiver:
        yield receiver


def test_hears_what_is_registered_while_it_runs(tmp_path: Path, server: Server, api: Api) -> None:
    """A hook that is registered, and a secret that is replaced count without a restart."""
    with running(tmp_path, server.api) as receiver:
        assert receiver.send(delivery(), repository="new/one") == 401
        assert main(["register", "hook", "new/one", "--secret", str(tmp_path / "hook"), *to(tmp_path)]) == 0
        time.sleep(APART_SECONDS)
        assert receiver.send(delivery(), repository="new/one") == 202
        (tmp_path / "hook").write_text("f" * 32)
        time.sleep(APART_SECONDS)
        assert receiver.send(delivery(), repository="new/one") == 401


def to(folder: Path) -> tuple[str, str]:
    return "--config", str(folder / "receiver.yaml")


def delivery(**more: Any) -> bytes:
    """A body that nobody has sent before."""
    return json.dumps({"ref": "refs/heads/main", "nonce": str(uuid4()), **more}).encode()


def runs(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.post("/flow_runs/filter", {"flows": {"name": {"any_": ["deploy"]}}})
    return found


def told(api: Api, body: bytes, repository: str = "acme/shop") -> int:
    """How many events Prefect has of a body."""
    wanted = {"filter": {"id": {"id": [str(delivery_id(repository, body))]}}}
    return int(api.post("/events/filter", wanted)["total"])


def test_a_push_starts_one_deploy(receiver: Receiver, worker: Worker, api: Api) -> None:
    """A signed delivery starts a deploy of each environment, once, and its content is not even a hint."""
    before = len(runs(api))

    assert receiver.send(delivery(environment="production", after="f" * 40), repository="environments") == 202

    until("deploy", lambda: len(runs(api)) == before + 1)
    until("deploy that ran", worker.runs)
    assert worker.runs()[-1]["values"] == {"environment": "dev", "revision": None}


def test_takes_the_header_of_forges(receiver: Receiver, api: Api) -> None:
    """GitHub's header of the same form is taken, for a repository with a slash in its name too."""
    body = delivery()

    assert receiver.send(body, **{"X-Hub-Signature-256": sign(body, SECRET.encode())}) == 202
    until("event", lambda: told(api, body) == 1)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="unsigned"),
        pytest.param([("X-Interlock-Signature-256", "sha256=" + "0" * 64)], id="forged"),
        pytest.param([("X-Interlock-Signature-256", "GOOD"), ("X-Interlock-Signature-256", "GOOD")], id="twice"),
        pytest.param([("X-Interlock-Signature-256", "GOOD"), ("X-Hub-Signature-256", "GOOD")], id="both"),
        pytest.param([("X-Hub-Signature", "GOOD")], id="other-header"),
        pytest.param([("X-Interlock-Signature-256", "GOOD"), ("X-Interlock-Signature-256", "sha1=00")], id="mixed"),
        pytest.param([("X-Interlock-Signature-256", "sha256=")], id="empty"),
    ],
)
def test_refuses_what_is_not_signed_once(receiver: Receiver, api: Api, headers: list[tuple[str, str]]) -> None:
    """No signature, a wrong one, or more than one: 401, and no event."""
    body = delivery()
    good = sign(body, SECRET.encode())

    assert receiver.send_raw(body, headers=[(name, value.replace("GOOD", good)) for name, value in headers]) == 401
    assert told(api, body) == 0


def test_refuses_a_repository_that_it_does_not_know(receiver: Receiver) -> None:
    """A delivery for an unknown repository is answered like a forged one."""
    assert receiver.send(delivery(), repository="other") == 401


def test_refuses_a_changed_body(receiver: Receiver) -> None:
    """The signature is over the raw bytes: one more space is another body."""
    body = delivery()

    assert receiver.send(body + b" ", **{"X-Interlock-Signature-256": sign(body, SECRET.encode())}) == 401


def test_a_replay_is_no_second_push(receiver: Receiver, api: Api) -> None:
    """The same signed bytes with another delivery id, another time, another header: had before, no second event."""
    body = delivery()
    signature = sign(body, SECRET.encode())
    first = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": str(uuid4())}
    second = {"X-Interlock-Signature-256": signature, "X-GitHub-Delivery": str(uuid4())}

    assert receiver.send(body, **first) == 202
    assert receiver.send(body, **second) == 200
    until("event", lambda: told(api, body) == 1)


def test_remembers_deliveries_over_a_restart(tmp_path: Path, server: Server) -> None:
    """A delivery that was passed on before a restart is still known after it."""
    body = delivery()
    with running(tmp_path, server.api) as receiver:
        assert receiver.send(body) == 202
    with running(tmp_path, server.api) as receiver:
        assert receiver.send(body) == 200


def test_a_large_body_is_refused(receiver: Receiver) -> None:
    """A megabyte is the most, signed or not, whether the length is said before or not."""
    large = b"x" * (MOST_BYTES + 1)

    assert receiver.send(large) == 413
    parts = (large[place : place + 65536] for place in range(0, len(large), 65536))
    signature = {"X-Interlock-Signature-256": sign(large, SECRET.encode())}
    answer = LOCAL.post(f"{receiver.url}/hooks/acme/shop", content=parts, headers=signature)
    assert answer.status_code == 413


def test_without_prefect_the_sender_tries_again(tmp_path: Path, server: Server) -> None:
    """While Prefect is away the answer is 503 and nothing is remembered, so that a repetition counts."""
    body = delivery()
    with running(tmp_path, f"http://127.0.0.1:{free_port()}/api") as receiver:
        assert receiver.send(body) == 503
        assert receiver.send(body) == 503
    with running(tmp_path, server.api) as receiver:
        assert receiver.send(body) == 202


def test_many_pushes_become_few_events(receiver: Receiver, api: Api) -> None:
    """Deliveries of one repository that come together become one event, or two when the first was under way."""
    from concurrent.futures import ThreadPoolExecutor

    bodies = [delivery() for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(receiver.send, bodies))

    assert answers == [202] * 12
    until("event", lambda: sum(told(api, body) for body in bodies))
    assert sum(told(api, body) for body in bodies) <= 2


@pytest.mark.parametrize("secret", ["", "short", f"{SECRET}\nshort"])
def test_does_not_start_with_a_weak_secret(tmp_path: Path, secret: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A secret that is missing or short ends the receiver with a message, instead of accepting what comes."""
    config = configured(tmp_path, "http://127.0.0.1:9/api", free_port(), secret)

    assert main(["receive", "--config", str(config)]) == 2
    assert "at least 32 characters" in capsys.readouterr().err
