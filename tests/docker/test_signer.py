"""Evidence that others verify: a real signer signs a real release, and the real cosign verifies it offline."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flows.ci.release import release_order
from interlock.ci import signing
from interlock.ci.signing import Request
from interlock.contract import dsse, evidence, layout, oci, repository
from interlock.contract.dsse import Envelope
from interlock.contract.evidence import Evidence
from interlock.contract.finding import Finding
from interlock.contract.host import Registry
from interlock.errors import InputError, InterlockError, Refused, ToolError
from sandbox.part import SandboxError, wait_until
from sandbox.parts import registry as registry_part
from sandbox.parts.cosign import Cosign, Major, Storage
from sandbox.parts.docker import Docker
from sandbox.parts.referrers import Referrers
from sandbox.users import as_user, user
from tasks.ci import referrers, signatures
from tasks.common import registry
from tests.docker import service
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder
from tests.docker.signing import RequestRecorder, SignerProcess, signer_beside, with_signer

TYPES = {
    "slsaprovenance1": evidence.PROVENANCE,
    "vuln": evidence.VULNERABILITIES,
    "cyclonedx": evidence.CYCLONEDX,
    "spdxjson": evidence.SPDX,
    evidence.TEST_RESULT: evidence.TEST_RESULT,
    evidence.GATE_VERDICT: evidence.GATE_VERDICT,
}
"""What `cosign verify-attestation --type` calls our statements."""
PLACES: tuple[tuple[Major, Storage], ...] = ((2, "tags"), (2, "bundles"), (3, "tags"), (3, "bundles"))


@dataclass(frozen=True)
class Signed:
    """A release that was signed, for the tests that only look."""

    walk: Walk
    signer: SignerProcess
    recorder: RequestRecorder
    image: str
    proof: Evidence

    @property
    def request(self) -> Request:
        return self.recorder.requests[-1]

    @property
    def login(self) -> str:
        return registry_part.credentials(self.signer.place, "ci").read_text().strip()


@pytest.fixture(scope="module")
def signed(shared_walk: Walk) -> Iterator[Signed]:
    with signer_beside(shared_walk) as signer:
        signer.start()
        walk, recorder = with_signer(shared_walk, signer), RequestRecorder()
        asyncio.run(release_order(recorder, walk.host, "shop", None))
        tree = walk.environments.read()
        found = repository.read(tree).environments["dev"].applications["shop"].release
        assert found is not None
        entry = found.components["web"]
        path = layout.evidence("dev", "shop", "web", entry.image.partition("@")[2])
        proof = evidence.read_envelope(tree.files[path], path=path)
        assert proof.digest == entry.evidence
        yield Signed(walk, signer, recorder, entry.image, proof)


def ask(signed: Signed, request: Request) -> signing.Signed:
    return signatures.request_signatures.fn(signed.signer.socket, request)


def refused(signed: Signed, request: Request) -> Refused:
    with pytest.raises(Refused) as caught:
        ask(signed, request)
    return caught.value


# what others verify ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_cosign_verifies_the_image_and_all_that_is_said_about_it(
    signed: Signed, cosign: Cosign, referrers_registry: Referrers, tmp_path: Path, place: tuple[Major, Storage]
) -> None:
    """By the public key alone, offline: the signature, and a statement of each kind about this very digest.

    From either place alone; by another key nothing.
    """
    major, storage = place
    host = Registry(host=referrers_registry.host, insecure=True)
    image = _placed(signed, host, f"good/{major}{storage}", ask(signed, signed.request), storage)
    other = tmp_path / "other.pub"
    other.write_text(dsse.LocalKey(dsse.generate_key()).public)

    verified = cosign.run(major, storage, "verify", image, key=signed.signer.key)

    assert verified.returncode == 0, verified.stderr
    assert cosign.run(major, storage, "verify", image, key=other).returncode != 0
    for name, predicate in TYPES.items():
        words = ("verify-attestation", image, "--type", name)
        done = cosign.run(major, storage, *words, key=signed.signer.key)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        statements = [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in done.stdout.splitlines()]
        assert {each["predicateType"] for each in statements} == {predicate}
        assert {each["subject"][0]["digest"]["sha256"] for each in statements} == {image[-64:]}
    assert cosign.run(major, storage, *words, key=other).returncode != 0


def test_cosign_verifies_where_ci_put_it(signed: Signed, cosign: Cosign) -> None:
    """In a registry without a list of referrers, which has accounts."""
    for command in (("verify", signed.image), ("verify-attestation", signed.image, "--type", "slsaprovenance1")):
        for storage in ("tags", "bundles"):
            done = cosign.run(3, storage, *command, key=signed.signer.key, login=signed.login)
            assert done.returncode == 0, done.stderr


def _placed(signed: Signed, host: Registry, name: str, what: signing.Signed, storage: Storage) -> str:
    """The image with its signatures in another registry, in one of the two places alone."""
    image = _copy(signed, host, name)
    kept = signing.kept(what)
    referrers.keep_signed(
        host,
        repository=f"{host.host}/{name}",
        image_digest=image.partition("@")[2],
        bundles=kept.bundles if storage == "bundles" else (),
        signatures=kept.signatures if storage == "tags" else (),
        attestations=kept.attestations if storage == "tags" else (),
    )
    return image


def _copy(signed: Signed, into: Registry, name: str) -> str:
    """The image's manifest in another registry, without its layers: enough for what refers to it."""
    path, wanted = signed.image.partition("@")[0].partition("/")[2], signed.image.partition("@")[2]
    with registry.connected(signed.walk.host.registry) as http:
        content, media_type = registry.read_content(http, path, wanted, (oci.MANIFEST, oci.DOCKER_MANIFEST))
        assert content is not None
        configuration = registry.read_blob(http, path, json.loads(content)["config"]["digest"], most=1 << 20)
    with registry.connected(into) as http:
        registry.upload(http, name, configuration)
        referrers._put(http, name, wanted, content, media_type)
    return f"{into.host}/{name}@{wanted}"


