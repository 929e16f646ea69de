"""`python -m bench`: measures, prints a table, writes build/bench.json."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from bench import ground, rows
from bench.flux import Programs
from bench.measure import Row
from bench.peers import kubectl, kubectl_version
from tasks.common.garbage import collected_rarely

_COLUMNS = ("Row", "Ours", "Peer", "Peer's", "Ratio", "Goal", "Spread", "Runs")
_WIDTH = 140
_VERSIONS = ("interlock", "kubernetes", "urllib3", "orjson")


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Rows, of: {', '.join(rows.ROWS)}. All without.")] = None,
    objects: Annotated[int, typer.Option(help="How many objects.")] = 10_000,
    flux: Annotated[
        Path | None, typer.Option(help="A folder with Flux's source-controller, kustomize-controller and crds/*.yaml.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path("build/bench.json"),
) -> None:
    """Measure our plan and apply beside kubectl and beside bare requests, on one real control plane.

    Examples:

    - `python -m bench` measures every row
    - `python -m bench plan-unchanged --objects 1000`
    """
    if unknown := set(names or ()) - rows.ROWS.keys():
        raise typer.BadParameter(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(rows.ROWS)}")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    if kubectl() is None:
        console.print("kubectl is not here: its rows are left out; `make bench` installs it")
    if flux is None:
        console.print("Flux's controllers were not given: their rows are left out; --flux FOLDER names them")
    programs = _given(flux) if flux else None
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, ground.control_plane() as sandbox, collected_rarely():
        for name in names or rows.ROWS:
            console.print(f"measuring {name} with {objects} objects …")
            found += rows.ROWS[name](sandbox, Path(folder), objects, programs)
            console.print(_table(found))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(_document(found), indent=2) + "\n")
    console.print(f"written: {output}")


def _given(folder: Path) -> Programs:
    try:
        return Programs.of(folder.resolve())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _table(found: list[Row]) -> Table:
    table = Table(*(Column(name, no_wrap=True) for name in _COLUMNS))
    for row in found:
        figures = (_figure(row.ours_s, row.unit), row.peer, _figure(row.peer_s, row.unit), f"{row.ratio:.3f}", row.goal)
        table.add_row(row.name, *figures, f"{row.spread:.0%}", str(row.runs))
    return table


def _figure(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}"


def _document(found: list[Row]) -> dict[str, object]:
    machine = {"processors": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version()}
    return {
        "rows": [row.to_json() for row in found],
        "versions": {"kubectl": kubectl_version(), **{name: metadata.version(name) for name in _VERSIONS}},
        "machine": machine,
    }


if __name__ == "__main__":
    typer.run(main)
