"""What a scan found, read strictly from Trivy's JSON: half a report is no report."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from interlock.contract.models import Severity
from interlock.contract.validation import Violation
from interlock.errors import ScanFailed

Subject = Literal["source", "manifests", "image"]
Kind = Literal["secret", "rule", "vulnerability", "misconfiguration"]

KINDS: tuple[Kind, ...] = ("secret", "rule", "vulnerability", "misconfiguration")
DENIED: Severity = "HIGH"
"""Of a rule that denies; one that only warns is LOW."""
SEVERITIES: tuple[Severity, ...] = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")


@dataclass(frozen=True)
class Finding:
    """One thing that a scanner, a schema or a rule complains about. Never holds a secret itself."""

    kind: Kind
    id: str
    severity: Severity
    target: str
    """The file, or the package database of an image, that it is in."""
    title: str
    line: int | None = None
    package: str = ""
    """Or the object that a rule is about, such as `Deployment/shop/web`."""
    installed: str = ""
    fixed: str = ""
    link: str = ""
    waivable: bool = True

    @property
    def place(self) -> str:
        return f"{self.target}:{self.line}" if self.line else self.target

    @property
    def order(self) -> tuple[int, int, str, int, str, str]:
        """Sorts findings: kind, then severity, then place."""
        kind, severity = KINDS.index(self.kind), SEVERITIES.index(self.severity)
        return kind, severity, self.target, self.line or 0, self.id, self.package

    def __str__(self) -> str:
        match self.kind:
            case "secret":
                return f"secret {self.id} in {self.place}: {self.title}"
            case "rule":
                return f"rule {self.id}: {self.package} in {self.target}: {self.title}"
            case "vulnerability":
                cure = f"fixed in {self.fixed}" if self.fixed else "no fixed version"
                return f"{self.severity} {self.id} in {self.package} {self.installed} ({cure}), {self.place}"
            case "misconfiguration":
                return f"{self.severity} {self.id} in {self.place}: {self.title}"


@dataclass(frozen=True)
class Database:
    """The vulnerability database that a scan rests on. `digest` is of its file's bytes."""

    updated: dt.datetime
    digest: str
    pinned: bool = False
    """Set by the host to this one version: it is as old as it is, on purpose."""


@dataclass(frozen=True)
class Scan:
    """One scan. Neither `failure` nor `assessed=False` is ever clean."""

    subject: Subject
    assessed: bool = True
    """False: the scanner ran, but knows neither a system nor packages in the image."""
    failure: str = ""
    """Why there is no result at all: the scanner crashed, timed out, or wrote half a report."""
    findings: tuple[Finding, ...] = ()
    scanner: str = ""
    database: Database | None = None
    image_id: str = ""
    """Of an image: its configuration's digest, as the scanner saw it."""
    packages: int = 0
    notes: tuple[str, ...] = ()

    def counts(self) -> Mapping[Severity, int]:
        return {severity: sum(f.severity == severity for f in self.findings) for severity in SEVERITIES}


def of_violations(violations: Iterable[Violation], environment: str) -> tuple[Finding, ...]:
    """What schemas and rules say of an environment's manifests. Waivers are the gate's to apply."""
    return tuple(
        Finding(
            "rule",
            each.rule,
            DENIED if each.severity == "deny" else "LOW",
            f"{environment}/{each.application}",
            f"{each.message} at {each.origin.path}:{each.origin.line}",
            package=each.subject,
            waivable=each.waivable,
        )
        for each in violations
    )


def not_scanned(subject: Subject, reason: str) -> Scan:
    return Scan(subject, assessed=False, failure=reason)


# Trivy's JSON ----------------------------------------------------------------------------------------


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Location(_Part):
    start: int = Field(default=0, alias="StartLine")


class _Identifier(_Part):
    uid: str = Field(default="", alias="UID")


class _Package(_Part):
    identifier: _Identifier = Field(default=_Identifier(), alias="Identifier")
    locations: tuple[_Location, ...] = Field(default=(), alias="Locations")


