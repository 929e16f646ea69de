"""`python -m sandbox.demo.existing KUBECONFIG`: what CD does, on a cluster that exists already. Needs no root.

With IMAGE=…@sha256:… the Deployment runs two pods of it; without, it wants none. With NODES=kwok the cluster gets two
simulated nodes meanwhile, which take the two pods and run nothing. NAMESPACE names the namespace that is made for it,
and removed again. With ONCE=1 it ends after the table.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interlock.contract.report import uncelled
from sandbox.demo.stage import Act, Stage
from sandbox.demo.stage import run as run_demo
from sandbox.elsewhere import CLUSTER, ENVIRONMENT, Elsewhere, stand_up
from sandbox.part import SandboxError
from sandbox.parts.kwok import LABEL, TAINT
from sandbox.runs import Run
from sandbox.terminal import Terminal
from tasks.cd.cluster import Cluster

HELLO = f"environments/{ENVIRONMENT}/hello/manifests/hello.yaml"
NOTES = f"environments/{ENVIRONMENT}/notes/manifests/notes.yaml"
_NO_IMAGE = "registry.example.org/hello@sha256:" + "0" * 64


def manifests(image: str | None, *, simulated: bool = False, greeting: str = "hello") -> str:
    """A ConfigMap, a Service and a Deployment that reads the one and stands behind the other."""
    taken = json.dumps({"key": TAINT["key"], "operator": "Exists"})
    where = f"nodeSelector: {json.dumps(LABEL)}\n      tolerations: [{taken}]" if simulated else "nodeSelector: {}"
    return f"""\
apiVersion: v1
kind: ConfigMap
metadata: {{name: hello}}
data: {{greeting: {greeting}}}
---
apiVersion: v1
kind: Service
metadata: {{name: hello}}
spec:
  selector: {{app: hello}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: hello}}
spec:
  replicas: {2 if image or simulated else 0}
  selector: {{matchLabels: {{app: hello}}}}
  template:
    metadata: {{labels: {{app: hello}}}}
    spec:
      {where}
      containers:
        - name: hello
          image: {image or _NO_IMAGE}
          envFrom: [{{configMapRef: {{name: hello}}}}]
          resources: {{requests: {{cpu: 10m, memory: 16Mi}}}}
"""


@dataclass(frozen=True)
class Show:
    """The stage, and what is shown on it."""

    stage: Stage
    place: Elsewhere
    image: str | None
    simulated: bool = False

    @property
    def admin(self) -> Cluster:
        return self.place.admin

    def path(self, plural: str, name: str, group: str = "") -> str:
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{self.place.namespace}/{plural}/{name}"

    def follow(self, *flows: str, known: frozenset[str], accept: Callable[[Run], bool]) -> Run:
        """Tell the flows' new runs as they go, until one ends as wanted."""
        stage = self.stage
        run = self.place.runs.wait(
            *flows, known=known, seconds=240, accept=accept, on_run=stage.run, on_step=stage.step
        )
        stage.ended(run)
        return run

    def deployed(self, act: Act, what: str, head: str, known: frozenset[str]) -> None:
        """By polling; or by the schedule of resyncs, when that looks first. One that comes meanwhile only looks."""

        def about(run: Run) -> bool:
            brought = run.kind == "COMPLETED" or run.name.startswith("deploy")
            return brought and head[:7] in run.name + run.message

        run = self.follow("deploy", "resync", known=known, accept=about)
        self.stage.check(act, what, f"{run.state}: {run.message}", holds=run.kind == "COMPLETED")

    def exists(self, kind: str, name: str, api_version: str = "v1") -> bool:
        resource = self.admin.resource(api_version, kind)
        return self.admin.get(resource, name, self.place.namespace) is not None


def main() -> int:
    _as_own_root()
    kubeconfig, stage = Path(sys.argv[1]).resolve(), Stage()
    report = Terminal(stage.console)
    image, namespace = os.environ.get("IMAGE") or None, os.environ.get("NAMESPACE") or "interlock-demo"
    notes = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata: {a: b}\n"
    nodes = _nodes(namespace)
    files = {HELLO: manifests(image, simulated=bool(nodes)), NOTES: notes}
    with (
        tempfile.TemporaryDirectory(prefix="interlock-demo-") as folder,
        stand_up(kubeconfig, Path(folder), files, namespace=namespace, report=report, nodes=nodes) as place,
    ):
        play(Show(stage, place, image, bool(nodes)))
        if not os.environ.get("ONCE"):
            stage.say(f"\nIt stays until Ctrl-C. Prefect UI: {place.runs.page}; namespace: {namespace}")
            with suppress(KeyboardInterrupt):
                signal.pause()
    stage.say("\nNothing is left running, and the namespaces are being deleted.")
    return 0 if stage.holds else 1


def _nodes(namespace: str) -> tuple[str, ...]:
    """The names of the simulated nodes that are asked for."""
    asked = os.environ.get("NODES") or ""
    if asked not in {"", "kwok"}:
        raise SandboxError(f"NODES={asked}: there is only NODES=kwok, which simulates two")
    return tuple(f"{namespace}-kwok-{number}" for number in range(2)) if asked else ()