def test_a_registry_that_lists_referrers_needs_no_tag(signed: Signed, referrers_registry: Referrers) -> None:
    """What is attached is found through its API."""
    host = Registry(host=referrers_registry.host, insecure=True)
    again = ask(signed, signed.request)

    image = _placed(signed, host, "listed/web", again, "bundles")

    with registry.connected(host) as http:
        digest = image.partition("@")[2]
        listed = http.get(f"/v2/listed/web/referrers/{digest}").json()["manifests"]
        assert registry.read_content(http, "listed/web", oci.fallback_tag(digest), (oci.INDEX,))[0] is None
    assert len(listed) == len(signing.kept(again).bundles)


def _tampered(envelope: Envelope) -> Envelope:
    """One letter of what was said is another one."""
    payload = bytearray(envelope.payload)
    payload[payload.index(b"interlock" if b"PASSED" not in payload else b"PASSED")] ^= 1
    return replace(envelope, payload=bytes(payload))


@pytest.mark.parametrize(("major", "storage"), PLACES)
def test_cosign_refuses_a_tampered_byte(
    signed: Signed, cosign: Cosign, referrers_registry: Referrers, major: Major, storage: Storage
) -> None:
    """In a statement, in either place; and in the image's own signature."""
    host = Registry(host=referrers_registry.host, insecure=True)
    good = ask(signed, signed.request)
    bad = replace(
        good,
        signature=good.signature[:-1] + bytes([good.signature[-1] ^ 1]),
        envelopes={name: _tampered(good.envelopes[name]) for name in ("provenance", "tests")},
    )
    image = _placed(signed, host, f"bad/{major}{storage}", bad, storage)

    for command in (
        ("verify", image),
        ("verify-attestation", image, "--type", "slsaprovenance1"),
        ("verify-attestation", image, "--type", evidence.TEST_RESULT),
    ):
        done = cosign.run(major, storage, *command, key=signed.signer.key)
        assert done.returncode != 0, done.stdout
        assert "signature" in done.stderr


