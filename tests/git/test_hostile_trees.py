"""Trees that git would never write, from somebody who writes objects by hand: what was judged is what is read."""

from __future__ import annotations

import subprocess

import pytest

from interlock.contract import commit as commits
from interlock.errors import GitError, InterlockError, Refused
from tasks.common import git
from tests.git.conftest import AUTHOR, Repository


def raw_object(repository: Repository, kind: str, data: bytes) -> str:
    """Any bytes as an object on the server, past every check."""
    command = ("git", f"--git-dir={repository.bare}", "hash-object", "-t", kind, "-w", "--literally", "--stdin")
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode().strip()


def entry(mode: str, name: str, object_id: str) -> bytes:
    return f"{mode} {name}\0".encode() + bytes.fromhex(object_id)


def publish(repository: Repository, tree: bytes, *, parent: str) -> str:
    """A well signed commit of a tree in any form, as the branch's head."""
    data = commits.unsigned(
        tree=raw_object(repository, "tree", tree), parents=(parent,), author=AUTHOR, seconds=0, message="Change"
    )
    commit = raw_object(repository, "commit", commits.signed(data, git.read_key(repository.key.path)))
    subprocess.run(("git", f"--git-dir={repository.bare}", "update-ref", "refs/heads/main", commit), check=True)
    return commit


@pytest.fixture
def root(repository: Repository) -> str:
    return repository.push(None, {"d/f": b"first\n"})


def test_a_name_with_a_slash_is_refused(repository: Repository, root: str) -> None:
    """A second file under another one's path would be read in its place, while its change looks like a new file."""
    folder = raw_object(repository, "tree", entry("100644", "f", raw_object(repository, "blob", b"first\n")))
    evil = raw_object(repository, "blob", b"evil\n")
    head = publish(repository, entry("40000", "d", folder) + entry("100644", "d/f", evil), parent=root)

    with pytest.raises(InterlockError):
        git.read_tree(repository.mirror, git.fetch(repository.mirror, repository.remote))
    assert not git.has_commit(repository.mirror, head)


@pytest.mark.parametrize("names", [("a", "a"), ("b", "a"), ("a", "")], ids=["twice", "unsorted", "nameless"])
def test_trees_out_of_form_are_refused(repository: Repository, root: str, names: tuple[str, str]) -> None:
    """Git's tools may differ on what such a tree holds, so it does not come in."""
    blobs = [raw_object(repository, "blob", text) for text in (b"one\n", b"two\n")]
    publish(repository, b"".join(entry("100644", n, b) for n, b in zip(names, blobs, strict=True)), parent=root)

    with pytest.raises((GitError, Refused)):
        git.fetch(repository.mirror, repository.remote)
