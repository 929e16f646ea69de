"""What is known before a component is judged: read from CI's own evidence, and from nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest

from interlock.ci.known import known
from interlock.ci.targets import Target, targets
from interlock.contract import evidence, layout
from interlock.contract.evidence import Statement
from interlock.contract.finding import Finding
from interlock.contract.models import ReleasedComponent, Source
from interlock.contract.repository import read
from interlock.contract.sightings import Known, Sighting, scans
from interlock.contract.tree import Tree
from interlock.errors import FormatError
from tests import examples_of_repositories as example

IMAGE = example.IMAGE
PATH = layout.evidence("dev", "shop", "web", IMAGE.partition("@")[2])
RESCAN = layout.rescan("dev", "shop", "web", IMAGE.partition("@")[2])
FOUND = Finding(
    "vulnerability", "CVE-1", "HIGH", "requirements.txt", "t", line=3, package="p", installed="1", fixed="2"
)
RELEASED = ReleasedComponent(
    image=IMAGE, source=Source(repository="shop", commit="5" * 40), evidence="sha256:" + "0" * 64
)
DEV = Target("dev", "shop", "web", example.IMAGE_REPOSITORY, RELEASED)


def day(number: int) -> dt.date:
    return dt.date(2030, 6, number)


def verdict(*findings: tuple[str, int, int, bool]) -> Statement:
    """A verdict that tells since when and until when each finding was seen, and whether it is there."""
    told = [
        {"finding": key, "firstSeen": str(day(first)), "lastSeen": str(day(last)), "present": present}
        for key, first, last, present in findings
    ]
    return evidence.gate_verdict(IMAGE, environment="dev", passed=True, policy_commit="c" * 40, findings=told)


def tree(files: Mapping[str, tuple[Statement, ...]]) -> Tree:
    return Tree.of({path: evidence.envelope(said) for path, said in files.items()}, commit="c" * 40)


def test_nothing_released_is_nothing_known() -> None:
    """There is no release to compare with."""
    never = Target("dev", "shop", "web", example.IMAGE_REPOSITORY, None)

    assert known(tree({}), never, [never]) == Known()


def test_a_release_tells_what_it_has_and_what_it_had() -> None:
    """What is gone is remembered, and not counted as there."""
    found = known(tree({PATH: (verdict(("CVE-1@p", 1, 9, True), ("CVE-2@q", 2, 3, False)),)}), DEV, [DEV])

    assert found.before == frozenset({"CVE-1@p"})
    assert found.seen == {"CVE-1@p": Sighting(day(1), day(9)), "CVE-2@q": Sighting(day(2), day(3))}


def test_a_rescan_adds_what_came_to_light() -> None:
    """The first sight is the earliest of both, the last one the latest."""
    found = known(
        tree(
            {
                PATH: (verdict(("CVE-1@p", 2, 9, True)),),
                RESCAN: (verdict(("CVE-1@p", 1, 10, True), ("CVE-3@r", 10, 10, True)),),
            }
        ),
        DEV,
        [DEV],
    )

    assert found.before == frozenset({"CVE-1@p", "CVE-3@r"})
    assert found.seen == {"CVE-1@p": Sighting(day(1), day(10)), "CVE-3@r": Sighting(day(10), day(10))}


def test_what_another_environment_has_seen_is_known_everywhere() -> None:
    """Otherwise each environment would begin a grace of its own."""
    prod = Target("prod", "shop", "web", example.IMAGE_REPOSITORY, None)

    found = known(tree({PATH: (verdict(("CVE-1@p", 1, 9, True)),)}), prod, [DEV, prod])

    assert found == Known({"CVE-1@p": Sighting(day(1), day(9))}, before=None)


def test_a_rescan_of_what_was_released_before_tells_nothing() -> None:
    """It is about another digest."""
    other = layout.rescan("dev", "shop", "web", "sha256:" + "9" * 64)

    assert known(tree({other: (verdict(("CVE-1@p", 1, 9, True)),)}), DEV, [DEV]) == Known()


def scan_statement(*, scanned: str = "source") -> Statement:
    findings = [
        {"kind": "vulnerability", "id": "CVE-1", "severity": "HIGH", "target": "requirements.txt", "title": "t"}
    ]
    more = {"line": 3, "package": "p", "installed": "1", "fixed": "2", "waivable": True}
    return evidence.vulnerability_scan(
        IMAGE,
        scanned=scanned,
        scanner="trivy",
        version="0.76.0",
        database={},
        findings=[{**findings[0], **more}],
        builder="ci-shop",
        run="run-1",
        started=dt.datetime(2030, 6, 4, 23, tzinfo=dt.UTC),
        finished=dt.datetime(2030, 6, 4, 23, 30, tzinfo=dt.UTC),
    )


def test_evidence_that_tells_no_sightings_still_has_scans() -> None:
    """Their day counts as the first sight of what they found; what is new cannot be told."""
    found = known(tree({PATH: (scan_statement(),)}), DEV, [DEV])

    assert found == Known({"CVE-1@p": Sighting(day(4), day(4))}, before=None)


def test_scans_are_read_back_as_they_were() -> None:
    """The evidence keeps every field that the gate needs."""
    proof = evidence.read_envelope(evidence.envelope([scan_statement(scanned="image")]), path=PATH)

    assert [(scan.subject, scan.findings, scan.database) for scan in scans(proof)] == [("image", (FOUND,), None)]


@pytest.mark.parametrize(
    "told", [{"finding": "x"}, {"finding": "x", "firstSeen": "soon", "lastSeen": "", "present": 1}]
)
def test_evidence_that_is_not_understood_is_an_error(told: dict[str, object]) -> None:
    """A first sight that cannot be read must not begin a new grace."""
    bad = evidence.gate_verdict(IMAGE, environment="dev", passed=True, policy_commit="c" * 40, findings=[told])

    with pytest.raises(FormatError, match="the evidence of registry"):
        known(tree({PATH: (bad,)}), DEV, [DEV])


def test_the_example_repository_is_known() -> None:
    """The evidence that CI wrote before verdicts told of findings."""
    repository = read(example.environment_tree())
    (target,) = targets(repository, source="shop", signer="ci-shop")

    assert known(repository.tree, target, [target]) == Known({}, before=None)
