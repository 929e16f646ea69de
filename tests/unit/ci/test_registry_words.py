"""What a registry says becomes what to do, and whether to try again."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.contract.registry_words import explain


@pytest.mark.parametrize(
    ("said", "hint", "transient"),
    [
        ("dial tcp 10.0.0.1:443: connect: connection refused", "is it up", True),
        ("received unexpected HTTP status: 500 Internal Server Error", "has it room", True),
        ("received unexpected HTTP status: 507 Insufficient Storage", "make room", False),
        ("write /var/lib/registry/x: no space left on device", "make room", False),
        ("denied: quota exceeded", "make room", False),
        ("unauthorized: authentication required", "has the login expired? check the registry's `auth` file /x", False),
        ("toomanyrequests: slow down", "is it up", True),
        ("invalid reference format", "address", False),
    ],
)
def test_what_to_do(said: str, hint: str, transient: bool) -> None:
    """A full disk and a wrong login do not pass by themselves; an outage does."""
    told, again = explain(said, auth=Path("/x"))

    assert hint in told
    assert again is transient
