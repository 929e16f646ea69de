"""The CNCF distribution registry, with accounts for CI's pushes, the node's pulls and the signer's look."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import bcrypt
import httpx

from sandbox.golang import provide_binaries
from sandbox.http import LOCAL
from sandbox.part import Daemon, Report, clean_environment, wait_until
from sandbox.place import Place
from sandbox.users import as_user, own_folder, user, write_private

ACCOUNTS = ("ci", "node", "signer")


class Registry:
    """Images on every address of this machine at `place.registry_port`, plain HTTP, deletion enabled."""

    name = "registry"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "registry.log"
        self.folder = place.state / "registry"
        self._daemon = Daemon("registry", self.log)

    @property
    def address(self) -> str:
        return f"http://{self.place.registry}"

    def provide(self, report: Report) -> None:
        provide_binaries("registry", report=report)

    def start(self) -> None:
        account = user(self.place, "registry")
        if not self.folder.exists():
            self._lay_out()
        programs = provide_binaries("registry", report=lambda part, message: None)
        command = [str(programs / "registry"), "serve", str(self.folder / "config.json")]
        self._daemon.start(
            as_user(account, command, reads=[programs]), env=clean_environment(OTEL_TRACES_EXPORTER="none")
        )

    def _lay_out(self) -> None:
        owner = user(self.place, "registry")
        own_folder(self.folder, owner, mode=0o711)
        own_folder(self.folder / "storage", owner)
        lines = []
        for name, reader in {
            "ci": user(self.place, "ci").id,
            "node": 0,
            "signer": user(self.place, "signer").id,
        }.items():
            password = secrets.token_urlsafe(24)
            write_private(credentials(self.place, name), f"{name}:{password}", owner=reader)
            lines.append(f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(5)).decode()}\n")
        write_private(self.folder / "htpasswd", "".join(lines), owner=owner.id)
        write_private(self.folder / "config.json", json.dumps(self._config()), owner=owner.id)

    def _config(self) -> dict[str, object]:
        """JSON is YAML."""
        return {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "storage")}, "delete": {"enabled": True}},
            "http": {"addr": f"0.0.0.0:{self.place.registry_port}", "secret": secrets.token_hex(16)},
            "auth": {"htpasswd": {"realm": "interlock sandbox", "path": str(self.folder / "htpasswd")}},
        }

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"registry at {self.address}", seconds=seconds, daemon=self._daemon)

    def _answers(self) -> bool:
        try:
            return LOCAL.get(f"{self.address}/v2/", timeout=2).status_code == 401
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self._daemon.stop()

    def sweep(self) -> None:
        """Everything it has is in the state folder."""


def credentials(place: Place, account: str) -> Path:
    """The file with `account:password` of `ci` or `signer` (readable by that user only) or `node` (by root only)."""
    return place.state / "registry" / f"{account}.auth"
