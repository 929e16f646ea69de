"""Writes a small real vulnerability database for Trivy, with a handful of published advisories.

Trivy reads a bbolt file: pages of 4096 bytes, of which the first two are meta pages, the third lists free pages, and
each bucket is one leaf page, as long as it needs to be. Schema version 2 of the database lies in it as buckets:
`data-source`, one bucket of packages per ecosystem, and `vulnerability` for the texts. All values are JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_PAGE_BYTES = 4096
_META, _LEAF, _FREELIST = 0x04, 0x02, 0x10
_IS_BUCKET = 0x01
_MAGIC, _FORMAT = 0xED0CDAED, 2
_FIRST_FREE_PAGE = 3
_SEVERITIES = ("UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL")

Bucket = Mapping[str, "bytes | Bucket"]


@dataclass(frozen=True)
class Advisory:
    """One published advisory about one package. `vulnerable` holds alternatives, each of which may have two bounds.

    Of a system, whose name is then the ecosystem, all versions before the one that is patched are vulnerable.
    """

    id: str
    ecosystem: str
    package: str
    vulnerable: tuple[str, ...]
    patched: tuple[str, ...]
    severity: str
    title: str


# Facts from the GitHub Advisory Database. None is about a package of the base image, which must scan as clean.
ADVISORIES = (
    Advisory(
        id="CVE-2018-18074",
        ecosystem="pip",
        package="requests",
        vulnerable=("<=2.19.1",),
        patched=("2.20.0",),
        severity="HIGH",
        title="python-requests: Redirect from HTTPS to HTTP does not remove Authorization header",
    ),
    Advisory(
        id="CVE-2023-32681",
        ecosystem="pip",
        package="requests",
        vulnerable=(">=2.3.0, <2.31.0",),
        patched=("2.31.0",),
        severity="MEDIUM",
        title="python-requests: Unintended leak of Proxy-Authorization header",
    ),
    Advisory(
        id="CVE-2019-10906",
        ecosystem="pip",
        package="jinja2",
        vulnerable=("<2.10.1",),
        patched=("2.10.1",),
        severity="HIGH",
        title="python-jinja2: str.format_map allows sandbox escape",
    ),
    Advisory(
        id="CVE-2024-22195",
        ecosystem="pip",
        package="jinja2",
        vulnerable=("<3.1.3",),
        patched=("3.1.3",),
        severity="MEDIUM",
        title="jinja2: HTML attribute injection when passing user input as keys to xmlattr filter",
    ),
    Advisory(
        id="CVE-2024-34064",
        ecosystem="pip",
        package="jinja2",
        vulnerable=("<3.1.4",),
        patched=("3.1.4",),
        severity="MEDIUM",
        title="jinja2: accepts keys containing non-attribute characters",
    ),
    Advisory(
        id="CVE-2023-43804",
        ecosystem="pip",
        package="urllib3",
        vulnerable=("<1.26.17", ">=2.0.0, <2.0.6"),
        patched=("1.26.17", "2.0.6"),
        severity="HIGH",
        title="python-urllib3: Cookie request header isn't stripped during cross-origin redirects",
    ),
    Advisory(
        id="CVE-2020-14343",
        ecosystem="pip",
        package="pyyaml",
        vulnerable=("<5.4",),
        patched=("5.4",),
        severity="CRITICAL",
        title="PyYAML: incomplete fix for CVE-2020-1747 allows arbitrary code execution",
    ),
    Advisory(
        id="CVE-2023-4911",
        ecosystem="debian 12",
        package="glibc",
        vulnerable=(),
        patched=("2.36-9+deb12u3",),
        severity="HIGH",
        title="glibc: buffer overflow in ld.so leading to privilege escalation",
    ),
    Advisory(
        id="CVE-2021-23337",
        ecosystem="npm",
        package="lodash",
        vulnerable=("<4.17.21",),
        patched=("4.17.21",),
        severity="HIGH",
        title="nodejs-lodash: command injection via template",
    ),
)
CANARY = ADVISORIES[0]


def write_database(cache: Path, *, now: datetime | None = None, advisories: Iterable[Advisory] = ADVISORIES) -> None:
    """Write `db/trivy.db` and `db/metadata.json` below Trivy's cache folder; fresh for a day from `now`."""
    updated = now or datetime.now(UTC)
    folder = cache / "db"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trivy.db").write_bytes(bolt_file(_buckets(tuple(advisories))))
    metadata = {
        "Version": 2,
        "UpdatedAt": updated.isoformat(),
        "DownloadedAt": updated.isoformat(),
        "NextUpdate": (updated + timedelta(days=1)).isoformat(),
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))


