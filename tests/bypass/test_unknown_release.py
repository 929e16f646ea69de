"""An image of a system that the scanner knows, in a release that there is not: nothing is known to be wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.ci import canary
from sandbox.trivy_database import ADVISORIES, Advisory, Bucket, bolt_file, write_database
from tasks.ci.scanner import Scanner, check_scanner, scan_contents, scan_image
from tests.bypass import rpm
from tests.bypass.bypass import Plain
from tests.bypass.images import SYSTEM_HOLE, image

ROCKY = Advisory(
    id=SYSTEM_HOLE,
    ecosystem="rocky 9",
    package="glibc",
    vulnerable=(),
    patched=("2.34-60.el9_2.7",),
    severity="HIGH",
    title="glibc: buffer overflow in ld.so leading to privilege escalation",
)
# As the scanner's database names what belongs to a release of each system.
KNOWN = {
    ("debian", "12.1"): "debian 12",
    ("ubuntu", "22.04"): "ubuntu 22.04",
    ("alpine", "3.22.1"): "alpine 3.22",
    ("wolfi", "20230201"): "wolfi",
    ("chainguard", "20230214"): "chainguard",
    ("alma", "9.3"): "alma 9",
    ("amazon", "2023"): "amazon linux 2023",
    ("azurelinux", "3.0"): "Azure Linux 3.0",
    ("cbl-mariner", "2.0"): "CBL-Mariner 2.0",
    ("opensuse-leap", "15.5"): "openSUSE Leap 15.5",
    ("opensuse-tumbleweed", "20240101"): "openSUSE Tumbleweed",
    ("oracle", "9.3"): "Oracle Linux 9",
    ("photon", "5.0"): "Photon OS 5.0",
    ("rocky", "9.3"): "rocky 9",
    ("slem", "5.3"): "SUSE Linux Enterprise Micro 5.3",
    ("sles", "15.5"): "SUSE Linux Enterprise 15.5",
    ("redhat", "9.3"): "Red Hat",
    ("centos", "8.4"): "Red Hat",
}


@pytest.fixture
def rocky(tmp_path: Path, scanner: Scanner, plain: Plain) -> tuple[Scanner, Plain]:
    """Ours and theirs, with a database that knows a hole in Rocky Linux 9."""
    write_database(tmp_path / "database", advisories=(*ADVISORIES, ROCKY))
    home = tmp_path / "home"
    (home / ".cache").mkdir(parents=True)
    (home / ".cache" / "trivy").symlink_to(tmp_path / "database")
    ours = replace(scanner, database=tmp_path / "database", cache=tmp_path / "own")
    return ours, replace(plain, home=home)


def of_rocky(release: str) -> Mapping[str, str | bytes]:
    said = f"Rocky Linux release {release} (Blue Onyx)\n"
    return {"etc/rocky-release": said, rpm.PATH: rpm.database()}


def test_it_is_not_assessed(rocky: tuple[Scanner, Plain], tmp_path: Path) -> None:
    """The database must know a hole in that very release; where it does, what is found counts."""
    ours, plain = rocky
    honest = image(tmp_path / "honest.tar", of_rocky("9.3"))
    tricked = image(tmp_path / "tricked.tar", of_rocky("99.3"))
    assert SYSTEM_HOLE in plain.run("image", "--input", str(honest), cwd=tmp_path)
    assert plain.run("image", "--input", str(tricked), cwd=tmp_path) == frozenset()
    database = check_scanner.fn(ours)

    good = scan_image.fn(ours, honest, database=database).scan
    scan = scan_image.fn(ours, tricked, database=database).scan

    assert good.assessed
    assert SYSTEM_HOLE in {finding.id for finding in good.findings}
    assert not scan.assessed
    assert scan.doubt == "the vulnerability database knows nothing about rocky 99.3"


@pytest.mark.parametrize(("system", "bucket"), KNOWN.items(), ids=[family for family, _ in KNOWN])
def test_every_known_system_can_be_asked_for(
    scanner: Scanner, tmp_path: Path, system: tuple[str, str], bucket: str
) -> None:
    """With holes in it, the scanner finds one in what a bill of materials names; without, nobody takes it for clean."""
    family, version = system
    bill = canary.bill(family=family, version=version)
    knowing = with_holes(scanner, tmp_path / "knowing", bucket)
    ignorant = with_holes(scanner, tmp_path / "ignorant", bucket, package="unheard-of")

    known = scan_contents.fn(knowing, bill, database=check_scanner.fn(knowing))
    unknown = scan_contents.fn(ignorant, bill, database=check_scanner.fn(ignorant))

    assert "knows nothing" not in known.doubt
    assert SYSTEM_HOLE in {finding.id for finding in known.findings}
    assert not unknown.assessed


def with_holes(scanner: Scanner, folder: Path, bucket: str, package: str = "glibc") -> Scanner:
    """A scanner whose database knows what every good one knows, and a hole in a package of a system."""
    write_database(folder)
    entry: dict[str, object] = {"FixedVersion": "9", "Severity": 3}
    more: dict[str, Bucket] = {}
    if bucket == "Red Hat":
        places = {f"rhel-{release}-for-x86_64-baseos-rpms": as_json([1]) for release in (8, 9)}
        entry = {"Entries": [{"FixedVersion": "9", "Affected": [1], "Cves": [{"Severity": 3}], "Arches": ["x86_64"]}]}
        more = {"Red Hat CPE": {"repository": places, "nvr": {}, "cpe": {"1": as_json("cpe:/o:redhat:linux")}}}
    good = {"VulnerableVersions": ["<2.31.0"], "PatchedVersions": ["2.31.0"]}
    text = {"Title": "a hole", "Severity": "HIGH"}
    buckets: dict[str, Bucket] = {
        "data-source": {name: as_json({"ID": "x", "Name": name, "URL": ""}) for name in (bucket, "pip::x")},
        "vulnerability": {each: as_json(text) for each in (SYSTEM_HOLE, canary.VULNERABILITY)},
        "pip::x": {"requests": {canary.VULNERABILITY: as_json(good)}},
        bucket: {package: {SYSTEM_HOLE: as_json(entry)}},
        **more,
    }
    (folder / "db" / "trivy.db").write_bytes(bolt_file(buckets))
    return replace(scanner, database=folder, cache=folder / "own")


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()
