"""A parent of runs without Prefect: `python -I -m tests.unit.prefect.nursling HALF CONTROL`.

Its children sleep for the seconds that they are given. It cannot fork while FOLDER, of its environment, has `full`.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from pathlib import Path

from flows import prefork

_fork = os.fork


def _fork_when_there_is_room() -> int:
    if (Path(os.environ["FOLDER"]) / "full").exists():
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return _fork()


if __name__ == "__main__":
    os.fork = _fork_when_there_is_room
    if seconds := prefork.next_run(socket.socket(fileno=int(sys.argv[2]))):
        time.sleep(float(seconds))
