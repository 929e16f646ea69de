"""A path, a symlink or a name in the repository makes CI or CD read or write a file outside of it.

Number: 9
Defence: nothing is checked out. Files are read as objects of the commit, and only plain files with plain paths are
accepted (tasks/common/git.py); templates are loaded from those blobs (interlock/contract/template.py); what a host
keeps under a name is named by patterns without slashes (interlock/contract/models.py).
Not defended: a developer's own clone, where `interlock check` and `interlock render` read files as they lie there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from interlock.contract import repository as format1
from interlock.contract.commit import is_plain_path
from interlock.contract.render import inputs
from interlock.errors import FormatError, InterlockError, Refused
from tasks.common import git
from tasks.common import render as process
from tests.examples_of_repositories import environment_tree
from tests.git.conftest import Repository
from tests.git.test_git import commit_with
from tests.git.test_hostile_trees import entry, publish, raw_object

VALUES = "environments/dev/shop/values.yaml"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host."""
    path = tmp_path / "host-secret"
    path.write_text("password: hunter2\n")
    return path


@pytest.fixture
def linked(repository: Repository, secret: Path) -> str:
    """A commit in which a values file is a symlink to it, at the branch's head."""
    root = repository.push(None, {"README": str(secret).encode()})
    (target,) = (each.blob for each in git.list_files(repository.mirror, root))
    commit = commit_with(repository, f"120000 blob {target}\tvalues.yaml\n")
    destination = f"{commit}:refs/heads/linked"
    subprocess.run(("git", f"--git-dir={repository.mirror}", "push", "-q", repository.bare, destination), check=True)
    return commit


def test_a_symlink_succeeds_in_a_plain_clone(repository: Repository, linked: str, secret: Path, tmp_path: Path) -> None:
    """Who clones and opens the values reads the host's file: so do most tools."""
    command = ("git", "clone", "-q", "--branch=linked", repository.bare, tmp_path / "clone")
    subprocess.run(command, check=True, capture_output=True)

    assert (tmp_path / "clone" / "values.yaml").read_text() == secret.read_text()


def test_a_symlink_is_refused(repository: Repository, linked: str, tmp_path: Path) -> None:
    """Neither read nor written out, and named in the refusal."""
    out = tmp_path / "out"
    for use in (lambda: git.read_tree(repository.mirror, linked), lambda: git.export(repository.mirror, linked, out)):
        with pytest.raises(Refused, match=r"values\.yaml' is a symlink") as refused:
            use()
        assert refused.value.rule == "mode"
        assert not out.exists()


def test_an_include_through_a_symlink_succeeds_in_a_sandboxed_loader(secret: Path, tmp_path: Path) -> None:
    """Jinja2's loader of files follows it, whatever sandbox the template runs in."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "evil").symlink_to(secret)
    loader = jinja2.FileSystemLoader(tmp_path / "templates")

    assert "hunter2" in ImmutableSandboxedEnvironment(loader=loader).from_string("{% include 'evil' %}").render()


@pytest.mark.parametrize("name", ["/etc/hostname", "../values.yaml", "../../trust/signers.yaml", "evil"])
def test_an_include_of_anything_else_is_refused(name: str) -> None:
    """A template has the blobs of its own set, and no files at all."""
    template = f"{{% include '{name}' %}}"
    tree = environment_tree({"templates/service/extra.yaml.j2": template})

    with pytest.raises(InterlockError, match=r"extra\.yaml\.j2"):
        process.render_apart(inputs(format1.read(tree), "dev"))


WRITTEN = ("../escaped", "/escaped", "a/../../escaped", ".git/hooks/post-checkout", "a\\..\\escaped", "a\n../escaped")


def test_a_path_that_leads_out_succeeds_for_who_joins_it(tmp_path: Path) -> None:
    """A writer that takes paths as they are leaves its folder."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / WRITTEN[0]).write_text("evil")

    assert (tmp_path / "escaped").read_text() == "evil"


@pytest.mark.parametrize("path", WRITTEN)
def test_a_path_that_leads_out_is_refused(repository: Repository, path: str) -> None:
    """A tree that somebody wrote by hand comes neither into the mirror nor out of it, and is never written by us."""
    root = repository.push(None, {"a": b"1\n"})
    blob = raw_object(repository, "blob", b"evil\n")
    publish(repository, entry("100644", path, blob), parent=root)

    assert not is_plain_path(path)
    with pytest.raises(InterlockError):
        git.read_tree(repository.mirror, git.fetch(repository.mirror, repository.remote))
    with pytest.raises(InterlockError):
        repository.write(root, {path: b"evil\n"})


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".", "..", "", "-x", "a\nb"])
def test_a_name_that_leads_out_is_refused(name: str) -> None:
    """An application's and a template set's name become parts of paths: they are names and nothing more."""
    tree = environment_tree({"applications/shop/application.yaml": f"format: 1\ntemplate: {name!r}\n"})

    with pytest.raises(FormatError):
        format1.read(tree)
