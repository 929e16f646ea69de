"""What servers, containers, scanners and passers-by answer or send."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interlock.cd import below, compare, inventory, living, plan, plan_file
from interlock.cd.objects import Resource
from interlock.ci import findings, sbom, signing
from interlock.ci.coverage import read_coverage
from interlock.ci.image_configuration import CANARY, to_check
from interlock.ci.junit import read_report
from interlock.contract import oci, webhook
from interlock.contract.canonical import canonical
from interlock.contract.render import Identity
from tests.fuzz.hostile import JSON, fuzzed, hostile, hostile_text, only_ours
from tests.unit.cd.bodies import MANAGER, claim, config_map, manifest, scope
from tests.unit.ci.test_signing import REQUEST

SECRETS = (b"s" * 32,)
NOW = 1_900_000_000.0
IMAGE = oci.describe(b"{}", oci.MANIFEST)
ARTIFACT = oci.Artifact("sbom", oci.CYCLONEDX, b"{}")
INDEX = json.dumps(oci.with_entries(None, [ARTIFACT.entry(IMAGE)])).encode()
LAYERS = json.dumps(oci.with_layers(None, [oci.Layer(b"{}", "x", {})])[0]).encode()


@fuzzed
@given(hostile([INDEX, LAYERS, b'{"schemaVersion": 2, "manifests": [{"annotations": {}}]}']))
def test_answers_of_registries(data: bytes) -> None:
    """Manifests and indexes that others have put there."""
    found = only_ours(lambda: oci.read_json(data, subject="it"))
    if found is not None:
        only_ours(lambda: canonical(oci.with_entries(found, [ARTIFACT.entry(IMAGE)])))
        only_ours(lambda: canonical(oci.with_layers(found, [oci.Layer(b"{}", "x", {})])[0]))


CONFIGURATION = b"""{"architecture": "amd64", "os": "linux", "config": {"User": "ada", "Labels": {"a": "b"}},
 "history": [{"created_by": "COPY . /app"}, {"created_by": "HEALTHCHECK &{[\\"CMD\\" \\"x\\"]", "empty_layer": true}],
 "rootfs": {"type": "layers", "diff_ids": ["sha256:44136fa3"]}}"""


@fuzzed
@given(hostile([CONFIGURATION]))
def test_configurations_of_images(data: bytes) -> None:
    """What is checked has the canary last, whatever was written before it."""
    for plain in (False, True):
        told = only_ours(lambda plain=plain: to_check(data, plain=plain))  # type: ignore[misc]
        assert told is None or CANARY in json.loads(told)["history"][-1]["created_by"]


NAMES = (
    "X-Hub-Signature-256",
    "x-interlock-signature-256",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "a",
)


@fuzzed
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), hostile_text([webhook.sign(b"{}", SECRETS[0]), "1900000000", "v1,AAAA"]))
    ),
    st.binary(max_size=50),
)
def test_webhooks(headers: list[tuple[str, str]], body: bytes) -> None:
    """Whatever headers a delivery has, it is refused, or signed for these very bytes."""

    def verified() -> bool:
        webhook.verify(headers, body, SECRETS, now=NOW)
        return True

    assert not only_ours(verified) or body == b"{}"


@fuzzed
@given(hostile_text(["0123456789abcdef0123456789abcdef\n", "whsec_" + "A" * 40]), st.binary(max_size=20))
def test_secrets_of_webhooks(text: str, body: bytes) -> None:
    """A file with secrets is taken or refused, and whatever it holds signs."""
    for secret in only_ours(lambda: webhook.read_secrets(text, path="f")) or ():
        webhook.verify([("x-hub-signature-256", webhook.sign(body, secret))], body, (secret,), now=NOW)
        webhook.sign_standard(body, secret, delivery="1", time="1")


JUNIT = (
    b'<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="a" tests="3" failures="1" time="0.5">'
    b'<testcase classname="a" name="b" time="0.1"/><testcase name="c"><failure message="m">text</failure></testcase>'
    b'<testcase name="d"><skipped/></testcase></testsuite></testsuites>'
)
COBERTURA = (
    b'<?xml version="1.0"?><!DOCTYPE coverage SYSTEM "x"><coverage><packages><package><classes>'
    b'<class filename="a.py"><lines><line number="1" hits="0"/><line number="2" hits="3"/></lines></class>'
    b"</classes></package></packages></coverage>"
)


@fuzzed
@given(hostile([JUNIT, COBERTURA]))
def test_reports_of_tests(data: bytes) -> None:
    """From a container that runs what its developer wants."""
    report = only_ours(lambda: read_report(data))
    if report:
        assert report.summary
    coverage = only_ours(lambda: read_coverage(data))
    if coverage:
        assert 0 <= coverage.covered <= coverage.lines and coverage.summary


TRIVY = json.dumps(
    {
        "SchemaVersion": 2,
        "Metadata": {"OS": {"Family": "debian", "Name": "12"}, "ImageID": "sha256:" + "1" * 64},
        "Results": [
            {
                "Target": "requirements.txt",
                "Class": "lang-pkgs",
                "Type": "pip",
                "Packages": [{"Name": "a", "Version": "1", "Licenses": ["MIT"]}],
                "Vulnerabilities": [
                    {"VulnerabilityID": "CVE-1", "PkgName": "a", "InstalledVersion": "1", "Severity": "HIGH"}
                ],
                "Secrets": [{"RuleID": "x", "Severity": "HIGH", "StartLine": 1, "Title": "t"}],
                "Misconfigurations": [{"ID": "DS1", "Severity": "LOW", "Title": "t", "Status": "FAIL"}],
            }
        ],
    }
).encode()
DATABASE = b'{"Version":2,"UpdatedAt":"2026-11-01T00:00:00Z","NextUpdate":"2026-11-02T00:00:00Z"}'


@fuzzed
@given(hostile([TRIVY, DATABASE]))
def test_what_the_scanner_says(data: bytes) -> None:
    """It has read hostile files, and may repeat what stands there."""
    database = only_ours(lambda: findings.read_database(DATABASE, digest="sha256:" + "0" * 64, pinned=False))
    assert database is not None
    only_ours(lambda: findings.read_database(data, digest="", pinned=False))
    only_ours(lambda: findings.read_system(data))
    only_ours(lambda: findings.read_contents(data, database=database))
    only_ours(lambda: findings.read_canary(data, vulnerability="CVE-1"))


BILLS = [
    b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": {"name": "a@sha256:1"}}}',
    b'{"spdxVersion": "SPDX-2.3", "packages": [{"name": "a", "SPDXID": "SPDXRef-a"}], "relationships": []}',
]


@fuzzed
@given(hostile(BILLS), st.sampled_from(["cyclonedx", "spdx"]))
def test_bills_of_materials(data: bytes, form: Any) -> None:
    """Of an image whose packages name themselves."""
    only_ours(lambda: sbom.require_about(data, form, image="registry.example/a@sha256:" + "1" * 64))


@fuzzed
@given(hostile([REQUEST.model_dump_json().encode()]))
def test_requests_to_the_signer(data: bytes) -> None:
    """From CI's user, who may be taken over: the signer runs under another one."""
    request = only_ours(lambda: signing.read_request(data))
    if request:
        only_ours(lambda: signing.require_whole(request, now=dt.datetime.now(dt.UTC)))
        only_ours(lambda: signing.commits(request))


CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", True)
CLAIM = {
    "manager": "a",
    "operation": "Apply",
    "apiVersion": "v1",
    "time": "2030-01-02T03:04:05Z",
    "fieldsV1": {"f:data": {"f:a": {}}, "f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}},
}
LIVE = {"metadata": {"name": "c", "uid": "u", "resourceVersion": "1", "managedFields": [CLAIM]}, "data": {"a": "1"}}
PAGE = json.dumps({"metadata": {"resourceVersion": "5"}, "items": [LIVE, LIVE]}).encode()


@fuzzed
@given(hostile([PAGE, b'"f:x": ' + b"[" * 300]))
def test_pages_of_objects(data: bytes) -> None:
    """The API server's answer is JSON; what is in it, tenants wrote. Bytes that are no page fail the run as such."""
    promised = (ValueError, KeyError, TypeError, AttributeError)
    page = only_ours(lambda: living.page(data, CONFIG_MAPS), also=promised)
    for each in page.items if page else ():
        only_ours(lambda each=each: each.body, also=promised)  # type: ignore[misc]


FIELDS: st.SearchStrategy[Any] = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(
        hostile_text(["f:spec", "f:a", 'k:{"name":"web"}', 'v:"x"', "i:0", ".", "f:", "k:", 'k:{"name":{}}', "v:[[["]),
        inner,
        max_size=3,
    ),
    max_leaves=8,
)


MAKER = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "metadata": {"name": "r"},
    "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "good"}]}}},
}


@fuzzed
@given(FIELDS, JSON)
def test_forged_claims(fields: Any, value: Any) -> None:
    """What managedFields say is anybody's word."""
    live = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "c", "managedFields": [{**CLAIM, "fieldsV1": fields}, {**CLAIM, "manager": "b"}]},
        "spec": {"containers": [{"name": "web", "image": "evil"}], "x": value},
    }
    only_ours(lambda: compare.claimant(live, ("spec", "x"), manager="b"))
    only_ours(lambda: below.changes(live, MAKER))


@fuzzed
@given(FIELDS, st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3))
def test_plans_of_objects_with_forged_claims(fields: Any, data: dict[str, str]) -> None:
    """A plan is made of what tenants left of an object: their claims decide neither whether nor how it ends."""
    live = config_map(data, claim(MANAGER, fields), claim("mallory", fields, operation="Update"))
    entry = inventory.Entry(Identity("", "ConfigMap", "shop", "c"), "shop", "n1", "u1")

    def planned() -> plan.PlanItem:
        want = plan.wanted(manifest({"a": "1"}), live, inventory.Inventory.of([entry]), scope())
        plan.look(want, scope())
        return plan.decided(want, {**live, "data": {**data, "a": "1"}}, scope())

    item = only_ours(planned)

    assert item is None or data.get("a") == "1" or item.action != plan.Action.UNCHANGED


PLAN = plan_file.of(
    plan.Plan("dev", "1" * 40, (plan.PlanItem(Identity("", "ConfigMap", "a", "b"), plan.Action.CREATE),))
)
REPORT = json.dumps([{"report": "plan", "title": "t", "data": PLAN.model_dump(mode="json")}])


@fuzzed
@given(hostile_text([REPORT, PLAN.model_dump_json()]))
def test_plan_files(text: str) -> None:
    """As `interlock sync --plan` takes them."""
    assert plan_file.read(REPORT, path="f")
    only_ours(lambda: plan_file.read(text, path="f"))
