"""Running the analysers of application source code in the scanners' jail."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import interlock.ci.analysers
import interlock.contract
import tasks.ci
from interlock.ci.analysers import ANALYSERS
from interlock.ci.analysers.analyser import Analyser, Reading, Remark
from interlock.contract.finding import Finding, Scan
from interlock.errors import ScanFailed
from tasks.ci import jail
from tasks.ci.kept import Kept
from tasks.common.code import digest_of
from tasks.common.effect import effect

HEAD_BYTES = 256
_CANARY = "canary"
UNREAD = "unread"
"""The id of a finding that says that a file has no verdict: what nobody could read is not clean."""


@effect(name="analyse code", retries=1)
def analyse_code(
    folder: Path, *, seconds: int = 600, analysers: tuple[Analyser, ...] = ANALYSERS, kept: Kept | None = None
) -> Scan:
    """What the analysers say of the files in a folder, each of the files that it is for. ScanFailed without a verdict.

    A file is given under a number for a name, without its neighbours: no configuration and no name reaches them. So
    what is said of a content holds wherever it lies, and what is `kept` of an earlier run need not be read again. Each
    run has a canary among its files, so that an analyser that finds nothing is found out.
    """
    analysed = [_analyse(analyser, folder, seconds, kept) for analyser in analysers]
    findings = {finding for each in analysed for finding in each.findings}
    return Scan(
        "code",
        findings=tuple(sorted(findings, key=lambda finding: finding.order)),
        scanner=", ".join(each.version for each in analysed),
        notes=(*jail.isolation()[1], *(each.note for each in analysed if each.note)),
    )


@dataclass(frozen=True)
class _Analysed:
    findings: tuple[Finding, ...]
    version: str
    note: str = ""


Remarks = dict[str, tuple[Remark, ...]]
"""By the digest of what they are about."""
_REMARKS: TypeAdapter[Remarks] = TypeAdapter(Remarks)


def _analyse(analyser: Analyser, folder: Path, seconds: int, kept: Kept | None) -> _Analysed:
    name = kept.name("code", *_ground(analyser)) if kept else ""
    known = _known(kept, name) if kept else {}
    with jail.scratch() as scratch:
        laid = _lay_out(analyser, folder, scratch / "code", known)
        # Also when nothing is new: whether the analyser finds anything today is asked each time.
        argv = (sys.executable, "-I", "-m", analyser.module, *analyser.arguments)
        reading = analyser.read(jail.run(analyser.name, argv, scratch, seconds=seconds))
    _require_canary(analyser, reading, laid.canary)
    _require_all(analyser, reading, laid.names)
    new = _by_digest(reading, laid)
    remarks = {digest: new.get(digest) or known.get(digest, ()) for digest in laid.digests.values()}
    unread = {laid.digests[laid.names[file]] for file in reading.unread if file in laid.names}
    judged = {digest: found for digest, found in remarks.items() if digest not in unread}
    if kept and judged != known:
        kept.write(name, _REMARKS.dump_json(judged))
    version = f"{analyser.name} {metadata.version(analyser.package)}"
    again = sum(digest in known for digest in laid.digests.values())
    findings = tuple(_findings(laid, remarks, reading))
    return _Analysed(findings, version, _note(again, len(laid.digests), version))


def _note(again: int, files: int, version: str) -> str:
    """For whoever asks why a file has no new verdict."""
    return f"{again:,} of {files:,} files are as an earlier run of {version} on this host read them" if again else ""


def _known(kept: Kept, name: str) -> Remarks:
    content = kept.read(name)
    try:
        return _REMARKS.validate_json(content) if content is not None else {}
    except ValidationError:
        return {}  # another version's


@dataclass(frozen=True)
class _Laid:
    """The files by their contents' digests, and what was laid out: our names, each for a file with that content."""

    digests: Mapping[str, str]
    names: Mapping[str, str]
    canary: str


def _lay_out(analyser: Analyser, folder: Path, code: Path, known: Remarks) -> _Laid:
    """Contents that lie in several places are read once, and those that an earlier run has read not at all."""
    code.mkdir(mode=0o700)
    digests: dict[str, str] = {}
    names: dict[str, str] = {}
    seen = set(known)
    for path in _files(analyser, folder):
        content = (folder / path).read_bytes()
        digests[path] = hashlib.sha256(content).hexdigest()
        if digests[path] not in seen:
            seen.add(digests[path])
            name = f"{len(names)}{analyser.suffix}"
            (code / name).write_bytes(content)
            names[name] = path
    canary = f"{_CANARY}{analyser.suffix}"
    (code / canary).write_bytes(analyser.canary)
    return _Laid(digests, names, canary)


def _by_digest(reading: Reading, laid: _Laid) -> Remarks:
    found: Remarks = {}
    for each in reading.remarks:
        if each.file in laid.names:
            digest = laid.digests[laid.names[each.file]]
            found[digest] = (*found.get(digest, ()), each)
    return found


def _ground(analyser: Analyser) -> Iterator[str]:
    """All that a verdict on a content rests on: the analyser, its rules, what it can load, and who reads its report."""
    yield from (analyser.name, analyser.module, *analyser.arguments, analyser.suffix, sys.version)
    yield digest_of(*(Path(each.__path__[0]) for each in (interlock.contract, interlock.ci.analysers, tasks.ci)))
    # Their names have their versions; others may bring rules of their own.
    yield from sorted(path.name for path in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))
    for file in sorted(map(str, metadata.files(analyser.package) or ())):
        path = Path(str(metadata.distribution(analyser.package).locate_file(file)))
        if path.suffix != ".pyc" and path.is_file():
            yield f"{file} {hashlib.sha256(path.read_bytes()).hexdigest()}"


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


def _findings(laid: _Laid, remarks: Remarks, reading: Reading) -> Iterator[Finding]:
    for path, digest in laid.digests.items():
        for each in remarks[digest]:
            yield Finding("code", each.id, each.severity, path, each.title, line=each.line, link=each.link)
    for name, reason in reading.unread.items():
        alike = laid.digests.get(laid.names.get(name, ""))
        paths = [path for path, digest in laid.digests.items() if digest == alike] if alike else [name]
        for path in paths:
            yield Finding("code", UNREAD, "HIGH", path, f"not analysed: {reason}")
