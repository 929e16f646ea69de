"""Trees and commits in any form, written past git's checks, read by real git and by us."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.contract import commit as commits
from interlock.contract import signature
from interlock.contract.commit import is_plain_path
from tasks.common import git
from tests.fuzz.hostile import EXAMPLES, fuzzed, hostile, only_ours

Write = Callable[[str, bytes], str]
FEWER = max(5, EXAMPLES // 20)
"""Each costs several processes of git."""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("git") / "mirror.git"
    git.create(path)
    return path


@pytest.fixture(scope="module")
def write(mirror: Path) -> Write:
    """Puts bytes into the mirror as an object of a kind, whatever they are."""

    def written(kind: str, data: bytes) -> str:
        command = ("git", f"--git-dir={mirror}", "hash-object", "-t", kind, "-w", "--literally", "--stdin")
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode().strip()

    return written


NAMES = st.one_of(
    st.sampled_from(
        [b"a", b"b/c", b"..", b".git", b".GIT", b"", b"a\\b", b"\xff", b"a\nb", b"-x", "é".encode(), b"a" * 300]
    ),
    st.binary(min_size=1, max_size=6).map(lambda name: name.replace(b"\0", b"")),
)
MODES = st.sampled_from(
    [b"100644", b"100755", b"120000", b"160000", b"40000", b"040000", b"100664", b"0", b"777777777777"]
)
ENTRIES = st.lists(st.tuples(MODES, NAMES, st.sampled_from(["blob", "tree", "none"])), max_size=4)


@settings(fuzzed, max_examples=FEWER)
@given(ENTRIES)
def test_trees(mirror: Path, write: Write, entries: list[tuple[bytes, bytes, str]]) -> None:
    """What is read has plain paths and is of regular files; all else is refused."""
    ids = {"blob": write("blob", b"x"), "tree": write("tree", b""), "none": "1" * 40}
    data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(ids[kind]) for mode, name, kind in entries)
    person = commits.Person("A", "a@b")
    commit = write(
        "commit", commits.unsigned(tree=write("tree", data), parents=(), author=person, seconds=1, message="x")
    )
    read = only_ours(lambda: git.read_tree(mirror, commit))
    only_ours(lambda: git.read_commits(mirror, None, commit))

    if read is not None:
        assert all(is_plain_path(path) for path in read.files)
        assert set(read.files.values()) <= {b"x"}


PRIVATE, _ = signature.generate_key()


@settings(fuzzed, max_examples=FEWER)
@given(st.data())
def test_commits(mirror: Path, write: Write, data: st.DataObject) -> None:
    """Of any bytes that git stores as a commit."""
    tree = write("tree", b"")
    person = commits.Person("A", "a@b")
    good = commits.signed(commits.unsigned(tree=tree, parents=(), author=person, seconds=1, message="x"), PRIVATE)
    commit = write("commit", data.draw(hostile([good])))
    for read in (git.read_commit, git.tree_id, git.read_tree):
        only_ours(lambda read=read: read(mirror, commit))  # type: ignore[misc]
    only_ours(lambda: git.read_commits(mirror, None, commit))
