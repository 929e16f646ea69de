"""The acts of the demo. Each does what people do, looks at what came of it, and compares."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from interlock.contract.report import uncelled
from sandbox.cluster import Cluster
from sandbox.demo.stage import Act, Stage
from sandbox.http import LOCAL
from sandbox.parts import registry
from sandbox.pipeline import APPLICATION, COMPONENT, ENVIRONMENT, NAMESPACE, Pipeline
from sandbox.runs import Run

RELEASE_FILE = f"environments/{ENVIRONMENT}/{APPLICATION}/release.yaml"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{APPLICATION}"
SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services/{APPLICATION}"
BRIEF = 30
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


@dataclass(frozen=True)
class Show:
    """The stage, and the pipeline that is shown on it."""

    stage: Stage
    pipeline: Pipeline

    def follow(
        self,
        flow: str,
        known: frozenset[str],
        *,
        accept: Callable[[Run], bool] = lambda run: True,
        seconds: float = 240,
    ) -> Run:
        """Tell a flow's new runs as they go, until one ends as wanted."""
        stage = self.stage
        run = self.pipeline.runs.wait(
            flow,
            known=known,
            seconds=seconds,
            accept=lambda run: run.state in {"Crashed", "Failed"} or accept(run),
            on_run=stage.run,
            on_step=stage.step,
        )
        stage.ended(run)
        return run

    def release(self, change: Callable[[], str]) -> tuple[str, Run, Run]:
        """Push a change to the application and follow it: (its commit, the release, the deploy)."""
        runs = self.pipeline.runs
        releases, deploys = runs.ids("release"), runs.ids("deploy")
        commit = change()
        release = self.follow("release", releases, accept=lambda run: _is_about(run, commit))
        head = self.pipeline.environments.pull()
        deploy = self.follow("deploy", deploys, accept=lambda run: _is_about(run, head))
        return commit, release, deploy


def first_release(show: Show, act: Act) -> None:
    """The commit that came with the repository becomes the first version."""
    commit = show.pipeline.application.head()
    release = show.follow("release", frozenset(), accept=lambda run: _is_about(run, commit))
    head = show.pipeline.environments.pull()
    deploy = show.follow("deploy", frozenset(), accept=lambda run: _is_about(run, head))
    _expect_done(show, act, "the repositories' own state is released and deployed", release, deploy)


def new_version(show: Show, act: Act) -> None:
    """One push by a developer, and nothing else, brings a new version into the cluster."""
    application = show.pipeline.application

    def change() -> str:
        text = (application.clone / "shop/__init__.py").read_text().replace("1.0.0", "1.1.0")
        tests = (application.clone / "tests/test_server.py").read_text().replace("1.0.0", "1.1.0")
        application.commit("Greet from 1.1.0", {"shop/__init__.py": text, "tests/test_server.py": tests}, signed=False)
        return application.push()

    commit, release, deploy = show.release(change)
    _expect_done(show, act, "one push: CI and CD ran to their ends", release, deploy)
    _expect_running(show, act, commit)


def blocked(show: Show, act: Act) -> None:
    """A planted credential and a vulnerable dependency end at the gate."""
    pipeline, application = show.pipeline, show.pipeline.application
    before = (pipeline.environments.remote_head(), images(pipeline))
    # Put together here, so that no scanner of this very repository stumbles over it.
    credential = "AKIA" + "Z7Q2M4X6W3R5T8YB"
    known = pipeline.runs.ids("release")
    application.commit(
        "Add payment",
        {"shop/payment.py": f'KEY = "{credential}"\n', "requirements.txt": "urllib3==1.26.0\n"},
        signed=False,
    )
    commit = application.push()
    run = show.follow("release", known, accept=lambda run: _is_about(run, commit))
    show.stage.check(act, "the gate stops it", run.state, holds=run.state == "Blocked")
    for what, words in {
        "the credential: file and line": ("shop/payment.py:1",),
        "the dependency: package and fixed version": ("urllib3", "1.26.0", "1.26.17"),
    }.items():
        found = next((line for line in run.message.splitlines() if all(word in line for word in words)), "")
        show.stage.check(act, what, found.strip(" -") or "not named", holds=bool(found))
    after = (pipeline.environments.remote_head(), images(pipeline))
    unchanged = "unchanged" if before == after else f"{before} became {after}"
    show.stage.check(act, "registry and environment repository", unchanged, holds=before == after)
    # Reverting it would not do: the gate finds it in the history, since whoever pulls has it.
    application.git("reset", "--quiet", "--hard", "HEAD~1")
    application.push("--force")


