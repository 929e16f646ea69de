"""A CI host with real parts, and an application repository of three components for us and for a script to release."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from bench.estate import Quiet, make_key
from flows.ci.release import ReleaseOutcome, release_order
from interlock.ci.host import CiHost
from interlock.contract import layout, strict_yaml
from interlock.contract.commit import Person
from interlock.contract.host import Remote
from sandbox.parts import git as git_part
from sandbox.parts import registry as registry_part
from sandbox.parts.baseimage import BaseImage
from sandbox.parts.docker import Docker
from sandbox.parts.trivy import Trivy
from sandbox.place import Place
from sandbox.supervisor import Sandbox
from tasks.ci.host import load_ci
from tasks.common import git

COMPONENTS = ("api", "job", "web")
_PARTS = ("git", "registry", "docker", "trivy", "baseimage")
_SCRIPT = Path(__file__).with_name("release.sh")
_AUTHOR = Person("bench", "bench@example.org")
_MODULES = 400
"""How many modules a component has: its build compiles them, and its tests import them."""
_DOCKERFILE = f"""\
FROM {BaseImage.address}
COPY shop /app/shop
RUN python -m compileall -q -o 0 -o 1 -o 2 /app/shop
COPY tests /app/tests
WORKDIR /app
USER 10001
HEALTHCHECK CMD ["python", "-c", "import shop"]
ENTRYPOINT ["python", "-m", "shop"]
"""
_TEST = """\
import importlib, sys, unittest
from shop import VERSION

class Modules(unittest.TestCase):
    def test_all_count(self):
        for number in range(MODULES):
            self.assertEqual(importlib.import_module(f"shop.m{number}").number(), number)

found = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(Modules))
case = "<testcase name='modules'/>" if found.wasSuccessful() else "<testcase name='modules'><failure/></testcase>"
open("/tmp/junit.xml", "w").write(f"<testsuite>{case}</testsuite>")
sys.exit(not found.wasSuccessful())
"""
_SET = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ application.name }}", namespace: "{{ namespace }}"}
spec:
  selector: {matchLabels: {app: "{{ application.name }}"}}
  template:
    metadata: {labels: {app: "{{ application.name }}"}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
{% for name, component in components | dictsort %}
        - name: "{{ name }}"
          image: "{{ component.image }}"
          resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 100m, memory: 64Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
{% endfor %}
"""


def docker() -> str | None:
    """The command line that the script by hand uses."""
    return shutil.which("docker")


@dataclass
class Workshop:
    """Every push is a commit on the one before. Ours and the script release it to repositories of their own."""

    place: Place
    folder: Path
    host: CiHost
    remote: Remote
    by_hand_remote: Remote
    head: str | None = None

    @property
    def by_hand_folder(self) -> Path:
        return self.folder / "by-hand"

    def push(self, version: str, components: Sequence[str] = COMPONENTS) -> None:
        """Another version of these components; with none, a commit that changes no file."""
        self.commit({f"{name}/shop/__init__.py": _version(version) for name in components})

    def commit(self, files: Mapping[str, str]) -> None:
        self.head = _push(self.folder, "developer", self.remote, files, self.head)

    def forget(self) -> None:
        """What scans of earlier releases found; the caches of layers stay, as those of the script do."""
        shutil.rmtree(self.host.state / "kept")

    def release(self) -> ReleaseOutcome:
        """What a release does, from fetch to the last release commit, without Prefect around it.

        Its home is looked through for cluster credentials: an empty one, as a worker's user has it.
        """
        with patch.dict(os.environ, HOME=str(self.folder / "home")):
            return asyncio.run(release_order(Quiet(), self.host, "shop", None))

    def by_hand(self) -> None:
        """The same commands by a script, with its own repositories, and a scanner's cache for each component."""
        work = self.by_hand_folder
        shutil.rmtree(work / "run", ignore_errors=True)
        (work / "run").mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(work),
            "DOCKER_HOST": self.host.docker,
            "DOCKER_CONFIG": str(work / "docker"),
            "DOCKER_BUILDKIT": "0",
            "GIT_CONFIG_GLOBAL": str(work / "gitconfig"),
            "TRIVY": str(Trivy(self.place).program),
            "CACHES": str(work / "caches"),
            "MANIFESTS": str(work / "manifests"),
            "REGISTRY": f"{self.place.registry}/by-hand",
            "SOURCE": self.remote.url,
            "ENVIRONMENTS": self.by_hand_remote.url,
            "COMPONENTS": " ".join(COMPONENTS),
        }
        command = ["sh", str(_SCRIPT)]
        done = subprocess.run(command, check=False, cwd=work / "run", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]


