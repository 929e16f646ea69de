"""Trivy as a program that is not trusted: what would switch it off does not, and no result is never a clean one."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import stat
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.contract.finding import Database, Scan
from interlock.errors import ScanFailed
from sandbox.parts.trivy import Trivy
from sandbox.trivy_database import write_database
from tasks.ci.archive import write_without_contents
from tasks.ci.jail import isolation
from tasks.ci.kept import Kept
from tasks.ci.scanner import Scanner, check_scanner, list_contents, scan_folder, scan_image, scan_manifests

TOKEN = "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789"
DOCKERFILE = "FROM debian:12\nUSER root\n"


@pytest.fixture
def scanner(trivy_database: Trivy, tmp_path: Path) -> Scanner:
    return Scanner(trivy_database.program, trivy_database.cache, tmp_path / "scanner", pinned=True, seconds=120)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder to scan with one finding of each kind."""
    folder = tmp_path / "scanned"
    for name, text in {
        "app.py": f'token = "{TOKEN}"\n',
        "requirements.txt": "requests==2.19.0\n",
        "Dockerfile": DOCKERFILE,
    }.items():
        write(folder, name, text)
    return folder


def write(folder: Path, name: str, text: str) -> None:
    path = folder / "source" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def scan(scanner: Scanner, folder: Path, **options: object) -> Scan:
    database = check_scanner.fn(scanner)
    given = {"configurations": frozenset({"Dockerfile"}), **options}
    return scan_folder.fn(scanner, folder, subject="source", database=database, **given)  # type: ignore[arg-type]


def found(scan: Scan) -> set[str]:
    return {f"{finding.id} {finding.place}" for finding in scan.findings}


EXPECTED = {
    "github-pat app.py:1",
    "CVE-2018-18074 requirements.txt:1",
    "CVE-2023-32681 requirements.txt:1",
    "DS-0002 Dockerfile:2",
}


def test_secrets_packages_and_dockerfiles_are_found(scanner: Scanner, source: Path) -> None:
    """With file and line, by a scanner of a known version and a known database."""
    result = scan(scanner, source)

    assert found(result) >= EXPECTED
    assert result.scanner == "trivy 0.76.0"
    assert result.database is not None
    assert result.database.pinned