def play(show: Show) -> None:
    """The acts, in order; each is tried even when one before it failed."""
    for number, (title, scene) in enumerate(
        (
            ("The repository's state comes into the cluster", first_deploy),
            ("Somebody changes the cluster by hand", drift),
            ("Somebody rewrites history", refused),
            ("A commit changes, another removes", removed),
        ),
        start=1,
    ):
        with show.stage.act(number, title) as act:
            scene(show, act)
    show.stage.table()


def first_deploy(show: Show, act: Act) -> None:
    """What was pushed is deployed, by a run that nobody starts by hand."""
    show.stage.say(f"  cluster {CLUSTER}: {show.admin.server}, {show.admin.version}")
    show.deployed(act, "the first deploy", show.place.environments.head(), frozenset())
    there = [f"{kind}/{name}" for kind, name, version in _OBJECTS if show.exists(kind, name, version)]
    show.stage.check(act, "objects", ", ".join(there), holds=len(there) == len(_OBJECTS))
    if show.image or show.simulated:
        ready = show.admin.request("GET", show.path("deployments", "hello", "apps/v1"))["status"].get(
            "readyReplicas", 0
        )
        kind = "simulated pods" if show.simulated else "pods"
        show.stage.check(act, f"{kind} that are ready", f"{ready} of 2", holds=ready == 2)


_OBJECTS = (("ConfigMap", "hello", "v1"), ("Service", "hello", "v1"), ("Deployment", "hello", "apps/v1"))


def drift(show: Show, act: Act) -> None:
    """A changed field, a deleted object and an injected container: found, told with who did it, undone."""
    known = show.place.runs.ended("resync")
    injected = {"spec": {"template": {"spec": {"containers": [{"name": "miner", "image": _NO_IMAGE}]}}}}
    _edit(show, show.path("configmaps", "hello"), {"data": {"greeting": "mine"}})
    show.admin.request("DELETE", show.path("services", "hello"))
    _edit(show, show.path("deployments", "hello", "apps/v1"), injected)
    show.stage.say("  by hand: changed the ConfigMap, deleted the Service, injected a container")
    for _ in range(2):  # the first may have looked while hands were still at work
        run = show.follow("resync", known=known, accept=lambda run: "drift" in (run.message + run.state).lower())
        show.stage.quote(uncelled(show.place.runs.pages(run).get("drift", "")))
        known |= {run.id}
        if _is_as_declared(show):
            break
    holds = _is_as_declared(show)
    show.stage.check(act, "everything is as Git says", "undone" if holds else "still different", holds=holds)


def _edit(show: Show, path: str, body: object) -> None:
    """As `kubectl edit` does it."""
    kind = "application/strategic-merge-patch+json"
    show.admin._exchange("PATCH", path, query={"fieldManager": "kubectl-edit"}, body=body, content=kind, subject=path)


def _is_as_declared(show: Show) -> bool:
    config_map = show.admin.request("GET", show.path("configmaps", "hello"))
    deployment = show.admin.request("GET", show.path("deployments", "hello", "apps/v1"))
    containers = [each["name"] for each in deployment["spec"]["template"]["spec"]["containers"]]
    return config_map["data"]["greeting"] == "hello" and containers == ["hello"] and show.exists("Service", "hello")


def refused(show: Show, act: Act) -> None:
    """A forced push is refused by its rule; after the branch is brought back, all goes on."""
    person, known = show.place.environments, show.place.runs.ids("deploy")
    good = person.pull()
    person.git("reset", "--quiet", "--hard", f"{good}~1")
    person.commit("Rewrite history", {"README.md": "rewritten\n"})
    person.push("--force")
    run = show.follow("deploy", known=known, accept=lambda run: run.state == "Refused")
    first = run.message.splitlines()[0]
    show.stage.check(act, "a force push is refused by rule rewritten", first, holds="rewritten" in run.message)
    person.git("reset", "--quiet", "--hard", good)
    person.push("--force")


def removed(show: Show, act: Act) -> None:
    """A changed value arrives; a removed application is pruned, and nothing else."""
    person, known = show.place.environments, show.place.runs.ids("deploy")
    head = person.commit("Greet", {HELLO: manifests(show.image, simulated=show.simulated, greeting="welcome")})
    person.push()
    show.deployed(act, "a changed value", head, known)
    known = show.place.runs.ids("deploy")
    person.git("rm", "-r", "--quiet", f"environments/{ENVIRONMENT}/hello")
    head = person.commit("Remove hello", {})
    person.push()
    show.deployed(act, "a removed application", head, known)
    left = [f"{kind}/{name}" for kind, name, version in _OBJECTS if show.exists(kind, name, version)]
    show.stage.check(act, "its objects are pruned", ", ".join(left) or "gone", holds=not left)
    kept = show.exists("ConfigMap", "notes")
    show.stage.check(act, "another application's ConfigMap", "left alone" if kept else "gone", holds=kept)


def _as_own_root() -> None:
    """A host's file must be root's, so that no worker can change it. Without root: in a user namespace of our own."""
    if os.geteuid() == 0:
        return
    inside = ["unshare", "--user", "--map-root-user"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode
    ):
        raise SandboxError(
            "this user may not make a user namespace (unshare --user --map-root-user); let an administrator allow it "
            "(sysctl kernel.unprivileged_userns_clone=1), or run as root"
        )
    again = [*inside, sys.executable, "-m", "sandbox.demo.existing", *sys.argv[1:]]
    os.execvp(again[0], again)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    run_demo(main)
