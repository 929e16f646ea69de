"""Canaries in every input of a whole pipeline, and a search through all that its runs left behind."""

from __future__ import annotations

import base64
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import yaml

from interlock.contract import layout
from interlock.contract.sealed import place as sealed_place
from sandbox.parts import git, registry
from sandbox.pipeline import APPLICATION, ENVIRONMENT, NAMESPACE, Pipeline
from sandbox.place import Place
from sandbox.users import user, write_private
from tests.canaries import Canaries, found_in_git, standing_in, watched_processes
from tests.forges.conftest import serving
from tests.forges.server import PROJECT, TOKEN, FakeForge, Fault
from tests.sealing import identity, recipients_file, seal

pytestmark = pytest.mark.timeout(1500)  # whoever comes first waits for the pipeline
SEALED = "canary-sealed-Zürich+1"
CHANGED = "canary-changed-s3same"
VAULT = "vault"
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/{VAULT}"
_MOST_BYTES = 64 << 20
_ELSEWHERE = ("etcd", "docker", "containerd", "kubelet", "node", "registry", "trivy", "baseimage", "person")
"""The cluster's own store, images and their layers, and the folder of the person who holds keys of their own."""


def _password(file: Path) -> str:
    return file.read_text().strip().partition(":")[2]


def _middle(file: Path) -> str:
    """A line of a private key that no other key has."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("-----")]
    return lines[len(lines) // 2]


def canaries(place: Place, key: str) -> Canaries:
    """What a whole pipeline has that nobody may see."""
    state = place.state
    kubeconfig = yaml.safe_load((state / "cd" / "kubeconfig").read_text())
    client_key = kubeconfig["users"][0]["user"]["client-key-data"]
    webhook = git.git_folder(place) / "webhook.secret"
    signer = state / "signer" / f"attestation-{APPLICATION}.key"
    accounts = (
        ("git server", git.credentials, ("ci", "cd", "signer")),
        ("registry", registry.credentials, ("ci", "signer")),
    )
    return {
        **{
            f"{role}'s password at the {where}": _password(file(place, role))
            for where, file, roles in accounts
            for role in roles
        },
        **{f"{role}'s signing key": _middle(state / role / "signing.key") for role in ("ci", "cd")},
        "the signer's key": _middle(signer),
        "the webhooks' secret": webhook.read_text().strip().splitlines()[0],
        "CD's key at the API server": base64.b64decode(client_key).decode().splitlines()[2],
        "CD's age identity": key,
        "CI's token at the forge": TOKEN,
        "a sealed value": SEALED,
        "a sealed value that was refused": CHANGED,
    }


# where they may be found -------------------------------------------------------------------------------


def _files(place: Place) -> Iterator[Path]:
    for folder, names, files in os.walk(place.state):
        names[:] = [name for name in names if name not in _ELSEWHERE]
        yield from (Path(folder, name) for name in files)


def _holds(file: Path) -> bool:
    """Whether a file is where a secret lies on purpose: keys, accounts and configurations of clients."""
    return bool(
        re.search(r"\.(key|auth|secret|agekey|htpasswd|password|token)$|kubeconfig|credentials|webhook", file.name)
    ) or ("kubernetes" in file.parts and file.suffix != ".log")


def found_in_files(place: Place, wanted: Canaries) -> list[str]:
    """Logs, state folders, caches, marks, mirrors, core dumps: whatever lies in the sandbox's folder."""
    found = []
    for file in _files(place):
        if _holds(file) or not file.is_file() or file.is_symlink() or file.stat().st_size > _MOST_BYTES:
            continue
        found += [f"{name} in {file}" for name in standing_in(file.read_bytes(), wanted)]
    return found


def found_in_database(place: Place, wanted: Canaries) -> list[str]:
    """Every row of Prefect's database: runs, parameters, states, logs, artifacts, events, blocks, variables."""
    found = []
    (database,) = [file for file in _files(place) if file.name == "prefect.db"]
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        for line in connection.iterdump():
            found += [f"{name} in Prefect: {line[:60]}" for name in standing_in(line.encode(), wanted)]
    return found


def repositories(place: Place) -> set[Path]:
    """Every one: the servers' with the ledger, and the halves' mirrors."""
    return {file.parent for file in _files(place) if file.name == "HEAD" and (file.parent / "objects").is_dir()}


def git_own(name: str, file: Path) -> bool:
    """git has no other way to hear of its password than its environment."""
    return file.name == "environ" and "git server" in name


# the run -----------------------------------------------------------------------------------------------


def _prepare(pipeline: Pipeline) -> tuple[str, str]:
    """CD's host gets an identity, and the repository an application with sealed values; (key, recipient)."""
    place, (key, recipient) = pipeline.place, identity()
    file = place.state / "cd" / "dev.agekey"
    write_private(file, f"{key}\n", owner=user(place, "cd").id)
    config = place.state / "cd" / "cd.yaml"
    text = config.read_text()
    assert text.count(f"  {ENVIRONMENT}:\n") == 1
    config.write_text(text.replace(f"  {ENVIRONMENT}:\n", f"  {ENVIRONMENT}:\n    age_identity: {file}\n"))
    return key, recipient