def canary_bom() -> dict[str, object]:
    """A CycloneDX document with one package in which a scan with this database must find CANARY."""
    name, version = CANARY.package, "2.19.0"
    component = {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": [component]}


def _buckets(advisories: tuple[Advisory, ...]) -> Bucket:
    sources: dict[str, dict[str, dict[str, bytes]]] = {}
    for advisory in advisories:
        packages = sources.setdefault(_source(advisory.ecosystem), {})
        packages.setdefault(advisory.package, {})[advisory.id] = _json(_bounds(advisory))
    return {
        "data-source": {_source(name): _json(_describe(name)) for name in {a.ecosystem for a in advisories}},
        "vulnerability": {advisory.id: _json(_text(advisory)) for advisory in advisories},
        **sources,
    }


def _bounds(advisory: Advisory) -> dict[str, object]:
    if _is_system(advisory.ecosystem):
        return {"FixedVersion": advisory.patched[0]}
    return {"VulnerableVersions": advisory.vulnerable, "PatchedVersions": advisory.patched}


def _is_system(ecosystem: str) -> bool:
    """Whether it is a release of an operating system, such as `debian 12`."""
    return " " in ecosystem


def _source(ecosystem: str) -> str:
    return ecosystem if _is_system(ecosystem) else f"{ecosystem}::GitHub Security Advisory {ecosystem}"


def _describe(ecosystem: str) -> dict[str, str]:
    if _is_system(ecosystem):
        url = "https://salsa.debian.org/security-tracker-team/security-tracker"
        return {"ID": "debian", "Name": "Debian Security Tracker", "URL": url}
    url = f"https://github.com/advisories?query=type%3Areviewed+ecosystem%3A{ecosystem}"
    return {"ID": "ghsa", "Name": f"GitHub Security Advisory {ecosystem}", "URL": url}


def _text(advisory: Advisory) -> dict[str, object]:
    return {
        "Title": advisory.title,
        "Description": advisory.title,
        "Severity": advisory.severity,
        "VendorSeverity": {"ghsa": _SEVERITIES.index(advisory.severity)},
        "References": [f"https://nvd.nist.gov/vuln/detail/{advisory.id}"],
    }


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def bolt_file(root: Bucket) -> bytes:
    """The whole bbolt file, with `root` as its root bucket."""
    pages: list[bytes] = []
    root_page = _add_bucket(root, pages)
    end = _FIRST_FREE_PAGE + sum(len(page) for page in pages) // _PAGE_BYTES
    metas = [_meta_page(number, root_page=root_page, end=end) for number in (0, 1)]
    freelist = _padded(_page_header(2, kind=_FREELIST, count=0, overflow=0))
    return b"".join([*metas, freelist, *pages])


def _add_bucket(bucket: Bucket, pages: list[bytes]) -> int:
    """Append the bucket's page after those of the buckets in it; returns its number."""
    items: list[tuple[int, bytes, bytes]] = []
    for key, value in sorted(bucket.items(), key=lambda item: item[0].encode()):
        if isinstance(value, bytes):
            items.append((0, key.encode(), value))
        else:
            items.append((_IS_BUCKET, key.encode(), struct.pack("<QQ", _add_bucket(value, pages), 0)))
    number = _FIRST_FREE_PAGE + sum(len(page) for page in pages) // _PAGE_BYTES
    pages.append(_leaf_page(number, items))
    return number


def _leaf_page(number: int, items: list[tuple[int, bytes, bytes]]) -> bytes:
    """Header, an element of 16 bytes per item, then keys and values; an element counts from its own start."""
    elements, data = b"", b""
    for index, (flags, key, value) in enumerate(items):
        distance = 16 * (len(items) - index) + len(data)
        elements += struct.pack("<IIII", flags, distance, len(key), len(value))
        data += key + value
    body = elements + data
    overflow = (16 + len(body) - 1) // _PAGE_BYTES
    return _padded(_page_header(number, kind=_LEAF, count=len(items), overflow=overflow) + body)


def _meta_page(number: int, *, root_page: int, end: int) -> bytes:
    """Magic, format, page size, flags; root page, its sequence, freelist page, end of file, transaction; checksum."""
    fields = struct.pack("<IIIIQQQQQ", _MAGIC, _FORMAT, _PAGE_BYTES, 0, root_page, 0, 2, end, number)
    checksum = struct.pack("<Q", _fnv1a(fields))
    return _padded(_page_header(number, kind=_META, count=0, overflow=0) + fields + checksum)


def _page_header(number: int, *, kind: int, count: int, overflow: int) -> bytes:
    return struct.pack("<QHHI", number, kind, count, overflow)


def _padded(page: bytes) -> bytes:
    return page + bytes(-len(page) % _PAGE_BYTES)


def _fnv1a(data: bytes) -> int:
    checksum = 0xCBF29CE484222325
    for byte in data:
        checksum = ((checksum ^ byte) * 0x100000001B3) % 2**64
    return checksum
