"""A person's own editor on a text that must not reach a disk: the file is in memory, and gone when the editor ends."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from interlock.errors import InputError, ToolError

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_MOST_BYTES = 1 << 20


def edited(text: str, *, name: str) -> str:
    """The text as the person left it. `name` ends the file's name, by which editors know what is in it."""
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="interlock-", dir=_memory()) as folder:  # mode 0700
        file = Path(folder) / name
        file.touch(mode=0o600)
        file.write_text(text)
        try:
            subprocess.run([*command, str(file)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            hint = "EDITOR names the program; it must end when the file is closed, such as `code --wait`"
            raise ToolError(f"the editor {command[0]} failed: nothing was changed", hint=hint) from error
        content = file.read_bytes()
    if len(content) > _MOST_BYTES:
        raise InputError(f"{name} has more than {_MOST_BYTES} bytes now", hint="split it")
    return content.decode()


def _memory() -> Path:
    """A folder on a file system that is no disk."""
    kinds = dict(line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    for name in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", "/run/shm"):  # noqa: S108 - its mode is looked after
        if name and kinds.get(_mount(Path(name), kinds)) in _IN_MEMORY and os.access(name, os.W_OK):
            return Path(name)
    message = "no folder in memory: what was sealed would reach a disk in the clear"
    raise InputError(
        message, hint="let XDG_RUNTIME_DIR name a folder on a tmpfs, or pipe into `interlock secrets seal`"
    )


def _mount(folder: Path, kinds: dict[str, str]) -> str:
    return next((str(each) for each in (folder, *folder.parents) if str(each) in kinds), "/")
