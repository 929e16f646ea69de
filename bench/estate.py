"""Many applications in one environment: a repository on a git server, a ledger, and the cluster they live in."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from bench.ground import Ground
from flows.cd.deploy import deploy_order
from interlock.cd.host import CdHost
from interlock.cd.objects import Body
from interlock.contract import layout, signature, strict_yaml
from interlock.contract.commit import Person
from interlock.contract.host import Remote
from interlock.contract.render import Rendered
from interlock.contract.report import Report
from tasks.cd.host import load_cd
from tasks.common import git
from tasks.common.effect import Effect
from tasks.common.environment_repository import fetch_verified
from tasks.common.render import render_environment

P = ParamSpec("P")
R = TypeVar("R")
_ACCOUNT, _PASSWORD = "bench", "bench"
_AUTHOR = Person("bench", "bench@example.org")
NAME = "dev"
_SET = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ application.name }}", labels: {{ values.labels }}}
data: {greeting: "{{ values.greeting }}"}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: "{{ application.name }}", labels: {{ values.labels }}, annotations: {say: "{{ values.greeting }}"}}
---
apiVersion: v1
kind: Service
metadata: {name: "{{ application.name }}", labels: {{ values.labels }}, annotations: {say: "{{ values.greeting }}"}}
spec:
  clusterIP: None
  selector: {app: "{{ application.name }}"}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ application.name }}", labels: {{ values.labels }}}
spec:
  replicas: 0
  paused: true
  selector: {matchLabels: {app: "{{ application.name }}"}}
  template:
    metadata: {labels: {app: "{{ application.name }}"}}
    spec:
      containers:
        - name: web
          image: registry.example/web@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a
          env: [{name: GREETING, value: "{{ values.greeting }}"}]
          ports: [{containerPort: 8080}]
          resources: {requests: {cpu: 10m, memory: 16Mi}}
          readinessProbe: {httpGet: {path: /, port: 8080}}
"""


class Quiet:
    """A presenter that says nothing, and remembers when the last objects were applied."""

    applied = 0.0

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        done = await asyncio.to_thread(effect.fn, *args, **kwargs)
        if effect.name.startswith("apply"):
            self.applied = time.perf_counter()
        return done

    async def show(self, report: Report) -> None: ...

    async def progress(self, key: str, done: float, note: str) -> None: ...

    async def name(self, name: str) -> None: ...

    async def tag(self, *tags: str) -> None: ...

    async def link(self, key: str, url: str, text: str) -> None: ...

    def say(self, message: str) -> None: ...


@dataclass
class Estate:
    """`count` applications of four objects each. Every push is a commit on the one before."""

    ground: Ground
    folder: Path
    remote: Remote
    count: int
    host: CdHost
    head: str

    @property
    def _mirror(self) -> Path:
        return self.folder / "developer.git"

    @property
    def names(self) -> Sequence[str]:
        return application_names(self.count)

    def plain(self) -> Repository:
        """An empty repository beside it, on the same server, for a peer that takes plain manifests."""
        return Repository(
            Remote(url=self.remote.url.replace("environments", "plain"), auth=self.remote.auth), self._mirror
        )

    def push(self, greeting: str, *, applications: int | None = None) -> None:
        """Another greeting for the first so many applications, or for all."""
        names = application_names(self.count)[:applications]
        self.head = _push(self._mirror, self.remote, self.head, {_values(n): _greeting(greeting) for n in names})

    def deploy(self) -> float:
        """From fetch to recorded: what a deploy does, without Prefect around it. Seconds until all was applied."""
        started, presenter = time.perf_counter(), Quiet()
        outcome = asyncio.run(deploy_order(presenter, self.host, NAME))
        assert outcome.commit == self.head, outcome.sentence
        return presenter.applied - started

    def peak(self, *, deploying: bool) -> float:
        """The most memory that a process of a deploy needs, in MB; or one that has only imported what a deploy does."""
        command = [sys.executable, "-m", "bench.peak", *([str(self.folder / "cd.yaml")] if deploying else [])]
        return float(subprocess.run(command, capture_output=True, check=True).stdout)

    def rendered(self) -> Rendered:
        head = fetch_verified.fn(self.host.environment_repository, state=self.folder / "reader", since=None)
        return render_environment.fn(head.repository, NAME)

    def bodies(self, namespace: str, *, applications: int | None = None) -> list[Body]:
        """What the newest commit declares, of the first so many applications, for another namespace."""
        names = set(application_names(self.count)[:applications])
        bodies = [each.body for each in self.rendered().manifests if each.application in names]
        return [{**body, "metadata": {**body["metadata"], "namespace": namespace}} for body in bodies]


