"""The process inside a sandbox's own PID and mount namespaces: it starts, watches and stops the parts.

`python -m sandbox.inside NAME SLOT`, started by supervisor.py. It takes requests on the Unix socket `control.sock`,
one JSON object per connection, and answers with a line per event; the last has the key `done` or `error`.
It goes down on the request to, and when its standard input ends, because then its owner is gone.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from sandbox import catalog
from sandbox.part import Part, SandboxError
from sandbox.place import Place
from sandbox.users import install_users

START_SECONDS = 180
_PATIENCE_SECONDS = 0.5
ANSWERS, STOPPED = "answers", "stopped"
Tell = Callable[..., None]


class Supervisor:
    """The running parts of one sandbox. One request at a time changes them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.parts: dict[str, Part] = {}
        self._changing = threading.Lock()

    def start(self, names: Iterable[str], tell: Tell) -> None:
        """Start these and what they need, those that do not run yet, side by side; returns when all answer."""
        with self._changing:
            wanted = catalog.with_needs(names, self.place)
            new = {name: part for name, part in wanted.items() if name not in self.parts}
            catalog.in_order(
                {name: part.needs for name, part in new.items()}, lambda name: self._start(name, new[name], tell)
            )

    def _start(self, name: str, part: Part, tell: Tell) -> None:
        began = time.monotonic()
        tell(part=name, message="starting")
        try:
            part.start()
            part.wait(START_SECONDS)
        except Exception:
            part.stop()
            tell(part=name, message="failed")
            raise
        self.parts[name] = part
        tell(part=name, message=ANSWERS, seconds=round(time.monotonic() - began, 1))

    def stop(self, names: Iterable[str], tell: Tell) -> None:
        """Stop these and what needs them, dependants first."""
        with self._changing:
            self._stop(self._dependants(names), tell)

    def _stop(self, names: set[str], tell: Tell) -> None:
        def stop(name: str) -> None:
            tell(part=name, message="stopping")
            self.parts.pop(name).stop()
            tell(part=name, message=STOPPED)

        needed_by = {name: [n for n in names if name in self.parts[n].needs] for name in names}
        catalog.in_order(needed_by, stop)

    def _dependants(self, names: Iterable[str]) -> set[str]:
        found = set(names) & set(self.parts)
        while more := {n for n, part in self.parts.items() if found & set(part.needs)} - found:
            found |= more
        return found

    def stop_all(self, tell: Tell) -> None:
        if not self._changing.acquire(timeout=_PATIENCE_SECONDS):
            os._exit(0)  # in the middle of a start: with us ends the whole namespace, and the owner sweeps
        try:
            self._stop(set(self.parts), tell)
        finally:
            self._changing.release()

    def call(self, name: str, method: str, tell: Tell) -> None:
        """Call a part's own method without arguments, such as `wipe`, or `stop` and `start` as a crash and a repair."""
        with self._changing:
            if name not in self.parts or method.startswith("_"):
                raise SandboxError(f"part {name}: does not run in sandbox {self.place.name}, so no {method}")
            tell(part=name, message=method)
            getattr(self.parts[name], method)()
            if method != "stop":
                self.parts[name].wait(START_SECONDS)
            tell(part=name, message=ANSWERS if method != "stop" else STOPPED)

    def status(self, tell: Tell) -> None:
        """One event per part: does it answer now, where, and where is its log."""

        def ask(name: str) -> None:
            part = self.parts[name]
            try:
                part.wait(1)
                problem = ""
            except SandboxError as error:
                problem = str(error).splitlines()[0]
            address = str(getattr(part, "address", ""))
            tell(part=name, answers=not problem, problem=problem, address=address, log=str(part.log))

        catalog.in_order(dict.fromkeys(self.parts, ()), ask)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    supervisor: Supervisor


class _Request(socketserver.StreamRequestHandler):
    server: _Server
    _NEEDED: ClassVar[dict[str, tuple[str, ...]]] = {
        "start": ("names",),
        "stop": ("names",),
        "call": ("name", "method"),
        "status": (),
    }

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        try:
            self._answer(request)
            self._tell(done=True)
        except BrokenPipeError:
            return  # whoever asked is gone; the work was done
        except Exception as error:
            traceback.print_exc()
            self._tell(error=str(error) if isinstance(error, SandboxError) else f"{request}: {error!r}")

    def _answer(self, request: dict[str, Any]) -> None:
        supervisor, what = self.server.supervisor, request["do"]
        if what == "down":
            supervisor.stop_all(self._tell)
            self.server.shutdown()
            return
        arguments = [request[key] for key in self._NEEDED[what]]
        getattr(supervisor, what)(*arguments, self._tell)

    def _tell(self, **event: object) -> None:
        self.wfile.write(json.dumps(event).encode() + b"\n")


def _reap_for(child: int) -> int:
    """As PID 1: collect every orphan, and end with the child, which takes all that is left along."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _down_when_the_owner_is_gone(server: _Server) -> None:
    while os.read(0, 1):  # and not sys.stdin, whose lock would be waited for at the end of the process
        pass
    server.supervisor.stop_all(lambda **event: None)
    server.shutdown()


def main() -> None:
    place = Place(name=sys.argv[1], slot=int(sys.argv[2]))
    if child := os.fork():
        raise SystemExit(abs(_reap_for(child)))
    install_users(place)
    socket, draft = place.state / "control.sock", place.state / "control.sock.new"
    with _Server(str(draft), _Request) as server:
        server.supervisor = Supervisor(place)
        draft.chmod(0o600)
        draft.rename(socket)  # seen only once it is private
        threading.Thread(target=_down_when_the_owner_is_gone, args=(server,), daemon=True).start()
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
