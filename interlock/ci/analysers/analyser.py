"""The form of an analyser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from interlock.contract.models import Severity


@dataclass(frozen=True)
class Remark:
    """What an analyser says of one file that it was given."""

    file: str
    id: str
    severity: Severity
    title: str
    line: int | None = None
    link: str = ""


@dataclass(frozen=True)
class Reading:
    """A whole report: the files that have a verdict, and what is said of them.

    `unread` are files that the analyser could not make sense of, with its reason: they have no verdict.
    """

    judged: frozenset[str]
    remarks: tuple[Remark, ...]
    unread: Mapping[str, str]


@dataclass(frozen=True)
class Analyser:
    """A program that reads source code.

    It runs in a folder that holds nothing but a subfolder `code` with the files, under names of ours, so that neither
    a file's name nor its neighbours tell it anything. It prints its report and ends with 0 whatever it found.
    """

    name: str
    package: str
    """The Python package that brings it; its version is the analyser's."""
    module: str
    """What `python -m` runs."""
    arguments: tuple[str, ...]
    """For the program, among them those by which nothing in the files makes it look away."""
    suffix: str
    """What our names of the files end with."""
    concerns: Callable[[str, bytes], bool]
    """Whether a file is one for it, by its path and its first bytes."""
    read: Callable[[bytes], Reading]
    """The report; ScanFailed when it is not whole."""
    canary: bytes
    """A file in which it must find `canary_id`: one that does not finds nothing."""
    canary_id: str
