"""What somebody needs who brings a service of their own into a running sandbox, from a shell beside it."""

from __future__ import annotations

import base64
import shlex
import sys
import time
from pathlib import Path

import httpx

from sandbox import slots
from sandbox.cluster import Cluster
from sandbox.http import LOCAL
from sandbox.part import SandboxError
from sandbox.parts import git
from sandbox.parts.docker import Docker
from sandbox.parts.trivy import Trivy
from sandbox.place import Place

NAME = "INTERLOCK_SANDBOX"
"""The variable that says which sandbox a shell works with."""


def running(name: str) -> Place:
    """The sandbox of that name; SandboxError when it does not run."""
    for place in slots.running():
        if place.name == name:
            return place
    start = "make demo" if name == "demo" else f"python -m sandbox up --name {name}"
    raise SandboxError(f"sandbox {name}: does not run; start it: {start}")


def exports(place: Place) -> str:
    """Lines for `eval`: where things are, and the developer's password for the sandbox's git server, if it has one."""
    values = {
        NAME: place.name,
        "REGISTRY": place.registry,
        "ENVIRONMENTS": str(place.state / "person" / "environments"),
        "CI_CONFIG": str(place.state / "ci" / "ci.yaml"),
        "CI_AUTH": str(git.credentials(place, "ci")),
        "SIGNER_CONFIG": str(place.state / "signer" / "signer.yaml"),
        "SIGNER_AUTH": str(git.credentials(place, "signer")),
        "RECEIVER_CONFIG": str(place.state / "receiver" / "receiver.yaml"),
        "KUBECONFIG": str(place.kubeconfig),
        "DOCKER_HOST": Docker(place).docker_host,
        "TRIVY_CACHE": str(Trivy(place).cache),
        **_git_account(place),
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    # git needs an address for whoever commits, and a bare machine gives none.
    lines.append('export EMAIL="${EMAIL:-you@example.org}"')
    lines.append(f'export PATH={shlex.quote(str(Path(sys.prefix) / "bin"))}:"$PATH"')
    return "\n".join(lines)


def _git_account(place: Place) -> dict[str, str]:
    password = git.credentials(place, "developer")
    if not password.exists():  # a sandbox may have other parts only
        return {}
    server = f"http://127.0.0.1:{place.git_port}"
    login = base64.b64encode(password.read_text().strip().encode()).decode()
    return {
        "GIT": server,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {login}",
    }


def ask(place: Place, service: str, path: str, *, namespace: str, seconds: float) -> str:
    """What a Service of the cluster answers to a GET, waiting so long for it; says so on stderr when it must wait."""
    until, told = time.monotonic() + seconds, False
    while True:
        try:
            return _answer(place, service, path, namespace=namespace)
        except SandboxError as error:
            if time.monotonic() > until:
                raise
            if not told:
                print(f"{error}\nwaiting up to {seconds:.0f} s; Ctrl-C ends it", file=sys.stderr)
                told = True
            time.sleep(1)


def _answer(place: Place, service: str, path: str, *, namespace: str) -> str:
    pages = f"http://127.0.0.1:{place.prefect_port}/runs"
    try:
        found = Cluster(place).get(f"/api/v1/namespaces/{namespace}/services/{service}")
        if found is None:
            raise SandboxError(f"service {namespace}/{service}: there is none yet; see how far its runs are: {pages}")
        spec = found["spec"]
        answer = LOCAL.get(f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}{path}", timeout=10)
    except httpx.HTTPError as error:
        raise SandboxError(f"service {namespace}/{service}: no answer yet ({error}); its runs: {pages}") from error
    return answer.text
