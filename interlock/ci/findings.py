"""What a scan found, read strictly from Trivy's JSON: half a report is no report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from interlock.ci.canary import FOLDER as CANARY_FOLDER
from interlock.ci.image_configuration import is_canary
from interlock.ci.systems import Form, form_of, is_known
from interlock.contract.finding import DENIED, Database, Finding, Scan, Subject
from interlock.contract.licences import UNKNOWN
from interlock.contract.models import Severity
from interlock.contract.validation import Violation
from interlock.errors import ScanFailed

NO_LISTS: Mapping[Form, str] = MappingProxyType({})
CONTENTS = "image.cdx.json"
"""What an image's bill of materials is called while it is scanned."""


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


def unsearched(what: str) -> Finding:
    """The finding that says that secrets were not looked for everywhere."""
    title = f"{what} was not searched for secrets: search it by hand, then waive this"
    return Finding("secret", "not-searched", "UNKNOWN", "history", title)


# Trivy's JSON ----------------------------------------------------------------------------------------


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Location(_Part):
    start: int = Field(default=0, alias="StartLine")


class _Identifier(_Part):
    uid: str = Field(default="", alias="UID")


class _Package(_Part):
    name: str = Field(default="", alias="Name")
    version: str = Field(default="", alias="Version")
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
    published: str = Field(default="", alias="PublishedDate", pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}.*)?$")


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


class _Licence(_Part):
    name: str = Field(default="", alias="Name")
    severity: Severity = Field(alias="Severity")
    package: str = Field(default="", alias="PkgName")
    path: str = Field(default="", alias="FilePath")
    link: str = Field(default="", alias="Link")


class _Result(_Part):
    target: str = Field(alias="Target")
    kind: Literal["os-pkgs", "lang-pkgs", "config", "secret", "license", "license-file", "custom"] = Field(
        alias="Class"
    )
    packages: tuple[_Package, ...] | None = Field(default=None, alias="Packages")
    vulnerabilities: tuple[_Vulnerability, ...] | None = Field(default=None, alias="Vulnerabilities")
    secrets: tuple[_Secret, ...] | None = Field(default=None, alias="Secrets")
    misconfigurations: tuple[_Misconfiguration, ...] | None = Field(default=None, alias="Misconfigurations")
    licences: tuple[_Licence, ...] | None = Field(default=None, alias="Licenses")


class System(_Part):
    """The operating system that the scanner sees in an image."""

    family: str = Field(alias="Family", min_length=1)
    name: str = Field(default="", alias="Name")
    ended: bool = Field(default=False, alias="EOSL")
    """Its makers no longer publish security fixes."""

    def __str__(self) -> str:
        return f"{self.family} {self.name}".strip()


class _Metadata(_Part):
    system: System | None = Field(default=None, alias="OS")
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


def read_database(metadata: bytes, *, digest: str, pinned: bool, mark: tuple[int, ...] = ()) -> Database:
    """The database's own metadata.json; ScanFailed when it is not one that we know."""
    found = _parse(metadata, _DatabaseFile, "the vulnerability database's metadata.json")
    return Database(updated=found.updated, digest=digest, pinned=pinned, mark=mark)


def read_folder(
    data: bytes,
    *,
    subject: Subject,
    configurations: frozenset[str] = frozenset(),
    database: Database | None = None,
    notes: tuple[str, ...] = (),
    aliases: Mapping[str, str] | None = None,
    canary: frozenset[str] = frozenset(),
) -> Scan:
    """A scan of `folder/<subject>`. ScanFailed unless each of `configurations`, files in there, has a verdict.

    `aliases` are the names that people know some files of `folder` by; in those only secrets count. `canary` is what
    must be found in the folder of that name, and does not count.
    """
    report = _parse(data, _Report, f"the scanner's report on the {subject}")
    if report.kind != "filesystem":
        raise ScanFailed(f"the scanner's report on the {subject} is about a {report.kind}")
    results = report.results or ()
    _require_canary(results, canary)
    prefix, named = f"{subject}/", aliases or {}
    own = [_named(result, result.target.removeprefix(prefix)) for result in results if result.target.startswith(prefix)]
    secrets = [_named(result, named[result.target]) for result in results if result.secrets and result.target in named]
    judged = {result.target for result in own if result.kind == "config"}
    if missing := sorted(configurations - judged):
        raise ScanFailed(
            f"the scanner has no verdict on {', '.join(missing)} of the {subject}",
            hint="is the file one that Trivy can read?",
        )
    copied = [result.model_copy(update={"kind": "secret"}) for result in secrets]
    return _scan(report, (*own, *copied), subject=subject, database=database, notes=notes)


def _require_canary(results: Iterable[_Result], expected: frozenset[str]) -> None:
    laid = (result for result in results if result.target.startswith(f"{CANARY_FOLDER}/"))
    if missing := sorted(expected - {finding.id for finding in _findings(laid)}):
        raise ScanFailed(
            f"the scanner did not find {', '.join(missing)} where it is known to be, so nothing that it says counts",
            hint="is the vulnerability database whole, and the scanner the one of the lock file?",
        )


def read_system(data: bytes) -> System | None:
    """The operating system of a scanned image."""
    return _parse(data, _Report, "the scanner's report on the image").metadata.system


