"""A mirror or a server that somebody prepared: nothing in it runs, and nothing in it changes what is read."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from interlock.errors import GitError, Refused
from tasks.common import git
from tests.git.conftest import Repository


@pytest.fixture
def head(repository: Repository) -> str:
    return repository.push(repository.push(None, {"a": b"good\n"}), {"a": b"better\n"})


def plain_git(repository: Repository, *arguments: str) -> str:
    done = subprocess.run(
        ("git", f"--git-dir={repository.mirror}", *arguments), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


HOSTILE = {
    "config with a monitor": ("config", "[core]\n\tbare = true\n\tfsmonitor = touch {ran}\n"),
    "config with another program": ("config", "[core]\n\tbare = true\n[gpg.ssh]\n\tprogram = {ran}\n"),
    "config with another address": ("config", '[url "ext::touch {ran}"]\n\tinsteadOf = http\n'),
    "alternates": ("objects/info/alternates", "/srv/other/objects\n"),
    "grafts": ("info/grafts", "{head}\n"),
    "a common folder": ("commondir", "/srv/other\n"),
    "a shallow history": ("shallow", "{head}\n"),
    "attributes": ("info/attributes", "* filter=evil\n"),
}


@pytest.mark.parametrize(("file", "content"), HOSTILE.values(), ids=HOSTILE)
def test_a_changed_mirror_is_refused(
    repository: Repository, head: str, tmp_path: Path, file: str, content: str
) -> None:
    """A mirror that is not as we made it is not read, and nothing that it names is run."""
    ran = tmp_path / "ran"
    path = repository.mirror / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content.format(ran=ran, head=head))

    with pytest.raises(Refused) as refused:
        git.read_tree(repository.mirror, head)
    with pytest.raises(Refused):
        git.fetch(repository.mirror, repository.remote)

    assert refused.value.rule == "mirror" and not ran.exists()


def test_hooks_in_a_mirror_do_not_run(repository: Repository, head: str, tmp_path: Path) -> None:
    """A hook that somebody put there stays silent through fetch, commit and push."""
    hooks = repository.mirror / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("reference-transaction", "pre-push", "post-index-change", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)

    git.fetch(repository.mirror, repository.remote)
    repository.push(head, {"a": b"best\n"})

    assert not (tmp_path / "ran").exists()


def test_replaced_objects_are_read_as_they_are(repository: Repository, head: str) -> None:
    """A replacement that plain git follows is not followed here."""
    evil = repository.write(head, {"a": b"evil\n"}, message="Evil")
    plain_git(repository, "update-ref", f"refs/replace/{head}", evil)
    assert plain_git(repository, "log", "-1", "--format=%s", head) == "Evil"

    assert git.read_tree(repository.mirror, head).files == {"a": b"better\n"}
    assert [each.id for each in git.read_commits(repository.mirror, None, head)][-1] == head


def test_a_foreign_owner_is_refused(repository: Repository, head: str) -> None:
    """A mirror that belongs to another user is not ours."""
    try:
        os.chown(repository.mirror, 12345, -1)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pytest.skip("there is no second user: this is a user namespace with one")

    with pytest.raises(Refused) as refused:
        git.read_tree(repository.mirror, head)

    assert refused.value.rule == "mirror"


def test_a_damaged_object_is_noticed(repository: Repository, head: str) -> None:
    """Bytes that were changed on disk do not pass for the commit that was verified."""
    blob = git.list_files(repository.mirror, head)[0].blob
    path = repository.mirror / "objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")

    with pytest.raises(GitError, match="mirror"):
        git.read_tree(repository.mirror, head)


def test_the_users_own_configuration_is_not_read(
    repository: Repository, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a home's configuration nor variables of the environment reach git."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[url "ext::touch {tmp_path}/ran "]\n\tinsteadOf = http://\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {tmp_path}/ran")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare'='false'")

    assert git.fetch(repository.mirror, repository.remote) == head
    assert not (tmp_path / "ran").exists()