@contextmanager
def _forge(pipeline: Pipeline) -> Iterator[FakeForge]:
    """CI's host has an account at one, which is refused at first, and in words that have the token."""
    place = pipeline.place
    config, token = place.state / "ci" / "ci.yaml", place.state / "ci" / "forge.token"
    write_private(token, f"{TOKEN}\n", owner=user(place, "ci").id)
    before = config.read_text()
    with serving("github") as forge:
        forge.faults = [Fault(401, message=f"Bad credentials: {TOKEN}", only="POST")]
        account = {"kind": "github", "url": f"http://127.0.0.1:{forge.port}", "project": PROJECT, "token": str(token)}
        config.write_text(before + yaml.safe_dump({"forges": {APPLICATION: account}}))
        yield forge
        config.write_text(before)


def _release(pipeline: Pipeline) -> None:
    known = pipeline.runs.ids("release")
    commit = pipeline.application.commit("Say more", {"README.md": "# Another text\n"})
    pipeline.application.push()
    pipeline.runs.wait(
        "release",
        known=known,
        seconds=600,
        accept=lambda run: run.kind == "COMPLETED" and commit[:7] in f"{run.name} {run.message}",
    )


def _sealed(pipeline: Pipeline, recipient: str, values: Mapping[str, str]) -> dict[str, str]:
    own = yaml.safe_load((pipeline.environments.clone / layout.ENVIRONMENTS).read_text())["id"]
    return {layout.secrets(ENVIRONMENT, VAULT): seal(values, recipient, to=sealed_place(own, ENVIRONMENT, VAULT))}


def _deploy(pipeline: Pipeline, message: str, changes: Mapping[str, str]) -> str:
    """Push, and the state's name of the deploy that it caused."""
    runs, environments = pipeline.runs, pipeline.environments
    known = runs.ids("deploy")
    environments.pull()
    commit = environments.commit(message, changes)
    environments.push()
    seen = ("Refused", "BadInput", "BadHostConfig", "Failed", "Crashed")
    run = runs.wait(
        "deploy",
        known=known,
        seconds=300,
        accept=lambda run: commit[:7] in f"{run.name} {run.message}" or run.state in seen,
    )
    return run.state


def test_no_secret_is_left_anywhere(pipeline: Pipeline) -> None:
    """A release, a deploy with sealed values and one that is refused: no log, page, ledger, cache, argument has one."""
    key, recipient = _prepare(pipeline)
    wanted = canaries(pipeline.place, key)
    head = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {VAULT}\n"
    template = head + "stringData:\n  url: https://ada:{{ secrets.password }}@db\n"
    begin = {
        layout.RECIPIENTS: recipients_file(recipient),
        layout.application(VAULT): f"format: 1\ntemplate: {VAULT}\n",
        f"templates/{VAULT}/secret.yaml.j2": template,
    }

    with watched_processes(wanted, passes=git_own) as seen, _forge(pipeline) as forge:
        pipeline.runs.wait("release", known=frozenset(), seconds=900, accept=lambda run: run.kind == "COMPLETED")
        _release(pipeline)
        pipeline.environments.pull()
        first = _deploy(pipeline, "Add sealed values", {**begin, **_sealed(pipeline, recipient, {"password": SEALED})})
        live = pipeline.cluster.get(SECRET)
        both = _sealed(pipeline, recipient, {"password": CHANGED, "other": CHANGED})
        broken = {path: re.sub(r"(?m)^  other: .*\n", "", text) for path, text in both.items()}
        second = _deploy(pipeline, "Break the MAC", broken)
        third = _deploy(pipeline, "Mend it", _sealed(pipeline, recipient, {"password": SEALED}))

    assert forge.statuses, "the token was used"
    assert first == "Completed"
    assert base64.b64decode(live["data"]["url"]).decode() == f"https://ada:{SEALED}@db"
    assert (second, third) == ("Refused", "Completed")
    found = (
        *found_in_files(pipeline.place, wanted),
        *found_in_database(pipeline.place, wanted),
        *found_in_git(repositories(pipeline.place), wanted),
        *sorted(seen),
    )
    assert found == ()


def test_the_search_finds_what_is_there(pipeline: Pipeline) -> None:
    """A canary in a log, in Prefect and in a process' arguments is found: the search above is no formality."""
    place = pipeline.place
    secret = "canary-planted-here"
    planted = {"a planted one": secret}
    log = place.logs / "planted.log"
    log.write_text(f"Authorization: {base64.b64encode(f'x:{secret}'.encode()).decode()}\n")
    try:
        with watched_processes(planted, passes=git_own) as seen:
            subprocess.run(("sleep", "2", f"{0:d}"), env={"PLANTED": secret}, check=True)
        assert [each for each in found_in_files(place, planted) if str(log) in each]
        assert seen
    finally:
        log.unlink()
    assert found_in_database(place, {"a flow's name": "interlock-cd"})
    assert found_in_git(repositories(place), {"a file's word": "namespaces"})