def test_nothing_in_the_tree_or_the_environment_switches_the_scanner_off(
    scanner: Scanner, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trivy's own files in the tree, its variables, and a hostile working folder and home change nothing."""
    trap = source.parent / "trap"
    for name, text in {
        "trivy.yaml": "severity: LOW\nscan: {skip-files: ['**/*']}\n",
        ".trivyignore": "CVE-2018-18074\ngithub-pat\nDS-0002\n",
        "trivy-secret.yaml": "disable-rules: [github-pat]\n",
    }.items():
        write(source, name, text)
        trap.mkdir(exist_ok=True)
        (trap / name).write_text(text)
    for name, value in {
        "TRIVY_SEVERITY": "LOW",
        "TRIVY_SKIP_FILES": "**/*",
        "TRIVY_IGNOREFILE": str(trap / ".trivyignore"),
        "TRIVY_CONFIG": str(trap / "trivy.yaml"),
        "TRIVY_CACHE_DIR": str(trap),
        "HOME": str(trap),
        "XDG_CACHE_HOME": str(trap),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(trap)

    assert found(scan(scanner, source)) >= EXPECTED


def test_comments_do_not_make_it_look_away(scanner: Scanner, source: Path) -> None:
    """Trivy obeys `#trivy:ignore:` in a Dockerfile; in what we scan it does not stand any more."""
    write(source, "Dockerfile", f"FROM debian:12\n#trivy:ignore:DS-0002\nUSER root\n{'#'} tfsec:ignore:*\n")

    assert "DS-0002 Dockerfile:3" in found(scan(scanner, source))


def test_no_folder_and_no_name_hides_a_secret(scanner: Scanner, source: Path) -> None:
    """Trivy passes over some folders by default, `dev` and `tests` among them, and over Markdown."""
    folders = ("tests", "examples", "vendor", "dev", "proc", "sys", "docs", "deep/down/tests")
    for folder in folders:
        write(source, f"{folder}/key.py", f'token = "{TOKEN}"\n')
    write(source, "README.md", f"use {TOKEN}\n")

    hidden = {f"github-pat {folder}/key.py:1" for folder in folders} | {"github-pat README.md:1"}
    assert found(scan(scanner, source)) >= hidden


def test_no_name_that_trivy_passes_over_hides_a_secret(scanner: Scanner, source: Path) -> None:
    """Pictures, archives and lock files by their names alone, packages and translations by their folders."""
    names = (
        *("logo.svg", "data.bin", "notes.pdf", "a.tar", "a.gz", "go.sum", "yarn.lock", "package-lock.json"),
        *("locale/de.py", "node_modules/own/index.js", "web/node_modules/.env"),
    )
    for name in names:
        write(source, name, f'token = "{TOKEN}"\n')
    (source / "source" / "wide.txt").write_bytes(f"token = {TOKEN}\n".encode("utf-16"))

    result = scan(scanner, source)

    assert found(result) >= EXPECTED | {f"github-pat {name}:1" for name in (*names, "wide.txt")}


def test_a_dockerfile_of_any_name_is_judged(scanner: Scanner, source: Path) -> None:
    """interlock.yaml may name it as it likes."""
    write(source, "build/Container (web).txt", DOCKERFILE)
    name = "build/Container (web).txt"

    result = scan(scanner, source, configurations=frozenset({name}), dockerfiles=[name])

    assert f"DS-0002 {name}:2" in found(result)


def test_a_dockerfile_that_was_not_judged_fails_the_scan(scanner: Scanner, source: Path) -> None:
    """Without the hint Trivy takes that file for text."""
    write(source, "build/Container.txt", DOCKERFILE)

    with pytest.raises(ScanFailed, match=r"no verdict on build/Container\.txt"):
        scan(scanner, source, configurations=frozenset({"build/Container.txt"}))


def test_manifests_are_judged_one_by_one(scanner: Scanner, tmp_path: Path) -> None:
    """Each of them must have a verdict; a privileged container is a finding."""
    container = {"name": "web", "image": f"x@sha256:{'0' * 64}", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}}
    files = {"dev/pod.web.yaml": json.dumps(pod).encode()}

    result = scan_manifests.fn(scanner, tmp_path / "manifests", files)

    assert "KSV-0017" in {finding.id for finding in result.findings if finding.target == "dev/pod.web.yaml"}
    with pytest.raises(ScanFailed, match=r"no verdict on dev/text\.yaml of the manifests"):
        scan_manifests.fn(scanner, tmp_path / "others", {**files, "dev/text.yaml": b"just: text\n"})


def test_no_network_is_reached(scanner: Scanner, source: Path) -> None:
    """Root, or a user who may make namespaces, runs it without one, and the scan has no note about it."""
    prefix, notes = isolation()

    assert prefix
    assert notes == ()
    assert scan(scanner, source).notes == ()


# images ----------------------------------------------------------------------------------------------


def archive(path: Path, files: dict[str, str], **configuration: object) -> Path:
    """An image of one layer, as `docker save` writes one."""
    layer = packed({name: text.encode() for name, text in files.items()})
    diff = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
            **configuration,
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
    path.write_bytes(packed({name: config, "layer.tar": layer, "manifest.json": manifest}))
    return path


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


PYTHON = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "etc/debian_version": "12.1\n",
    "var/lib/dpkg/status": (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\n"
        "Version: 2.36-9+deb12u1\nMaintainer: nobody\nDescription: libc\n\n"
    ),
    "usr/lib/python3/dist-packages/requests-2.19.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: requests\nVersion: 2.19.0\n"
    ),
    "app/settings.py": f'token = "{TOKEN}"\n',
}


