"""Prefect's database may be lost at any time. The file's name sorts last: the history that others look at goes too."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sandbox.demo.stage import Act
from sandbox.pipeline import APPLICATION, CLUSTER, ENVIRONMENT, Pipeline

pytestmark = pytest.mark.timeout(1200)


def test_everything_is_declared_again_after_prefects_database_is_lost(
    pipeline: Pipeline, walked: Mapping[str, Act]
) -> None:
    """Wiped and restarted, Prefect has its deployments back within a minute, and the next resync runs."""
    pipeline.sandbox.call("prefect", "wipe")
    assert pipeline.runs.of("resync") == []

    run = pipeline.runs.wait("resync", known=frozenset(), seconds=150, accept=lambda run: run.kind == "COMPLETED")

    assert run.parameters == {"environment": ENVIRONMENT}
    names = {automation["name"] for automation in pipeline.runs.automations()}
    assert {f"interlock-cd-{CLUSTER}: deploy {ENVIRONMENT}", f"interlock-ci: release {APPLICATION}"} <= names
