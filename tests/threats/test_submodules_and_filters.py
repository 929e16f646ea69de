"""A submodule, an LFS pointer, a filter or an attribute brings in content that nobody signed, or runs a program.

Number: 12
Defence: trees with submodules or symlinks are refused, and files are read as the bytes of the commit, without a
checkout and so without filters (tasks/common/git.py). In the environment repository `.gitmodules` and
`.gitattributes` are refused too, under any spelling (interlock/contract/verification.py).
Not defended: an LFS pointer is read as the text that it is, and the content never fetched: an application repository
that needs LFS cannot be built.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interlock.errors import Refused
from tasks.common import git
from tests.git.conftest import Repository
from tests.git.test_git import commit_with
from tests.unit.trust.conftest import World
from tests.unit.trust.conftest import world as rules  # noqa: F401 - a fixture

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"1" * 64 + b"\nsize 3\n"
FILTERED = {".gitattributes": b"* filter=evil\n", "values.yaml": b"replicas: 1\n"}


def plain(folder: Path, *words: str | Path) -> None:
    subprocess.run(("git", "-C", folder, *words), check=True, capture_output=True)


def test_a_filter_succeeds_in_a_plain_checkout(tmp_path: Path) -> None:
    """What is checked out is what a program makes of it, and the signature holds all the same."""
    plain(tmp_path, "init", "-q", "clone")
    clone = tmp_path / "clone"
    for path, content in FILTERED.items():
        (clone / path).write_bytes(content)
    plain(clone, "add", ".")
    plain(clone, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "Change")
    plain(clone, "config", "filter.evil.smudge", "sed s/1/100/")
    (clone / "values.yaml").unlink()
    plain(clone, "checkout", "-q", "--", "values.yaml")

    assert (clone / "values.yaml").read_bytes() == b"replicas: 100\n"


def test_a_submodule_succeeds_in_a_plain_clone(repository: Repository, tmp_path: Path) -> None:
    """A recursive clone has the files of a repository that nobody of the first one's signers ever saw."""
    other = tmp_path / "other"
    plain(tmp_path, "init", "-q", "other")
    (other / "values.yaml").write_text("image: evil\n")
    plain(other, "add", ".")
    plain(other, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "Evil")
    plain(tmp_path, "init", "-q", "first")
    allowed = ("-c", "protocol.file.allow=always")
    plain(tmp_path / "first", *allowed, "submodule", "--quiet", "add", other, "environments")
    plain(tmp_path / "first", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "Add")
    plain(tmp_path, *allowed, "clone", "-q", "--recurse-submodules", tmp_path / "first", "clone")

    assert (tmp_path / "clone" / "environments" / "values.yaml").read_text() == "image: evil\n"


@pytest.mark.parametrize(
    "entries",
    ["160000 commit 1111111111111111111111111111111111111111\tmodule\n", "120000 blob {blob}\tvalues.yaml\n"],
    ids=["submodule", "symlink"],
)
def test_a_tree_with_one_is_refused(repository: Repository, tmp_path: Path, entries: str) -> None:
    """Neither read nor written out."""
    root = repository.push(None, {"a": b"1\n"})
    (blob,) = (each.blob for each in git.list_files(repository.mirror, root))
    commit = commit_with(repository, entries.format(blob=blob))

    with pytest.raises(Refused) as refused:
        git.read_tree(repository.mirror, commit)
    with pytest.raises(Refused):
        git.export(repository.mirror, commit, tmp_path / "out")

    assert refused.value.rule == "mode" and not (tmp_path / "out").exists()


def test_no_filter_has_a_say(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application repository may have attributes: its files are the bytes of the commit all the same."""
    (tmp_path / ".gitconfig").write_text('[filter "evil"]\n\tsmudge = sed s/1/100/\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    head = repository.push(None, {**FILTERED})
    git.export(repository.mirror, head, tmp_path / "out")

    assert git.read_tree(repository.mirror, head).files == FILTERED
    assert (tmp_path / "out" / "values.yaml").read_bytes() == FILTERED["values.yaml"]


@pytest.mark.parametrize("path", [".gitattributes", "environments/dev/.gitattributes", ".gitmodules", ".GITATTRIBUTES"])
def test_the_verifier_refuses_their_files(rules: World, path: str) -> None:  # noqa: F811
    """A well signed commit by somebody who may write everything."""
    commit = rules.commit(rules.root, {path: b"* filter=evil\n"}, by="admin")

    with pytest.raises(Refused) as refused:
        rules.verify(commit)

    assert refused.value.rule == "forbidden-path"


def test_what_a_pointer_points_to_is_not_fetched(repository: Repository) -> None:
    """It is read as the signed bytes, and nothing stands in for them."""
    head = repository.push(None, {"values.yaml": POINTER})

    assert git.read_tree(repository.mirror, head).files == {"values.yaml": POINTER}