def test_an_image_is_scanned_from_its_archive(scanner: Scanner, tmp_path: Path) -> None:
    """Packages and secrets of its layers, its own id; and bills of materials about what the registry has."""
    database = check_scanner.fn(scanner)

    result = scan_image.fn(scanner, archive(tmp_path / "web.tar", PYTHON), database=database)

    assert {"CVE-2018-18074", "CVE-2023-4911", "github-pat"} <= {finding.id for finding in result.scan.findings}
    assert result.scan.assessed, result.scan.doubt
    assert len(result.scan.image_id) == len("sha256:") + 64
    image = f"127.0.0.1:5000/shop/web@sha256:{'a' * 64}"
    contents = list_contents.fn(scanner, result.report, repository="127.0.0.1:5000/shop/web").about(image)
    cyclonedx, spdx = json.loads(contents.cyclonedx), json.loads(contents.spdx)
    assert "requests" in {each["name"] for each in cyclonedx["components"]}
    assert "requests" in {each["name"] for each in spdx["packages"]}
    assert cyclonedx["metadata"]["component"]["purl"].startswith(f"pkg:oci/web@sha256:{'a' * 64}")
    assert b"CVE-2018-18074" not in contents.cyclonedx + contents.spdx
    assert TOKEN.encode() not in contents.cyclonedx + contents.spdx


ROOT = [{"created_by": "COPY . /app # buildkit"}, {"created_by": "USER root", "empty_layer": True}]
ADA = [*ROOT, {"created_by": "USER ada", "empty_layer": True}]


