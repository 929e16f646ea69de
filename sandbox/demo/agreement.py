"""The act in which an environment asks for a second person's approval: it is missing, then it is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from interlock.contract import layout
from sandbox.demo.acts import DEPLOYMENT, Show
from sandbox.demo.stage import Act
from sandbox.developer import Developer
from sandbox.pipeline import APPLICATION, ENVIRONMENT, Pipeline
from sandbox.runs import Run

VALUES = f"environments/{ENVIRONMENT}/{APPLICATION}/values.yaml"
ASKED = 3
"""Replicas that somebody has to agree to."""
RULES = {ENVIRONMENT: {"required": 1, "approvers": ["ben"]}}


def approved(show: Show, act: Act) -> None:
    """A signed change waits, nothing moves; one more person agrees, and it is deployed."""
    pipeline, person = show.pipeline, show.pipeline.environments
    person.pull()
    key = pipeline.place.state / "person" / "ben.key"
    public = pipeline.interlock("key", str(key)).strip()
    before, signers = _replicas(pipeline), (person.clone / layout.SIGNERS).read_text()
    known = pipeline.runs.ids("deploy")
    person.commit(
        "Ask for ben's approval; run three", {layout.SIGNERS: _asking(signers, public), VALUES: f"replicas: {ASKED}\n"}
    )
    person.push()
    run = show.follow("deploy", known, accept=lambda run: run.state == "AwaitingApproval")
    waits = run.state == "AwaitingApproval" and "1 approval of ben" in run.message
    show.stage.check(act, "the change waits for ben", " ".join(run.message.split()), holds=waits)
    now = _replicas(pipeline)
    show.stage.check(act, "the cluster stays as it was", f"{now} replicas", holds=now == before)
    run = _agreed(show, key)
    now = _replicas(pipeline)
    show.stage.check(act, "ben approves: it is deployed", f"{run.state}, {now} replicas", holds=now == ASKED)
    # What follows is about other things: the rule goes as it came, by one's commit and the other's approval.
    person.pull()
    person.commit("Ask for nobody's approval", {layout.SIGNERS: _asking(signers, public, rules={})})
    person.push()
    run = _agreed(show, key)
    show.stage.check(act, "the rule goes by an approval too", run.state, holds=run.kind == "COMPLETED")


def _asking(signers: str, public: str, rules: Mapping[str, object] = RULES) -> str:
    """With ben among the signers, who may approve: an approval counts while its giver is still there."""
    value: dict[str, Any] = yaml.safe_load(signers)
    ben = {"name": "ben", "key": public, "writes": [], "approves": True}
    return yaml.safe_dump({**value, "signers": [*value["signers"], ben], "approvals": dict(rules)}, sort_keys=False)


def _agreed(show: Show, key: Path) -> Run:
    """ben approves the newest commit, and the deploy that follows has ended."""
    known = show.pipeline.runs.ids("deploy")
    show.stage.say(f"  $ interlock approve {ENVIRONMENT} --key ben.key")
    person = show.pipeline.environments
    Developer("ben", person.clone, person.auth).interlock("approve", ENVIRONMENT, "--key", str(key), "--yes")
    head = person.pull()
    return show.follow("deploy", known, accept=lambda run: head[:7] in run.name + run.message)


def _replicas(pipeline: Pipeline) -> int:
    found: int = pipeline.cluster.get(DEPLOYMENT)["spec"]["replicas"]
    return found