def drift(show: Show, act: Act) -> None:
    """Four changes by hand: the scheduled resync finds all, puts back what is declared, removes what is not."""
    pipeline, mallory = show.pipeline, Cluster(show.pipeline.place, manager="kubectl-edit")
    known = pipeline.runs.ended("resync")
    container = {"name": "miner", "image": running_image(pipeline), "command": ["sleep", "infinity"]}
    injected = {"containers": [{"name": COMPONENT, "env": [{"name": "DEBUG", "value": "1"}]}, container]}
    mallory.merge(DEPLOYMENT, {"spec": {"replicas": 3}})
    mallory.delete(SERVICE)
    mallory.merge(DEPLOYMENT, {"spec": {"template": {"spec": injected}}})
    show.stage.say("  by hand: scaled the Deployment, deleted the Service, added a variable, injected a container")
    found = _reported(show, known)
    for what, line in found.items():
        row = _row(line)
        show.stage.check(act, what, row or "not reported", holds=bool(row))
    deployment, service = pipeline.cluster.get(DEPLOYMENT), pipeline.cluster.get(SERVICE)
    replicas = deployment["spec"]["replicas"]
    show.stage.check(act, "replicas undone", str(replicas), holds=replicas == 1)
    containers = {each["name"]: each.get("env", []) for each in deployment["spec"]["template"]["spec"]["containers"]}
    clean = containers.keys() == {COMPONENT} and "DEBUG" not in str(containers)
    show.stage.check(act, "variable and container gone", f"containers: {', '.join(containers)}", holds=clean)
    show.stage.check(act, "Service restored", "there" if service else "missing", holds=service is not None)


_DRIFT = {
    "scaled Deployment: 1 became 3": ("replicas", "kubectl-edit"),
    "deleted Service": ("| Service/",),
    "added variable": ("DEBUG", "removed", "kubectl-edit"),
    "injected container": ("miner", "removed", "kubectl-edit"),
}
"""What was done by hand, and the words that its line in a drift report must have."""


def _reported(show: Show, known: frozenset[str]) -> dict[str, str]:
    """The report's line on each: of one resync, or of two, when the first looked while hands were still at work."""
    page = ""
    for _ in range(2):
        run = show.follow("resync", known, accept=lambda run: "drift" in (run.message + run.state).lower())
        new = show.pipeline.runs.pages(run).get("drift", "")
        show.stage.quote(uncelled(new))
        page, known = f"{page}\n{new}", known | {run.id}
        lines = {
            what: next((line for line in page.splitlines() if all(word in line for word in words)), "")
            for what, words in _DRIFT.items()
        }
        if all(lines.values()):
            break
    return lines


def refused(show: Show, act: Act) -> None:
    """Rewritten history and an unsigned commit are refused; after the branch is brought back the pipeline goes on."""
    person = show.pipeline.environments
    good = person.pull()
    before = _generations(show.pipeline)
    _refuse(show, act, "a force push", "rewritten", lambda: _force_push(show.pipeline, good))
    person.git("reset", "--quiet", "--hard", good)
    person.push("--force")
    _refuse(show, act, "an unsigned commit", "unsigned", lambda: _unsigned(show.pipeline))
    person.git("reset", "--quiet", "--hard", good)
    person.push("--force")
    after = _generations(show.pipeline)
    show.stage.check(
        act, "the cluster stays as it was", "unchanged" if before == after else "changed", holds=before == after
    )
    _goes_on(show, act)


def removed(show: Show, act: Act) -> None:
    """An application taken out by a commit is pruned, and nothing that is not ours."""
    pipeline, person = show.pipeline, show.pipeline.environments
    stranger = Cluster(pipeline.place, manager="stranger")
    stranger.create(
        CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data": {"a": "b"}}
    )
    known = pipeline.runs.ids("deploy")
    person.pull()
    person.git("rm", "-r", "--quiet", f"environments/{ENVIRONMENT}/{APPLICATION}")
    head = person.commit(f"Remove {APPLICATION} from {ENVIRONMENT}", {})
    person.push()
    run = show.follow("deploy", known, accept=lambda run: _is_about(run, head))
    left = [path.rpartition("/")[2] for path in (DEPLOYMENT, SERVICE) if pipeline.cluster.get(path)]
    show.stage.check(act, "the deploy", f"{run.state}: {run.message}", holds=run.kind == "COMPLETED")
    show.stage.check(act, "its objects are pruned", ", ".join(left) or "gone", holds=not left)
    notes = pipeline.cluster.get(f"{CONFIG_MAPS}/notes")
    show.stage.check(act, "somebody else's ConfigMap", "left alone" if notes else "gone", holds=notes is not None)


def running_image(pipeline: Pipeline) -> str:
    """The image that release.yaml names on the server's main."""
    pipeline.environments.pull()
    release = yaml.safe_load((pipeline.environments.clone / RELEASE_FILE).read_text())
    image: str = release["components"][COMPONENT]["image"]
    return image


