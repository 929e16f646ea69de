"""Judging what is released again: what is told to the environment repository, and when it knows already."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest

from interlock.ci.reports import rescan_report
from interlock.ci.rescan import Marks, Rescanned, judge_again, marks, released
from interlock.ci.targets import Target, targets
from interlock.contract import evidence, layout, repository, strict_yaml
from interlock.contract.finding import Database, Finding, Scan, not_scanned
from interlock.contract.models import ReleaseFile
from tests import examples_of_repositories as example

Files = Mapping[str, str | bytes]
NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
DATABASE = Database(NOW, "sha256:" + "d" * 64)
IMAGE = example.IMAGE
PATH = layout.rescan("dev", "shop", "web", IMAGE.partition("@")[2])
FOUND = Finding("vulnerability", "CVE-1", "HIGH", "image (debian 12)", "t", package="p", installed="1", fixed="2")
CLEAN = Scan("image", database=DATABASE, packages=3)
DIRTY = Scan("image", findings=(FOUND,), database=DATABASE, packages=3)
GRACE = "format: 1\nrules:\n  grace_days: {HIGH: 7}\n"
WAIVER = """\
format: 1
waivers:
  - {finding: CVE-1, component: web, reason: not reachable here, owner: ada, ends: "2030-06-15"}
"""


def world(changes: Files | None = None) -> tuple[repository.Repository, tuple[Target, ...]]:
    found = repository.read(example.environment_tree(changes))
    return found, targets(found, source=None, signer="ci-shop")


def judged(scan: Scan, changes: Files | None = None, *, now: dt.datetime = NOW) -> Rescanned:
    (one,) = judge_again(*world(changes), IMAGE, scan, now=now)
    return one


def told(rescanned: Rescanned, scan: Scan, *, now: dt.datetime = NOW) -> Marks | None:
    return marks((rescanned,), scan, policy_commit="c" * 40, builder="ci-shop", run="run-1", now=now)


def news(scan: Scan, changes: Files | None = None, *, now: dt.datetime = NOW) -> Marks:
    found = told(judged(scan, changes, now=now), scan, now=now)
    assert found is not None
    return found


def test_a_clean_release_is_no_news() -> None:
    """Its evidence says so already: a commit a day would bury the ones that matter."""
    found = judged(CLEAN)

    assert found.clean
    assert told(found, CLEAN) is None


def test_a_new_vulnerability_marks_the_release() -> None:
    """One commit with one file, whose verdict names the finding; trailers lead back to the source commit."""
    found = judged(DIRTY)
    made = news(DIRTY)
    proof = evidence.read_envelope(made.files[PATH], path=PATH)
    (verdict,) = proof.predicates(evidence.GATE_VERDICT)

    assert (found.clean, found.fresh) == (False, ("CVE-1@p",))
    assert made.subject == f"Mark web {example.SOURCE_COMMIT[:12]} as no longer clean in dev"
    assert made.trailers.source_commit == example.SOURCE_COMMIT
    assert (proof.image, verdict["result"], verdict["blocking"]) == (IMAGE, "FAILED", ["CVE-1@p"])
    assert len(proof.predicates(evidence.VULNERABILITIES)) == 1


def test_the_mark_is_told_once() -> None:
    """The same finding on the next day is known; the release stays unclean."""
    marked = news(DIRTY).files

    again = judged(DIRTY, marked, now=NOW + DAY)

    assert (again.clean, again.fresh) == (False, ())
    assert told(again, DIRTY, now=NOW + DAY) is None


def test_another_finding_is_told() -> None:
    """People see which one came."""
    other = Finding("vulnerability", "CVE-2", "CRITICAL", "image", "t", package="q", fixed="2")
    both = Scan("image", findings=(FOUND, other), database=DATABASE)
    marked = news(DIRTY).files

    assert judged(both, marked).fresh == ("CVE-2@q",)
    assert PATH in news(both, marked).files


def test_a_waiver_makes_it_clean_again_until_its_end() -> None:
    """Each of the three is told, and the day after the end it is not clean once more."""
    marked = news(DIRTY).files
    waived = news(DIRTY, {**marked, layout.WAIVERS: WAIVER})
    known: Files = {**waived.files, layout.WAIVERS: WAIVER}

    assert waived.subject == f"Judge web {example.SOURCE_COMMIT[:12]} again: clean in dev"
    assert told(judged(DIRTY, known), DIRTY) is None
    assert news(DIRTY, known, now=NOW + DAY).subject.startswith("Mark web")


def test_the_first_sight_begins_the_grace() -> None:
    """It is written down though nothing blocks yet; when the grace is over the release is not clean."""
    first = news(DIRTY, {layout.GATE: GRACE})
    known: Files = {**first.files, layout.GATE: GRACE}

    assert first.subject.endswith("clean in dev")
    assert told(judged(DIRTY, known, now=NOW + 6 * DAY), DIRTY, now=NOW + 6 * DAY) is None
    assert judged(DIRTY, known, now=NOW + 7 * DAY).verdict.reasons[0].endswith("its grace ended on 2030-06-22")


def test_what_the_sources_had_is_judged_by_todays_policy() -> None:
    """A finding of the release's own scan that nothing excuses any more; the image's old vulnerabilities are not."""
    found = {"kind": "misconfiguration", "id": "DS-1", "severity": "HIGH", "target": "Dockerfile", "title": "t"}
    gone = {"kind": "vulnerability", "id": "CVE-9", "severity": "HIGH", "target": "image", "title": "t", "fixed": "2"}
    changes = released_with(_scanned("source", found), _scanned("image", gone))

    again = judged(CLEAN, changes)

    assert again.verdict.reasons == ("source: HIGH DS-1 in Dockerfile: t",)


def _scanned(subject: str, finding: Mapping[str, object]) -> evidence.Statement:
    return evidence.vulnerability_scan(
        IMAGE,
        scanned=subject,
        scanner="trivy",
        version="1",
        database={},
        findings=[finding],
        builder="ci-shop",
        run="run-1",
        started=NOW,
        finished=NOW,
    )


def released_with(*more: evidence.Statement) -> dict[str, bytes]:
    """The example's release with further statements in its evidence."""
    proof = evidence.envelope((*example.statements(), *more))
    path = layout.release("dev", "shop")
    file = strict_yaml.parse(example.environment_tree().text(path), ReleaseFile, path=path)
    entry = file.components["web"].model_copy(update={"evidence": evidence.read_envelope(proof, path="x").digest})
    text = strict_yaml.dump({"format": 1, "components": {"web": entry.model_dump(mode="json")}})
    return {path: text.encode(), layout.evidence("dev", "shop", "web", IMAGE.partition("@")[2]): proof}


