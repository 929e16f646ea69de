"""Evidence as CI's signer makes it, about the release of the example repository, and that repository with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from interlock.ci.credentials import Probe
from interlock.ci.evidence import Facts, for_environment, rescan_envelope, statements
from interlock.ci.gate import Scans
from interlock.ci.junit import TestReport, TestRun
from interlock.contract import dsse, evidence, layout, release, strict_yaml
from interlock.contract.canonical import digest
from interlock.contract.evidence import Base, Statement
from interlock.contract.finding import Database, Finding, Scan
from interlock.contract.gate import judge
from interlock.contract.models import GateRules, ReleasedComponent, Source
from interlock.contract.tree import Tree
from tests import examples_of_repositories as example

KEY = dsse.LocalKey(dsse.generate_key())
OTHER_KEY = dsse.LocalKey(dsse.generate_key())
NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.UTC)
FRESH = Database(NOW - dt.timedelta(hours=10), "sha256:" + "d" * 64)
IMAGE_ID = "sha256:" + "2" * 64
LOW = Finding("vulnerability", "CVE-9", "LOW", "requirements.txt", "t", package="p", installed="1", fixed="2")
CRITICAL = replace(LOW, id="CVE-1", severity="CRITICAL", published="2030-06-01")

Change = Callable[[dict[str, Statement]], dict[str, Statement]]


def scans(*in_image: Finding, database: Database = FRESH) -> Scans:
    return Scans(
        sources=(Scan("source", database=database, scanner="trivy 0.76.0"), Scan("code", scanner="bandit 1.9.4")),
        image=Scan("image", findings=in_image, database=database, scanner="trivy 0.76.0", image_id=IMAGE_ID),
        manifests={example.ENVIRONMENT: Scan("manifests", scanner="trivy 0.76.0")},
    )


def said(
    *,
    image: str = example.IMAGE,
    found: Scans | None = None,
    rules: GateRules | None = None,
    component: str = example.COMPONENT,
    now: dt.datetime = NOW,
    source: str = example.SOURCE_REPOSITORY,
    run: str = "run-1",
    bases: tuple[Base, ...] = (),
) -> dict[str, Statement]:
    """What CI says of a build that its gate let pass, by `rules`."""
    judged = found or scans(LOW)
    tests = TestRun(0, TestReport(("test_price",), (), (), 0.1, "sha256:" + "e" * 64))
    facts = Facts(
        image=image,
        image_id=IMAGE_ID,
        source=Source(repository=source, commit=example.SOURCE_COMMIT),
        component=component,
        build_key="il-1",
        reused=False,
        run=run,
        started=now,
        tests=tests,
        sboms=(),
        probe=Probe((), ()),
        bases=bases,
    )
    verdict = judge(
        judged.of(example.ENVIRONMENT), tests, rules=rules or GateRules(), waivers=(), component=component, now=now
    )
    return statements(
        facts,
        judged,
        {example.ENVIRONMENT: verdict},
        builder="ci-shop",
        policy_commit="b" * 40,
        finished=now,
        branch="main",
    )


def together(said: Mapping[str, Statement]) -> dict[str, Statement]:
    """Changed statements, as a signer would have signed them: the verdicts name those beside them."""
    beside = [each for each in said.values() if each.predicate_type != evidence.GATE_VERDICT]
    made = evidence.gate_verdict("", environment="", passed=True, policy_commit="", inputs=beside)
    inputs = {evidence.INPUTS: made.predicate[evidence.INPUTS]}
    return {
        name: replace(each, predicate={**each.predicate, **inputs})
        if each.predicate_type == evidence.GATE_VERDICT
        else each
        for name, each in said.items()
    }


def file_of(
    statements: Mapping[str, Statement], key: dsse.Key | None = KEY, *, but: Mapping[str, dsse.Key | None] | None = None
) -> bytes:
    """The evidence file, signed throughout; `but` gives single statements another key, or none."""
    keys = dict.fromkeys(statements, key) | dict(but or {})
    names = for_environment(statements, example.ENVIRONMENT)
    return evidence.document(_signed(statements[name].payload, keys[name]) for name in names)


def _signed(payload: bytes, key: dsse.Key | None) -> dsse.Envelope:
    return dsse.sign(key, payload) if key else dsse.Envelope(payload)


def attesters(*keys: dsse.Key, source: str = example.SOURCE_REPOSITORY, **more: object) -> str:
    entry = {"source": source, "keys": [each.public for each in keys], **more}
    return strict_yaml.dump({"format": 1, "attesters": [{k: v for k, v in entry.items() if v}]})


def release_of(proof: bytes, *, image: str = example.IMAGE, component: str = example.COMPONENT) -> dict[str, bytes]:
    """What CI's release commit writes, with this evidence."""
    source = Source(repository=example.SOURCE_REPOSITORY, commit=example.SOURCE_COMMIT)
    entry = ReleasedComponent(image=image, source=source, evidence=digest(proof))
    where = (example.ENVIRONMENT, example.APPLICATION)
    return {
        layout.release(*where): release.with_component(None, component, entry).encode(),
        layout.evidence(*where, component, image.partition("@")[2]): proof,
    }


def rescanned(*findings: Finding, passed: bool = False, now: dt.datetime = NOW) -> dict[str, bytes]:
    """What a rescan writes that found these in the image."""
    scan = scans(*findings).image
    verdict = judge(
        [replace(scan, licences=True)],
        None,
        rules=GateRules(),
        waivers=(),
        component="web",
        now=now,
        required=("image",),
    )
    assert verdict.passed is passed
    data = rescan_envelope(
        example.IMAGE,
        scan,
        environment=example.ENVIRONMENT,
        verdict=verdict,
        policy_commit="b" * 40,
        builder="ci-shop",
        run="run-2",
        finished=now,
    )
    where = (example.ENVIRONMENT, example.APPLICATION, example.COMPONENT, example.IMAGE.partition("@")[2])
    return {layout.rescan(*where): data}


def tree(
    proof: bytes | None = None,
    changes: Mapping[str, str | bytes | None] | None = None,
    *,
    keys: Sequence[dsse.Key] = (KEY,),
) -> Tree:
    """The example repository, which asks for evidence, and a release with this one."""
    given = proof if proof is not None else file_of(said())
    files: dict[str, str | bytes | None] = {layout.ATTESTERS: attesters(*keys, branch="main"), **release_of(given)}
    return example.environment_tree({**files, **(changes or {})})