def test_configurations_are_checked_once_for_the_same_instructions(
    scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another commit's image costs no second check and has the same findings; other instructions have their own."""
    database, kept = check_scanner.fn(scanner), Kept(tmp_path / "kept", "shop")
    checked: list[Path] = []

    def counted(archive: Path, config: bytes) -> None:
        checked.append(archive)
        write_without_contents(archive, config)

    monkeypatch.setattr("tasks.ci.scanner.write_without_contents", counted)

    def found(number: int, history: object, *, kept: Kept | None = kept) -> set[str]:
        labels = {"Labels": {"org.opencontainers.image.revision": f"{number}" * 40}}
        image = archive(tmp_path / "web.tar", {**PYTHON, "app/n": f"{number}"}, config=labels, history=history)
        scan = scan_image.fn(scanner, image, database=database, kept=kept).scan
        return {finding.id for finding in scan.findings if finding.kind == "misconfiguration"}

    assert found(1, ROOT) == found(2, ROOT) == found(3, ROOT, kept=None) == {"DS-0002", "DS-0026"}
    assert len(checked) == 2
    assert found(1, ADA) == {"DS-0026"}
    assert len(checked) == 3


STRANGE = ("/bin/sh -c #(nop)  HEALTHCHECK nonsense", "/bin/sh -c #(nop)  nonsense a", "/bin/sh -c #(nop)  EXPOSE")


@pytest.mark.parametrize(
    "instruction",
    [
        '/bin/sh -c #(nop)  HEALTHCHECK &{["CMD" "true"] "0s" "0s" "0s" \'\\x00\'}',
        '/bin/sh -c #(nop)  ENTRYPOINT ["python" "-m" "shop"]',
        "/bin/sh -c #(nop)  VOLUME [/data]",
        "|1 A=b /bin/sh -c make",
        "RUN /bin/sh -c <<EOF\nmake\nEOF # buildkit",
        *STRANGE,
        "SHELL [/bin/bash -o pipefail -c]",
        'LABEL a="b',
        "nonsense",
    ],
)
def test_no_instruction_hides_who_runs_the_image(scanner: Scanner, tmp_path: Path, instruction: str) -> None:
    """Trivy says nothing about a configuration in which there is one that it cannot read."""
    history = [*ROOT, {"created_by": instruction, "empty_layer": True}]
    image = archive(tmp_path / "web.tar", PYTHON, history=history)

    scan = scan_image.fn(scanner, image, database=check_scanner.fn(scanner)).scan

    assert "DS-0002" in {finding.id for finding in scan.findings}
    assert any("the scanner misreads another" in note for note in scan.notes) is (instruction in STRANGE), scan.notes


def test_whether_a_system_is_covered_is_kept_by_database(
    scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another image of the system costs no canary of its own, but with another database it does."""
    database, kept = check_scanner.fn(scanner), Kept(tmp_path / "kept", "shop")
    asked: list[str] = []

    def canary(*_: object, family: str, version: str) -> bool:
        asked.append(f"{family} {version}")
        return family == "debian"

    monkeypatch.setattr("tasks.ci.scanner._scan_canary", canary)

    def covered(number: int, database: Database) -> bool:
        files = {**PYTHON, "app/number": str(number)}
        image = archive(tmp_path / f"{number}.tar", files)
        return scan_image.fn(scanner, image, database=database, kept=kept).scan.assessed

    assert [covered(1, database), covered(2, database)] == [True, True]
    assert len(asked) == 1
    assert covered(3, replace(database, digest="sha256:another"))
    assert len(asked) == 2


def test_licences_are_found_when_they_are_asked_for(scanner: Scanner, tmp_path: Path) -> None:
    """Of the system's packages and of others; a package that names none is told too."""
    terms = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: AGPL-3+\n"
    path = archive(tmp_path / "web.tar", PYTHON | {"usr/share/doc/libc6/copyright": terms})
    database = check_scanner.fn(scanner)

    asked = scan_image.fn(scanner, path, database=database, licences=True).scan

    found = {(finding.id, finding.package) for finding in asked.findings if finding.kind == "licence"}
    assert found == {("AGPL-3+", "libc6"), ("unknown", "requests")}
    assert not scan_image.fn(scanner, path, database=database).scan.licences


def test_an_image_without_anything_known_is_not_assessed(scanner: Scanner, tmp_path: Path) -> None:
    """`FROM scratch`: Trivy says rc 0 and nothing."""
    path = archive(tmp_path / "web.tar", {"app/data": "hello\n"})

    assert not scan_image.fn(scanner, path, database=check_scanner.fn(scanner)).scan.assessed


def test_what_is_no_archive_fails(scanner: Scanner, tmp_path: Path) -> None:
    """Trivy's rc is 1."""
    (tmp_path / "web.tar").write_bytes(b"no tar")

    with pytest.raises(ScanFailed, match="trivy image ended with exit code 1"):
        scan_image.fn(scanner, tmp_path / "web.tar", database=check_scanner.fn(scanner))


# faults ----------------------------------------------------------------------------------------------


def test_no_database_is_told(scanner: Scanner, tmp_path: Path) -> None:
    """Before anything is built."""
    with pytest.raises(ScanFailed, match="there is no vulnerability database in"):
        check_scanner.fn(replace(scanner, database=tmp_path / "nothing"))


def test_an_empty_database_is_found_out(scanner: Scanner, tmp_path: Path) -> None:
    """Trivy scans with it, rc 0, and finds nothing: the canary tells."""
    write_database(tmp_path / "cache", advisories=())

    with pytest.raises(ScanFailed, match="does not know CVE-2023-32681"):
        check_scanner.fn(replace(scanner, database=tmp_path / "cache", cache=tmp_path / "own"))


def test_a_damaged_database_fails(scanner: Scanner, tmp_path: Path) -> None:
    """A Go panic, or an error, but no verdict."""
    write_database(tmp_path / "cache")
    file = tmp_path / "cache" / "db" / "trivy.db"
    file.write_bytes(file.read_bytes()[:9000])

    with pytest.raises(ScanFailed):
        check_scanner.fn(replace(scanner, database=tmp_path / "cache", cache=tmp_path / "own"))


def test_the_databases_age_is_known(scanner: Scanner, tmp_path: Path) -> None:
    """The gate judges it."""
    old = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
    write_database(tmp_path / "cache", now=old)

    found = check_scanner.fn(replace(scanner, database=tmp_path / "cache", cache=tmp_path / "own"))

    assert found.updated == old


def test_a_failed_download_keeps_the_database_that_is_there(scanner: Scanner, tmp_path: Path) -> None:
    """Its age is known, so the gate decides; without any it is an error."""
    old = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
    write_database(tmp_path / "cache", now=old)
    program = tmp_path / "trivy"
    program.write_text(f'#!/bin/sh\n[ "$1" = image ] && exit 1\nexec {scanner.binary} "$@"\n')
    program.chmod(stat.S_IRWXU)
    fetching = replace(scanner, binary=program, pinned=False, cache=tmp_path / "own")

    assert check_scanner.fn(replace(fetching, database=tmp_path / "cache")).updated == old
    with pytest.raises(ScanFailed, match=r"^no vulnerability database: .* exit code 1") as caught:
        check_scanner.fn(replace(fetching, database=tmp_path / "none"))
    assert "--trivy-cache DIR --pinned-database" in caught.value.hint


Fake = Callable[[str], Scanner]


@pytest.fixture
def fake(scanner: Scanner, tmp_path: Path) -> Fake:
    """A real program in the scanner's place; it prints what it is told, badly."""

    def make(body: str) -> Scanner:
        program = tmp_path / "trivy"
        program.write_text(f"#!{sys.executable} -IS\nimport os, sys, time, signal, subprocess\n{body}\n")
        program.chmod(stat.S_IRWXU)
        return replace(scanner, binary=program, seconds=3)

    return make


WHOLE = '{"SchemaVersion": 2, "Trivy": {"Version": "9"}, "ArtifactType": "filesystem"'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"was killed \(SIGSEGV\)"),
        ("sys.stderr.write('panic: runtime error'); sys.exit(2)", "exit code 2: panic: runtime error"),
        ("sys.exit(1)", "exit code 1: it said nothing"),
        ("time.sleep(60)", "stopped after 3 s"),
        ("pass", "not whole"),
        (f"print('''{WHOLE}''')", "not whole"),
        (f"print('''{WHOLE}, \"Results\": [''')", "not whole"),
        (f"print('''{WHOLE}}}'''); sys.exit(1)", "exit code 1"),
        (f"print('''{WHOLE}}}''')", "did not find DS-0002, github-pat"),
    ],
    ids=["crash", "panic", "error", "hangs", "silent", "cut", "half", "report and error", "no results"],
)
def test_a_scanner_that_fails_gives_no_result(fake: Fake, source: Path, body: str, said: str) -> None:
    """Crash, error, timeout, half a report, an empty one: ScanFailed with the reason."""
    with pytest.raises(ScanFailed, match=said):
        scan_folder.fn(fake(body), source, subject="source", database=None, configurations=frozenset({"Dockerfile"}))


