"""Which licences policy refuses."""

from __future__ import annotations

import pytest

from interlock.contract.licences import refuses
from interlock.contract.models import LicenceRules

DENIED = LicenceRules(denied=("AGPL-*", "SSPL-1.0"))
ALLOWED = LicenceRules(allowed=("MIT", "Apache-2.0", "GPL-2.0-*"), denied=("GPL-2.0-only",), unknown=False)


@pytest.mark.parametrize(
    ("licence", "denied", "allowed"),
    [
        ("MIT", False, False),
        ("mit", False, False),
        ("AGPL-3.0-only", True, True),
        ("BSD-3-Clause", False, True),
        ("GPL-2.0-or-later", False, False),
        ("GPL-2.0-only", False, True),
        ("AGPL-3.0-only OR MIT", False, False),
        ("AGPL-3.0-only AND MIT", True, True),
        ("MIT AND Apache-2.0", False, False),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", False, False),
        ("AGPL-3.0-only with some-exception", True, True),
        ("(AGPL-3.0-only OR MIT) AND MIT", False, False),
        ("(MIT OR SSPL-1.0)", False, False),
        ("((AGPL-3.0-only))", True, True),
        ("MIT AND (AGPL-3.0-only OR SSPL-1.0)", True, True),
        ("(MIT", True, True),
        ("MIT)", False, False),
        ("AGPL-3.0-only )", True, True),
        ("(" * 5000 + "MIT" + ")" * 5000, False, False),
        ("AGPL-3+", True, True),
        ("Apache License", False, True),
        ("unknown", False, True),
    ],
)
def test_a_licence_is_held_against_policy(licence: str, *, denied: bool, allowed: bool) -> None:
    """Denied ones block; when some are allowed, all others block; of alternatives one must be allowed."""
    assert refuses(DENIED, licence) is denied
    assert refuses(ALLOWED, licence) is allowed