def read_image(
    data: bytes,
    *,
    database: Database,
    notes: tuple[str, ...] = (),
    package_lists: Mapping[Form, str] = NO_LISTS,
    covered: bool = True,
    licences: bool = False,
    configuration: tuple[Finding, ...] = (),
) -> Scan:
    """A scan of an image; not assessed when it cannot have seen all packages, or the database knows nothing of them.

    `package_lists` are the lists of installed packages that the image has in its layers, `covered` says whether the
    vulnerability database knows anything about the image's system, `configuration` is what checks of its configuration
    found.
    """
    report = _parse(data, _Report, "the scanner's report on the image")
    if report.kind != "container_image" or not report.metadata.image_id:
        raise ScanFailed("the scanner's report is about no image")
    results = tuple(_named(result, _image_name(result.target)) for result in report.results or ())
    scan = _scan(report, results, subject="image", database=database, notes=notes)
    scan = replace(scan, findings=tuple(sorted({*scan.findings, *configuration}, key=lambda each: each.order)))
    if licences:
        scan = replace(
            scan,
            licences=True,
            findings=(*scan.findings, *sorted(set(_licences(results)), key=lambda each: each.order)),
        )
    doubt = _doubt(report, package_lists, covered=covered)
    return replace(scan, assessed=not doubt, doubt=doubt)


def read_configuration(data: bytes) -> tuple[Finding, ...] | None:
    """What checks found in the configuration of an image; None where they did not find the canary."""
    report = _parse(data, _Report, "the scanner's report on the image's configuration")
    results = [_named(result, "image") for result in report.results or () if result.kind == "config"]
    found = [finding for result in results for finding in _misconfigurations(result)]
    own = tuple(finding for finding in found if not is_canary(finding.id, finding.title))
    return own if len(own) < len(found) else None


def _doubt(report: _Report, package_lists: Mapping[Form, str], *, covered: bool) -> str:
    """Why an image without vulnerabilities may have some; empty when there is no reason."""
    system = report.metadata.system
    kinds = {result.kind for result in report.results or () if result.packages}
    paths = " and ".join(sorted(package_lists.values()))
    if package_lists and (system is None or "os-pkgs" not in kinds):
        return f"it has packages in {paths}, which the scanner does not list"
    if "link" in package_lists:
        return f"its list of packages {package_lists['link']} is a link, which the scanner does not follow"
    if system is None:
        return "" if kinds else "the scanner knows neither a system nor packages in it"
    if "os-pkgs" not in kinds:
        return f"it says that it is {system}, and has no packages of that"
    return _doubt_about(system, package_lists, covered=covered)


def _doubt_about(system: System, package_lists: Mapping[Form, str], *, covered: bool) -> str:
    """Why packages that the scanner lists may have holes that it does not find."""
    if system.ended:
        return f"{system} gets no security fixes any more"
    if not is_known(system.family):
        return f"the scanner knows no vulnerabilities of {system}"
    own = (form_of(system.family), "unread")
    if others := [path for form, path in sorted(package_lists.items()) if form not in own]:
        return f"it has packages in {' and '.join(others)}, which are none of {system}"
    return "" if covered else f"the vulnerability database knows nothing about {system}"


def read_contents(data: bytes, *, database: Database, covered: bool = True, notes: tuple[str, ...] = ()) -> Scan:
    """A scan of an image's bill of materials: its vulnerabilities alone. `covered` as in `read_image`."""
    report = _parse(data, _Report, "the scanner's report on the bill of materials")
    if report.kind != "cyclonedx":
        raise ScanFailed(f"the scanner's report on the bill of materials is about a {report.kind}")
    results = tuple(_named(result, _image_name(result.target)) for result in report.results or ())
    scan = _scan(report, results, subject="image", database=database, notes=notes)
    doubt = _doubt(report, NO_LISTS, covered=covered)
    return replace(scan, assessed=not doubt, doubt=doubt)


def read_canary(data: bytes, *, vulnerability: str) -> frozenset[str]:
    """What the report found; ScanFailed without a vulnerability that every good database knows."""
    report = _parse(data, _Report, "the scanner's report on the canary")
    found = {v.id for result in report.results or () for v in result.vulnerabilities or ()}
    if vulnerability not in found:
        raise ScanFailed(
            f"the vulnerability database does not know {vulnerability}: it is empty or cut off",
            hint="remove the scanner's cache folder, so that it is fetched again",
        )
    return frozenset(found)


def _scan(
    report: _Report,
    results: Sequence[_Result],
    *,
    subject: Subject,
    database: Database | None,
    notes: tuple[str, ...],
) -> Scan:
    return Scan(
        subject,
        findings=tuple(sorted(set(_findings(results)), key=lambda finding: finding.order)),
        scanner=f"trivy {report.trivy.version}",
        database=database,
        image_id=report.metadata.image_id,
        packages=sum(len(result.packages or ()) for result in results),
        notes=notes,
    )


def _named(result: _Result, name: str) -> _Result:
    """A result under a name that means something to people: not where we kept the folder or the archive."""
    return result.model_copy(update={"target": name})


def _image_name(target: str) -> str:
    """`/scan/image.tar (debian 12.1)` becomes `image (debian 12.1)`."""
    path, bracket, system = target.partition(" (")
    own = PurePosixPath(path).suffix == ".tar" or path == CONTENTS
    return f"image{bracket}{system}" if own else target


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
            published=each.published[:10],
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


def _licences(results: Sequence[_Result]) -> Iterator[Finding]:
    """One for each licence of a package, and one without a name for each package that has none."""
    packages = [(result.target, each) for result in results for each in result.packages or ()]
    versions = {package.name: package.version for _, package in packages}
    licensed = set()
    for result in results:
        for each in result.licences or ():
            licensed.add(each.package)
            yield Finding(
                "licence",
                each.name or UNKNOWN,
                each.severity,
                each.path or result.target,
                "licence",
                package=each.package,
                installed=versions.get(each.package, ""),
                link=_web(each.link),
            )
    for target, package in packages:
        if package.name not in licensed:
            yield Finding(
                "licence", UNKNOWN, "UNKNOWN", target, "licence", package=package.name, installed=package.version
            )


def _web(link: str) -> str:
    return link if link.startswith("https://") else ""
