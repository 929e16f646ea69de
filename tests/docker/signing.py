"""A real signer beside a walk: the product's own process, as the sandbox's user for it."""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from interlock.ci.signing import Request
from interlock.cli.key import attestation_key
from sandbox.part import Daemon, clean_environment, wait_until
from sandbox.parts import git as git_part
from sandbox.parts import registry as registry_part
from sandbox.parts.docker import Docker
from sandbox.place import Place
from sandbox.users import as_user, own_folder, user, write_private
from tasks.common.effect import Effect
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class SignerProcess:
    """One that listens; root is CI here."""

    folder: Path
    place: Place
    public: str
    daemon: Daemon
    settings: dict[str, object]

    @property
    def socket(self) -> Path:
        return self.folder / "socket" / "signer.sock"

    @property
    def config(self) -> Path:
        return self.folder / "signer.yaml"

    @property
    def key(self) -> Path:
        """The public half's file."""
        return self.folder / "shop.key.pub"

    @property
    def said(self) -> str:
        return self.daemon.log.read_text()

    def configure(self, **changes: object) -> None:
        write_private(self.config, json.dumps({**self.settings, **changes}), owner=0, group=self.user)

    @property
    def user(self) -> int:
        return user(self.place, "signer").id

    def start(self) -> None:
        self.run()
        wait_until(self._answers, subject="signer", seconds=60, daemon=self.daemon)

    def run(self, *, role: str = "signer", groups: tuple[int, ...] = ()) -> None:
        """Start it as any role's user, without waiting for it."""
        program = Path(sys.prefix) / "bin" / "interlock"
        dying = ("setpriv", "--pdeathsig", "KILL")  # with a killed test run, whose sandbox knows nothing of it
        words: list[str | Path] = [*dying, program, "signer", "--config", self.config]
        command = as_user(user(self.place, role), words, groups=groups)
        self.daemon.start(command, env=clean_environment(HOME=str(self.folder / "state")), cwd=self.folder)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket)) == 0


@contextmanager
def signer_beside(walk: Walk) -> Iterator[SignerProcess]:
    """A signer that knows the walk's repositories, not started yet."""
    place = walk.application.place
    folder = place.state / f"signer-{uuid.uuid4().hex[:8]}"
    account = user(place, "signer")
    own_folder(folder, account, mode=0o755)
    own_folder(folder / "state", account)
    own_folder(folder / "socket", account, mode=0o755)
    made = attestation_key(folder / "shop.key", owner=(account.id, account.id))
    environments = walk.host.environment_repository.model_dump(mode="json", exclude_none=True)
    login = str(git_part.credentials(place, "signer"))
    settings: dict[str, object] = {
        "format": 1,
        "listen": str(folder / "socket" / "signer.sock"),
        "clients": ["0"],
        "builder": "ci-shop",
        "state": str(folder / "state"),
        "environment_repository": {**environments, "auth": login},
        "registry": {
            "host": place.registry,
            "auth": str(registry_part.credentials(place, "signer")),
            "insecure": True,
        },
        "repositories": {
            "shop": {"url": walk.application.remote.url, "auth": login, "key": {"file": str(folder / "shop.key")}}
        },
        "must_not_reach": [str(Docker(place).socket)],
    }
    signer = SignerProcess(folder, place, made.public, Daemon("signer", folder / "log"), settings)
    os.chmod(folder / "shop.key.pub", 0o644)  # noqa: PTH101
    signer.configure()
    try:
        yield signer
    finally:
        signer.daemon.stop()


def with_signer(walk: Walk, signer: SignerProcess) -> Walk:
    return replace(walk, host=walk.host.model_copy(update={"signer": signer.socket}))


@dataclass
class RequestRecorder(Recorder):
    """Keeps what CI asked the signer for."""

    requests: list[Request] = field(default_factory=list)

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.requests.extend(each for each in args if isinstance(each, Request))
        return await super().step(effect, *args, **kwargs)
