"""The act in which a release's evidence was tampered with: CI's own key signs it, and CD refuses it."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from sandbox.demo.acts import DEPLOYMENT, RELEASE_FILE, Show
from sandbox.demo.stage import Act
from sandbox.developer import Developer
from sandbox.parts import git
from sandbox.pipeline import APPLICATION, COMPONENT, ENVIRONMENT, Pipeline


def tampered(show: Show, act: Act) -> None:
    """Whoever has CI's key for release commits writes that more was tested than was; the signer's key he has not."""
    pipeline, person = show.pipeline, show.pipeline.environments
    good, before = person.pull(), pipeline.cluster.get(DEPLOYMENT)["metadata"]["generation"]
    known = pipeline.runs.ids("deploy")
    with_ci_key(pipeline, "Release web, tested all over again", _tampered(person.clone))
    show.stage.say("  by hand, with the key of CI's release commits: another list of tests in the newest evidence")
    run = show.follow("deploy", known, accept=lambda run: run.state == "Refused")
    refused = run.state == "Refused" and "signature:" in run.message
    show.stage.check(act, "CD refuses it", run.message.splitlines()[0], holds=refused)
    line = next((line for line in run.message.splitlines() if "signature:" in line), "")
    whole = all(word in line for word in ("Deployment/", "test-result", "trust/attesters.yaml"))
    # The image, which the line begins with, is one word that no table has room for.
    told = line.partition(" (")[2].replace("):", ":", 1)
    show.stage.check(act, "object, link and statement are named", told or "not named", holds=whole)
    page = pipeline.runs.pages(run).get("evidence", "")
    there = "refused: signature" in page
    show.stage.check(act, "the run's page says it too", "refused: signature" if there else page, holds=there)
    same = before == pipeline.cluster.get(DEPLOYMENT)["metadata"]["generation"]
    show.stage.check(act, "the cluster stays as it was", "unchanged" if same else "changed", holds=same)
    person.git("reset", "--quiet", "--hard", good)
    person.push("--force")


def with_ci_key(pipeline: Pipeline, message: str, changes: dict[str, str]) -> str:
    """A commit as CI signs them, pushed by CI's account."""
    person = pipeline.environments
    key = pipeline.place.state / "ci" / "signing.key"
    thief = Developer("ci-shop", person.clone, git.credentials(pipeline.place, "ci"))
    for name, text in changes.items():
        (person.clone / name).write_text(text)
    thief.git("add", "--all")
    thief.git("-c", f"user.signingkey={key}", "commit", "--quiet", "-m", message)
    return thief.push()


def _tampered(clone: Path) -> dict[str, str]:
    """The newest evidence with one test more, and the release that names its new digest."""
    release = yaml.safe_load((clone / RELEASE_FILE).read_text())
    entry: dict[str, Any] = release["components"][COMPONENT]
    digits = entry["image"].partition("@sha256:")[2][:12]
    path = f"environments/{ENVIRONMENT}/{APPLICATION}/evidence/{COMPONENT}-{digits}.json"
    evidence = json.loads((clone / path).read_text())
    for envelope in evidence["envelopes"]:
        statement = json.loads(base64.b64decode(envelope["payload"]))
        if "test-result" in statement["predicateType"]:
            statement["predicate"]["passedTests"].append("tests.never_ran")
            envelope["payload"] = base64.b64encode(_canonical(statement)).decode()
    data = _canonical(evidence)
    entry["evidence"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return {path: data.decode(), RELEASE_FILE: yaml.safe_dump(release, sort_keys=False)}


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
