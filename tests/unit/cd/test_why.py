"""Why a change is not live: the first gate that holds it is named, with who can lift it and the next command."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from interlock.cd import why
from interlock.cd.outlook import ending
from interlock.cd.why import Run, Source, Standing, Why
from interlock.contract import evidence
from interlock.contract.brought import Brought
from interlock.contract.models import Signer
from interlock.errors import Blocked, FormatError, InterlockError, Refused, ToolError, Unhealthy
from tests.examples_of_repositories import IMAGE, MACHINE_KEY, PERSON_KEY, SOURCE_COMMIT, statements

COMMIT, NEWER = "c" * 40, "d" * 40
NOW = dt.datetime(2030, 1, 2, tzinfo=dt.UTC)
SIGNERS = (
    Signer(name="ada", key=PERSON_KEY, writes=("**",), approves=True),
    Signer(name="ci-shop", key=MACHINE_KEY, writes=("environments/*/shop/release.yaml",), machine=True),
)
BUILT = Source("shop", SOURCE_COMMIT, proven="run-1 built and tested it", gate=True, gate_said="passed")
LIVE = Standing(
    "dev", COMMIT, "ci-shop", verified=True, newest=COMMIT, began=True, deployed=True, deployed_commit=COMMIT
)
NEW = replace(LIVE, began=False, deployed=False, deployed_commit="a" * 40)


def ask(source: Source | None = BUILT, standing: Standing = LIVE, **how: Any) -> Why:
    return why.why("source 555555555555", source, standing, SIGNERS, **how)


def ended(error: InterlockError) -> Standing:
    return replace(NEW, ending=ending(COMMIT, error, NOW))


def test_what_is_live_passes_every_gate() -> None:
    """Nothing holds it, and the verdict says so."""
    found = ask()

    assert found.live and found.first is None and found.verdict == "live"
    assert {gate.state for gate in found.gates} == {"passes"}
    assert [gate.name for gate in found.gates] == [
        "source", "CI run", "gate", "release", "verified", "environment", "freeze", "approvals", "rendered", "plan",
        "applied", "healthy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "gate", "says", "who"),
    [
        (Source("shop", SOURCE_COMMIT, protected=False), "source", "not on the protected branch", "who may merge"),
        (Source("shop", SOURCE_COMMIT, protected=True), "CI run", "no run has taken it up", "CI's worker"),
        (
            Source("shop", SOURCE_COMMIT, protected=True, run=Run("release shop 5555555", "Running", going=True)),
            "CI run",
            "release shop 5555555 is running",
            "wait",
        ),
        (
            Source("shop", SOURCE_COMMIT, protected=True, run=Run("r", "TestsFailed", "2 failed")),
            "CI run",
            "TestsFailed: 2 failed",
            "who pushed",
        ),
        (
            Source(
                "shop",
                SOURCE_COMMIT,
                protected=True,
                run=Run("r", "Blocked"),
                gate=False,
                gate_said="no\n  - CVE-1\n  - CVE-2",
            ),
            "gate",
            "no: CVE-1; CVE-2",
            "policy/waivers.yaml",
        ),
    ],
)
def test_ci_holds_it(source: Source, gate: str, says: str, who: str) -> None:
    """What CI has not let through is named at its gate; nothing is claimed of what comes behind."""
    found = ask(source, Standing("dev"), on_ci=True)

    assert found.first is not None
    assert (found.first.name, found.verdict) == (gate, f"held at: {gate}")
    assert says in found.first.said and who in found.first.who
    behind = found.gates[found.gates.index(found.first) + 1 :]
    assert behind and {each.state for each in behind} == {"later"}


def test_the_command_after_a_verdict_is_one_that_there_is() -> None:
    """Who was stopped by the gate is sent to `interlock check`, with options that it has."""
    blocked = Source("shop", SOURCE_COMMIT, protected=True, run=Run("r", "Blocked"), gate=False, gate_said="CVE-1")
    found = ask(blocked, Standing("dev"), on_ci=True).first

    assert found is not None
    assert found.command == "in a clone of shop: interlock check --source shop --environment-repository CLONE"


def test_a_run_that_ended_well_without_a_release_is_quoted() -> None:
    """Its word says why there is none, and CI's host is not sent to itself."""
    run = Run("release shop 5555555", "Completed", "shop 5555555 is released already; nothing to do")
    source = Source("shop", SOURCE_COMMIT, protected=True, run=run, gate=None)
    found = ask(source, Standing("dev"), on_ci=True).first

    assert found is not None and found.name == "release"
    assert found.said.endswith("releases it to dev; its run said: shop 5555555 is released already; nothing to do")
    assert found.command == "interlock release shop"


