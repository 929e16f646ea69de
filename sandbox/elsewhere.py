"""CD against a cluster that exists already, on a machine without root: git server, Prefect, worker, all as one user.

Nothing here is kept apart as it is in the sandbox: it shows and tries what CD does, not who may do it. What it makes in
the cluster are two namespaces and the rights of its own service account; at the end they are removed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from interlock.errors import InterlockError
from sandbox.developer import Developer
from sandbox.http import LOCAL
from sandbox.part import Daemon, Report, SandboxError, clean_environment, tail, wait_until
from sandbox.parts.kwok import simulated
from sandbox.parts.prefect import empty_database, provide_empty_database, server_environment
from sandbox.runs import Runs
from tasks.cd.cluster import Cluster, connect

ENVIRONMENT, CLUSTER = "dev", "existing"
RESYNC_SECONDS, POLL_SECONDS = 30, 10
_BIN = Path(sys.prefix) / "bin"
_REPOSITORIES = ("environments", "ledger")


@dataclass(frozen=True)
class Elsewhere:
    """What a person has in front of them once it stands."""

    folder: Path
    admin: Cluster
    namespace: str
    environments: Developer
    runs: Runs
    config: Path

    def interlock(self, *words: str) -> str:
        """Run the product's command on the CD host; what it printed on stdout."""
        return _interlock(self.folder, *words, config=self.config)


@dataclass(frozen=True)
class _Servers:
    """Where git and Prefect answer, and the file with git's account."""

    git: str
    auth: Path
    prefect: str


@contextmanager
def stand_up(
    kubeconfig: Path,
    folder: Path,
    files: Mapping[str, str],
    *,
    namespace: str,
    report: Report,
    nodes: Sequence[str] = (),
) -> Iterator[Elsewhere]:
    """Everything, for the length of a block, with these files in the environment repository.

    `nodes` are the names of simulated ones that the cluster gets for that time.
    SandboxError when a namespace of these names is there already.
    """
    control = f"{namespace}-control"
    with ExitStack() as stack:
        admin = stack.enter_context(_connected(kubeconfig))
        _require_absent(admin, namespace, control)
        if nodes:
            stack.enter_context(simulated(admin, kubeconfig, folder, names=nodes, report=report))
        address, auth = stack.enter_context(_git_server(folder, report))
        servers = _Servers(address, auth, stack.enter_context(_prefect(folder, report)))
        developer, root = _environments(folder, servers, namespace)
        developer.commit("Begin", files)
        stack.callback(_remove, admin, namespace, control, report)
        report("cluster", f"making the namespaces {namespace} and {control}, and CD's rights in them")
        own = ("--control-namespace", control, "--repository", str(developer.clone))
        _interlock(folder, "bootstrap", "cluster", ENVIRONMENT, "--kubeconfig", str(kubeconfig), *own)
        access = _private(folder / "cd.kubeconfig", _account_kubeconfig(admin, kubeconfig, control))
        config = _register(folder, servers, root, access, namespace=namespace)
        developer.push()
        stack.enter_context(_worker(folder, config, servers.prefect, report))
        yield Elsewhere(folder, admin, namespace, developer, Runs(servers.prefect), config)


@contextmanager
def _connected(kubeconfig: Path) -> Iterator[Cluster]:
    try:
        with connect(kubeconfig) as admin:
            _ = admin.version
            yield admin
    except InterlockError as error:
        raise SandboxError(str(error)) from error


def _require_absent(admin: Cluster, *names: str) -> None:
    kind = admin.resource("v1", "Namespace")
    for name in names:
        if admin.get(kind, name) is not None:
            raise SandboxError(f"namespace {name} exists already; give another name: NAMESPACE=…, or delete it")


def _remove(admin: Cluster, namespace: str, control: str, report: Report) -> None:
    """Take away what `interlock bootstrap cluster` made."""
    report("cluster", "removing what was made in it")
    role = f"interlock-{control}"
    rights = "/apis/rbac.authorization.k8s.io/v1"
    paths = (f"{rights}/clusterrolebindings/{role}", f"{rights}/clusterroles/{role}")
    for path in (*(f"/api/v1/namespaces/{name}" for name in (namespace, control)), *paths):
        try:
            admin.request("DELETE", path)
        except InterlockError as error:
            report("cluster", f"not removed: {error}")


# parts -----------------------------------------------------------------------------------------------


@contextmanager
def _running(
    name: str, folder: Path, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    daemon = Daemon(name, folder / f"{name}.log")
    # Should we be killed, it goes too.
    dying = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    daemon.start([*dying, *command], env=env, cwd=folder)
    try:
        yield daemon
    finally:
        daemon.stop()


@contextmanager
def _git_server(folder: Path, report: Report) -> Iterator[tuple[str, Path]]:
    """Two empty repositories over HTTP, and the file with the account that may push to both."""
    report("git", "starting")
    place, password = folder / "git", secrets.token_urlsafe(24)
    place.mkdir()
    _private(place / "accounts.json", json.dumps({"ada": hashlib.sha256(password.encode()).hexdigest()}))
    _private(place / "rights.json", json.dumps({"ada": dict.fromkeys(_REPOSITORIES, "write")}))
    _private(folder / "git.auth", f"ada:{password}\n")
    for name in _REPOSITORIES:
        path = place / "repositories" / f"{name}.git"
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True)
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)
    port = free_port()
    with _running("git", folder, [sys.executable, "-m", "sandbox.git_server", place, str(port)], env=_own()) as daemon:
        wait_until(lambda: listens(port), subject="git server", seconds=20, daemon=daemon)
        yield f"http://127.0.0.1:{port}", folder / "git.auth"