@pytest.mark.parametrize(
    "scan",
    [
        not_scanned("image", "trivy was stopped after 600 s"),
        Scan("image", database=Database(NOW - 30 * DAY, DATABASE.digest), packages=3),
    ],
    ids=["failed", "old database"],
)
def test_what_could_not_be_judged_is_unknown(scan: Scan) -> None:
    """Neither clean nor marked: the last verdict stands."""
    found = judged(scan)

    assert found.trouble.startswith("image: not ")
    assert not found.clean
    assert told(found, scan) is None
    assert "1 not judged" in rescan_report([found]).title


def test_a_system_without_security_fixes_is_not_clean() -> None:
    """Nobody tells any more what is wrong with it; policy may let it pass."""
    scan = Scan("image", assessed=False, doubt="debian 9 gets no security fixes any more", database=DATABASE)

    assert judged(scan).verdict.reasons == ("image: not assessable: debian 9 gets no security fixes any more",)
    assert news(scan).subject.startswith("Mark web")
    assert judged(scan, {layout.GATE: "format: 1\nrules:\n  unassessable: true\n"}).clean


def test_policy_on_licences_is_for_releases() -> None:
    """A bill of materials is not scanned for them again."""
    assert judged(CLEAN, {layout.GATE: "format: 1\nrules:\n  licences: {denied: [GPL-3.0-only]}\n"}).clean


VERDICT_HOURS: Files = {layout.GATE: "format: 1\nrules:\n  verdict_hours: 48\n"}


def test_a_verdict_is_renewed_before_it_is_too_old() -> None:
    """At half of what policy allows, so that one rescan that fails does no harm."""
    marked: Files = {**VERDICT_HOURS, **news(CLEAN, VERDICT_HOURS).files}

    assert told(judged(CLEAN, marked, now=NOW + DAY), CLEAN, now=NOW + DAY) is None
    later = NOW + DAY + dt.timedelta(seconds=1)
    assert PATH in news(CLEAN, marked, now=later).files


def test_a_verdict_that_could_not_be_renewed_is_not_clean() -> None:
    """As soon as it is older than policy allows, and not before."""
    scan = not_scanned("image", "the registry is away")
    marked: Files = {**VERDICT_HOURS, **news(CLEAN, VERDICT_HOURS).files}
    late = NOW + 2 * DAY + dt.timedelta(seconds=1)

    assert told(judged(scan, marked, now=NOW + 2 * DAY), scan, now=NOW + 2 * DAY) is None
    made = news(scan, marked, now=late)
    (verdict,) = evidence.read_envelope(made.files[PATH], path=PATH).predicates(evidence.GATE_VERDICT)

    assert made.subject.startswith("Mark web")
    assert verdict["reasons"] == [
        "verdict: older than the 48 hours that policy allows, and not renewed: image: not scanned: the registry is away"
    ]
    assert told(judged(scan, {**marked, **made.files}, now=late), scan, now=late) is None


def test_what_is_released_is_looked_at_once_for_each_image() -> None:
    """However many environments have it; what was never released is not."""
    never = Target("prod", "shop", "web", example.IMAGE_REPOSITORY, None)
    _, bound = world()

    assert released((*bound, *bound, never)) == {IMAGE: (*bound, *bound)}


def test_the_report_names_what_blocks_now_and_what_to_do() -> None:
    """Those that are not clean first, with the version to raise to."""
    report = rescan_report([judged(DIRTY)])

    assert report.title == "1 release judged again: 1 NOT CLEAN"
    assert report.tables[0].rows == (
        ("shop/web in dev", f"shop {example.SOURCE_COMMIT[:12]}", "NOT CLEAN", "CVE-1@p", IMAGE),
    )
    assert report.tables[2].rows == (("p", "1", "2 (CVE-1)", "image: image (debian 12)"),)
    assert "What to do" in report.markdown
    assert rescan_report([judged(CLEAN)]).title == "1 release judged again: all clean"


def test_a_repository_with_a_rescan_is_read() -> None:
    """The file has its place in the format, and makes no application."""
    tree = example.environment_tree(news(DIRTY).files)

    assert list(repository.read(tree).environments["dev"].applications) == ["shop"]
