"""Run one command as another user in its own mount namespace: `enter.py SPEC COMMAND…`, as root.

SPEC is JSON: `user` (number, also its group), `groups` (further numbers), `steps` (see users.py: Cover and Show).
A program of its own, with nothing but the standard library, because it must run before the new user's view exists.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

_NEW_MOUNT_NAMESPACE = 0x00020000
_READ_ONLY, _NO_SETUID, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 32, 4096, 16384, 1 << 18
_NO_NEW_PRIVILEGES = 38

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [word.encode() if word else None for word in (source, target, kind)]
    _call("mount", *words, ctypes.c_ulong(flags), options.encode() if options else None)


def apply(steps: list[tuple[str, str]]) -> None:
    """Cover and show, in a fresh mount namespace."""
    _call("unshare", _NEW_MOUNT_NAMESPACE)
    _mount("none", "/", None, _RECURSIVE | _PRIVATE)
    # Held open, because the covers hide them; the kernel still reaches them through these.
    sources = {path: os.open(path, os.O_PATH) for kind, path in steps if kind == "Show"}
    for kind, path in steps:
        if kind == "Cover":
            _mount("tmpfs", path, "tmpfs", _NO_SETUID, "mode=0755,size=1m")
    for path, descriptor in sources.items():
        os.makedirs(path, mode=0o755, exist_ok=True)  # noqa: PTH103 -- pathlib costs 15 ms here
        _mount(f"/proc/self/fd/{descriptor}", path, None, _BIND | _RECURSIVE)
        _mount("none", path, None, _BIND | _REMOUNT | _READ_ONLY)
        os.close(descriptor)


def main() -> None:
    spec, command = json.loads(sys.argv[1]), sys.argv[2:]
    os.umask(0o022)
    apply(spec["steps"])
    os.setgroups(spec["groups"])
    os.setresgid(spec["user"], spec["user"], spec["user"])
    os.setresuid(spec["user"], spec["user"], spec["user"])
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    os.execvpe(command[0], command, os.environ)  # noqa: S606 -- this is what the program is for


if __name__ == "__main__":
    main()
