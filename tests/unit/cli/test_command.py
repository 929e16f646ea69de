"""The command as a whole: help, errors, exit codes, speed."""

from __future__ import annotations

import os
import pty
import re
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from interlock import __version__
from interlock.cli import main as face
from interlock.errors import Blocked, FormatError, InterlockError, LockHeld, Refused, Superseded, ToolError, Unhealthy
from tests.unit.cli.commands import PROGRAM, interlock, program

COMMANDS = {
    *(
        "access",
        "alive",
        "bind",
        "bootstrap",
        "check",
        "declare",
        "init",
        "key",
        "plan",
        "receive",
        "register",
        "render",
        "schema",
        "signer",
        "status",
        "sync",
        "take-over",
        "test",
        "trust",
    ),
    *("version", "worker"),
}


def commands(group: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and group, by the words that call it."""
    if not isinstance(group, TyperGroup):
        return [path]
    return [path, *(found for name, each in group.commands.items() for found in commands(each, (*path, name)))]


TREE = typer.main.get_command(face.app)


def test_the_commands_are_those_that_are_documented() -> None:
    """A command that comes or goes changes this list."""
    assert isinstance(TREE, TyperGroup)
    assert set(TREE.commands) == COMMANDS


@pytest.mark.parametrize("words", commands(TREE), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...], tmp_path: Path) -> None:
    """--help works everywhere, has a sentence and, where there is something to type, an example."""
    done = interlock(*words, "--help", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert f"Usage: interlock {' '.join(words)}".strip() in done.stdout
    assert (
        "Examples" in done.stdout
        or words in {(), ("bootstrap",), ("init",), ("trust",), ("version",)}
        or words[:1] == ("register",)
    )


def test_help_comes_at_once(tmp_path: Path) -> None:
    """At most 0.3 seconds of processor time, in the best of three."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = program("--help", folder=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0, done.stderr

    assert min(seconds) <= 0.3


def test_the_exit_codes_are_in_the_help(tmp_path: Path) -> None:
    """Every code that an error of ours can have is explained."""
    told = set(re.findall(r"^ +(\d+) ", interlock("--help", folder=tmp_path).stdout, re.MULTILINE))
    errors = [InterlockError]
    for error in errors:
        errors.extend(error.__subclasses__())

    assert {str(error.exit_code) for error in errors} | {"70", "130"} == told


def test_version_is_the_packages_own(tmp_path: Path) -> None:
    """stdout carries the version and nothing else."""
    done = program("version", folder=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("nothing",),
        ("render",),
        ("render", "dev", "--nothing"),
        ("render", "Dev"),
        ("status", "--output", "xml"),
        ("init", "environment", "--application", "shop"),
        ("worker", "both"),
    ],
    ids=" ".join,
)
def test_bad_usage_is_one_clear_line(words: tuple[str, ...], tmp_path: Path) -> None:
    """Exit code 2, one line that begins with error, one hint, nothing on stdout."""
    done = interlock(*words, folder=tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert second == f"  hint: interlock {' '.join(words[:2] if words[0] == 'init' else words[:1])} --help".replace(
        " nothing", ""
    )


def test_without_words_the_help_is_shown(tmp_path: Path) -> None:
    """A first try tells what there is; it is a usage error all the same."""
    done = interlock(folder=tmp_path)

    assert done.returncode == 2
    assert "Usage: interlock" in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            FormatError("the key is unknown", path="a.yaml", line=3, column=1),
            2,
            "error: a.yaml:3:1: the key is unknown",
        ),
        (Blocked("the gate says no", reasons=("CVE-1", "CVE-2")), 1, "error: the gate says no"),
        (Refused("not signed", rule="unsigned", hint="sign it"), 3, "error: not signed"),
        (ToolError("git failed"), 4, "error: git failed"),
        (LockHeld("dev is locked"), 5, "error: dev is locked"),
        (Unhealthy("shop is not healthy"), 1, "error: shop is not healthy"),
        (Superseded("a newer commit came"), 0, "a newer commit came"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_expected_failure_has_its_code(
    error: InterlockError, code: int, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first line is the message, reasons and the hint follow, and there is no traceback."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(face, "app", fail)
    done = interlock("version", folder=tmp_path)

    assert done.returncode == code
    assert done.stderr.splitlines()[0] == line
    assert "Traceback" not in done.stderr
    assert all(part in done.stderr for part in (error.hint, *getattr(error, "reasons", ())))


def test_a_defect_leaves_its_traceback_in_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person sees one line and where the rest is; exit code 70."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(face, "app", fail)
    done = interlock("version", folder=tmp_path)

    assert done.returncode == 70
    assert done.stderr.splitlines()[0] == "error: a defect of Interlock: ZeroDivisionError: by nothing"
    (log,) = (tmp_path / ".local" / "state" / "interlock").iterdir()
    assert str(log) in done.stderr
    assert "ZeroDivisionError: by nothing" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    """`interlock --help | head -1` ends quietly."""
    done = subprocess.run(
        ["sh", "-c", f"{PROGRAM} --help | head -1"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stderr == ""
    assert done.stdout.startswith("Usage: interlock")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str, tmp_path: Path) -> None:
    """What a shell asks for on Tab is answered."""
    env = {
        "_INTERLOCK_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "interlock re",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "interlock re",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = program(folder=tmp_path, env=env)

    assert {"receive", "register", "render"} <= set(re.findall(r"[a-z]+", done.stdout))


def test_ctrl_c_at_a_question_ends_with_130(tmp_path: Path) -> None:
    """Nothing was written, and the exit code says that it was stopped."""
    (tmp_path / "Dockerfile").write_text("FROM debian:12\nCOPY . .\n")
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(
        [PROGRAM, "init", "application", "--tests", "make test"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdin=theirs,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    os.close(theirs)
    assert asked.stderr is not None
    seen = ""
    while "Write?" not in seen:
        seen += asked.stderr.read(1)
    asked.send_signal(signal.SIGINT)

    assert asked.wait(20) == 130
    os.close(ours)
    asked.stderr.close()
    assert not (tmp_path / "interlock.yaml").exists()


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    """Without the Kubernetes client, `plan` says which extra it needs."""
    code = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "from interlock.cli.main import main; sys.exit(main(['plan', 'dev']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2, done.stderr
    assert "hint: on a CD host, install interlock[cd]" in done.stderr


def test_a_host_without_its_file_is_told_so(tmp_path: Path) -> None:
    """`plan` without INTERLOCK_CONFIG says what to export."""
    done = interlock("plan", "dev", folder=tmp_path)

    assert done.returncode == 2
    assert "INTERLOCK_CONFIG is not set" in done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("interlock te", {"test"}),
        ("interlock schema render", {"render-test"}),
        ("interlock test ", {"templates/one"}),
    ],
)
def test_the_shell_completes_commands_and_names(tmp_path: Path, words: str, offered: set[str]) -> None:
    """Of documents, and of the template sets that are here."""
    (tmp_path / "templates/one").mkdir(parents=True)
    (tmp_path / "templates/one/a.yaml.j2").write_text("")
    count = str(len(words.split(" ")) - 1)
    asked = {"_INTERLOCK_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": count}
    done = program(folder=tmp_path, env=asked)

    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == offered
