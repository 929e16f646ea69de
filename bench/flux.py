"""Flux's source- and kustomize-controller as peers, when somebody gives their binaries.

One GitRepository, and one Kustomization for each application, as Flux's own benchmark has it. Reconciliation is asked
for by annotation, as its webhook receiver does: no interval is waited for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.estate import Repository, free_port
from bench.ground import Ground
from interlock.cd.objects import Body
from interlock.errors import ClusterError

NAME = "Flux"
PROGRAMS = ("source-controller", "kustomize-controller")
CONCURRENT = 20
_SOURCE, _KUSTOMIZE = "source.toolkit.fluxcd.io/v1", "kustomize.toolkit.fluxcd.io/v1"
_MOST_SECONDS = 1800.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Programs:
    """A folder with both programs, and with their definitions as `crds/*.yaml` (config/crd/bases of their sources)."""

    folder: Path

    @classmethod
    def of(cls, folder: Path) -> Programs:
        """ValueError names what the folder lacks."""
        missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
        missing += [] if any((folder / "crds").glob("*.yaml")) else ["crds/*.yaml"]
        if missing:
            raise ValueError(f"{folder} has no {', '.join(missing)}")
        return cls(folder)

    @property
    def definitions(self) -> Sequence[Body]:
        files = sorted((self.folder / "crds").glob("*.yaml"))
        return [body for file in files for body in yaml.safe_load_all(file.read_text()) if body]


@dataclass
class Flux:
    """Both controllers, running, with a repository that they bring into the ground's namespace."""

    ground: Ground
    repository: Repository
    applications: Sequence[str]
    asked: int = 0

    def push(self, bodies: Iterable[Body]) -> None:
        """Plain manifests, an application a folder: the objects of one have its name."""
        found: dict[str, list[Body]] = {}
        for body in bodies:
            found.setdefault(body["metadata"]["name"], []).append(body)
        self.repository.push({f"{name}/all.yaml": yaml.safe_dump_all(found[name]) for name in sorted(found)})

    def reconcile(self) -> None:
        """From the webhook's request until every Kustomization has applied the newest commit."""
        self.asked += 1
        note = {"reconcile.fluxcd.io/requestedAt": f"{self.asked}-{time.time()}"}
        path = self.ground.cluster.resource(_SOURCE, "GitRepository").path(self.ground.namespace, "bench")
        patch = [{"op": "add", "path": "/metadata/annotations", "value": note}]
        self.ground.cluster._exchange(
            "PATCH", path, query={}, body=patch, content="application/json-patch+json", subject=path
        )
        until = time.monotonic() + _MOST_SECONDS
        while (behind := self._behind()) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        if behind:
            raise TimeoutError(f"Flux: {behind} of {len(self.applications)} Kustomizations after {_MOST_SECONDS:g} s")

    def _behind(self) -> int:
        """How many have not applied the newest commit."""
        revision = f"main@sha1:{self.repository.head}"
        live = self.ground.cluster.list(
            self.ground.cluster.resource(_KUSTOMIZE, "Kustomization"), self.ground.namespace
        )
        done = sum(1 for each in live if (each.get("status") or {}).get("lastAppliedRevision") == revision)
        return len(self.applications) - done


@contextmanager
def running(programs: Programs, ground: Ground, repository: Repository, names: Sequence[str]) -> Iterator[Flux]:
    """Definitions, controllers, and one Kustomization for each of these applications. Nothing is reconciled yet."""
    for definition in programs.definitions:
        ground.cluster.apply(definition, manager="bench", force=True)
    _wait_for_kinds(ground)
    with ExitStack() as stack:
        for program, flags in _flags(ground).items():
            stack.enter_context(_controller(programs.folder / program, flags, ground))
        for body in (_secret(repository), _source(repository), *(_kustomization(name, ground) for name in names)):
            ground.cluster.create(
                {**body, "metadata": {**body["metadata"], "namespace": ground.namespace}}, manager="bench"
            )
        yield Flux(ground, repository, names)


def _wait_for_kinds(ground: Ground) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            ground.cluster.resource(_SOURCE, "GitRepository")
            ground.cluster.resource(_KUSTOMIZE, "Kustomization")
        except ClusterError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return


def _flags(ground: Ground) -> Mapping[str, Sequence[str]]:
    storage = f"127.0.0.1:{free_port()}"
    own = ("--events-addr=", "--watch-all-namespaces=false", f"--concurrent={CONCURRENT}")
    limits = ("--kube-api-qps=1000", "--kube-api-burst=2000")
    serving = (
        f"--storage-path={_made(ground.folder / 'flux')}",
        f"--storage-addr={storage}",
        f"--storage-adv-addr={storage}",
    )
    return {
        "source-controller": (*own, *limits, *_ports(), *serving),
        "kustomize-controller": (*own, *limits, *_ports()),
    }


def _ports() -> tuple[str, str]:
    return f"--health-addr=127.0.0.1:{free_port()}", f"--metrics-addr=127.0.0.1:{free_port()}"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _controller(program: Path, flags: Sequence[str], ground: Ground) -> Iterator[None]:
    env = {
        "PATH": os.defpath,
        "HOME": str(_made(ground.folder / "flux-home")),
        "KUBECONFIG": str(ground.kubeconfig),
        "RUNTIME_NAMESPACE": ground.namespace,
    }
    log = ground.folder / f"{program.name}.log"
    with log.open("ab") as out, subprocess.Popen([program, *flags], env=env, stdout=out, stderr=out) as process:
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError(f"{program.name} has ended by itself:\n{log.read_text()[-2000:]}")
        finally:
            process.send_signal(signal.SIGTERM)


def _secret(repository: Repository) -> Body:
    account, _, password = repository.remote.auth.read_text().strip().partition(":")  # type: ignore[union-attr]
    named = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}}
    return {**named, "stringData": {"username": account, "password": password}}


def _source(repository: Repository) -> Body:
    spec = {
        "url": repository.remote.url,
        "interval": "10h",
        "ref": {"branch": "main"},
        "secretRef": {"name": "git"},
    }
    return {"apiVersion": _SOURCE, "kind": "GitRepository", "metadata": {"name": "bench"}, "spec": spec}


def _kustomization(name: str, ground: Ground) -> Body:
    spec = {
        "interval": "10h",
        "path": f"./{name}",
        "prune": True,
        "force": False,
        "targetNamespace": ground.namespace,
        "sourceRef": {"kind": "GitRepository", "name": "bench"},
    }
    return {"apiVersion": _KUSTOMIZE, "kind": "Kustomization", "metadata": {"name": name}, "spec": spec}
