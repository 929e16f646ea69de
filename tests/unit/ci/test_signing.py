"""What the signer asks itself: nothing is signed that is not as it must be, whatever CI asks for."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from interlock.ci import signing
from interlock.ci.build_key import bases_label, labels
from interlock.ci.builder import builder_label
from interlock.ci.signing import Request
from interlock.ci.targets import Target
from interlock.contract import dsse, evidence, oci
from interlock.contract.attesters import Attester
from interlock.contract.canonical import digest
from interlock.contract.dsse import LocalKey
from interlock.contract.evidence import Attached
from interlock.contract.gate import Verdict
from interlock.errors import Blocked, FormatError, HostConfigError, InputError, Refused
from tests.unit.ci.test_evidence import FACTS, IMAGE, NOW, SCANS, verdict

KEY = LocalKey(dsse.generate_key())
PURL = f"pkg:oci/web@sha256%3A{'1' * 64}"
CYCLONEDX = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": {"purl": PURL}}})
SPDX = json.dumps(
    {
        "spdxVersion": "SPDX-2.3",
        "packages": [{"primaryPackagePurpose": "CONTAINER", "externalRefs": [{"referenceLocator": PURL}]}],
    }
)
SBOMS = tuple(
    Attached("r.example/shop/web@sha256:3", digest(document.encode()), media_type)
    for document, media_type in ((CYCLONEDX, oci.CYCLONEDX), (SPDX, oci.SPDX))
)
REQUEST = Request(facts=replace(FACTS, sboms=SBOMS), scans=SCANS, environments=("dev",), cyclonedx=CYCLONEDX, spdx=SPDX)
TARGET = Target("dev", "shop", "web", "r.example/shop/web", None)


def changed(**facts: object) -> Request:
    return REQUEST.model_copy(update={"facts": replace(REQUEST.facts, **facts)})  # type: ignore[arg-type]


def test_a_request_comes_over_the_wire() -> None:
    """Whole and with every type; an unknown field, half of it, or something else is one clear error."""
    wire = REQUEST.model_dump_json().encode()

    assert signing.read_request(wire) == REQUEST
    for wrong in (b"", b"[]", wire[:-5], wire.replace(b'"image_id"', b'"imageid"', 1), b"[" * 100_000):
        with pytest.raises(InputError, match="the request to sign is not understood"):
            signing.read_request(wrong)


def test_the_parts_of_a_request_fit_each_other() -> None:
    """One image, its own documents, a run of today; anything else is refused by a rule with a name."""
    other = REQUEST.cyclonedx.replace("1" * 64, "2" * 64)
    signing.require_whole(REQUEST, now=NOW)

    for request, rule in (
        (REQUEST.model_copy(update={"environments": ()}), "request"),
        (REQUEST.model_copy(update={"environments": ("dev", "prod")}), "request"),
        (changed(started=NOW - dt.timedelta(days=2)), "request"),
        (changed(started=NOW + dt.timedelta(hours=1)), "request"),
        (changed(image_id="sha256:" + "9" * 64), "image"),
        (REQUEST.model_copy(update={"cyclonedx": other}), "sbom"),
        (REQUEST.model_copy(update={"spdx": SPDX + " "}), "sbom"),
        (REQUEST.model_copy(update={"spdx": "{"}), "sbom"),
        (changed(sboms=()), "sbom"),
    ):
        with pytest.raises(Refused) as caught:
            signing.require_whole(request, now=NOW)
        assert caught.value.rule == f"signer-{rule}"


@pytest.mark.parametrize(
    "bound",
    [
        (),
        (replace(TARGET, environment="prod"),),
        (replace(TARGET, component="api"),),
        (replace(TARGET, image="r.example/other/web"),),
    ],
)
def test_only_what_a_binding_gives_is_signed(bound: tuple[Target, ...]) -> None:
    """This component, in this environment, under this image repository."""
    signing.require_target(REQUEST, (TARGET,))

    with pytest.raises(Refused) as caught:
        signing.require_target(REQUEST, bound)
    assert caught.value.rule == "signer-binding"


def test_the_source_must_be_on_its_branch() -> None:
    """The newest commit or one before it."""
    for relation in ("same", "older"):
        signing.require_on_branch(REQUEST, relation, branch="main", head="b" * 40)

    for relation in ("newer", "diverged"):
        with pytest.raises(Refused, match="is not on its branch main") as caught:
            signing.require_on_branch(REQUEST, relation, branch="main", head="b" * 40)  # type: ignore[arg-type]
        assert caught.value.rule == "signer-source"


def test_both_commits_of_a_reused_image_are_looked_at() -> None:
    """The one that it was built from, and the one that releases it; each is named when it is not on the branch."""
    reused = changed(head="d" * 40)

    assert signing.commits(REQUEST) == (REQUEST.facts.source.commit,)
    assert signing.commits(reused) == (REQUEST.facts.source.commit, "d" * 40)
    with pytest.raises(Refused, match="dddddddddddd is not on its branch"):
        signing.require_on_branch(reused, "diverged", branch="main", head="b" * 40, commit="d" * 40)


def test_the_registry_must_have_the_scanned_image_of_this_commit() -> None:
    """By the manifest's digest, the configuration's, and what the image says about itself."""
    wanted, image_id = IMAGE.partition("@")[2], FACTS.image_id
    said = labels(repository="shop", commit="a" * 40, component="web") | bases_label(FACTS.bases)
    said |= builder_label("buildkitd")
    good = json.dumps({"config": {"Labels": said}}).encode()

    signing.require_image(REQUEST, found=wanted, image_id=image_id, configuration=good)

    other = json.dumps({"config": {"Labels": {**said, "org.opencontainers.image.revision": "b" * 40}}}).encode()
    for found, identity, configuration in (
        (None, image_id, good),
        ("sha256:" + "9" * 64, image_id, good),
        (wanted, "sha256:" + "9" * 64, good),
        (wanted, image_id, other),
        (wanted, image_id, json.dumps({"config": {"Labels": {**said, **bases_label(())}}}).encode()),
        (wanted, image_id, json.dumps({"config": {"Labels": {**said, **builder_label("classic")}}}).encode()),
        (wanted, image_id, b"{}"),
        (wanted, image_id, b'{"config": {"Labels": null}}'),
    ):
        with pytest.raises(Refused) as caught:
            signing.require_image(REQUEST, found=found, image_id=identity, configuration=configuration)
        assert caught.value.rule == "signer-image"


def test_a_closed_gate_is_a_refusal_with_its_reasons() -> None:
    """Whatever CI's own gate said."""
    with pytest.raises(Refused, match="source: secret") as caught:
        signing.require_passed(REQUEST, {"dev": Verdict(reasons=("source: secret x",))})

    assert caught.value.rule == "signer-gate"