@contextmanager
def workshop(sandbox: Sandbox, folder: Path) -> Iterator[Workshop]:
    """The repositories with their first commits, and a CI host that knows them. Nothing is released yet."""
    sandbox.start(*_PARTS)
    place = sandbox.place
    folder.mkdir()
    public = {name: make_key(folder / name) for name in ("ada", "ci-shop")}
    remotes = {name: _repository(place, name) for name in _KINDS}
    git.create(folder / "developer.git")
    git.create(folder / "environments.git")
    root = _push(folder, "environments", remotes["environments"], _environment_files(place, public))
    _push(folder, "environments", remotes["by-hand"], {"README": "The script's own.\n"})
    host = _host(place, folder, remotes, root=root, public=public["ada"])
    works = Workshop(place, folder, host, remotes["shop"], remotes["by-hand"])
    works.commit(_application_files())
    _lay_out_by_hand(works)
    yield works


_KINDS: Mapping[str, git_part.Kind] = {"shop": "application", "environments": "environment", "by-hand": "environment"}


def _repository(place: Place, name: str) -> Remote:
    url = git_part.create_repository(place, name, kind=_KINDS[name])
    return Remote(url=url, auth=git_part.credentials(place, "developer"))


def _push(folder: Path, mirror: str, remote: Remote, files: Mapping[str, str], parent: str | None = None) -> str:
    encoded: dict[str, bytes | None] = {path: text.encode() for path, text in files.items()}
    repository, key = folder / f"{mirror}.git", folder / "ada"
    commit = git.write_commit(repository, parent, encoded, message="Change", key=key, author=_AUTHOR)
    git.push(repository, commit, remote, expected=parent)
    return commit


def _application_files() -> dict[str, str]:
    described = "".join(
        f"  {name}:\n    context: {name}\n    dockerfile: {name}/Dockerfile\n"
        "    tests: {command: [python, -m, tests.run]}\n"
        for name in COMPONENTS
    )
    files = {"interlock.yaml": f"format: 1\ncomponents:\n{described}"}
    for name in COMPONENTS:
        files |= {f"{name}/{path}": text for path, text in _component_files().items()}
    return files


def _component_files() -> dict[str, str]:
    modules = {f"shop/m{number}.py": _module(number) for number in range(_MODULES)}
    main = {"shop/__init__.py": _version("first"), "shop/__main__.py": "import shop\nprint(shop.VERSION)\n"}
    tests = {"tests/__init__.py": "", "tests/run.py": _TEST.replace("MODULES", str(_MODULES))}
    return {"Dockerfile": _DOCKERFILE, **main, **modules, **tests}


def _module(number: int) -> str:
    return (
        f"def number():\n    return max([{', '.join(str(each) for each in range(max(0, number - 200), number + 1))}])\n"
    )


def _version(text: str) -> str:
    return f"VERSION = {text!r}\n"


