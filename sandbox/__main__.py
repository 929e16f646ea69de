"""`python -m sandbox`: every real part on this machine, by hand."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from sandbox import catalog, person, slots
from sandbox.part import SandboxError
from sandbox.parts.git import create_repository
from sandbox.place import Place
from sandbox.supervisor import Answer, Sandbox, require_root
from sandbox.terminal import Terminal

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""Every real part of Interlock on this machine: git, registry, Docker, Trivy, Prefect, Kubernetes, a node.

Examples:

- `python -m sandbox up` starts everything and stays until Ctrl-C
- `python -m sandbox up --name mine --only git,registry` starts a second, smaller one beside it
- `python -m sandbox status` shows from another terminal which parts answer, where, and their logs
- `python -m sandbox down --name mine` ends it, and sweeps what killed ones left

Needs root. Nothing outlives `up`, whatever way it ends.
Programs are built once and kept under `~/.cache/interlock`.""",
)
Name = Annotated[str, typer.Option(help="Which sandbox; several run side by side.")]
Running = Annotated[str, typer.Option(help="Which running sandbox.", envvar=person.NAME)]


Only = Annotated[
    str,
    typer.Option(help=f"Parts, separated by commas; what they need comes along. Of: {', '.join(catalog.CLASSES)}."),
]
_ALL = ",".join(catalog.DEFAULT)


@app.command()
def up(name: Name = "dev", only: Only = _ALL) -> None:
    """Start a sandbox and keep it until Ctrl-C."""
    terminal = Terminal()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        with terminal.live():
            sandbox = stack.enter_context(Sandbox.open(name=name, parts=only.split(","), report=terminal))
        terminal.console.print(_told(name, sandbox.status()), markup=False, highlight=False, soft_wrap=True)
        with suppress(KeyboardInterrupt):  # entered first: whoever reads the line may act on it at once
            terminal.console.print(f"sandbox {name} is up; Ctrl-C ends it")
            while sandbox.runs():
                time.sleep(0.5)
        with terminal.live():
            stack.close()
    terminal.console.print(f"sandbox {name} is down; nothing is left running")


@app.command()
def provide(only: Only = _ALL) -> None:
    """Find or build everything that a sandbox is made of, and start nothing."""
    terminal = Terminal()
    with terminal.live():
        catalog.provide(catalog.with_needs(only.split(","), Place(name="provide", slot=0)), terminal)
    terminal.console.print("every part is here")


@app.command()
def status(
    output: Annotated[Literal["table", "json"], typer.Option(help="How to print it.")] = "table",
) -> None:
    """Show every sandbox of this machine: its parts, whether they answer, where, and their logs."""
    require_root()
    answers = {p.name: Sandbox.attach(p.name, report=Terminal()).status() for p in slots.running()}
    if output == "json":
        print(json.dumps({name: [asdict(answer) for answer in each] for name, each in answers.items()}, indent=2))
    elif answers:
        print("\n".join(_told(name, each) for name, each in answers.items()))
    else:
        print("no sandbox runs; start one: python -m sandbox up")


@app.command()
def down(name: Name = "dev") -> None:
    """End a running sandbox, wherever it was started, and sweep what killed ones left."""
    require_root()
    terminal = Terminal()
    if name in [place.name for place in slots.running()]:
        Sandbox.attach(name, report=terminal).down()
        while name in [place.name for place in slots.running()]:
            time.sleep(0.2)  # until its owner has swept
    elif not any(place.name == name for place in slots.sweep_dead()):
        terminal.console.print(f"sandbox {name}: does not run; nothing was left of it")
        return
    terminal.console.print(f"sandbox {name} is down")


@app.command()
def shell(name: Running = "demo") -> None:
    """Print what a shell needs to work with a running sandbox: eval "$(python -m sandbox shell)"."""
    require_root()
    print(person.exports(person.running(name)))


@app.command()
def repository(
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="Its name.")],
    name: Running = "demo",
) -> None:
    """Make an empty application repository on a running sandbox's git server, and print its address."""
    require_root()
    print(create_repository(person.running(name), repository, kind="application"))


@app.command()
def ask(
    service: Annotated[str, typer.Argument(help="A Service of the cluster.")],
    path: Annotated[str, typer.Argument(help="What to GET.")] = "/",
    namespace: Annotated[str, typer.Option(help="Where the Service is.")] = "shop",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it answers.")] = 600,
    name: Running = "demo",
) -> None:
    """Print what a Service in a running sandbox's cluster answers; waits until it is deployed."""
    require_root()
    print(person.ask(person.running(name), service, path, namespace=namespace, seconds=wait).rstrip("\n"))


@app.command("on", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def on(
    host: Annotated[Literal["ci", "cd"], typer.Argument(help="Whose host.")],
    words: Annotated[list[str], typer.Argument(help="What follows `interlock`.")],
    name: Running = "demo",
) -> None:
    """Run `interlock` on a host of a running sandbox, as its worker's user: python -m sandbox on cd status."""
    from sandbox import pipeline

    require_root()
    pipeline.on_host(person.running(name), host, words)


def _told(name: str, answers: list[Answer]) -> str:
    """A line for each part and one below for its log. Nothing is wrapped or cut: a path is to be copied whole."""
    wide = max((len(answer.part) for answer in answers), default=0)
    lines = [f"sandbox {name}"]
    for answer in answers:
        says = "answers" if answer.answers else answer.problem.partition("\n")[0]
        lines += [f"  {answer.part:{wide}}  {says}  {answer.address}".rstrip(), f"  {'':{wide}}  {answer.log}"]
    return "\n".join(lines)


def main() -> None:
    try:
        app()
    except SandboxError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
