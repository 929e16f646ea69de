"""`interlock receive`: a git server's webhook becomes an event in Prefect, which only means "fetch now".

Answers: 202 told Prefect, 200 had it before, 401 not signed as it must be, 413 too large, 503 Prefect is away.
A sender tries again after 503; polling catches what is lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from interlock.contract.host import ReceiverHost
from interlock.contract.webhook import EVENT, MOST_BYTES, delivery_id, read_secrets, resource, verify
from interlock.errors import HostConfigError, PrefectError, Refused
from tasks.common.prefect_api import authorization
from tasks.common.redaction import know

REMEMBERED = 10_000
APART_SECONDS = 1.0
"""Pushes that come closer together than this become one event."""

Secrets = Mapping[str, tuple[bytes, ...]]
log = logging.getLogger("uvicorn.error")


def receive(host: ReceiverHost, again: Callable[[], ReceiverHost]) -> None:
    """Serve until SIGTERM or SIGINT; HostConfigError when a secret is missing, short, or readable for everybody.

    `again` reads the host's file once more: what is registered or replaced there counts without a restart.
    """
    secrets = Registered(host, again)
    address, _, port = host.listen.rpartition(":")
    app = application(secrets, seen=Seen(host.state / "deliveries"), events=Events(host.prefect))
    uvicorn.run(app, host=address.strip("[]"), port=int(port), log_level="info", access_log=False, server_header=False)


class Registered:
    """Each repository's secrets, as the host's file has them: it is read again, at most once a second."""

    def __init__(self, host: ReceiverHost, again: Callable[[], ReceiverHost]) -> None:
        self._secrets = load_secrets(host)
        self._again = again
        self._looked = time.monotonic()

    def of(self, repository: str) -> tuple[bytes, ...]:
        """None of them when the repository is not registered."""
        if time.monotonic() - self._looked > APART_SECONDS:
            self._looked = time.monotonic()
            try:
                hooks = self._again().repositories
            except HostConfigError as error:
                log.warning("the host's file was changed and is wrong now; what it said before counts: %s", error)
            else:
                self._secrets = {name: _secrets_or_none(hook.secret) for name, hook in hooks.items()}
        return self._secrets.get(repository, ())


def _secrets_or_none(file: Path) -> tuple[bytes, ...]:
    """A file that is wrong now is no reason to go on with what it held: its hook is closed, and no other one."""
    try:
        return _secrets(file)
    except HostConfigError as error:
        log.warning("nothing is taken for this hook: %s", error)
        return ()


def load_secrets(host: ReceiverHost) -> Secrets:
    if not host.repositories:
        raise HostConfigError("the receiver knows no repository", hint="interlock register hook NAME --secret FILE")
    return {name: _secrets(hook.secret) for name, hook in host.repositories.items()}


def _secrets(file: Path) -> tuple[bytes, ...]:
    try:
        with file.open() as opened:
            if os.fstat(opened.fileno()).st_mode & stat.S_IRWXO:
                raise HostConfigError(f"{file} can be read by everybody", hint=f"chmod o= {file}")
            secrets = read_secrets(opened.read(), path=str(file))
            know(*secrets)
            return secrets
    except (OSError, UnicodeDecodeError) as error:
        raise HostConfigError(f"{file}: {error}") from error


class Seen:
    """Which deliveries were passed on, the newest ten thousand, in a file that a restart reads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ids: OrderedDict[str, None] = OrderedDict()
        with suppress(FileNotFoundError):
            self._ids.update(dict.fromkeys(file.read_text().split()[-REMEMBERED:]))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{one}\n" for one in self._ids))
        except OSError as error:
            raise HostConfigError(f"{file}: {error}", hint="the receiver's user must be able to write it") from error

    def __contains__(self, delivery: UUID) -> bool:
        return str(delivery) in self._ids

    def add(self, delivery: UUID) -> None:
        self._ids[str(delivery)] = None
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)
        with self._file.open("a") as file:
            file.write(f"{delivery}\n")


class Events:
    """Tells Prefect of pushes, at most one a second for each repository, without keeping the first one waiting."""

    def __init__(self, prefect: str) -> None:
        self._url = f"{prefect.rstrip('/')}/events"
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, float] = {}
        self._client: httpx.AsyncClient | None = None

    async def push(self, repository: str, delivery: UUID) -> None:
        """Return when Prefect has it, or a later one of the same repository; PrefectError when it does not answer."""
        if repository not in self._waiting:
            self._waiting[repository] = asyncio.create_task(self._tell(repository, delivery))
        await asyncio.shield(self._waiting[repository])

    async def _tell(self, repository: str, delivery: UUID) -> None:
        now = asyncio.get_running_loop().time()
        try:
            await asyncio.sleep(self._told.get(repository, now - APART_SECONDS) + APART_SECONDS - now)
        finally:
            del self._waiting[repository]
        self._told[repository] = asyncio.get_running_loop().time()
        await self._post(repository, delivery)

    async def _post(self, repository: str, delivery: UUID) -> None:
        event = {
            "id": str(delivery),
            "occurred": datetime.now(UTC).isoformat(),
            "event": EVENT,
            "resource": {"prefect.resource.id": resource(repository), "prefect.resource.name": repository},
        }
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=10, auth=authorization(), trust_env=False)
        try:
            (await self._client.post(self._url, json=[event])).raise_for_status()
        except httpx.HTTPError as error:
            raise PrefectError(f"Prefect at {self._url}: {error or type(error).__name__}", transient=True) from error


def application(secrets: Registered, *, seen: Seen, events: Events) -> Starlette:
    """The receiver as an ASGI application."""

    async def hook(request: Request) -> Response:
        repository = request.path_params["repository"]
        body = await _body(request)
        if body is None:
            return PlainTextResponse(f"larger than {MOST_BYTES} bytes\n", 413)
        try:
            verify(request.headers.items(), body, secrets.of(repository), now=time.time())
        except Refused as refusal:
            return PlainTextResponse(f"refused: {refusal.rule}\n", 401)
        return await pass_on(repository, delivery_id(repository, body))

    async def pass_on(repository: str, delivery: UUID) -> Response:
        if delivery in seen:
            return PlainTextResponse("had it before\n", 200)
        try:
            await events.push(repository, delivery)
        except PrefectError as error:
            return PlainTextResponse(f"not now: {error.message}\n", 503, headers={"Retry-After": "10"})
        seen.add(delivery)
        return PlainTextResponse("told Prefect\n", 202)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[Route("/hooks/{repository:path}", hook, methods=["POST"]), Route("/health", health, methods=["GET"])]
    )


async def _body(request: Request) -> bytes | None:
    """The raw body, or None when it is too large, whatever its length says that it is."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)
