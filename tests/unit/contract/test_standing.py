"""What the environment repository says of a release since it was made."""

from __future__ import annotations

import pytest

from interlock.contract import evidence, layout
from interlock.contract.evidence import Statement
from interlock.contract.standing import no_longer_clean
from tests import examples_of_repositories as example

PATH = layout.rescan("dev", "shop", "web", example.IMAGE.partition("@")[2])


def verdict(*, passed: bool, reasons: tuple[str, ...] = (), blocking: tuple[str, ...] = ()) -> Statement:
    return evidence.gate_verdict(
        example.IMAGE,
        environment="dev",
        passed=passed,
        policy_commit="c" * 40,
        reasons=reasons,
        findings=(),
        blocking=blocking,
    )


@pytest.mark.parametrize(
    ("proof", "told"),
    [
        (None, ()),
        (evidence.envelope([verdict(passed=True)]), ()),
        (evidence.envelope([verdict(passed=False, reasons=("x",), blocking=("CVE-1@p",))]), ("CVE-1@p",)),
        (
            evidence.envelope([verdict(passed=False, reasons=("verdict: older than 24 hours",))]),
            ("verdict: older than 24 hours",),
        ),
        (evidence.envelope([verdict(passed=False)]), ("the last rescan does not say why",)),
        (b"{}", ("the last rescan cannot be read",)),
    ],
)
def test_what_the_last_rescan_says(proof: bytes | None, told: tuple[str, ...]) -> None:
    """Nothing while it is clean; else what blocks, and never nothing."""
    tree = example.environment_tree({PATH: proof})
    assert no_longer_clean(tree, "dev", "shop", "web", example.IMAGE) == told
