"""The command as a whole: help, errors, exit codes."""

from __future__ import annotations

import os
import pty
import re
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
from interlock.cli.commands import OF_HOSTS, build
from interlock.cli.headings import HEADINGS
from interlock.contract import signature, strict_yaml
from interlock.errors import (
    AwaitsApproval,
    Blocked,
    FormatError,
    InterlockError,
    LockHeld,
    Refused,
    Superseded,
    ToolError,
    Unhealthy,
)
from tests.unit.cli.commands import PROGRAM, interlock, program

PUBLIC_KEY = " ".join(signature.generate_key()[1].split()[:2])
COMMANDS = {
    *(
        "access",
        "alive",
        "attester",
        "bind",
        "bootstrap",
        *("approvals", "approve"),
        "check",
        "declare",
        "deny",
        "doctor",
        "init",
        "key",
        "ledger",
        "plan",
        "protect",
        "receive",
        "register",
        "release",
        "render",
        "schema",
        "secrets",
        "signer",
        "status",
        "sync",
        "take-over",
        "test",
        "trace",
        "trust",
    ),
    *("version", "why", "worker"),
}


def commands(group: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and group, by the words that call it."""
    if not isinstance(group, TyperGroup):
        return [path]
    return [path, *(found for name, each in group.commands.items() for found in commands(each, (*path, name)))]


TREE = typer.main.get_command(build())


def test_the_commands_are_those_that_are_documented() -> None:
    """A command that comes or goes changes this list."""
    assert isinstance(TREE, TyperGroup)
    assert set(TREE.commands) == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_is_the_same_without_the_others(name: str) -> None:
    """What is run has the words, options and help that it has among all commands, and nothing else is read for it."""
    assert isinstance(TREE, TyperGroup)
    alone = typer.main.get_command(build(name))

    assert isinstance(alone, TyperGroup)
    assert set(alone.commands) == (set(OF_HOSTS) if name in OF_HOSTS else {name})
    assert commands(alone.commands[name]) == commands(TREE.commands[name])
    for words in commands(alone.commands[name]):
        assert options(alone.commands[name], words) == options(TREE.commands[name], words)


def options(command: object, words: tuple[str, ...]) -> list[object]:
    """What a command below a group may be given."""
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    told = (str, bool, int, list)
    return [
        {name: value for name, value in vars(each).items() if isinstance(value, told)}
        for each in command.params  # type: ignore[attr-defined]
    ]


def test_every_command_stands_under_one_heading(tmp_path: Path) -> None:
    """Help shows each command once, and below which heading somebody would look for it."""
    told: dict[str, str] = {}
    shown = []
    within = ""
    for line in interlock("--help", folder=tmp_path).stdout.splitlines():
        if heading := re.fullmatch(r"([A-Z][a-z ]+):", line):
            within = heading[1]
        elif (word := re.match(r"  ([a-z-]+) ", line)) and within in HEADINGS:
            shown.append(word[1])
            told[word[1]] = within

    assert sorted(shown) == sorted(COMMANDS)
    assert [told[name] for name in ("init", "check", "sync", "why", "deny", "worker")] == list(HEADINGS)


@pytest.mark.parametrize("words", commands(TREE), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...], tmp_path: Path) -> None:
    """--help works everywhere, has a sentence and, where there is something to type, an example."""
    done = interlock(*words, "--help", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert f"Usage: interlock {' '.join(words)}".strip() in done.stdout
    assert (
        "Examples" in done.stdout
        or words in {(), ("bootstrap",), ("deny",), ("init",), ("ledger",), ("protect",), ("trust",), ("version",)}
        or words[:1] == ("register",)
    )


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
        (AwaitsApproval("dev waits"), 6, "error: dev waits"),
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

    monkeypatch.setattr(face, "build", lambda only: fail)
    done = interlock("version", folder=tmp_path)

    assert done.returncode == code
    assert done.stderr.splitlines()[0] == line
    assert "Traceback" not in done.stderr
    assert all(part in done.stderr for part in (error.hint, *getattr(error, "reasons", ())))


def test_a_defect_leaves_its_traceback_in_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person sees one line and where the rest is; exit code 70."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(face, "build", lambda only: fail)
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


def test_ctrl_c_outside_a_command_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while typer still sets up: one line, and no traceback."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(face, "build", lambda only: stop)
    done = interlock("version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("stopped") and "Traceback" not in done.stderr

    monkeypatch.setattr(face, "main", stop)
    with pytest.raises(SystemExit) as ended:
        face.run()
    assert ended.value.code == 130


def test_ctrl_c_while_the_program_is_read_ends_with_130(tmp_path: Path) -> None:
    """In the first moments too there is no traceback."""
    code = (
        "import sys\n"
        "class Stopped:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'interlock.cli.commands': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stopped())\n"
        "from interlock.cli.main import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


HOST = {
    "format": 1,
    "prefect": "http://127.0.0.1:4200/api",
    "environment_repository": {
        "name": "environments",
        "url": "http://127.0.0.1:1/environments.git",
        "root": {"commit": "1a" * 20, "keys": [PUBLIC_KEY]},
    },
    "ledger": {"name": "ledger", "url": "http://127.0.0.1:1/ledger.git"},
}


@pytest.fixture
def bare_host(tmp_path: Path) -> str:
    """A CD host's file without environments and forges."""
    own = {"state": str(tmp_path / "state"), "signing": {"signer": "cd", "key": str(tmp_path / "cd.key")}}
    path = tmp_path / "cd.yaml"
    path.write_text(strict_yaml.dump({**HOST, **own, "deny_list": str(tmp_path / "deny.yaml")}))
    path.chmod(0o644)
    return str(path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("protect", "audit"), "names no repository: nothing was compared"),
        (("approvals",), "this host has no environments"),
    ],
    ids=" ".join,
)
def test_a_host_that_names_nothing_is_no_clean_host(
    words: tuple[str, ...], said: str, bare_host: str, tmp_path: Path
) -> None:
    """What had nothing to look at does not say that all is well."""
    done = interlock(*words, folder=tmp_path, env={"INTERLOCK_CONFIG": bare_host})
    assert (done.returncode, said in done.stderr) == (2, True), done.stdout + done.stderr


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_who_denies_says_why(reason: str, bare_host: str, tmp_path: Path) -> None:
    """A reason that is none, or too long to be read, is an error of the command line; nothing is denied."""
    words = ("deny", "add", "1a" * 20, "--config", bare_host, "--reason")
    done = interlock(*words, reason, folder=tmp_path)
    assert done.returncode == 2 and "--reason" in done.stderr and "pydantic" not in done.stderr
    assert not (tmp_path / "deny.yaml").exists()

    assert interlock(*words, " broken into ", folder=tmp_path).returncode == 0
    assert 'reason: "broken into"\n' in (tmp_path / "deny.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("bind", "--application", "a", "--image", "r.example/a/b"), "DIR"),
        (("attester", "shop", "--unsigned", "none yet"), "DIR"),
        (("trust", "explain"), "--repository DIR"),
    ],
)
def test_who_names_no_clone_is_told_how_this_command_takes_one(
    words: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    """By its own argument or option."""
    done = interlock(*words, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"  hint: name a clone with {named}"


def test_the_table_of_commands_has_them_all() -> None:
    """README names every command that there is."""
    readme = Path(__file__).parents[3].joinpath("README.md").read_text()
    table = readme.partition("## The command\n")[2].partition("\n## ")[0]
    told = {
        word
        for row in re.findall(r"^\| (`.+?) \| ", table, re.MULTILINE)
        for word in re.findall(r"`(?:interlock )?([a-z-]+)", row)
    }
    assert told >= COMMANDS


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    """Without the Kubernetes client, `plan` says which extra it needs."""
    code = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "from interlock.cli.main import main; sys.exit(main(['plan', 'dev']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2, done.stderr
    assert "hint: on a CD host, in a checkout: pip install '.[cd]'" in done.stderr


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("plan", "dev"), "a CD host's cd.yaml"),
        (("release", "shop"), "a CI host's ci.yaml"),
        (("why", "shop"), "a CI host's ci.yaml, or a CD host's cd.yaml"),
    ],
)
def test_a_host_without_its_file_is_told_so(tmp_path: Path, words: tuple[str, ...], wanted: str) -> None:
    """Without INTERLOCK_CONFIG a host's command says what to export, and on which host."""
    done = interlock(*words, folder=tmp_path)

    assert done.returncode == 2
    assert "INTERLOCK_CONFIG is not set" in done.stderr
    assert f"hint: on the host, export it as the path of {wanted}\n" in done.stderr


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
