"""Running the analysers of application source code in the scanners' jail."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from interlock.ci.analysers import ANALYSERS
from interlock.ci.analysers.analyser import Analyser, Reading
from interlock.ci.findings import Finding, Scan
from interlock.errors import ScanFailed
from tasks.ci import jail
from tasks.common.effect import effect

HEAD_BYTES = 256
_CANARY = "canary"
UNREAD = "unread"
"""The id of a finding that says that a file has no verdict: what nobody could read is not clean."""


@effect(name="analyse code", retries=1)
def analyse_code(folder: Path, *, seconds: int = 600, analysers: tuple[Analyser, ...] = ANALYSERS) -> Scan:
    """What the analysers say of the files in a folder, each of the files that it is for. ScanFailed without a verdict.

    A file is given under a number for a name, without its neighbours: no configuration and no name reaches them. Each
    run has a canary among its files, so that an analyser that finds nothing is found out.
    """
    scans = [_analyse(analyser, folder, seconds) for analyser in analysers]
    findings = tuple(finding for found, _ in scans for finding in found)
    return Scan(
        "code",
        findings=tuple(sorted(set(findings), key=lambda finding: finding.order)),
        scanner=", ".join(version for _, version in scans),
        notes=jail.isolation()[1],
    )


def _analyse(analyser: Analyser, folder: Path, seconds: int) -> tuple[tuple[Finding, ...], str]:
    with jail.scratch() as scratch:
        code = scratch / "code"
        code.mkdir(mode=0o700)
        names = {f"{number}{analyser.suffix}": path for number, path in enumerate(_files(analyser, folder))}
        for name, path in names.items():
            (code / name).write_bytes((folder / path).read_bytes())
        canary = f"{_CANARY}{analyser.suffix}"
        (code / canary).write_bytes(analyser.canary)
        argv = (sys.executable, "-I", "-m", analyser.module, *analyser.arguments)
        reading = analyser.read(jail.run(analyser.name, argv, scratch, seconds=seconds))
    _require_canary(analyser, reading, canary)
    _require_all(analyser, reading, names)
    return tuple(_findings(reading, names)), f"{analyser.name} {metadata.version(analyser.package)}"


def _files(analyser: Analyser, folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if analyser.concerns(name, head):
            yield name


def _require_canary(analyser: Analyser, reading: Reading, canary: str) -> None:
    if not any(remark.file == canary and remark.id == analyser.canary_id for remark in reading.remarks):
        raise ScanFailed(
            f"{analyser.name} does not find {analyser.canary_id} in a file that has it, so it finds nothing",
            hint=f"is the package {analyser.package} whole?",
        )


def _require_all(analyser: Analyser, reading: Reading, names: Mapping[str, str]) -> None:
    if missing := sorted(names.keys() - reading.judged - reading.unread.keys()):
        raise ScanFailed(f"{analyser.name} has no verdict on {', '.join(names[name] for name in missing)}")


def _findings(reading: Reading, names: Mapping[str, str]) -> Iterator[Finding]:
    for each in reading.remarks:
        if each.file in names:
            target = names[each.file]
            yield Finding("code", each.id, each.severity, target, each.title, line=each.line, link=each.link)
    for name, reason in reading.unread.items():
        yield Finding("code", UNREAD, "HIGH", names.get(name, name), f"not analysed: {reason}")
