"""A whole pipeline in a sandbox: repositories, both hosts' files, keys, rights and workers.

It is made with the product's own commands. The demo shows the making; the end-to-end tests stand on it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from sandbox.cluster import Cluster
from sandbox.developer import Developer
from sandbox.part import SandboxError, clean_environment
from sandbox.parts import git, registry
from sandbox.parts.docker import Docker
from sandbox.parts.kubernetes import client_kubeconfig
from sandbox.parts.prefect import Prefect
from sandbox.parts.trivy import Trivy
from sandbox.parts.worker import Role, half_folder
from sandbox.place import Place
from sandbox.runs import Runs
from sandbox.supervisor import Sandbox
from sandbox.users import CHECKOUT, as_user, own_folder, user

PARTS = ("git", "registry", "docker", "baseimage", "trivy", "prefect", "kubernetes", "node")
PROGRAMS = ("receiver", "signer", "worker-ci", "worker-cd")
ENVIRONMENT, APPLICATION, COMPONENT, NAMESPACE, CLUSTER = "dev", "shop", "web", "shop", "sandbox"
CONTROL = f"interlock-{ENVIRONMENT}"

Show = Callable[[str], None]


@dataclass(frozen=True)
class Pipeline:
    """What a person has in front of them once it stands."""

    sandbox: Sandbox
    application: Developer
    environments: Developer

    @property
    def place(self) -> Place:
        return self.sandbox.place

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.place)

    @property
    def runs(self) -> Runs:
        return Runs(Prefect(self.place).address)

    def interlock(self, *words: str, host: Role | None = None, check: bool = True) -> str:
        """Run the product's command as the person, or as a half's user on its host; what it printed on stdout."""
        return interlock(self.place, *words, host=host, check=check)


def interlock(place: Place, *words: str, host: Role | None = None, check: bool = True) -> str:
    command = [str(Path(sys.prefix) / "bin" / "interlock"), *words]
    done = subprocess.run(
        as_user(user(place, host), command) if host else command,
        env=_environment(place, host),
        cwd=_work(place),
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise SandboxError(f"interlock {' '.join(words)}: exit code {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def on_host(place: Place, host: Role, words: Sequence[str]) -> NoReturn:
    """Become the product's command as the half's user on its host, in the person's terminal."""
    command = as_user(user(place, host), [Path(sys.prefix) / "bin" / "interlock", *words])
    terminal = {name: os.environ[name] for name in ("TERM", "COLUMNS", "NO_COLOR") if name in os.environ}
    home = half_folder(place, host) / "home"
    os.chdir(home)  # where the person stands, that user may not be let in
    programs = {"HOME": str(home), "PATH": f"{Path(sys.prefix) / 'bin'}:{os.defpath}"}
    os.execvpe(command[0], command, _environment(place, host) | terminal | programs)  # noqa: S606 -- what it is for


@dataclass(frozen=True)
class Pace:
    """How often CD resyncs, and how often both halves look at the branches whatever webhooks say; in seconds."""

    resync: int = 60
    poll: int = 60


def stand_up(
    sandbox: Sandbox, *, service: Path = CHECKOUT / "examples" / "service", pace: Pace | None = None, show: Show = print
) -> Pipeline:
    """Make repositories, keys, host files and rights, push both repositories, start the workers."""
    place = sandbox.place
    _work(place).mkdir(parents=True, exist_ok=True)
    keys = {role: _key(place, role, show) for role in ("ci", "cd")}
    urls = {
        APPLICATION: git.create_repository(place, APPLICATION, kind="application"),
        "environments": git.create_repository(place, "environments", kind="environment"),
        "ledger": git.create_repository(place, "ledger", kind="ledger"),
    }
    application = _application(place, service, urls[APPLICATION], show)
    environments, root = _environments(place, keys["ci"], urls["environments"], show)
    _register(place, urls, root, pace or Pace(), show)
    _allow(place, show)
    _ask_for_evidence(place, environments, show)
    environments.push()
    sandbox.start(*PROGRAMS)
    # A push that comes before is found by polling, which takes a minute and more.
    Runs(Prefect(place).address).wait_for_automations(
        f"interlock-ci: release {APPLICATION}", f"interlock-cd-{CLUSTER}: deploy {ENVIRONMENT}"
    )
    application.push()
    return Pipeline(sandbox, application, environments)