def test_a_run_that_ended_as_blocked_is_told_beside_the_unknown_verdict() -> None:
    """On CD's host, where only Prefect speaks of it, the gate's line says what Prefect says."""
    blocked = Source("shop", SOURCE_COMMIT, protected=None, run=Run("release shop 5555555", "Blocked"), gate=None)
    found = {each.name: each for each in ask(blocked, Standing("dev")).gates}

    assert found["gate"].state == "unknown"
    assert found["gate"].said == "its run ended as Blocked, but nothing is known of its verdict here"


@pytest.mark.parametrize(
    ("standing", "gate", "says", "who", "command"),
    [
        (Standing("dev"), "release", "releases it to dev", "ci-shop", "CI's host"),
        (replace(NEW, on_branch=False), "release", "not on the environment repository's branch", "push", "git push"),
        (
            replace(NEW, verified=False, refusal="it is not signed", refusal_rule="unsigned", to_do="sign it"),
            "verified",
            "it is not signed",
            "ada",
            "sign it",
        ),
        (replace(NEW, verified=False), "verified", "no run", "next run", "interlock sync dev"),
        (replace(NEW, reads=False), "environment", "nothing that dev reads", "ada", "interlock render dev"),
        (
            ended(Refused("dev is frozen", rule="frozen", hint="lift it")),
            "freeze",
            "dev is frozen",
            "root on CD's host",
            "lift it",
        ),
        (
            ended(Refused("one approval is missing", rule="approvals", hint="interlock approve dev")),
            "approvals",
            "missing",
            "ada",
            "interlock approve dev",
        ),
        (ended(Refused("no proof", rule="evidence", hint="h")), "evidence", "no proof", "", "h"),
        (ended(FormatError("no such value", path="t.yaml", line=3)), "rendered", "t.yaml:3", "who wrote", "push"),
        (
            ended(Blocked("over the budget", reasons=("12 of 13",), hint="allow it")),
            "plan",
            "over the budget: 12 of 13",
            "ada",
            "allow it",
        ),
        (ended(ToolError("the API server is away")), "applied", "API server", "next run", "again"),
        (NEW, "applied", "no run has begun it", "next run", "interlock sync dev"),
        (ended(Unhealthy("web has no endpoints", hint="look")), "healthy", "no endpoints", "who wrote", "look"),
        (replace(NEW, began=True), "healthy", "waits", "who wrote", "interlock status dev"),
        (replace(LIVE, superseded="shop/web is at 6 now"), "healthy", "is no more", "newer", "trace"),
        (replace(LIVE, ill="2 of 3 objects are healthy"), "healthy", "2 of 3", "who wrote", "status"),
    ],
)
def test_cd_holds_it(standing: Standing, gate: str, says: str, who: str, command: str) -> None:
    """The first gate that holds, what it says, who can lift it, and the next command."""
    first = ask(standing=standing).first

    assert first is not None
    assert first.name == gate
    assert says in first.said and who in first.who and command in first.command


def test_an_ending_of_another_commit_says_nothing() -> None:
    """How an older commit's run ended does not hold a newer one."""
    old = replace(NEW, ending=ending(NEWER, Blocked("over the budget"), NOW))

    assert ask(standing=old).first == ask(standing=NEW).first


def test_what_ci_alone_can_tell_is_unknown_on_a_cd_host() -> None:
    """Without a release CD's host knows neither branch nor verdict: it says where to ask, and what is missing here."""
    found = ask(Source("shop", SOURCE_COMMIT), Standing("dev"))

    states = {gate.name: gate.state for gate in found.gates[:4]}
    assert states == {"source": "unknown", "CI run": "unknown", "gate": "unknown", "release": "holds"}
    assert found.gates[0].command == f"on CI's host: interlock why {SOURCE_COMMIT[:12]}"


def test_evidence_proves_what_ci_did() -> None:
    """A release's evidence names its run, its tests and the verdict for just this environment."""
    proof = evidence.read_envelope(evidence.envelope(statements(IMAGE)), path="e")
    brought = Brought(COMMIT, "ci-shop", "", "shop", SOURCE_COMMIT, proof.digest)

    here, elsewhere = (why.proven(brought, proof, name) for name in ("dev", "production"))

    assert here.proven == "run-1 built and tested it: 1 passed" and here.gate is True
    assert elsewhere.gate is None
    assert why.proven(brought, None, "dev").gate is None


def test_the_report_ends_with_who_and_the_next_command() -> None:
    """A line a gate, then what to do; as data the first gate too."""
    report = why.report(ask(standing=ended(Blocked("over the budget", hint="allow it"))))

    assert report.title == "source 555555555555 in dev: held at: plan"
    assert "next: allow it" in report.markdown and "who: " in report.markdown
    assert len(report.tables[0].rows) == 12
    assert report.data["first"]["name"] == "plan"  # type: ignore[index]
