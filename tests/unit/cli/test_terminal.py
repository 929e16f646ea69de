"""An order on a terminal: steps, retries, reports, Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from interlock.cli import output, terminal
from interlock.cli.output import Format
from interlock.cli.terminal import TerminalPresenter
from interlock.contract.report import Report, Table
from interlock.errors import ToolError
from tasks.common.effect import effect

REPORT = Report("plan", "dev: 1 to change", tables=(Table(("object", "change"), (("a\x1b[2J", "b"),)),), data={"n": 1})
STOPPED = """
import sys, time
from interlock.cli import main, terminal
from interlock.cli.output import Format
from tasks.common.effect import effect

@effect(name="fetch")
def fetch(): pass

@effect(name="wait until healthy")
def wait():
    print("waiting", flush=True)
    time.sleep(60)

async def order(presenter):
    await presenter.step(fetch)
    await presenter.step(wait)

app = main.build()

@app.command()
def endless():
    terminal.run(order, Format.TABLE)

main.build = lambda only: app

sys.exit(main.main(["endless"]))
"""


def test_what_may_help_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    """As in Prefect: a transient failure is tried as often as the effect says, and every time is told."""
    calls: list[int] = []

    @effect(name="ask", retries=2)
    def ask(*, transient: bool) -> int:
        calls.append(1)
        if len(calls) < 2:
            raise ToolError("no answer", transient=transient)
        return 7

    async def order(presenter: TerminalPresenter) -> int:
        return await presenter.step(ask, transient=True)

    assert terminal.run(order, Format.TABLE) == 7
    assert "ask: no answer; trying again" in capsys.readouterr().err
    calls.clear()

    async def hopeless(presenter: TerminalPresenter) -> int:
        return await presenter.step(ask, transient=False)

    with pytest.raises(ToolError):
        terminal.run(hopeless, Format.TABLE)
    assert len(calls) == 1


def test_a_step_is_called_what_prefect_calls_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs of one effect can be told from each other, whichever way their subject is given."""

    @effect(name="scan folder", task_run_name="scan {subject}")
    def scan(folder: str, subject: str = "source") -> None: ...

    async def order(presenter: TerminalPresenter) -> None:
        await presenter.step(scan, "a")
        await presenter.step(scan, "b", subject="manifests\x1b[2J")

    terminal.run(order, Format.TABLE)

    said = capsys.readouterr().err
    assert "scan source" in said and "scan manifests" in said
    assert "scan folder" not in said and "\x1b" not in said


def test_reports_go_to_stdout_and_progress_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe gets the reports alone, as aligned text without the control characters of a cluster's answer."""

    async def order(presenter: TerminalPresenter) -> None:
        await presenter.progress("health", 50, "1 of 2 healthy")
        await presenter.show(REPORT)

    terminal.run(order, Format.TABLE)
    captured = capsys.readouterr()
    assert captured.out == "dev: 1 to change\nOBJECT  CHANGE\na [2J   b\n\n"
    assert captured.err == "1 of 2 healthy (50 %)\n"


def test_json_is_one_document_also_when_the_order_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """What was shown before the failure is there, and stdout still is JSON."""

    async def order(presenter: TerminalPresenter) -> None:
        await presenter.show(REPORT)
        raise ToolError("the cluster is gone")

    with pytest.raises(ToolError):
        terminal.run(order, Format.JSON)
    assert json.loads(capsys.readouterr().out) == [{"report": "plan", "title": "dev: 1 to change", "data": {"n": 1}}]


def test_ctrl_c_says_what_was_done_and_ends_soon(tmp_path: Path) -> None:
    """A step that goes on for a minute does not hold up the exit; exit code 130."""
    running = subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "waiting\n"
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=40)

    assert running.returncode == 130
    assert "stopped; done until then: fetch" in told
    assert "Traceback" not in told
    assert time.monotonic() - began < 30


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """Plain tables line up."""
    table = Table(("name", "n"), (("long name", "1"), ("x", "22")))

    assert output.aligned(table) == "NAME       N\nlong name  1\nx          22"


def test_nothing_that_is_told_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs, messages of a cluster and commits hold what others wrote: a terminal obeys none of it."""
    evil = "fine\x1b[2K\x1b]52;c;AAAA\x07\x9b1A\u202e\rdone"

    output.note(evil)
    output.fail(ToolError(f"{evil}\n  | {evil}", hint=evil))
    output.show(Report("tests", f"t {evil}", f"first\n\n    {evil}"), Format.TABLE)

    written = "".join(capsys.readouterr())
    assert "    fine" in written
    assert all(c.isprintable() or c == "\n" for c in written)


def test_nothing_beside_a_progress_bar_moves_the_cursor() -> None:
    """What is said and what is waited for pass through rich, which lets escapes through."""
    told = io.StringIO()
    with Progress(console=Console(file=told, force_terminal=True, width=200)) as bars:
        TerminalPresenter(Format.TABLE, bars).say("evil\x1b]52;c;AAAA\x07")

    assert "evil" in told.getvalue()
    assert "\x1b]" not in told.getvalue()
