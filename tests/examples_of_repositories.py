"""A small valid environment repository, as the value that every room of the product takes.

One environment `dev`, one application `shop` from the built-in set `service`, one component `web`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from interlock.contract import evidence, layout, release
from interlock.contract.canonical import digest
from interlock.contract.models import ReleasedComponent, Source
from interlock.contract.tree import Tree

REPOSITORY_ID = "a0b1c2d3e4f5"
ENVIRONMENT = "dev"
ENVIRONMENT_ID = "d0d1d2d3d4d5"
APPLICATION = "shop"
COMPONENT = "web"
NAMESPACE = "shop"
SOURCE_REPOSITORY = "shop"
SOURCE_COMMIT = "5" * 40
IMAGE_REPOSITORY = "registry.example/shop/web"
IMAGE = f"{IMAGE_REPOSITORY}@sha256:{'1a' * 32}"
TIME = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)

# Their private halves were thrown away.
PERSON_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIgR85/7g7BJvHJ2PfAR5+3fqIJwULzZLGiilXoJrCbg ada"
MACHINE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEu+6M0CczQD1/iUM/t2MvzsOxVG6+7UFQrB3HytKZPn ci-shop"

_SET = Path(__file__).parents[1] / "templates" / "sets" / "service"


def environment_tree(
    changes: Mapping[str, str | bytes | None] | None = None,
    *,
    released: bool = True,
    image: str = IMAGE,
    commit: str = "c" * 40,
    person_key: str = PERSON_KEY,
    machine_key: str = MACHINE_KEY,
) -> Tree:
    """The repository as a Tree. `changes` replaces files by path; None removes one."""
    files = _files(person_key=person_key, machine_key=machine_key)
    if released:
        files |= release_files(image=image)
    for path, content in (changes or {}).items():
        files[path] = content if isinstance(content, bytes | None) else content.encode()
    return Tree.of({path: content for path, content in files.items() if content is not None}, commit=commit)


def release_files(
    *, image: str = IMAGE, component: str = COMPONENT, source_commit: str = SOURCE_COMMIT
) -> dict[str, bytes | None]:
    """What CI's release commit writes: the release and its evidence."""
    proof = evidence.envelope(statements(image, component=component, source_commit=source_commit))
    entry = ReleasedComponent(
        image=image, source=Source(repository=SOURCE_REPOSITORY, commit=source_commit), evidence=digest(proof)
    )
    image_digest = image.partition("@")[2]
    return {
        layout.release(ENVIRONMENT, APPLICATION): release.with_component(None, component, entry).encode(),
        layout.evidence(ENVIRONMENT, APPLICATION, component, image_digest): proof,
    }


def statements(
    image: str = IMAGE, *, component: str = COMPONENT, source_commit: str = SOURCE_COMMIT
) -> tuple[evidence.Statement, ...]:
    """One statement of each kind that CI makes."""
    return (
        evidence.provenance(
            image,
            repository=SOURCE_REPOSITORY,
            commit=source_commit,
            component=component,
            builder="ci-shop",
            run="run-1",
            started=TIME,
            finished=TIME,
        ),
        evidence.test_result(image, report_digest="sha256:" + "2" * 64, passed=("test_price",)),
        evidence.gate_verdict(image, environment=ENVIRONMENT, passed=True, policy_commit="c" * 40),
    )


def _files(*, person_key: str, machine_key: str) -> dict[str, bytes | None]:
    texts = {
        layout.ENVIRONMENTS: f"format: 1\nid: {REPOSITORY_ID}\n",
        layout.SIGNERS: f"""\
format: 1
signers:
  - name: ada
    key: {person_key}
    writes: ["**"]
    approves: true
  - name: ci-shop
    key: {machine_key}
    writes: ["environments/dev/shop/release.yaml", "environments/dev/shop/evidence/*"]
    machine: true
""",
        layout.BINDINGS: f"""\
format: 1
bindings:
  - source: {SOURCE_REPOSITORY}
    component: {COMPONENT}
    application: {APPLICATION}
    environments: [{ENVIRONMENT}]
    image: {IMAGE_REPOSITORY}
    signer: ci-shop
""",
        layout.GATE: "format: 1\n",
        layout.WAIVERS: "format: 1\nwaivers: []\n",
        layout.environment(ENVIRONMENT): f"""\
format: 1
id: {ENVIRONMENT_ID}
cluster: sandbox
namespaces: [{NAMESPACE}]
""",
        layout.application(APPLICATION): "format: 1\ntemplate: service\n",
        layout.shared_values(APPLICATION): "port: 8080\nhealth: /healthz\nenv:\n  GREETING: hello\n",
        layout.values(ENVIRONMENT, APPLICATION): "replicas: 2\n",
    }
    files: dict[str, bytes | None] = {path: text.encode() for path, text in texts.items()}
    return files | {f"{layout.templates('service')}/{each.name}": each.read_bytes() for each in _SET.glob("*.j2")}
