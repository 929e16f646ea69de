"""The process that opens sealed values."""

from __future__ import annotations

import ctypes
import multiprocessing
import resource
from multiprocessing.connection import Connection
from pathlib import Path

from interlock.contract import layout, repository
from interlock.contract.render import inputs, render_inputs
from tasks.cd.secrets import open_secrets
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.sealing import identity, recipients_file, seal

_PR_GET_DUMPABLE = 3


def test_it_leaves_no_core_dump(tmp_path: Path) -> None:
    """Once it holds a plaintext, it may not be dumped, nor be looked into by other processes of its user."""
    key, recipient = identity()
    file = tmp_path / "dev.agekey"
    file.touch(mode=0o600)
    file.write_text(key)
    here, there = multiprocessing.Pipe()
    opening = multiprocessing.get_context("spawn").Process(target=_open, args=(there, file, recipient))
    opening.start()
    before, after = here.recv(), here.recv()
    opening.join(60)

    assert before[1] == 1, "it can be dumped as long as it knows nothing"
    assert after == (0, 0)


def _open(told: Connection, file: Path, recipient: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    told.send(_standing())
    files = {
        layout.RECIPIENTS: recipients_file(recipient),
        layout.secrets(ENVIRONMENT, APPLICATION): seal({"password": "canary-hunter2"}, recipient),
        f"{layout.templates('service')}/secret.yaml.j2": (
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  a: x{{ secrets.password }}\n"
        ),
    }
    found = repository.read(environment_tree(files))
    opened = open_secrets.fn(render_inputs(inputs(found, ENVIRONMENT)), found, ENVIRONMENT, file)
    assert any(each.body["kind"] == "Secret" and "data" in each.body for each in opened.manifests)
    told.send(_standing())


def _standing() -> tuple[int, int]:
    """The limit of a dump, and whether there may be one."""
    return resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