def _work(place: Place) -> Path:
    """Where the person works: clones and own keys."""
    return place.state / "person"


def _environment(place: Place, host: Role | None) -> dict[str, str]:
    extra = {"INTERLOCK_CONFIG": str(_config(place, host))} if host else {}
    return clean_environment(HOME=str(_work(place)), USER="ada", LOGNAME="ada", NO_COLOR="1", **extra)


def _config(place: Place, host: Role) -> Path:
    return place.state / host / f"{host}.yaml"


def _told(place: Place, show: Show, *words: str) -> str:
    show("$ interlock " + " ".join(words))
    return interlock(place, *words)


def _key(place: Place, role: Role, show: Show) -> Path:
    """The half's own signing key, made on its host; the public half."""
    path = half_folder(place, role) / "signing.key"
    _told(place, show, "key", str(path))
    os.chown(path, user(place, role).id, user(place, role).id)
    return path.with_name("signing.key.pub")


def _application(place: Place, service: Path, url: str, show: Show) -> Developer:
    clone = _work(place) / APPLICATION
    shutil.copytree(service, clone, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    developer = Developer("ada", clone, git.credentials(place, "developer"))
    developer.git("init", "--quiet", "--initial-branch=main")
    developer.git("remote", "add", "origin", url)
    _told(place, show, "init", "application", APPLICATION, "--yes")
    developer.commit("Begin the shop", {}, signed=False)
    return developer


def _environments(place: Place, ci_key: Path, url: str, show: Show) -> tuple[Developer, dict[str, Any]]:
    words = ("init", "environment", "environments", "--application", APPLICATION)
    image = ("--image", f"{place.registry}/{APPLICATION}/{COMPONENT}", "--ci-key", str(ci_key))
    made = json.loads(_told(place, show, *words, *image, "--signer", "ada", "--yes", "--output", "json"))
    developer = Developer("ada", _work(place) / "environments", git.credentials(place, "developer"))
    developer.git("remote", "add", "origin", url)
    return developer, made["root"]


def _register(place: Place, urls: dict[str, str], root: dict[str, Any], pace: Pace, show: Show) -> None:
    """Tell both hosts, the signer and the receiver, as root, what exists; then let each read its own file."""
    common = (
        *("--prefect", f"http://127.0.0.1:{place.prefect_port}/api", "--environment-repository", "environments"),
        *("--poll-seconds", str(pace.poll)),
        *("--url", urls["environments"], "--root-commit", root["commit"], "--root-key", root["keys"][0]),
    )
    _register_ci(place, urls, common, show)
    _register_signer(place, urls, root, show)
    _register_cd(place, urls, common, pace, show)
    _register_receiver(place, show)


def _register_ci(place: Place, urls: dict[str, str], common: tuple[str, ...], show: Show) -> None:
    auth, docker = str(git.credentials(place, "ci")), Docker(place).docker_host
    host = ("--signer", f"ci-{APPLICATION}", "--key", str(place.state / "ci" / "signing.key"), "--auth", auth)
    image = ("--registry", place.registry, "--registry-auth", str(registry.credentials(place, "ci")))
    scanner = ("--trivy-cache", str(Trivy(place).cache), "--pinned-database")
    paths = ("--state", str(_state(place, "ci")), "--docker", docker, "--signer-socket", str(place.signer_socket))
    _on_host(place, "ci", show, "ci", *common, *host, *image, "--insecure-registry", *scanner, *paths)
    _on_host(place, "ci", show, "application", APPLICATION, "--url", urls[APPLICATION], "--auth", auth)


def _register_cd(place: Place, urls: dict[str, str], common: tuple[str, ...], pace: Pace, show: Show) -> None:
    auth = str(git.credentials(place, "cd"))
    host = ("--signer", "cd", "--key", str(place.state / "cd" / "signing.key"), "--auth", auth)
    ledger = ("--ledger", "ledger", "--ledger-url", urls["ledger"], "--ledger-auth", auth)
    paths = ("--state", str(_state(place, "cd")))
    kubeconfig = place.state / "cd" / "kubeconfig"
    client_kubeconfig(place, user="interlock-cd", path=kubeconfig, owner_uid=user(place, "cd").id)
    _on_host(place, "cd", show, "cd", *common, *host, *ledger, *paths)
    _on_host(place, "cd", show, "cluster", CLUSTER, "--kubeconfig", str(kubeconfig))
    ceiling = ("--cluster", CLUSTER, "--namespace", NAMESPACE, "--resync-seconds", str(pace.resync))
    _on_host(place, "cd", show, "environment", ENVIRONMENT, *ceiling)


def _register_signer(place: Place, urls: dict[str, str], root: dict[str, Any], show: Show) -> None:
    auth, state = str(git.credentials(place, "signer")), str(_state(place, "signer"))
    asked = ("--listen", str(place.signer_socket), "--client", str(user(place, "ci").id), "--state", state)
    docker = ("--docker", str(Docker(place).socket))
    image = ("--registry", place.registry, "--registry-auth", str(registry.credentials(place, "signer")))
    pin = ("--root-commit", root["commit"], "--root-key", root["keys"][0], "--builder", f"ci-{APPLICATION}")
    what = ("--environment-repository", "environments", "--url", urls["environments"], "--auth", auth)
    _on_host(place, "signer", show, "signer", *asked, *what, *pin, *image, *docker, "--insecure-registry")
    _on_host(place, "signer", show, "signed", APPLICATION, "--url", urls[APPLICATION], "--auth", auth)


def _ask_for_evidence(place: Place, environments: Developer, show: Show) -> None:
    """From the first release on CD asks for the signer's word about every image."""
    key = _config(place, "signer").with_name(f"attestation-{APPLICATION}.key.pub")
    _told(place, show, "attester", APPLICATION, "environments", "--key", str(key), "--branch", "main", "--yes")
    environments.commit("Ask for evidence", {})


def _register_receiver(place: Place, show: Show) -> None:
    half_folder(place, "receiver")
    listen, state = f"127.0.0.1:{place.receiver_port}", str(_state(place, "receiver"))
    prefect = f"http://127.0.0.1:{place.prefect_port}/api"
    _on_host(place, "receiver", show, "receiver", "--prefect", prefect, "--listen", listen, "--state", state)
    for name in (APPLICATION, "environments"):
        secret = git.git_folder(place) / "webhook.secret"
        _on_host(place, "receiver", show, "hook", name, "--secret", str(secret))


def _on_host(place: Place, role: Role, show: Show, *words: str) -> None:
    """`interlock register …` as root; the half's user may read what was written, and nobody else."""
    _told(place, show, "register", *words, "--config", str(_config(place, role)))
    os.chown(_config(place, role), 0, user(place, role).id)
    _config(place, role).chmod(0o640)


def _state(place: Place, role: Role) -> Path:
    """The half's own folder for mirrors and marks."""
    return own_folder(half_folder(place, role) / "state", user(place, role))


def _allow(place: Place, show: Show) -> None:
    """What the cluster's administrator does once: the control namespace, and CD's rights in the environment's."""
    ceiling = ("--namespace", NAMESPACE, "--control-namespace", CONTROL, "--user", "interlock-cd")
    printed = _told(place, show, "access", ENVIRONMENT, *ceiling)
    cluster = Cluster(place, manager="administrator")
    for body in yaml.safe_load_all(printed):
        cluster.apply(_path(body), body)


def _path(body: dict[str, Any]) -> str:
    """Where an object of these few kinds is in the API."""
    group, _, _ = body["apiVersion"].rpartition("/")
    root = f"/apis/{body['apiVersion']}" if group else "/api/v1"
    namespace = body["metadata"].get("namespace")
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{within}/{body['kind'].lower()}s/{body['metadata']['name']}"
