"""Host files for tests: real files, addresses that nobody is asked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPWzfOF1bcfTkjSPDoePxRrXB3AMOu5zPE7g3zZFsOj3"
ROOT = "1" * 40


def shared(prefect: str, state: Path) -> dict[str, Any]:
    return {
        "format": 1,
        "prefect": prefect,
        "state": str(state),
        "environment_repository": {
            "name": "environments",
            "url": "http://127.0.0.1:9/environments.git",
            "root": {"commit": ROOT, "keys": [KEY]},
        },
        "signing": {"signer": "machine", "key": "/etc/interlock/key"},
        "poll_seconds": 3600,
    }


def ci(prefect: str, state: Path) -> dict[str, Any]:
    return {
        **shared(prefect, state),
        "repositories": {"shop": {"url": "http://127.0.0.1:9/shop.git"}},
        "registry": {"host": "127.0.0.1:5000", "insecure": True},
        "trivy": {"cache": str(state / "trivy"), "database": "pinned"},
    }


def cd(prefect: str, state: Path, resync_seconds: int = 3600, cluster: str = "sandbox") -> dict[str, Any]:
    ceiling = {"cluster": cluster, "namespaces": ["shop"], "control_namespace": "interlock-dev"}
    return {
        **shared(prefect, state),
        "ledger": {"name": "ledger", "url": "http://127.0.0.1:9/ledger.git"},
        "clusters": {cluster: {"kubeconfig": "/etc/interlock/kubeconfig"}},
        "environments": {"dev": {**ceiling, "resync_seconds": resync_seconds}},
    }


def written(folder: Path, name: str, value: dict[str, Any]) -> Path:
    """The value as a host file; JSON is YAML."""
    file = folder / name
    file.write_text(json.dumps(value))
    file.chmod(0o644)
    return file
