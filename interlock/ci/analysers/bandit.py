"""Bandit, for Python (PyCQA, Apache-2.0). Its texts are passed on only where they quote no code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interlock.ci.analysers.analyser import Analyser, Reading, Remark
from interlock.contract.models import Severity
from interlock.errors import ScanFailed

_PYTHON = re.compile(rb"#!.*\bpython")
_SUFFIXES = frozenset({".py", ".pyw"})
_SEVERITIES: Mapping[str, Severity] = {"HIGH": "HIGH", "MEDIUM": "MEDIUM", "LOW": "LOW", "UNDEFINED": "UNKNOWN"}
# What these find they quote: a password would stand in a report.
_QUOTING = frozenset({"B105", "B106", "B107"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Error(_Part):
    file: str = Field(alias="filename")
    reason: str


class _Issue(_Part):
    file: str = Field(alias="filename")
    severity: Literal["HIGH", "MEDIUM", "LOW", "UNDEFINED"] = Field(alias="issue_severity")
    text: str = Field(alias="issue_text")
    line: int = Field(alias="line_number")
    link: str = Field(default="", alias="more_info")
    id: str = Field(alias="test_id", min_length=1)
    name: str = Field(alias="test_name", min_length=1)


class _Report(_Part):
    errors: tuple[_Error, ...]
    metrics: dict[str, object]
    """By file; every file that was parsed is there."""
    results: tuple[_Issue, ...]


def concerns(path: str, head: bytes) -> bool:
    """Python by its name, or a script that says so in its first line."""
    return PurePosixPath(path).suffix in _SUFFIXES or _PYTHON.match(head) is not None


def read(data: bytes) -> Reading:
    """Bandit's JSON."""
    try:
        report = _Report.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its text"
        raise ScanFailed(f"bandit's report is not whole: {where}: {first['msg']}") from None
    unread = {_name(error.file): error.reason for error in report.errors}
    judged = {_name(file) for file in report.metrics if file != "_totals"} - unread.keys()
    return Reading(frozenset(judged), tuple(_remark(issue) for issue in report.results), unread)


def _remark(issue: _Issue) -> Remark:
    title = issue.name.replace("_", " ") if issue.id in _QUOTING else issue.text
    link = issue.link if issue.link.startswith("https://") else ""
    return Remark(_name(issue.file), issue.id, _SEVERITIES[issue.severity], title, line=issue.line, link=link)


def _name(path: str) -> str:
    return PurePosixPath(path).name


BANDIT = Analyser(
    name="bandit",
    package="bandit",
    module="bandit",
    arguments=("--recursive", "--ignore-nosec", "--exit-zero", "--quiet", "--format", "json", "code"),
    suffix=".py",
    concerns=concerns,
    read=read,
    canary=b"import subprocess\n\nsubprocess.call('true', shell=True)\n",
    canary_id="B602",
)
