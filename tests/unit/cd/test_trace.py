"""Trace: from any end of the chain to all of it, by what receipts, commits and evidence say."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from interlock.cd import receipts, trace
from interlock.cd.receipts import Agreed, Changed, Entry, Released, SignedCommit, Statement
from interlock.cd.trace import Known, Pod, Query, Trace, parse
from interlock.contract import evidence
from interlock.contract.brought import Brought
from interlock.contract.models import Source
from interlock.errors import ParameterError
from tests.examples_of_repositories import TIME, statements
from tests.unit.trust.history import new_key

KEY = new_key()
OLD, NEW = (f"registry.example/shop/web@sha256:{digits * 32}" for digits in ("1a", "2b"))
SCAN = evidence.vulnerability_scan(
    NEW,
    scanned="image",
    scanner="pkg:github/aquasecurity/trivy",
    version="0.60.0",
    database={"uri": "ghcr.io/aquasecurity/trivy-db", "version": "2", "lastUpdate": "2030-01-01"},
    findings=[{"id": "CVE-1", "severity": "LOW"}, {"id": "CVE-2", "severity": "LOW"}],
    builder="ci",
    run="r",
    started=TIME,
    finished=TIME,
)
PROOF = evidence.read_envelope(evidence.envelope((*statements(NEW), SCAN)), path="e")


def release(image: str, source: str) -> Released:
    return Released(
        application="shop",
        component="web",
        image=image,
        source=Source(repository="shop", commit=source * 40),
        evidence=PROOF.digest if image == NEW else "sha256:" + "0" * 64,
    )


def chain(*given: Statement) -> tuple[Entry, ...]:
    """Receipts a day apart; a result names the intent before it."""
    made: list[Entry] = []
    for number, said in enumerate(given):
        intent = made[-1].digest if said.kind == "result" else None
        made.append(
            receipts.make(
                said.model_copy(update={"intent": intent}),
                previous=made[-1] if made else None,
                now=dt.datetime(2030, 1, 1 + number, 12, tzinfo=dt.UTC),
                private_key=KEY.private,
            )
        )
    return tuple(made)


def said(kind: str, commit: str = "a", **fields: object) -> Statement:
    given = {"kind": kind, "environment": "dev", "environment_id": "d0d1d2d3d4d5", "actor": "schedule", "run": "r"}
    return Statement.model_validate({**given, "commit": commit * 40, **fields})


def signed(commit: str, signer: str) -> SignedCommit:
    return SignedCommit(commit=commit * 40, signer=signer, key="SHA256:x")


def known(**fields: object) -> Known:
    """Two releases: `a` brought OLD, `b` brought NEW by ada's commit `c`, approved by bo."""
    entries = chain(
        said("intent", "a", commits=(signed("a", "ci-shop"),), releases=(release(OLD, "5"),)),
        said("result", "a", outcome="healthy"),
        said(
            "intent",
            "b",
            commits=(signed("b", "ci-shop"), signed("c", "ada")),
            releases=(release(NEW, "6"),),
            approvals=(Agreed(person="bo", statement="sha256:" + "9" * 64, until="2030-02-01T00:00:00Z"),),
            objects=(Changed(action="change", object="Deployment/shop/web"),),
            plan="sha256:" + "7" * 64,
            counts={"change": 1},
        ),
        said("result", "b", outcome="healthy"),
        said("refusal", "d", outcome="unsigned", note="d is not signed"),
    )
    brought = {("shop", "web", NEW): Brought("b" * 40, "ci-shop", "2030-01-03T09:00:00Z")}
    pod = Pod("shop", "web-x2x9k", (NEW.partition("@")[2],), "Running", "2030-01-03T12:01:00Z")
    made = Known("dev", entries, brought=brought, evidence={PROOF.digest: PROOF}, pods=(pod,))
    return replace(made, **fields)  # type: ignore[arg-type]


def ask(text: str, found: Known | None = None) -> Trace:
    return trace.trace(parse(text), [found or known()])


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("sha256:" + "ab" * 32, Query("image", "ab" * 32)),
        (NEW, Query("image", "2b" * 32)),
        ("1a2b3c4", Query("commit", "1a2b3c4")),
        ("2030-01-02", Query("date", "2030-01-02T23:59:59Z")),
        ("2030-01-02T10:00", Query("date", "2030-01-02T10:00:00Z")),
        ("shop/web-x2x9k", Query("pod", "web-x2x9k", "shop")),
        ("pod/shop/web-x2x9k", Query("pod", "web-x2x9k", "shop")),
        ("ada", Query("name", "ada")),
    ],
)
def test_a_text_says_what_it_is(text: str, query: Query) -> None:
    """What is asked for is told by its form alone."""
    assert parse(text) == query