def _signed() -> signing.Signed:
    said = signing.statements_of(REQUEST, {"dev": verdict()}, builder="ci-shop", policy_commit="b" * 40, now=NOW)
    return signing.sign(KEY, said, image=IMAGE)


def test_an_answer_comes_over_the_wire() -> None:
    """With every envelope and the image's own signature, all of the same key."""
    answer = json.loads(signing.answer(_signed()))

    assert signing.read_signed(answer, image=IMAGE) == _signed()


def _half(answer: dict[str, object]) -> None:
    del answer["envelopes"]


def _other_key(answer: dict[str, object]) -> None:
    answer["public"] = LocalKey(dsse.generate_key()).public


def _other_payload(answer: dict[str, object]) -> None:
    answer["payload"] = "e30="


@pytest.mark.parametrize("change", [_half, _other_key, _other_payload])
def test_an_answer_that_does_not_fit_is_an_error(change: Callable[[dict[str, object]], None]) -> None:
    """Half of it, another key's, about something else."""
    answer = json.loads(signing.answer(_signed()))
    change(answer)

    with pytest.raises(FormatError):
        signing.read_signed(answer, image=IMAGE)


def test_an_answer_about_another_image_is_an_error() -> None:
    """Even when it is signed."""
    with pytest.raises(FormatError, match="not about"):
        signing.read_signed(json.loads(signing.answer(_signed())), image=IMAGE.replace("1", "2"))


def test_the_registry_gets_every_statement_in_both_forms() -> None:
    """Each as a bundle and as a layer; the bare signature is a bundle, and a layer of its own kind."""
    kept = signing.kept(_signed())

    names = [each.name for each in kept.bundles]
    assert names == [
        *("gate-dev", "provenance", "sbom-cyclonedx", "sbom-spdx"),
        *("scan-code", "scan-image", "scan-source", "signature", "tests"),
    ]
    assert len(kept.attestations) == len(names) - 1
    assert {each.annotations["predicateType"] for each in kept.attestations} == {
        evidence.PROVENANCE,
        evidence.TEST_RESULT,
        evidence.VULNERABILITIES,
        evidence.CYCLONEDX,
        evidence.SPDX,
        evidence.GATE_VERDICT,
    }


def test_ci_writes_nothing_that_cd_would_refuse() -> None:
    """Without a signer, or with one whose key nobody declared; a source that goes unsigned needs neither."""
    declared = Attester(source="shop", keys=(KEY.public,))
    unsigned = Attester(source="shop", unsigned="its host has no signer yet")
    other = LocalKey(dsse.generate_key()).public

    for each in (None, unsigned):
        signing.require_no_keys(each)
        signing.require_declared(each, other)
    signing.require_declared(declared, KEY.public)
    with pytest.raises(HostConfigError, match="this host has no signer"):
        signing.require_no_keys(declared)
    with pytest.raises(Blocked, match=r"is not in trust/attesters\.yaml") as caught:
        signing.require_declared(declared, other)
    assert "interlock attester shop --key" in caught.value.hint