def test_git_and_registry_hold_the_same_signed_statements(signed: Signed) -> None:
    """The release names the digest of a file, in which every statement is signed by the repository's key."""
    assert {each.predicate_type for each in signed.proof.statements} == {
        evidence.PROVENANCE,
        evidence.TEST_RESULT,
        evidence.VULNERABILITIES,
        evidence.REFERENCE,
        evidence.GATE_VERDICT,
    }
    for envelope in signed.proof.envelopes:
        dsse.require_signed(envelope, signed.signer.public, subject="statement")
    (provenance,) = signed.proof.predicates(evidence.PROVENANCE)
    assert provenance["runDetails"]["builder"]["id"] == "urn:interlock:ci:ci-shop"
    source, base = provenance["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": signed.request.facts.source.commit}
    assert base["uri"] == "docker://interlock.sandbox/python:3.11"
    assert base["annotations"]["imageId"].startswith("sha256:")


def test_the_bill_of_materials_can_be_fetched_and_is_checked(signed: Signed) -> None:
    """In both forms, by the digest that stands in the evidence; one that is gone is told."""
    host = signed.walk.host.registry

    assert json.loads(referrers.fetch_sbom.fn(host, signed.proof))["bomFormat"] == "CycloneDX"
    assert json.loads(referrers.fetch_sbom.fn(host, signed.proof, media_type=oci.SPDX))["spdxVersion"] == "SPDX-2.3"
    with pytest.raises(InterlockError, match="names no bill of materials of the form text/plain"):
        referrers.fetch_sbom.fn(host, signed.proof, media_type="text/plain")
    gone = Evidence(
        signed.proof.image,
        (
            evidence.sbom_reference(
                signed.image,
                (evidence.Attached(signed.image, "sha256:" + "0" * 64, oci.CYCLONEDX),),
                attester="x",
            ),
        ),
        signed.proof.digest,
    )
    with pytest.raises(InterlockError, match="404"):
        referrers.fetch_sbom.fn(host, gone)


def test_the_runs_page_tells_how_to_verify(signed: Signed) -> None:
    """The key, the statements, and cosign's commands."""
    report = signed.recorder.report("evidence")

    assert f"cosign verify --key KEY.pub --insecure-ignore-tlog {signed.image}" in report.markdown
    assert signed.signer.public.splitlines()[1] in report.markdown
    assert ("provenance", evidence.PROVENANCE) in report.tables[0].rows


def test_attaching_again_changes_nothing(signed: Signed) -> None:
    """What a killed run stored is replaced by the next one's, not kept beside it."""
    host, image = signed.walk.host.registry, signed.image
    signatures.attach_signatures.fn(host, ask(signed, signed.request), image=image)
    path, wanted = image.partition("@")[0].partition("/")[2], image.partition("@")[2]

    with registry.connected(host) as http:
        attached, _ = registry.read_content(http, path, oci.fallback_tag(wanted, ".att"), (oci.MANIFEST,))
        listed, _ = registry.read_content(http, path, oci.fallback_tag(wanted), (oci.INDEX,))

    kept = signing.kept(ask(signed, signed.request))
    assert len(json.loads(attached or b"")["layers"]) == len(kept.attestations)
    assert len(json.loads(listed or b"")["manifests"]) == len(kept.bundles) + 2


# what the signer refuses -----------------------------------------------------------------------------


def test_the_signer_judges_itself(signed: Signed) -> None:
    """A finding that blocks, and tests that failed: CI's own gate may have said what it wants."""
    secret = Finding("secret", "github-pat", "CRITICAL", "app.py", "GitHub token", line=3)
    scans = replace(signed.request.scans, image=replace(signed.request.scans.image, findings=(secret,)))
    facts = replace(signed.request.facts, tests=replace(signed.request.facts.tests, exit_code=1))

    assert refused(signed, signed.request.model_copy(update={"scans": scans})).rule == "signer-gate"
    assert refused(signed, signed.request.model_copy(update={"facts": facts})).rule == "signer-gate"


