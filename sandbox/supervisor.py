"""Open a sandbox: real parts in namespaces of their own, which live exactly as long as the program that opened them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import catalog, inside, slots
from sandbox.part import Part, Report, SandboxError, clean_environment, tail, wait_until
from sandbox.place import Place
from sandbox.users import CHECKOUT

_DOWN_SECONDS = 60


class SandboxEnded(SandboxError):
    """The sandbox went away in the middle of a request."""


@dataclass(frozen=True)
class Answer:
    """What one part says when asked whether it is well."""

    part: str
    answers: bool
    problem: str
    address: str
    log: str


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox, seen from its owner or, with `attach`, from any other process of root's."""

    place: Place
    report: Report

    @classmethod
    @contextmanager
    def open(cls, *, name: str, parts: Sequence[str] = catalog.DEFAULT, report: Report) -> Iterator[Sandbox]:
        """Provide and start the parts and what they need; stop everything and sweep at the end.

        Call it in a thread that lives as long as the sandbox: the kernel kills the sandbox when that thread ends.
        """
        require_root()
        catalog.with_needs(parts, Place(name=name, slot=0))  # an unknown name fails before anything is done
        claim = slots.claim(name)
        try:
            with _namespaces(claim):
                sandbox = cls(claim.place, report)
                try:
                    sandbox.start(*parts)
                    yield sandbox
                finally:
                    sandbox.down()
        except SandboxError as error:
            kept = slots.kept_logs(claim.place)
            raise SandboxError(str(error).replace(str(claim.place.logs), str(kept))) from error
        finally:
            slots.clean_up(claim.place)
            claim.release()

    @classmethod
    def attach(cls, name: str, *, report: Report) -> Sandbox:
        """One that another process opened."""
        for place in slots.running():
            if place.name == name:
                return cls(place, report)
        raise SandboxError(f"sandbox {name}: does not run; start it: python -m sandbox up --name {name}")

    def start(self, *names: str) -> None:
        """Provide and start parts and what they need; those that run stay as they are. Returns when all answer."""
        self.provide(*names)
        self._request({"do": "start", "names": list(names)})

    def provide(self, *names: str) -> None:
        """Find or build what the parts and their needs are made of, side by side."""
        catalog.provide(catalog.with_needs(names, self.place), self.report)

    def stop(self, *names: str) -> None:
        """Stop parts and whatever needs them."""
        self._request({"do": "stop", "names": list(names)})

    def kill(self, name: str) -> None:
        """Stop this one part and nothing that needs it, as if it had crashed."""
        self._request({"do": "call", "name": name, "method": "stop"})

    def revive(self, name: str) -> None:
        """Start a killed part again."""
        self._request({"do": "call", "name": name, "method": "start"})

    def restart(self, name: str) -> None:
        """Kill and revive: what needs it keeps running."""
        self.kill(name)
        self.revive(name)

    def call(self, name: str, method: str) -> None:
        """Call a running part's own method inside the sandbox, such as Prefect's `wipe`."""
        self._request({"do": "call", "name": name, "method": method})

    def status(self) -> list[Answer]:
        """Every started part, and whether it answers now."""
        answers: list[Answer] = []
        self._request({"do": "status"}, lambda event: answers.append(Answer(**event)))
        return sorted(answers, key=lambda answer: list(catalog.CLASSES).index(answer.part))

    def part(self, name: str) -> Part:
        """The part's addresses, paths and log, for reading. It does not start or stop anything here."""
        return catalog.create(name, self.place)

    def log(self, name: str) -> Path:
        return self.part(name).log

    def down(self) -> None:
        """Stop every part, dependants first. Harmless when it is down already."""
        # It may have gone down by itself, or by somebody else's hand, or in the middle of a start.
        with suppress(ConnectionError, FileNotFoundError, SandboxEnded):
            self._request({"do": "down"})

    def runs(self) -> bool:
        """Its supervisor still takes requests."""
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.place.state / "control.sock")) == 0

    def _request(self, request: dict[str, object], each: Callable[[dict[str, Any]], None] | None = None) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.place.state / "control.sock"))
            connection.sendall(json.dumps(request).encode() + b"\n")
            for line in connection.makefile():
                event = json.loads(line)
                if "error" in event:
                    raise SandboxError(event["error"])
                if "done" in event:
                    return
                (each or self._show)(event)
        raise SandboxEnded(f"sandbox {self.place.name}: ended during {request['do']}\n{tail(_log(self.place))}")

    def _show(self, event: dict[str, object]) -> None:
        seconds = f" after {event['seconds']} s" if "seconds" in event else ""
        self.report(str(event["part"]), f"{event['message']}{seconds}")


def require_root() -> None:
    """Namespaces, users and mounts need root on Linux."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise SandboxError("sandbox: needs root on Linux; run it with sudo or in a container with --privileged")


@contextmanager
def _namespaces(claim: slots.Claim) -> Iterator[None]:
    """The supervisor in PID and mount namespaces of its own. None of its processes outlives this process."""
    place = claim.place
    if place.state.exists():
        shutil.rmtree(place.state)
    place.state.mkdir(parents=True)
    place.logs.mkdir()
    place.state.chmod(0o755)
    with _log(place).open("ab") as log:
        process = subprocess.Popen(
            _command(place),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=clean_environment(HOME=str(Path.home()), **_passed_on()),
            cwd=CHECKOUT,
            start_new_session=True,  # a Ctrl-C in the terminal reaches only us
            pass_fds=[claim.lock],
        )
    try:
        wait_until(
            lambda: (place.state / "control.sock").exists() or _ended(process, place),
            subject=f"sandbox {place.name}",
            seconds=30,
            log=_log(place),
        )
        yield
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(_DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(place: Place) -> list[str]:
    own = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--propagation", "private"]
    return ["setpriv", "--pdeathsig", "KILL", *own, sys.executable, "-m", inside.__name__, place.name, str(place.slot)]


def _passed_on() -> dict[str, str]:
    """The few variables that parts read to find their caches, and where the state lies."""
    names = ("XDG_CACHE_HOME", "INTERLOCK_SANDBOX_STATE", "INTERLOCK_SANDBOX_ASSETS", "KUBEBUILDER_ASSETS")
    return {name: os.environ[name] for name in names if name in os.environ}


def _ended(process: subprocess.Popen[bytes], place: Place) -> bool:
    if process.poll() is not None:
        raise SandboxError(f"sandbox {place.name}: ended with {process.returncode}\n{tail(_log(place))}")
    return False


def _log(place: Place) -> Path:
    return place.logs / "supervisor.log"
