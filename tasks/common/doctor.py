"""What every host needs, looked at without changing anything: files, keys, git, Prefect, and the clock."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from interlock.contract import signature
from interlock.contract.builtin import Half
from interlock.contract.doctor import Check, checked
from interlock.contract.host import HostFile, Remote, Signing
from interlock.contract.report import counted
from interlock.errors import ClockWrong, HostConfigError, PrefectError, ToolError
from tasks.common import git
from tasks.common.alive import require_alive
from tasks.common.clock import TOLERANCE
from tasks.common.declare import declare, wanted
from tasks.common.environment_repository import VerifiedHead, fetch_verified
from tasks.common.prefect_api import TIMEOUT_SECONDS, Api, authorization, connected


def common(
    half: Half, host: HostFile, *, since: str | None, grounds: Any, more: Sequence[Signing] = ()
) -> Iterator[Check]:
    """The checks of both halves. `since` is the head that this host verified last, `more` are keys besides its own."""
    yield checked("state folder", lambda: _state(host.state))
    yield checked("signing key", lambda: _key(host.signing.key))
    for each in more:
        yield checked(f"key of {each.signer}", lambda each=each: _key(each.key))  # type: ignore[misc]
    remote = host.environment_repository
    yield checked("account for git", lambda: auth(remote))
    heads: list[VerifiedHead] = []
    yield checked("environment repository", lambda: _verified(host, since, heads))
    if heads:
        yield checked("key in trust", lambda: _trusted(half, host.signing, heads[0]))
        for each in more:
            yield checked(f"{each.signer} in trust", lambda each=each: _trusted(half, each, heads[0]))  # type: ignore[misc]
    yield checked("Prefect", lambda: _prefect(host.prefect))
    yield checked("pools and deployments", lambda: _declared(half, host.prefect, grounds))
    yield checked("worker", lambda: f"gave a sign of life {require_alive(host.state):.0f} s ago")


def require_own(state: Path) -> None:
    """HostConfigError when mirrors are another user's: fetching into them, or making them, would spoil them."""
    if state.exists() and state.stat().st_uid != os.geteuid():
        raise HostConfigError(
            f"not asked: the mirrors in {state} are user {state.stat().st_uid}'s", hint="run doctor as that user"
        )


def _state(folder: Path) -> str:
    try:
        found = folder.stat()
    except OSError as error:
        raise HostConfigError(
            f"{folder}: {error.strerror}", hint=f"install -d -m 0700 -o <the worker's user> {folder}"
        ) from None
    if found.st_uid != os.geteuid():
        raise HostConfigError(
            f"{folder} belongs to user {found.st_uid}, this is user {os.geteuid()}",
            hint="run doctor as the worker's user, or chown the folder to it",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise HostConfigError(f"{folder} is writable for others", hint=f"chmod go-w {folder}")
    return f"{folder}, writable for this user alone"


def _key(path: Path) -> str:
    return f"{path}: {signature.fingerprint(signature.public_key(git.read_key(path)))}"


def auth(remote: Remote) -> str:
    """That the file with a remote's account is there, closed to others, and of the right form."""
    if remote.auth is None:
        return "none is needed by cd.yaml or ci.yaml"
    git.require_login(remote)
    return f"{remote.auth}"


def _verified(host: HostFile, since: str | None, heads: list[VerifiedHead]) -> str:
    require_own(host.state)
    heads.append(fetch_verified.fn(host.environment_repository, state=host.state, since=since))
    return f"{host.environment_repository.url}: verified up to {heads[0].commit[:12]}"


def _trusted(half: Half, signing: Signing, head: VerifiedHead) -> str:
    """CI's key signs commits and has to be a machine's in trust; CD's signs receipts, which no commit's rule reads."""
    mine = signature.key_blob(signature.public_key(git.read_key(signing.key)))
    for signer in head.repository.signers:
        if mine in {signature.key_blob(key) for key in signer.all_keys}:
            return _named(half, signing.signer, signer.name, machine=signer.machine)
    if half == "cd":
        return "not in trust/signers.yaml, which a key for receipts need not be"
    raise HostConfigError(
        f"the key is not in trust/signers.yaml of {head.commit[:12]}",
        hint=f"a person commits it, signed: interlock trust add {signing.signer} --machine --key {signing.key}.pub",
    )


def _named(half: Half, own: str, found: str, *, machine: bool) -> str:
    if half == "ci" and found != own:
        raise HostConfigError(
            f"the key is {found}'s in trust/signers.yaml, and this host calls itself {own}",
            hint="correct the name beside the key's file in ci.yaml",
        )
    if half == "ci" and not machine:
        raise HostConfigError(
            f"{found} is no machine in trust/signers.yaml: CI's key could write everything that people may",
            hint="set `machine: true` there",
        )
    return f"it is {found}'s in trust/signers.yaml"


# Prefect ---------------------------------------------------------------------------------------------


def _prefect(address: str) -> str:
    try:
        answer = httpx.get(
            f"{address.rstrip('/')}/admin/version", timeout=TIMEOUT_SECONDS, auth=authorization(), trust_env=False
        )
    except httpx.HTTPError as error:
        raise PrefectError(
            f"{address}: {error or type(error).__name__}", hint="start its server, or correct `prefect`"
        ) from None
    if answer.is_error:
        raise PrefectError(
            f"{address} answers {answer.status_code}", hint="set PREFECT_API_AUTH_STRING, where it asks for one"
        )
    require_clock(answer.headers.get("Date", ""), whose="Prefect's")
    return f"{address}: version {str(answer.text).strip().strip(chr(34))}"


def require_clock(date: str, *, whose: str) -> str:
    """ClockWrong when an answer's Date is more than a minute from this host's clock."""
    try:
        there = parsedate_to_datetime(date)
    except ValueError:
        return f"{whose} answers say no time"
    apart = abs(dt.datetime.now(dt.UTC) - there)
    if apart > TOLERANCE:
        raise ClockWrong(
            f"this host's clock and {whose} are {apart.total_seconds():.0f} s apart",
            hint="let both follow one time server (`timedatectl set-ntp true`)",
        )
    return f"{apart.total_seconds():.0f} s from {whose}"


class _Looking(Api):
    """Prefect's API for one who changes nothing: what would be written is not sent."""

    def post(self, path: str, body: object) -> Any:
        return super().post(path, body) if path.endswith("/filter") else {"id": "00000000-0000-0000-0000-000000000000"}

    def put(self, path: str, body: object) -> Any:
        return {}

    def patch(self, path: str, body: object) -> Any:
        return None

    def delete(self, path: str) -> Any:
        return None


def _declared(half: Half, address: str, grounds: Any) -> str:
    declaration = wanted(half, grounds)
    with connected(address, kind=_Looking) as api:
        changes = declare(api, declaration)
    if changes:
        more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        raise ToolError(
            f"not as declared: {changes[0].replace('created', 'is missing').replace('put back', 'was edited')}{more}",
            hint=f"interlock declare {half}; a worker does it by itself",
        )
    pools, deployments = counted(len(declaration.pools), "pool"), counted(len(declaration.deployments), "deployment")
    return f"{pools} and {deployments} are as declared"