def test_the_signer_asks_the_registry_itself(signed: Signed) -> None:
    """An image that is not there, and one that is another than what was scanned."""
    facts, scans = signed.request.facts, signed.request.scans
    elsewhere = signed.image[:-64] + "0" * 64
    other = "sha256:" + "0" * 64
    moved = replace(facts, image=elsewhere)
    sboms = {
        "cyclonedx": signed.request.cyclonedx.replace(signed.image[-64:], "0" * 64),
        "spdx": signed.request.spdx.replace(signed.image[-64:], "0" * 64),
    }
    moved = replace(
        moved,
        sboms=tuple(
            replace(each, digest=oci.describe(text.encode(), "").digest)
            for each, text in zip(facts.sboms, sboms.values(), strict=True)
        ),
    )
    exchanged = {
        "facts": replace(facts, image_id=other),
        "scans": replace(scans, image=replace(scans.image, image_id=other)),
    }

    assert refused(signed, signed.request.model_copy(update={"facts": moved, **sboms})).rule == "signer-image"
    assert "another" not in refused(signed, signed.request.model_copy(update=exchanged)).message
    assert refused(signed, signed.request.model_copy(update=exchanged)).rule == "signer-image"


def test_the_signer_asks_the_source_itself(signed: Signed) -> None:
    """A commit that is not on the protected branch, and a repository that it has no key for."""
    facts = signed.request.facts
    elsewhere = replace(facts, source=facts.source.model_copy(update={"commit": "0" * 40}))
    foreign = replace(facts, source=facts.source.model_copy(update={"repository": "other"}))

    assert refused(signed, signed.request.model_copy(update={"facts": elsewhere})).rule == "signer-source"
    assert refused(signed, signed.request.model_copy(update={"facts": foreign})).rule == "signer-repository"


def test_the_signer_asks_the_bindings_itself(signed: Signed) -> None:
    """A component, or an environment, that the environment repository does not give this source."""
    facts = replace(signed.request.facts, component="api")
    scans = replace(signed.request.scans, manifests={"prod": signed.request.scans.manifests["dev"]})

    assert refused(signed, signed.request.model_copy(update={"facts": facts})).rule == "signer-binding"
    elsewhere = signed.request.model_copy(update={"scans": scans, "environments": ("prod",)})
    assert refused(signed, elsewhere).rule == "signer-binding"


def test_what_is_no_request_is_told_and_the_next_is_served(signed: Signed) -> None:
    """Garbage, half a request, nothing at all."""
    for data in (b"", b"{", b"\x00" * 1000, signed.request.model_dump_json().encode()[:-100]):
        answer = signatures._read(signatures._ask(signed.signer.socket, data))
        assert "not understood" in answer["error"]["message"]
    assert ask(signed, signed.request).public == signed.signer.public


CLIENT = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.shutdown(socket.SHUT_WR)
print(connection.recv(1 << 16).decode())
"""


@pytest.mark.parametrize("role", ["cd", "receiver", "signer"])
def test_nobody_else_may_ask(signed: Signed, role: str) -> None:
    """The kernel tells who asks: only CI's user is heard."""
    command = as_user(user(signed.signer.place, role), [sys.executable, "-c", CLIENT, signed.signer.socket])

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert json.loads(done.stdout)["error"]["rule"] == "signer-client"


