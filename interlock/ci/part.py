"""What of the gate a developer may ask for alone."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    SECRETS = "secrets"
    MISCONFIGURATION = "misconfiguration"
    TESTS = "tests"
