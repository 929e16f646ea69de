"""What a scan came to, and the database that it rests on. CI makes them, CD judges them once more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from interlock.contract.models import Severity

Subject = Literal["source", "code", "manifests", "image"]
"""`source` is all files of the application repository, `code` its program text as an analyser reads it."""
Kind = Literal["secret", "rule", "vulnerability", "misconfiguration", "code", "licence"]

KINDS: tuple[Kind, ...] = ("secret", "rule", "vulnerability", "misconfiguration", "code", "licence")
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
    published: str = ""
    """The day on which a vulnerability was published, where the database tells."""

    @property
    def key(self) -> str:
        """Names it from one scan to the next, as a waiver would: a vulnerability in whatever version of its package."""
        return f"{self.id}@{self.package or self.target}"

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
            case "misconfiguration" | "code":
                return f"{self.severity} {self.id} in {self.place}: {self.title}"
            case "licence":
                package = f"{self.package} {self.installed}".strip()
                return f"licence {self.id} of {package}, {self.place}"


@dataclass(frozen=True)
class Database:
    """The vulnerability database that a scan rests on. `digest` is of its file's bytes."""

    updated: dt.datetime
    digest: str
    pinned: bool = False
    """Set by the host to this one version: it is as old as it is, on purpose."""
    mark: tuple[int, ...] = field(default=(), compare=False, repr=False)
    """What its files are known by on this host, so that a swap is noticed."""


@dataclass(frozen=True)
class Scan:
    """One scan. Neither `failure` nor `assessed=False` is ever clean."""

    subject: Subject
    assessed: bool = True
    """False: the scanner ran, but what it says about vulnerabilities is worth nothing; `doubt` says why."""
    doubt: str = ""
    failure: str = ""
    """Why there is no result at all: the scanner crashed, timed out, or wrote half a report."""
    findings: tuple[Finding, ...] = ()
    scanner: str = ""
    database: Database | None = None
    image_id: str = ""
    """Of an image: its configuration's digest, as the scanner saw it."""
    packages: int = 0
    licences: bool = False
    """Whether licences were looked for."""
    notes: tuple[str, ...] = ()

    def counts(self) -> Mapping[Severity, int]:
        return {severity: sum(f.severity == severity for f in self.findings) for severity in SEVERITIES}


def not_scanned(subject: Subject, reason: str) -> Scan:
    return Scan(subject, assessed=False, failure=reason)
