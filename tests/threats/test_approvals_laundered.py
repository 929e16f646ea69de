"""Something harmless is approved, and its content exchanged before it is deployed.

Defence: an approval binds a digest of everything that the environment reads, and CD computes it from the commit that
it deploys (interlock/contract/effects.py, approvals.py).
Not defended: what is not in Git and not named by digest in it: an image by its digest is bound, what a running
container fetches by itself is not.
"""

from __future__ import annotations

import pytest

from interlock.contract import effects, layout
from tests.unit.trust.approved import SHARED, TEMPLATE, VALUES, Place


@pytest.fixture
def approved() -> tuple[Place, str]:
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    place.approve("ben", deployed=deployed)
    assert place.answered(deployed=deployed)
    return place, deployed


def test_it_succeeds_when_the_content_is_not_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """When an approval names no content, whatever is pushed after it is approved."""
    monkeypatch.setattr(effects, "digest_of", lambda _: "sha256:" + "0" * 64)
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    place.approve("ben", deployed=deployed)
    place.push({VALUES: b"greeting: evil\n"})

    assert place.answered(deployed=deployed)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (VALUES, b"greeting: evil\n"),
        (SHARED, b"replicas: 99\n"),
        (TEMPLATE, b"kind: Secret\n"),
        (layout.RULES, b"format: 1\ndefaults: false\n"),
        (layout.GATE, b"format: 1\nrules: {vulnerabilities: []}\n"),
        ("environments/prod/shop/manifests/more.yaml", b"kind: Pod\n"),
        ("environments/prod/more/values.yaml", b""),
    ],
)
def test_what_is_exchanged_is_not_approved(approved: tuple[Place, str], path: str, data: bytes) -> None:
    """Whatever the environment reads: one byte of it, and the approval is of something else."""
    place, deployed = approved
    place.push({path: data})

    assert not place.answered(deployed=deployed)