@pytest.mark.parametrize("text", ["", "a b", "2030-13-01", "sha256:zz", "../x/y", "\x1b[31m"])
def test_what_cannot_be_traced_is_said(text: str) -> None:
    """One error that names the forms, or the wrong time."""
    with pytest.raises(ParameterError):
        parse(text)


@pytest.mark.parametrize(
    "text", ["sha256:2b2b2b2b2b2b", "6666666", "bbbbbbb", "ccccccc", "shop/web-x2x9k", "web-x2x9k"]
)
def test_every_end_leads_to_the_whole_chain(text: str) -> None:
    """A digest, a source commit, an environment commit of the range, and a pod give the same chain."""
    (found,) = ask(text).chains

    steps = {step.name: " | ".join(step.lines) for step in found.steps}
    assert found.now and found.image == NEW
    assert list(steps) == [
        "source", "tests", "scans", "gate", "image", "release", "approvals", "plan", "sync", "pods",
    ]  # fmt: skip
    assert steps["source"] == f"shop {'6' * 12}"
    assert steps["tests"] == "passed: 1 passed"
    assert "image by trivy 0.60.0; 2 low; at 2030-01-02 03:04 UTC; database 2030-01-01" in steps["scans"]
    assert steps["gate"] == f"passed by the policy of {'c' * 12}"
    assert "built by ci-shop" in steps["image"]
    assert steps["release"] == f"commit {'b' * 12} signed by ci-shop, 2030-01-03 09:00 UTC"
    assert steps["approvals"].startswith("bo, holds until 2030-02-01 00:00 UTC")
    assert steps["plan"] == "sha256:777777777777: 1 change | change Deployment/shop/web"
    assert "healthy, 2030-01-04 12:00 UTC" in steps["sync"] and "receipts 3 and 4" in steps["sync"]
    assert steps["pods"] == "shop/web-x2x9k: Running, since 2030-01-03 12:01 UTC"


def test_what_ran_at_a_time_is_the_last_good_sync_before_it() -> None:
    """Before the second sync ended the first release ran; nobody's later word changes that."""
    assert [each.image for each in ask("2030-01-03").chains] == [OLD]
    assert [each.image for each in ask("2030-01-04T12:00").chains] == [NEW]
    before = ask("2029-12-31")
    assert not before.chains and not before.syncs


def test_a_person_is_known_by_signatures() -> None:
    """Who signed a commit and who approved are found; who a host says that asked is not."""
    assert [sync.commit for sync in ask("ada").syncs] == ["b" * 40]
    assert [sync.commit for sync in ask("bo").syncs] == ["b" * 40]
    assert [sync.commit for sync in ask("ci-shop").syncs] == ["a" * 40, "b" * 40]
    assert ask("schedule").syncs == ()


def test_a_refused_commit_is_found_though_nothing_was_synced() -> None:
    """What became of it is a refusal."""
    found = ask("ddddddd")

    assert found.syncs == () and [entry.statement.outcome for entry in found.others] == ["unsigned"]
    assert found.said.startswith("no sync has had it; 1 other receipt")


def test_what_is_missing_is_a_link_that_says_so() -> None:
    """Without evidence, release commit or pods the chain names what it has not, instead of leaving it out."""
    (found,) = ask("sha256:2b2b2b2b2b2b", known(brought={}, evidence={}, pods=())).chains

    steps = {step.name: step for step in found.steps}
    assert steps["scans"].tone == "bad" and "not in the repository" in steps["scans"].lines[0]
    assert steps["release"].tone == "bad"
    assert steps["pods"].lines == ("none has it now",)


def test_receipts_of_format_1_are_traced_by_their_commits() -> None:
    """What an old receipt does not say is taken from the repository at its commit."""
    old = chain(said("intent", verified="e" * 40), said("result", outcome="healthy"))
    silent = [replace(old[0], receipt=old[0].receipt.model_copy(update={"format": 1})), old[1]]
    bare = silent[0].statement.model_copy(update={"commit": None})
    entries = (replace(silent[0], receipt=silent[0].receipt.model_copy(update={"statement": bare})), silent[1])
    # The digest is over the bytes, which stay: the result still names its intent.
    found = ask("6666666", known(entries=entries, releases={"e" * 40: (release(NEW, "6"),)}))

    assert [each.image for each in found.chains] == [NEW]


def test_the_report_says_the_same_on_a_terminal_and_a_page() -> None:
    """A tree for people, tables for Markdown, and data with every receipt's path."""
    report = trace.report(ask("sha256:2b2b2b2b2b2b"))

    assert [branch.text for branch in report.tree] == ["dev: shop/web (runs now)", "syncs, newest first"]
    assert "built by ci-shop" in report.body
    assert report.data["syncs"][0]["receipts"][0].startswith("receipts/dev/")  # type: ignore[index]