@contextmanager
def _prefect(folder: Path, report: Report) -> Iterator[str]:
    """Prefect's server and UI; its address."""
    report("prefect", "starting")
    provide_empty_database(report)
    home, port = folder / "prefect", free_port()
    home.mkdir()
    shutil.copyfile(empty_database(), home / "prefect.db")
    page = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "sandbox.prefect_server", "--host", "127.0.0.1", "--port", str(port)]
    env = server_environment(home, f"{page}/api") | {"PYTHONPATH": str(_checkout())}
    with _running("prefect", folder, command, env=env) as daemon:
        wait_until(lambda: _is_ready(page), subject=f"prefect at {page}", seconds=120, daemon=daemon)
        report("prefect", f"UI: {page}")
        yield page


def _is_ready(page: str) -> bool:
    try:
        return LOCAL.get(f"{page}/api/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _worker(folder: Path, config: Path, page: str, report: Report) -> Iterator[None]:
    report("worker-cd", "starting")
    env = _environment(folder) | {"INTERLOCK_CONFIG": str(config), "PREFECT_API_URL": f"{page}/api"}
    with _running("worker-cd", folder, [_BIN / "interlock", "worker", "cd"], env=env) as daemon:
        try:
            Runs(page).wait_for_automations(f"interlock-cd-{CLUSTER}: deploy {ENVIRONMENT}", seconds=120)
        except SandboxError as error:
            raise SandboxError(f"{error}\n{tail(daemon.log)}") from error
        yield


# what people do once ---------------------------------------------------------------------------------


def _environments(folder: Path, servers: _Servers, namespace: str) -> tuple[Developer, dict[str, Any]]:
    """The environment repository, made by the product's own command; its first application awaits a release of CI's."""
    _interlock(folder, "key", str(folder / "ci.key"))
    _interlock(folder, "key", str(folder / "cd.key"))
    words = ("init", "environment", "environments", "--application", "shop", "--namespace", namespace)
    host = ("--image", "registry.example.org/shop/web", "--ci-key", str(folder / "ci.key.pub"), "--cluster", CLUSTER)
    said = _interlock(folder, *words, *host, "--signer", "ada", "--yes", "--output", "json")
    developer = Developer("ada", folder / "environments", servers.auth)
    developer.git("remote", "add", "origin", f"{servers.git}/environments.git")
    root: dict[str, Any] = json.loads(said)["root"]
    return developer, root


def _register(folder: Path, servers: _Servers, root: Mapping[str, Any], access: Path, *, namespace: str) -> Path:
    """The CD host's file; `access` is CD's own kubeconfig."""
    config, control, address, auth = folder / "cd.yaml", f"{namespace}-control", servers.git, servers.auth
    environments = ("--environment-repository", "environments", "--url", f"{address}/environments.git")
    pin = ("--root-commit", root["commit"], "--root-key", root["keys"][0])
    ledger = ("--ledger", "ledger", "--ledger-url", f"{address}/ledger.git", "--ledger-auth", str(auth))
    own = ("--signer", "cd", "--key", str(folder / "cd.key"), "--auth", str(auth), "--state", str(folder / "state"))
    pace = ("--poll-seconds", str(POLL_SECONDS), "--prefect", f"{servers.prefect}/api")
    ceiling = ("--cluster", CLUSTER, "--namespace", namespace, "--control-namespace", control)
    for words in (
        ("cd", *environments, *pin, *ledger, *own, *pace),
        ("cluster", CLUSTER, "--kubeconfig", str(access)),
        ("environment", ENVIRONMENT, *ceiling, "--resync-seconds", str(RESYNC_SECONDS)),
    ):
        _interlock(folder, "register", *words, "--config", str(config))
    return config


def _account_kubeconfig(admin: Cluster, kubeconfig: Path, control: str) -> str:
    """The administrator's way to the server, with a token of CD's own account for one day."""
    path = f"/api/v1/namespaces/{control}/serviceaccounts/interlock/token"
    wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 24 * 3600}}
    token = admin.request("POST", path, body=wish)["status"]["token"]
    given = yaml.safe_load(kubeconfig.read_text())
    context = next(one["context"] for one in given["contexts"] if one["name"] == given["current-context"])
    server = next(one["cluster"] for one in given["clusters"] if one["name"] == context["cluster"])
    if authority := server.pop("certificate-authority", None):
        data = (kubeconfig.parent / authority).read_bytes()
        server["certificate-authority-data"] = base64.b64encode(data).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CLUSTER, "cluster": server}],
            "users": [{"name": "interlock", "user": {"token": token}}],
            "contexts": [{"name": CLUSTER, "context": {"cluster": CLUSTER, "user": "interlock"}}],
            "current-context": CLUSTER,
        }
    )


def _interlock(folder: Path, *words: str, config: Path | None = None) -> str:
    env = _environment(folder) | ({"INTERLOCK_CONFIG": str(config)} if config else {})
    command = [str(_BIN / "interlock"), *words]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"interlock {' '.join(words[:2])}: exit code {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def _environment(folder: Path) -> dict[str, str]:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    path = f"{_BIN}:{os.environ.get('PATH', os.defpath)}"
    return clean_environment(PATH=path, HOME=str(home), USER="ada", LOGNAME="ada", NO_COLOR="1")


def _own() -> dict[str, str]:
    return clean_environment(PYTHONPATH=str(_checkout()))


def _checkout() -> Path:
    return Path(__file__).resolve().parents[1]


def _private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
