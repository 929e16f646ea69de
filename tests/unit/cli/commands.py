"""Running the command: in this process where only its words matter, else as a person does."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from interlock.cli.main import main

PROGRAM = Path(sys.executable).with_name("interlock")
Done = subprocess.CompletedProcess[str]


def _environment(home: Path, extra: Mapping[str, str] | None) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "USER": "ada", "COLUMNS": "200", **(extra or {})}


def interlock(*arguments: str | Path, folder: Path, env: Mapping[str, str] | None = None) -> Done:
    """The command's own `main`, in a folder that is also its home; nobody sits at the terminal."""
    words = [str(word) for word in arguments]
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, _environment(folder, env), clear=True),
        mock.patch.object(sys, "stdin", io.StringIO()),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def program(*arguments: str | Path, folder: Path, env: Mapping[str, str] | None = None) -> Done:
    """As `interlock`, but the installed program in a process of its own."""
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        cwd=folder,
        env=_environment(folder, env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def git(*arguments: str | Path, folder: Path) -> str:
    """The person's own git, with the configuration of the clone alone."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
