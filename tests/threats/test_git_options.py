"""A repository's address, branch or revision is an option for git, or a transport that runs a command.

Number: 10
Defence: fixed argument lists with `--`, full commit ids only, patterns for addresses and branches, and git itself told
to allow http and https alone (tasks/common/git.py, interlock/contract/host.py).
Not defended: what a developer gives to `interlock` at a desk with their own git, whose transports are theirs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import git as gitpython
import pytest
from pydantic import ValidationError

from interlock.contract.host import Remote
from interlock.errors import GitError, Refused
from tasks.common import git
from tests.git.conftest import Repository


@pytest.fixture
def head(repository: Repository) -> str:
    return repository.push(None, {"a": b"1\n"})


def addresses(folder: Path) -> tuple[str, ...]:
    """That touch a file `ran` when somebody fetches from them."""
    return f"ext::sh -c touch% {folder}/ran", f"--upload-pack=touch {folder}/ran;"


def test_a_transport_that_runs_a_command_succeeds_in_plain_git(tmp_path: Path) -> None:
    """Where `ext` is allowed, as it is for who types addresses, fetching from one runs it."""
    command = ("git", "-c", "protocol.ext.allow=always", "ls-remote", addresses(tmp_path)[0])
    subprocess.run(command, check=False, capture_output=True)

    assert (tmp_path / "ran").exists()


def test_an_option_for_an_address_succeeds_in_gitpython(repository: Repository, head: str, tmp_path: Path) -> None:
    """A dynamic call hands what it is given to git, which takes it for an option and runs it."""
    plain = gitpython.Repo.init(tmp_path / "plain")
    with pytest.raises(gitpython.GitCommandError):
        plain.git.fetch(addresses(tmp_path)[1], repository.bare)

    assert (tmp_path / "ran").exists()


def test_an_option_for_a_revision_succeeds_in_gitpython(repository: Repository, head: str, tmp_path: Path) -> None:
    """`--output` makes `git log` write a file of the attacker's choice."""
    gitpython.Repo(repository.mirror).git.log(f"--output={tmp_path}/written", head)

    assert (tmp_path / "written").exists()


def test_addresses_that_run_something_are_refused(repository: Repository, head: str, tmp_path: Path) -> None:
    """They are no addresses for a host's file; and past the model, git is told to run nothing."""
    for url in (*addresses(tmp_path), "file:///etc", "/srv/x.git", "ssh://-oProxyCommand=x/y", "git://h/x"):
        with pytest.raises(ValidationError):
            Remote(url=url)
        unchecked = repository.remote.model_copy(update={"url": url, "auth": None})
        with pytest.raises(GitError):
            git.fetch(repository.mirror, unchecked)

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("branch", ["--upload-pack=touch x", "-x", "a:b", "a..b", "main~1", "@{-1}", "main\n--x"])
def test_branches_that_are_something_else_are_refused(branch: str) -> None:
    """A host's file takes the name of a branch and nothing that git reads otherwise."""
    with pytest.raises(ValidationError):
        Remote(url="https://git.example.org/x.git", branch=branch)


ASKED: tuple[Callable[[Path, str], object], ...] = (
    git.read_tree,
    git.list_files,
    git.read_commit,
    git.tree_id,
    git.has_commit,
    git.keep,
    lambda mirror, revision: git.read_commits(mirror, None, revision),
    lambda mirror, revision: git.read_commits(mirror, revision, "0" * 40),
    lambda mirror, revision: git.is_ancestor(mirror, revision, "0" * 40),
    lambda mirror, revision: git.read_additions(mirror, revision, known=(), most=9),
)


@pytest.mark.parametrize("ask", ASKED)
def test_options_for_a_revision_are_refused(
    repository: Repository, head: str, tmp_path: Path, ask: Callable[[Path, str], object]
) -> None:
    """Every function that takes a commit takes a full id."""
    for revision in (f"--output={tmp_path}/written", "--all", "HEAD", "main", head[:12], f"{head}^", f"{head}\n--all"):
        with pytest.raises(Refused) as refused:
            ask(repository.mirror, revision)
        assert refused.value.rule == "commit-id"

    assert not (tmp_path / "written").exists()