def _environment_files(place: Place, public: Mapping[str, str]) -> dict[str, str]:
    signers = [
        {"name": "ada", "key": public["ada"], "writes": ["**"], "approves": True},
        {"name": "ci-shop", "key": public["ci-shop"], "writes": ["environments/dev/shop/**"], "machine": True},
    ]
    bindings = [
        {
            "source": "shop",
            "component": name,
            "application": "shop",
            "environments": ["dev"],
            "image": f"{place.registry}/ours/{name}",
            "signer": "ci-shop",
        }
        for name in COMPONENTS
    ]
    environment = {"format": 1, "id": "d0d1d2d3d4d5", "cluster": "bench", "namespaces": ["shop"]}
    return {
        layout.ENVIRONMENTS: 'format: 1\nid: "0123456789ab"\n',
        layout.SIGNERS: strict_yaml.dump({"format": 1, "signers": signers}),
        layout.BINDINGS: strict_yaml.dump({"format": 1, "bindings": bindings}),
        layout.GATE: "format: 1\n",
        layout.environment("dev"): strict_yaml.dump(environment),
        layout.application("shop"): "format: 1\ntemplate: shop\n",
        layout.values("dev", "shop"): "replicas: 1\n",
        f"{layout.templates('shop')}/deployment.yaml.j2": _SET,
    }


def _host(place: Place, folder: Path, remotes: Mapping[str, Remote], *, root: str, public: str) -> CiHost:
    value = {
        "format": 1,
        "prefect": "http://127.0.0.1:4200/api",
        "state": str(folder / "state"),
        "environment_repository": {
            "name": "environments",
            "url": remotes["environments"].url,
            "auth": str(git_part.credentials(place, "ci")),
            "root": {"commit": root, "keys": [public]},
        },
        "repositories": {"shop": {"url": remotes["shop"].url, "auth": str(git_part.credentials(place, "ci"))}},
        "registry": {
            "host": place.registry,
            "auth": str(registry_part.credentials(place, "ci")),
            "insecure": True,
        },
        "signing": {"signer": "ci-shop", "key": str(folder / "ci-shop")},
        "docker": Docker(place).docker_host,
        "trivy": {"cache": str(Trivy(place).cache), "database": "pinned"},
        "components_at_once": len(COMPONENTS),
        "builder": "daemon",  # as the script says
    }
    for name in ("state", "home"):
        (folder / name).mkdir()
    path = folder / "ci.yaml"
    path.write_text(strict_yaml.dump(value))
    return load_ci(path)


def _lay_out_by_hand(works: Workshop) -> None:
    """Credentials and caches of the script: the scanner's database by links, as each cache has one user at a time."""
    work = works.by_hand_folder
    for name in ("source", *COMPONENTS):
        (work / "caches" / name).mkdir(parents=True)
        (work / "caches" / name / "db").symlink_to(Trivy(works.place).cache / "db")
    (work / "docker").mkdir()
    password = base64.b64encode(registry_part.credentials(works.place, "ci").read_bytes().strip()).decode()
    (work / "docker" / "config.json").write_text(json.dumps({"auths": {works.place.registry: {"auth": password}}}))
    (work / "git-credentials").touch(mode=0o600)
    login = git_part.credentials(works.place, "developer").read_text().strip()
    (work / "git-credentials").write_text(f"http://{login}@{works.by_hand_remote.url.split('/')[2]}\n")
    (work / "gitconfig").write_text(
        f"[credential]\n\thelper = store --file {work / 'git-credentials'}\n"
        "[user]\n\tname = ci\n\temail = ci@example.org\n"
        f"\tsigningkey = {works.folder / 'ci-shop'}\n[gpg]\n\tformat = ssh\n[commit]\n\tgpgsign = true\n"
    )
    (work / "manifests").mkdir()
    (work / "manifests" / "deployment.yaml").write_text(_rendered(works.place.registry))


def _rendered(registry: str) -> str:
    """What the templates make of the components: a script by hand has no templates."""
    containers = [{"name": name, "image": f"{registry}/by-hand/{name}@sha256:{'0' * 64}"} for name in COMPONENTS]
    metadata = {"name": "shop", "namespace": "shop"}
    spec = {"template": {"spec": {"containers": containers}}}
    return strict_yaml.dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