def application_names(count: int) -> Sequence[str]:
    return [f"app-{number:04}" for number in range(count)]


@dataclass
class Repository:
    """A repository of somebody else's on a git server. Every push is a commit on the one before."""

    remote: Remote
    mirror: Path
    head: str = ""

    def push(self, changes: Mapping[str, str]) -> None:
        self.head = _push(self.mirror, self.remote, self.head or None, changes)


@contextmanager
def estate(ground: Ground, count: int) -> Iterator[Estate]:
    """The repository with its first commit, and a CD host that knows it. Nothing is deployed yet."""
    folder = ground.folder
    folder.mkdir(parents=True, exist_ok=True)
    key, public = folder / "key", make_key(folder / "key")
    with _git_server(folder / "git", ("environments", "ledger", "plain")) as address:
        auth = folder / "auth"
        auth.touch(mode=0o600)
        auth.write_text(f"{_ACCOUNT}:{_PASSWORD}\n")
        remote = Remote(url=f"{address}/environments.git", auth=auth)
        mirror = folder / "developer.git"
        git.create(mirror)
        first = _push(mirror, remote, None, _files(ground, public, count))
        host = _host(ground, key, public, auth=auth, address=address, root=first)
        yield Estate(ground, folder, remote, count, host, first)


def make_key(path: Path) -> str:
    private, public = signature.generate_key("bench")
    path.touch(mode=0o600)
    path.write_bytes(private)
    return public


def _push(mirror: Path, remote: Remote, parent: str | None, changes: Mapping[str, str]) -> str:
    encoded: dict[str, bytes | None] = {path: text.encode() for path, text in changes.items()}
    key = mirror.parent / "key"
    commit = git.write_commit(mirror, parent, encoded, message="Change", key=key, author=_AUTHOR)
    git.push(mirror, commit, remote, expected=parent)
    return commit


def _files(ground: Ground, public: str, count: int) -> dict[str, str]:
    signer = {"name": "bench", "key": public, "writes": ["**"], "approves": True, "machine": False}
    scope = ground.scope
    environment = {
        "format": 1,
        "id": scope.environment_id,
        "cluster": "bench",
        "namespaces": [ground.namespace],
        "drift": "undo",
    }
    files = {
        layout.ENVIRONMENTS: 'format: 1\nid: "0123456789ab"\n',
        layout.SIGNERS: strict_yaml.dump({"format": 1, "signers": [signer]}),
        layout.BINDINGS: "format: 1\nbindings: []\n",
        layout.GATE: "format: 1\n",
        layout.environment(NAME): strict_yaml.dump(environment),
        f"{layout.templates('web')}/all.yaml.j2": _SET,
    }
    for name in application_names(count):
        files[layout.application(name)] = "format: 1\ntemplate: web\n"
        files[_values(name)] = _greeting("first")
    return files


def _values(application: str) -> str:
    return layout.values(NAME, application)


def _greeting(text: str) -> str:
    return f"greeting: {text}\nlabels: {{team: bench}}\n"


def _host(ground: Ground, key: Path, public: str, *, auth: Path, address: str, root: str) -> CdHost:
    control = ground.scope.control_namespace
    value = {
        "format": 1,
        "prefect": "http://127.0.0.1:4200/api",
        "state": str(ground.folder / "state"),
        "environment_repository": {
            "name": "environments",
            "url": f"{address}/environments.git",
            "auth": str(auth),
            "root": {"commit": root, "keys": [public]},
        },
        "ledger": {"name": "ledger", "url": f"{address}/ledger.git", "auth": str(auth)},
        "signing": {"signer": "cd", "key": str(key)},
        "clusters": {"bench": {"kubeconfig": str(ground.kubeconfig)}},
        "environments": {NAME: {"cluster": "bench", "namespaces": [ground.namespace], "control_namespace": control}},
    }
    path = ground.folder / "cd.yaml"
    path.write_text(strict_yaml.dump(value))
    return load_cd(path)


@contextmanager
def _git_server(folder: Path, repositories: Sequence[str]) -> Iterator[str]:
    """The sandbox's git server in a process of its own; its address."""
    folder.mkdir()
    (folder / "accounts.json").write_text(json.dumps({_ACCOUNT: hashlib.sha256(_PASSWORD.encode()).hexdigest()}))
    (folder / "rights.json").write_text(json.dumps({_ACCOUNT: dict.fromkeys(repositories, "write")}))
    for name in repositories:
        path = folder / "repositories" / f"{name}.git"
        subprocess.run(["git", "init", "--bare", "--quiet", "--initial-branch=main", str(path)], check=True)
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)
    port = free_port()
    command = [sys.executable, "-m", "sandbox.git_server", str(folder), str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"the git server on port {port} does not answer")
