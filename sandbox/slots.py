"""Which sandboxes exist on this machine: a locked file per slot, held for as long as any process of it lives."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import catalog
from sandbox.part import SandboxError
from sandbox.place import SLOTS, STATE_ROOT, Place

# Ports and subnets belong to the machine, so the locks do too, wherever the state lies.
_LOCKS = Path("/run/lock/interlock-sandbox")
_DYING_SECONDS = 5
_KEPT_LOGS = 20


@dataclass(frozen=True)
class Claim:
    """A slot that is ours while `lock`, an open file descriptor, is open in any process."""

    place: Place
    lock: int

    def release(self) -> None:
        """Give the slot back. Nothing of the sandbox may be left."""
        os.ftruncate(self.lock, 0)
        os.close(self.lock)


def claim(name: str) -> Claim:
    """Take the lowest free slot for this name, after sweeping what killed sandboxes left."""
    with _one_at_a_time():
        deadline = time.monotonic() + _DYING_SECONDS
        while any(place.name == name for place in _running()):
            if time.monotonic() > deadline:  # within it, an owner that was killed a moment ago finishes dying
                raise SandboxError(f"sandbox {name}: runs already; stop it: python -m sandbox down --name {name}")
            time.sleep(0.1)
        _sweep_dead()
        for slot in range(SLOTS):
            if (lock := _try_lock(slot)) is not None:
                place = Place(name=name, slot=slot)
                os.write(lock, str(place.state).encode())
                return Claim(place, lock)
    raise SandboxError(f"sandbox {name}: all {SLOTS} slots are taken")


def running() -> list[Place]:
    """The sandboxes with a living process, by slot."""
    with _one_at_a_time():
        return _running()


def _running() -> list[Place]:
    places = []
    for slot in _known_slots():
        if (lock := _try_lock(slot)) is not None:
            os.close(lock)
        else:
            places.append(Place(name=_state_path(slot).name, slot=slot))
    return places


def sweep_dead() -> list[Place]:
    """Remove what killed sandboxes left on the machine; says which they were."""
    with _one_at_a_time():
        return _sweep_dead()


def _sweep_dead() -> list[Place]:
    swept = []
    for slot in _known_slots():
        if (lock := _try_lock(slot)) is None:
            continue
        if os.fstat(lock).st_size:
            place = Place(name=_state_path(slot).name, slot=slot)
            clean_up(place)
            swept.append(place)
            os.ftruncate(lock, 0)
        os.close(lock)
    return swept


def clean_up(place: Place) -> None:
    """Sweep every part and remove the state; the logs of this last run stay beside it."""
    for part in reversed(catalog.all_parts(place)):
        part.sweep()
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    if busy := [line.split()[1] for line in mounts if line.split()[1].startswith(f"{place.state}/")]:
        raise SandboxError(f"sandbox {place.name}: still mounted, so its state stays: {', '.join(busy)}")
    kept = kept_logs(place)
    if place.logs.exists():
        shutil.rmtree(kept, ignore_errors=True)
        place.logs.replace(kept)
        _forget_old_logs()
    if place.state.exists():
        shutil.rmtree(place.state)


def _forget_old_logs() -> None:
    folders = sorted(STATE_ROOT.glob("*.logs"), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-_KEPT_LOGS]:
        shutil.rmtree(folder, ignore_errors=True)  # another sandbox may be at it too


def kept_logs(place: Place) -> Path:
    """Where the logs of a sandbox that is down lie."""
    return place.state.with_name(f"{place.name}.logs")


def _known_slots() -> list[int]:
    return [slot for slot in range(SLOTS) if _path(slot).exists()]


def _path(slot: int) -> Path:
    return _LOCKS / f"{slot:02}"


def _state_path(slot: int) -> Path:
    return Path(_path(slot).read_text() or "?")


def _try_lock(slot: int) -> int | None:
    """The slot's locked file, or None when a living process holds it."""
    _LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(_path(slot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    _LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (_LOCKS / "claim").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
