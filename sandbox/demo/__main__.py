"""`python -m sandbox.demo`: the demo. With ONCE=1 it ends after the table, else the sandbox stays until Ctrl-C."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from sandbox.demo import acts, agreement, proof
from sandbox.demo.acts import Show
from sandbox.demo.stage import Stage, run
from sandbox.pipeline import PARTS, Pace, stand_up
from sandbox.supervisor import Sandbox
from sandbox.terminal import Terminal
from sandbox.users import CHECKOUT

PACE = Pace(resync=45, poll=60)


def main() -> int:
    stage = Stage()
    report = Terminal(stage.console)
    stage.console.rule("[bold]1. The sandbox: every part is real", align="left")
    with Sandbox.open(name="demo", parts=PARTS, report=report) as sandbox:
        play(sandbox, stage)
        if not os.environ.get("ONCE"):
            stay(sandbox, stage)
    stage.say("\nThe sandbox is down; nothing is left running.")
    return 0 if stage.holds else 1


def play(sandbox: Sandbox, stage: Stage) -> None:
    """The acts, in order; each is tried even when one before it failed."""
    with stage.act(1, "The sandbox stands") as act:
        answers = sandbox.status()
        silent = [answer.part for answer in answers if not answer.answers]
        stage.check(act, "every part answers", f"{len(answers)} parts" if not silent else str(silent), holds=not silent)
        stage.say(f"  Prefect UI: http://127.0.0.1:{sandbox.place.prefect_port}")
    with stage.act(2, "Two repositories, two hosts, a first version") as act:
        stage.say(f"  SANDBOX={sandbox.place.state}")
        pipeline = stand_up(sandbox, pace=PACE, show=lambda line: stage.say(f"  {_short(sandbox, line)}"))
        show = Show(stage, pipeline)
        acts.first_release(show, act)
    if not act.holds:
        return stage.table()  # everything after stands on it
    for number, (title, scene) in enumerate(
        (
            ("A developer pushes a commit", acts.new_version),
            ("A developer pushes a credential and a vulnerable dependency", acts.blocked),
            ("Somebody changes the cluster by hand", acts.drift),
            ("Somebody rewrites history; somebody pushes an unsigned commit", acts.refused),
            ("Somebody with CI's key tampers with evidence", proof.tampered),
            ("A change waits for a second person", agreement.approved),
            ("The application is removed by a commit", acts.removed),
        ),
        start=3,
    ):
        with stage.act(number, title) as act:
            scene(show, act)
    return stage.table()


def stay(sandbox: Sandbox, stage: Stage) -> None:
    with suppress(KeyboardInterrupt):
        stage.say(f"\nThe sandbox stays until Ctrl-C. Prefect UI: http://127.0.0.1:{sandbox.place.prefect_port}")
        stage.say(f"Bring your own service, from a second terminal in {CHECKOUT}:\n")
        stage.quote(newcomer_commands())
        signal.pause()


def _short(sandbox: Sandbox, line: str) -> str:
    """A command without the folder that all of its paths begin with."""
    return line.replace(str(sandbox.place.state), "$SANDBOX")


def newcomer_commands() -> str:
    """The README's own lines, so that there is one text of them."""
    text = (CHECKOUT / "README.md").read_text()
    block = text.partition("<!-- newcomer:commands -->")[2].partition("<!-- /newcomer:commands -->")[0]
    return block.replace("```", "").strip()


if __name__ == "__main__":
    run(main)