def images(pipeline: Pipeline) -> frozenset[str]:
    """Every tag in the registry."""
    place = pipeline.place
    user, _, password = registry.credentials(place, "ci").read_text().strip().partition(":")
    answer = LOCAL.get(f"http://{place.registry}/v2/{APPLICATION}/{COMPONENT}/tags/list", auth=(user, password))
    return frozenset(answer.json().get("tags") or ())


def _is_about(run: Run, commit: str) -> bool:
    """Names and messages of runs carry the commit's first seven digits."""
    return commit[:7] in run.name or commit[:7] in run.message


def _expect_done(show: Show, act: Act, expected: str, *runs: Run) -> None:
    seen = ", ".join(f"{run.name} {run.state}" for run in runs)
    show.stage.check(act, expected, seen, holds=all(run.kind == "COMPLETED" for run in runs))


def _expect_running(show: Show, act: Act, commit: str) -> None:
    pipeline = show.pipeline
    wanted = running_image(pipeline)
    objects = [f"Deployment {APPLICATION}", f"Service {APPLICATION}"]
    there = [name for name, path in zip(objects, (DEPLOYMENT, SERVICE), strict=True) if pipeline.cluster.get(path)]
    show.stage.check(act, "objects", ", ".join(there), holds=there == objects)
    seen = _running_digests(pipeline)
    digest = wanted.partition("@")[2]
    show.stage.check(act, f"the containers run {digest[:19]}…", ", ".join(d[:19] for d in seen), holds=seen == {digest})
    answer = _ask(pipeline, "/version")
    fits = answer.get("version") == "1.1.0" and commit.startswith(str(answer.get("commit", "?")))
    show.stage.check(act, "GET /version at the Service says 1.1.0", json.dumps(answer), holds=fits)


def _running_digests(pipeline: Pipeline) -> set[str]:
    """Digests of the containers of the application's pods that are not on their way out."""
    pods = pipeline.cluster.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    statuses = [status for pod in live for status in pod["status"].get("containerStatuses", ())]
    return {status["imageID"].partition("@")[2] for status in statuses}


def _ask(pipeline: Pipeline, path: str) -> dict[str, Any]:
    service = pipeline.cluster.get(SERVICE)["spec"]
    answer = LOCAL.get(f"http://{service['clusterIP']}:{service['ports'][0]['port']}{path}", timeout=10)
    body: dict[str, Any] = answer.json()
    return body


def _refuse(show: Show, act: Act, what: str, rule: str, push: Callable[[], str]) -> None:
    known = show.pipeline.runs.ids("deploy")
    push()
    run = show.follow("deploy", known, accept=lambda run: run.state == "Refused")
    show.stage.check(act, f"{what} is refused by rule {rule}", run.message.splitlines()[0], holds=rule in run.message)


def _force_push(pipeline: Pipeline, good: str) -> str:
    """History without the newest commit, and another one in its place."""
    person = pipeline.environments
    person.git("reset", "--quiet", "--hard", f"{good}~1")
    person.commit("Rewrite history", {"README.md": "rewritten\n"})
    return person.push("--force")


def _unsigned(pipeline: Pipeline) -> str:
    person = pipeline.environments
    person.commit("Scale up", {f"environments/{ENVIRONMENT}/{APPLICATION}/values.yaml": "replicas: 5\n"}, signed=False)
    return person.push()


def _goes_on(show: Show, act: Act) -> None:
    person, known = show.pipeline.environments, show.pipeline.runs.ids("deploy")
    values = f"environments/{ENVIRONMENT}/{APPLICATION}/values.yaml"
    head = person.commit("Run two of them", {values: "replicas: 2\n"})
    person.push()
    run = show.follow("deploy", known, accept=lambda run: _is_about(run, head) and run.kind == "COMPLETED")
    replicas = show.pipeline.cluster.get(DEPLOYMENT)["spec"]["replicas"]
    show.stage.check(
        act, "a signed commit goes through again", f"{run.state}, {replicas} replicas", holds=replicas == 2
    )


def _generations(pipeline: Pipeline) -> dict[str, object]:
    """What would move if anybody had written: the workload's generation and the Service's version."""
    deployment, service = pipeline.cluster.get(DEPLOYMENT), pipeline.cluster.get(SERVICE)
    return {
        "deployment": deployment["metadata"]["generation"],
        "service": service["metadata"]["resourceVersion"],
    }


def _row(line: str) -> str:
    """A row of the drift table in one phrase: who did what, since when, and what became of it."""
    cells = [cell.strip().replace("\\", "") for cell in line.split(" | ")]
    if len(cells) != len(("object", "field", "in git", "live", "by", "since", "decision", "made by")):
        return ""
    _, field, wanted, live, by, since, decision, _ = cells
    return f"{decision.strip(' |')}: {field.rpartition('.')[2]} {_brief(wanted)} → {_brief(live)} by {by}, {since}"


def _brief(value: str) -> str:
    return value if len(value) <= BRIEF else value[:BRIEF] + "…"