class _Vulnerability(_Part):
    id: str = Field(alias="VulnerabilityID", min_length=1)
    package: str = Field(alias="PkgName", min_length=1)
    path: str = Field(default="", alias="PkgPath")
    identifier: _Identifier = Field(default=_Identifier(), alias="PkgIdentifier")
    installed: str = Field(default="", alias="InstalledVersion")
    fixed: str = Field(default="", alias="FixedVersion")
    severity: Severity = Field(alias="Severity")
    title: str = Field(default="", alias="Title")
    link: str = Field(default="", alias="PrimaryURL")


class _Secret(_Part):
    id: str = Field(alias="RuleID", min_length=1)
    severity: Severity = Field(alias="Severity")
    title: str = Field(default="", alias="Title")
    line: int = Field(alias="StartLine", ge=0)


class _Cause(_Part):
    line: int = Field(default=0, alias="StartLine")


class _Misconfiguration(_Part):
    id: str = Field(alias="ID", min_length=1)
    severity: Severity = Field(alias="Severity")
    status: Literal["FAIL", "PASS", "EXCEPTION"] = Field(alias="Status")
    title: str = Field(default="", alias="Title")
    message: str = Field(default="", alias="Message")
    link: str = Field(default="", alias="PrimaryURL")
    cause: _Cause = Field(default=_Cause(), alias="CauseMetadata")


class _Result(_Part):
    target: str = Field(alias="Target")
    kind: Literal["os-pkgs", "lang-pkgs", "config", "secret", "license", "license-file", "custom"] = Field(
        alias="Class"
    )
    packages: tuple[_Package, ...] | None = Field(default=None, alias="Packages")
    vulnerabilities: tuple[_Vulnerability, ...] | None = Field(default=None, alias="Vulnerabilities")
    secrets: tuple[_Secret, ...] | None = Field(default=None, alias="Secrets")
    misconfigurations: tuple[_Misconfiguration, ...] | None = Field(default=None, alias="Misconfigurations")


class _System(_Part):
    family: str = Field(alias="Family", min_length=1)


class _Metadata(_Part):
    system: _System | None = Field(default=None, alias="OS")
    image_id: str = Field(default="", alias="ImageID")


class _Version(_Part):
    version: str = Field(alias="Version", min_length=1)


class _Report(_Part):
    schema_version: Literal[2] = Field(alias="SchemaVersion")
    trivy: _Version = Field(alias="Trivy")
    kind: Literal["filesystem", "container_image", "cyclonedx"] = Field(alias="ArtifactType")
    metadata: _Metadata = Field(default=_Metadata(), alias="Metadata")
    results: tuple[_Result, ...] | None = Field(default=None, alias="Results")


class _DatabaseFile(_Part):
    version: Literal[2] = Field(alias="Version")
    updated: AwareDatetime = Field(alias="UpdatedAt")


P = TypeVar("P", bound=_Part)


def _parse(data: bytes, model: type[P], what: str) -> P:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its text"
        raise ScanFailed(f"{what} is not whole: {where}: {first['msg']}") from None


def read_database(metadata: bytes, *, digest: str, pinned: bool) -> Database:
    """The database's own metadata.json; ScanFailed when it is not one that we know."""
    found = _parse(metadata, _DatabaseFile, "the vulnerability database's metadata.json")
    return Database(updated=found.updated, digest=digest, pinned=pinned)


def read_folder(
    data: bytes,
    *,
    subject: Subject,
    configurations: frozenset[str] = frozenset(),
    database: Database | None = None,
    notes: tuple[str, ...] = (),
) -> Scan:
    """A scan of `folder/<subject>`. ScanFailed unless each of `configurations`, files in there, has a verdict."""
    report = _parse(data, _Report, f"the scanner's report on the {subject}")
    if report.kind != "filesystem":
        raise ScanFailed(f"the scanner's report on the {subject} is about a {report.kind}")
    judged = {result.target for result in _results(report, subject) if result.kind == "config"}
    if missing := sorted(configurations - judged):
        raise ScanFailed(
            f"the scanner has no verdict on {', '.join(missing)} of the {subject}",
            hint="is the file one that Trivy can read?",
        )
    return _scan(report, subject=subject, database=database, notes=notes)


