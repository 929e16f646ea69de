"""What the walk's releases say of themselves, as others read it: the real cosign, by the signer's public key alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from interlock.contract import evidence, layout
from sandbox.parts import registry as registry_part
from sandbox.parts.cosign import Cosign, Storage
from sandbox.pipeline import APPLICATION, ENVIRONMENT, Pipeline

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("walked")]
PLACES: tuple[Storage, ...] = ("tags", "bundles")
STATEMENTS: Mapping[str, str] = {
    "slsaprovenance1": evidence.PROVENANCE,
    "vuln": evidence.VULNERABILITIES,
    "cyclonedx": evidence.CYCLONEDX,
    "spdxjson": evidence.SPDX,
    evidence.TEST_RESULT: evidence.TEST_RESULT,
    evidence.GATE_VERDICT: evidence.GATE_VERDICT,
}
"""By the name that `cosign verify-attestation --type` has for it."""


@pytest.fixture(scope="module")
def key(pipeline: Pipeline) -> Path:
    """The public half of the key that the signer has for the application."""
    host = yaml.safe_load((pipeline.place.state / "signer" / "signer.yaml").read_text())
    private = Path(host["repositories"][APPLICATION]["key"]["file"])
    return private.with_name(f"{private.name}.pub")


@pytest.fixture(scope="module")
def released(pipeline: Pipeline) -> str:
    """The image of the walk's newest release, by digest; the application may be gone since."""
    pipeline.environments.pull()
    path = layout.release(ENVIRONMENT, APPLICATION)
    commit = pipeline.environments.git("log", "-1", "--format=%H", "--diff-filter=AM", "--", path).strip()
    release = yaml.safe_load(pipeline.environments.git("show", f"{commit}:{path}"))
    ((_, component),) = release["components"].items()
    return str(component["image"])


@pytest.mark.parametrize("place", PLACES)
def test_cosign_verifies_what_the_walk_released(
    pipeline: Pipeline, cosign: Cosign, key: Path, released: str, place: Storage
) -> None:
    """The image's signature and each kind of statement, where CI put them, about the very digest."""
    login = registry_part.credentials(pipeline.place, "ci").read_text().strip()

    verified = cosign.run(3, place, "verify", released, key=key, login=login)

    assert verified.returncode == 0, verified.stderr
    for name, predicate in STATEMENTS.items():
        words = ("verify-attestation", released, "--type", name)
        done = cosign.run(3, place, *words, key=key, login=login)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        said = [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in done.stdout.splitlines()]
        assert {each["predicateType"] for each in said} == {predicate}
        assert {each["subject"][0]["digest"]["sha256"] for each in said} == {released[-64:]}
