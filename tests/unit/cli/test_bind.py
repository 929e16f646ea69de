"""`interlock bind`: one more application in a repository that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.contract.repository import Repository, read
from interlock.contract.tree import Tree
from tests.unit.cli.commands import git, interlock

HELLO = ("bind", "environments", "--application", "hello", "--image", "127.0.0.1:5000/hello/web", "--yes")


def files(home: Path) -> Repository:
    folder = home / "environments"
    paths = git("ls-files", "--cached", "--others", folder=folder).split()
    return read(Tree.of({path: (folder / path).read_bytes() for path in paths}))


def test_a_new_application_is_bound_and_rendered(home: Path) -> None:
    """Its binding, CI's right to release it and its values are there; what was there stays."""
    before = files(home)
    done = interlock(*HELLO, "--port", "9000", "-o", "json", folder=home)
    after = files(home)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["written"] == [
        "applications/hello/application.yaml",
        "applications/hello/values.yaml",
        "environments/dev/hello/values.yaml",
        "trust/bindings.yaml",
        "trust/signers.yaml",
    ]
    assert after.bindings[0] == before.bindings[0]
    assert (after.bindings[1].source, after.bindings[1].component, after.bindings[1].signer) == (
        *("hello", "web"),
        "ci-shop",
    )
    assert after.signers[0] == before.signers[0]
    assert set(after.signers[1].writes) - set(before.signers[1].writes) == {
        "environments/*/hello/release.yaml",
        "environments/*/hello/evidence/*.json",
    }
    rendered = interlock("render", "dev", "--repository", "environments", "--unreleased", "-o", "json", folder=home)
    services = [body for body in json.loads(rendered.stdout) if body["kind"] == "Service"]
    assert {body["metadata"]["name"] for body in services} == {"shop", "hello"}


def test_the_explanations_at_the_top_stay(home: Path) -> None:
    """Only what was added shows in the diff of the trust files."""
    assert interlock(*HELLO, folder=home).returncode == 0
    diff = git("diff", folder=home / "environments").splitlines()

    assert not [line for line in diff if line.startswith("-") and not line.startswith("---")]


def test_bound_twice_is_bound_once(home: Path) -> None:
    """The second time nothing is written."""
    assert interlock(*HELLO, folder=home).returncode == 0
    again = interlock(*HELLO, folder=home)

    assert again.returncode == 0, again.stderr
    assert "bound to dev already" in again.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--environment", "prod"), "environment prod: there is none of that name"),
        (("--ci-signer", "root"), "no machine is named root"),
        (("--application", "shop"), "bound twice"),
        (("--template", "absent"), "template set absent"),
    ],
)
def test_a_wrong_wish_changes_nothing(home: Path, options: tuple[str, ...], message: str) -> None:
    """One clear line, exit code 2, and a clean working copy."""
    done = interlock(*HELLO, *options, folder=home)

    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert git("status", "--porcelain", folder=home / "environments") == ""
