"""What may go wrong around a pipeline, and that it goes on by itself."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import pytest

from sandbox.demo.acts import DEPLOYMENT
from sandbox.demo.stage import Act
from sandbox.parts.git import switch_webhooks
from sandbox.pipeline import Pipeline
from sandbox.users import user, write_private

pytestmark = pytest.mark.timeout(1200)

Walked = Mapping[str, Act]


def test_a_lost_webhook_is_caught_by_polling(pipeline: Pipeline, walked: Walked, quick_polls: None) -> None:
    """With every webhook lost, a push still ends in a deploy; how often is looked is read without a restart."""
    runs, application = pipeline.runs, pipeline.application
    releases = runs.ids("release")
    switch_webhooks(pipeline.place, on=False)
    try:
        application.commit("Say hello differently", {"GREETING.md": "Hello.\n"}, signed=False)
        commit = application.push()
        release = runs.wait("release", known=releases, seconds=180, accept=lambda run: commit[:7] in run.message)
        before = pipeline.cluster.get(DEPLOYMENT)["metadata"]["generation"]
        pipeline.environments.pull()
        pipeline.cluster.wait_until(DEPLOYMENT, lambda live: live["metadata"]["generation"] > before, seconds=180)
    finally:
        switch_webhooks(pipeline.place, on=True)

    assert release.kind == "COMPLETED"
    assert commit[:12] in str(pipeline.cluster.get(DEPLOYMENT)["spec"]["template"])


def test_ci_refuses_to_start_beside_a_cluster_credential(pipeline: Pipeline, walked: Walked) -> None:
    """A usable kubeconfig in CI's home ends the release as refused, and the message names the file, not its content."""
    folder, account = pipeline.place.state / "ci" / "home" / ".kube", user(pipeline.place, "ci")
    folder.mkdir()
    known = pipeline.runs.ids("release")
    write_private(folder / "config", pipeline.place.kubeconfig.read_text(), owner=account.id)
    folder.chmod(0o755)
    try:
        pipeline.application.commit("Try with a credential about", {"NOTE.md": "x\n"}, signed=False)
        pipeline.application.push()
        run = pipeline.runs.wait("release", known=known, seconds=120, accept=lambda run: run.state == "Refused")
    finally:
        shutil.rmtree(folder)

    assert ".kube/config" in run.message
    assert "client-key-data" not in run.message