def read_image(data: bytes, *, database: Database, notes: tuple[str, ...] = ()) -> Scan:
    """A scan of an image. One in which neither a system nor packages are known is not assessed."""
    report = _parse(data, _Report, "the scanner's report on the image")
    if report.kind != "container_image" or not report.metadata.image_id:
        raise ScanFailed("the scanner's report is about no image")
    scan = _scan(report, subject="image", database=database, notes=notes)
    assessed = report.metadata.system is not None or scan.packages > 0
    return scan if assessed else replace(scan, assessed=False)


def read_canary(data: bytes, *, vulnerability: str) -> None:
    """ScanFailed unless the report has a vulnerability that every good database knows."""
    report = _parse(data, _Report, "the scanner's report on the canary")
    found = {v.id for result in report.results or () for v in result.vulnerabilities or ()}
    if vulnerability not in found:
        raise ScanFailed(
            f"the vulnerability database does not know {vulnerability}: it is empty or cut off",
            hint="remove the scanner's cache folder, so that it is fetched again",
        )


def _scan(report: _Report, *, subject: Subject, database: Database | None, notes: tuple[str, ...]) -> Scan:
    results = _results(report, subject)
    return Scan(
        subject,
        findings=tuple(sorted(set(_findings(results)), key=lambda finding: finding.order)),
        scanner=f"trivy {report.trivy.version}",
        database=database,
        image_id=report.metadata.image_id,
        packages=sum(len(result.packages or ()) for result in results),
        notes=notes,
    )


def _results(report: _Report, subject: Subject) -> tuple[_Result, ...]:
    """The results under names that mean something to people: not where we kept the folder or the archive."""
    return tuple(
        result.model_copy(update={"target": _short(result.target, subject)}) for result in report.results or ()
    )


def _short(target: str, subject: Subject) -> str:
    """`/scan/image.tar (debian 12.1)` becomes `image (debian 12.1)`, `source/app.py` becomes `app.py`."""
    path, bracket, system = target.partition(" (")
    if subject == "image":
        return f"image{bracket}{system}" if PurePosixPath(path).suffix == ".tar" else target
    return target.removeprefix(f"{subject}/")


def _findings(results: Iterable[_Result]) -> Iterator[Finding]:
    for result in results:
        yield from _vulnerabilities(result)
        yield from _secrets(result)
        yield from _misconfigurations(result)


def _vulnerabilities(result: _Result) -> Iterator[Finding]:
    lines = {p.identifier.uid: p.locations[0].start for p in result.packages or () if p.locations}
    for each in result.vulnerabilities or ():
        yield Finding(
            "vulnerability",
            each.id,
            each.severity,
            each.path or result.target,
            each.title,
            line=lines.get(each.identifier.uid) or None,
            package=each.package,
            installed=each.installed,
            fixed=each.fixed,
            link=_web(each.link),
        )


def _secrets(result: _Result) -> Iterator[Finding]:
    for each in result.secrets or ():
        yield Finding("secret", each.id, each.severity, result.target, each.title, line=each.line or None)


def _misconfigurations(result: _Result) -> Iterator[Finding]:
    for each in result.misconfigurations or ():
        if each.status == "PASS":
            continue
        yield Finding(
            "misconfiguration",
            each.id,
            each.severity,
            result.target,
            each.message or each.title,
            line=each.cause.line or None,
            link=_web(each.link),
        )


_INLINE = re.compile(rb"(trivy|tfsec|cfsec)(?=:ignore)", re.IGNORECASE)


def without_ignores(content: bytes) -> bytes:
    """A file without the comments that tell the scanner to look away; every byte stays where it was."""
    return _INLINE.sub(lambda found: b"_" * len(found[0]), content)


def _web(link: str) -> str:
    return link if link.startswith("https://") else ""