@pytest.mark.parametrize("role", ["ci", "cd", "receiver"])
def test_the_key_is_the_signers_alone(signed: Signed, role: str) -> None:
    """Neither CI nor anybody else can read it."""
    key = signed.signer.folder / "shop.key"
    done = subprocess.run(
        as_user(user(signed.signer.place, role), ["cat", key]), capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode != 0
    assert "PRIVATE" not in done.stdout


# how it starts, and what happens without it ----------------------------------------------------------


@pytest.fixture
def signer(walk: Walk) -> Iterator[SignerProcess]:
    with signer_beside(walk) as made:
        yield made


def ended(signer: SignerProcess) -> str:
    """What it said when it ended by itself."""
    with pytest.raises(SandboxError):
        wait_until(lambda: False, subject="signer", seconds=60, daemon=signer.daemon)
    return signer.said


def test_a_signer_that_can_reach_docker_does_not_start(signer: SignerProcess, docker_daemon: Docker) -> None:
    """Whoever reaches it is root, and root reads every key."""
    signer.run(groups=(docker_daemon.group,))

    assert "can reach" in ended(signer)


def test_a_signer_is_neither_its_own_client_nor_careless_with_keys(signer: SignerProcess) -> None:
    """CI's user would have the keys; a key that others may read is nobody's; no key, no start."""
    signer.configure(clients=[str(signer.user)])
    signer.run()
    assert "who may ask it" in ended(signer)

    signer.configure()
    (signer.folder / "shop.key").chmod(0o644)
    signer.run()
    assert "others may read it" in ended(signer)

    (signer.folder / "shop.key").unlink()
    signer.run()
    assert "interlock key --attestation" in ended(signer)


async def test_without_its_signer_nothing_is_released(walk: Walk, signer: SignerProcess) -> None:
    """The run fails and says what is missing; when the signer is back, the same image is signed and released."""
    host = with_signer(walk, signer).host

    with pytest.raises(ToolError, match="does `interlock signer` run") as caught:
        await release_order(Recorder(), host, "shop", None)
    assert caught.value.transient
    assert walk.environments.count() == 1
    signer.start()
    recorder = Recorder()
    await release_order(recorder, host, "shop", None)

    assert "push image" not in recorder.steps
    assert walk.environments.count() == 2


async def test_a_killed_release_is_signed_by_the_next(walk: Walk, signer: SignerProcess) -> None:
    """Killed between signature and release commit: one image, and one set of statements about it."""
    signer.start()
    host = with_signer(walk, signer).host
    stop = Recorder(before={"push release commit": _stop})
    with pytest.raises(InputError, match="stopped here"):
        await release_order(stop, host, "shop", None)
    assert walk.environments.count() == 1

    await release_order(Recorder(), host, "shop", None)

    assert walk.environments.count() == 2
    path = walk.image.partition("/")[2]
    with registry.connected(host.registry) as http:
        tags = http.get(f"/v2/{path}/tags/list").json()["tags"]
        (attested,) = [tag for tag in tags if tag.endswith(".att")]
        layers = json.loads(registry.read_content(http, path, attested, (oci.MANIFEST,))[0] or b"")["layers"]
    assert len({each["annotations"]["dev.interlock.attached"] for each in layers}) == len(layers)


async def test_a_reused_image_is_signed_for_its_new_release(walk: Walk, signer: SignerProcess) -> None:
    """The signer looks at the commit that built it and at the one that releases it; CD's rules accept what it signs."""
    signer.start()
    host = with_signer(walk, signer).host
    first = walk.application.head
    await release_order(Recorder(), host, "shop", None)
    walk.application.push({"shop/new.py": b"NEW = 1\n"})
    await release_order(Recorder(), host, "shop", None)
    third = walk.application.push({"shop/new.py": None})
    recorder = Recorder()

    await release_order(recorder, host, "shop", None)

    assert "build image" not in recorder.steps
    found = repository.read(walk.environments.read())
    released = found.environments["dev"].applications["shop"].release
    assert released is not None
    entry = released.components["web"]
    path = layout.evidence("dev", "shop", "web", entry.image.partition("@")[2])
    proof = evidence.read_envelope(found.tree.files[path], path=path)
    (said,) = proof.predicates(evidence.PROVENANCE)
    assert entry.source.commit == said["buildDefinition"]["externalParameters"]["commit"] == first
    assert said["buildDefinition"]["internalParameters"]["head"] == third
    assert all(each.signatures for each in proof.envelopes)


def _stop() -> None:
    raise InputError("stopped here")


async def test_a_new_repository_counts_without_a_restart(walk: Walk, signer: SignerProcess) -> None:
    """The signer reads its file for each request."""
    signer.configure(repositories={})
    signer.start()
    host = with_signer(walk, signer).host
    with pytest.raises(Refused) as caught:
        await release_order(Recorder(), host, "shop", None)
    assert caught.value.rule == "signer-repository"

    signer.configure()
    await release_order(Recorder(), host, "shop", None)

    assert walk.environments.count() == 2


def test_a_release_without_a_signer_says_that_nothing_is_signed(walk: Walk) -> None:
    """As before there were signers: the evidence is there, unsigned."""
    walk.application.push(service.files())
    recorder = Recorder()

    asyncio.run(release_order(recorder, walk.host, "shop", None))

    assert any("no signer" in line for line in recorder.said)
