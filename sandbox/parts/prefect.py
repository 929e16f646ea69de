"""A real Prefect server with a SQLite database of its own."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import httpx

from sandbox.http import LOCAL
from sandbox.part import Daemon, Report, clean_environment, wait_until
from sandbox.place import Place, cache_root
from sandbox.provision import only_one, run_reported
from sandbox.users import as_user, own_folder, user

_PROGRAM = Path(sys.prefix) / "bin" / "prefect"
QUIET = {
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "15",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT60S",
}
"""Of what a server does at its start and every few seconds, less: its blocks, and what nobody here waits for."""


class Prefect:
    """API and UI on 127.0.0.1. Its database may be wiped at any time: `wipe`."""

    name = "prefect"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "prefect.log"
        self.home = place.state / "prefect"
        self._daemon = Daemon("prefect", self.log)

    @property
    def address(self) -> str:
        """The UI; the API is below it."""
        return f"http://127.0.0.1:{self.place.prefect_port}"

    @property
    def api_url(self) -> str:
        """What belongs into PREFECT_API_URL."""
        return f"{self.address}/api"

    def provide(self, report: Report) -> None:
        provide_empty_database(report)

    def start(self) -> None:
        account = user(self.place, "prefect")
        if not self.home.exists():
            own_folder(self.home, account)
            self._lay_database()
        listen = ["--host", "127.0.0.1", "--port", str(self.place.prefect_port)]
        command = [sys.executable, "-m", "sandbox.prefect_server", *listen]
        self._daemon.start(as_user(account, command), env=server_environment(self.home, self.api_url), cwd=self.home)

    def _lay_database(self) -> None:
        account = user(self.place, "prefect")
        database = self.home / "prefect.db"
        shutil.copyfile(empty_database(), database)
        os.chown(database, account.id, account.id)

    def wait(self, seconds: float) -> None:
        wait_until(self._answers, subject=f"prefect at {self.api_url}", seconds=seconds, daemon=self._daemon)

    def _answers(self) -> bool:
        try:
            return LOCAL.get(f"{self.api_url}/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def wipe(self) -> None:
        """Lose everything that Prefect knows, and start it again, as an administrator might."""
        self.stop()
        shutil.rmtree(self.home)
        self.start()

    def stop(self) -> None:
        self._daemon.stop()

    def sweep(self) -> None:
        """Everything it has is in the state folder."""


def server_environment(home: Path, api_url: str) -> dict[str, str]:
    """What a server with its files in `home` is started with."""
    lease_storage = "prefect.server.concurrency.lease_storage.filesystem"
    return clean_environment(
        HOME=str(home),
        PREFECT_HOME=str(home),
        PREFECT_API_URL=api_url,
        # By default Prefect writes its pages into its own package, which is not its user's.
        PREFECT_UI_STATIC_DIRECTORY=str(home / "pages"),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        # The default one forgets its leases with the server, and then crashes who holds them.
        PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=lease_storage,
        DO_NOT_TRACK="1",
        **QUIET,
    )


def empty_database() -> Path:
    """A database with this Prefect's tables and nothing in them; migrating a new one takes seconds at every start."""
    return cache_root() / f"prefect-{importlib.metadata.version('prefect')}.db"


def provide_empty_database(report: Report) -> None:
    target = empty_database()
    if target.exists():
        return
    with only_one(cache_root() / "prefect.lock", part="prefect", report=report):
        if target.exists():
            return
        home = cache_root() / ".prefect.building"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        run_reported(
            [str(_PROGRAM), "server", "database", "upgrade", "--yes"],
            part="prefect",
            doing="making an empty database",
            log=home / "log",
            env=clean_environment(HOME=str(home), PREFECT_HOME=str(home), PREFECT_SERVER_ANALYTICS_ENABLED="false"),
            report=report,
        )
        (home / "prefect.db").replace(target)
        shutil.rmtree(home)
