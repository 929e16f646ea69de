"""The sandbox's cluster in the administrator's hands, by plain HTTP: for the demo, for tests, never for the product."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
import yaml

from sandbox.part import SandboxError
from sandbox.place import Place


@dataclass(frozen=True)
class Cluster:
    """Requests as the administrator; `manager` is who the API server records as the one who changed a field."""

    place: Place
    manager: str = "somebody"

    @cached_property
    def _client(self) -> httpx.Client:
        config = yaml.safe_load(self.place.kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
        context.load_cert_chain(*_pair(self.place, user))
        return httpx.Client(base_url=cluster["server"], verify=context, timeout=30)

    def get(self, path: str) -> Any:
        """The object or list at an API path; None when there is none."""
        answer = self._client.get(path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else _body(answer)

    def create(self, path: str, body: object) -> Any:
        return _body(self._client.post(path, json=body, params={"fieldManager": self.manager}))

    def apply(self, path: str, body: object) -> Any:
        """Server-side apply, for set-up that may run twice."""
        return self._patch(path, body, "application/apply-patch+yaml", force="true")

    def merge(self, path: str, body: object) -> Any:
        """A strategic merge patch, which is what `kubectl edit`, `scale` and `set` send."""
        return self._patch(path, body, "application/strategic-merge-patch+json")

    def delete(self, path: str) -> None:
        _body(self._client.delete(path))

    def wait_until(self, path: str, holds: Callable[[Any], bool], *, seconds: float) -> Any:
        """The object at a path as soon as it exists and something holds of it."""
        deadline = time.monotonic() + seconds
        while (found := self.get(path)) is None or not holds(found):
            if time.monotonic() > deadline:
                raise SandboxError(f"{path}: not as expected after {seconds:g} s")
            time.sleep(0.5)
        return found

    def _patch(self, path: str, body: object, kind: str, **parameters: str) -> Any:
        parameters = {"fieldManager": self.manager, **parameters}
        return _body(self._client.patch(path, json=body, params=parameters, headers={"Content-Type": kind}))


def _body(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise SandboxError(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:500]}"
        )
    return answer.json()


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()


def _pair(place: Place, user: dict[str, str]) -> tuple[str, str]:
    """The client certificate as files that only root reads: TLS in Python loads a key from nowhere else."""
    folder = place.state / "kubernetes" / "admin"
    folder.mkdir(mode=0o700, exist_ok=True)
    paths = (folder / "client.crt", folder / "client.key")
    for path, key in zip(paths, ("client-certificate-data", "client-key-data"), strict=True):
        path.touch(mode=0o600)
        path.write_text(_decoded(user[key]))
    return str(paths[0]), str(paths[1])