def test_a_timeout_ends_the_whole_process_group(fake: Fake, source: Path, tmp_path: Path) -> None:
    """Nothing that the scanner started works on."""
    pid_file = tmp_path / "pid"
    child = f"child = subprocess.Popen(['sleep', '60']); open('{pid_file}', 'w').write(str(child.pid)); time.sleep(60)"

    with pytest.raises(ScanFailed, match="stopped"):
        scan_folder.fn(fake(child), source, subject="source", database=None)

    assert not runs(int(pid_file.read_text()))


def runs(pid: int) -> bool:
    """Whether the process still works; one that nobody has waited for yet does not."""
    for _ in range(20):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True


def test_the_scanner_gets_nothing_of_ours(fake: Fake, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither our variables nor our open files nor our folder."""
    monkeypatch.setenv("SOME_PASSWORD", "s3cret")
    body = "sys.stderr.write(repr((dict(os.environ), os.listdir('/proc/self/fd'), os.getcwd()))); sys.exit(1)"

    with pytest.raises(ScanFailed) as caught:
        scan_folder.fn(fake(body), source, subject="source", database=None)

    assert "s3cret" not in str(caught.value)
    assert str(Path.cwd()) not in str(caught.value)


def test_a_missing_program_is_told(scanner: Scanner, source: Path, tmp_path: Path) -> None:
    """Not scanned, and what to look at."""
    with pytest.raises(ScanFailed, match="nothing-here"):
        scan_folder.fn(replace(scanner, binary=tmp_path / "nothing-here"), source, subject="source", database=None)


def test_nothing_is_left_behind(
    scanner: Scanner, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No scratch folder survives a scan."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    scan(scanner, source)

    assert list(temporary.iterdir()) == []
