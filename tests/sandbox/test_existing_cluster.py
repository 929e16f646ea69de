"""The demo on a cluster that exists already: CD's half alone, which leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.elsewhere import stand_up
from sandbox.part import SandboxError
from sandbox.parts.kubernetes import Kubernetes
from sandbox.supervisor import Sandbox
from tasks.cd.cluster import connect


@pytest.mark.timeout(1200)  # kwok may have to be built
@pytest.mark.parametrize("nodes", ["", "kwok"])
def test_the_demo_shows_cd_on_a_cluster_and_leaves_nothing(cluster: Kubernetes, sandbox: Sandbox, nodes: str) -> None:
    """Every act holds, also with pods on simulated nodes; afterwards the namespaces are on their way out, and CD's
    cluster-wide rights and the nodes are gone.
    """
    kubeconfig, namespace = sandbox.place.kubeconfig, f"demo-of-cd{nodes}"
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.demo.existing", str(kubeconfig)],
        env={**os.environ, "ONCE": "1", "NAMESPACE": namespace, "IMAGE": "", "NODES": nodes},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    with connect(kubeconfig) as admin:
        for name in (namespace, f"{namespace}-control"):
            found = admin.get(admin.resource("v1", "Namespace"), name)
            assert found is None or "deletionTimestamp" in found["metadata"]
        for kind in ("ClusterRole", "ClusterRoleBinding"):
            role = admin.resource("rbac.authorization.k8s.io/v1", kind)
            assert admin.get(role, f"interlock-{namespace}-control") is None
        assert not [node for node in admin.list(admin.resource("v1", "Node")) if "kwok" in node["metadata"]["name"]]


def test_a_namespace_that_is_there_is_not_touched(cluster: Kubernetes, sandbox: Sandbox, tmp_path: Path) -> None:
    """A namespace of that name, which may be somebody's, ends the demo before anything is made."""
    with (
        pytest.raises(SandboxError, match="namespace default exists already"),
        stand_up(sandbox.place.kubeconfig, tmp_path, {}, namespace="default", report=lambda part, message: None),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """A file that is no kubeconfig gives one error that names it."""
    (tmp_path / "kubeconfig").write_text("a: b\n")
    with (
        pytest.raises(SandboxError, match="kubeconfig"),
        stand_up(tmp_path / "kubeconfig", tmp_path, {}, namespace="x", report=lambda part, message: None),
    ):
        pass
