"""A folder with git's configuration or hooks in it runs a program of somebody else's choice when git looks at it.

Number: 11
Defence: git is asked only in bare mirrors that Interlock made itself, whose configuration and ways to other objects are
compared before each use; hooks, monitors, helpers and the user's own configuration are switched off
(tasks/common/git.py).
Not defended: a developer who runs `interlock` in a clone that somebody else prepared: git's own rules hold there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import git as gitpython
import pytest

from interlock.errors import Refused
from tasks.common import git
from tests.git.conftest import Repository


@pytest.fixture
def head(repository: Repository) -> str:
    return repository.push(None, {"a": b"1\n"})


def script(folder: Path) -> Path:
    """A program that shows that it ran."""
    path = folder / "evil"
    path.write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
    path.chmod(0o755)
    return path


def test_a_monitor_succeeds_in_gitpython(tmp_path: Path) -> None:
    """Asking whether an unpacked folder is dirty runs what its configuration names."""
    hostile = gitpython.Repo.init(tmp_path / "hostile")
    with hostile.config_writer() as config:
        config.set_value("core", "fsmonitor", str(script(tmp_path)))
    (tmp_path / "hostile" / "a").write_text("1\n")
    hostile.index.add(["a"])

    gitpython.Repo(tmp_path / "hostile").is_dirty()

    assert (tmp_path / "ran").exists()


def test_a_hook_succeeds_in_plain_git(repository: Repository, head: str, tmp_path: Path) -> None:
    """A fetch into a folder with hooks runs them."""
    hooks = repository.mirror / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "reference-transaction").symlink_to(script(tmp_path))
    command = ("git", f"--git-dir={repository.mirror}", "fetch", "-q", repository.bare, "main:refs/heads/other")
    subprocess.run(command, check=True)

    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["reference-transaction", "pre-push", "post-index-change", "pre-auto-gc", "post-checkout"]
)
def test_hooks_in_a_mirror_stay_silent(repository: Repository, head: str, tmp_path: Path, name: str) -> None:
    """Through fetch, commit and push."""
    hooks = repository.mirror / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / name).symlink_to(script(tmp_path))

    git.fetch(repository.mirror, repository.remote)
    repository.push(head, {"a": b"2\n"})

    assert not (tmp_path / "ran").exists()


SETTINGS = (
    "[core]\n\tfsmonitor = {evil}\n",
    "[core]\n\tsshCommand = {evil}\n",
    "[core]\n\thooksPath = {folder}\n",
    "[core]\n\tpager = {evil}\n",
    "[core]\n\taskPass = {evil}\n",
    "[credential]\n\thelper = {evil}\n",
    "[include]\n\tpath = {folder}/more\n",
    '[url "ext::{evil} "]\n\tinsteadOf = http\n',
    "[uploadpack]\n\tpackObjectsHook = {evil}\n",
    '[filter "x"]\n\tsmudge = {evil}\n',
)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_configured_mirror_is_refused(repository: Repository, head: str, tmp_path: Path, setting: str) -> None:
    """A mirror's configuration is the one that we wrote, byte by byte, or the mirror is not used."""
    config = repository.mirror / "config"
    config.write_text(config.read_text() + setting.format(evil=script(tmp_path), folder=tmp_path))

    for use in (
        lambda: git.read_tree(repository.mirror, head),
        lambda: git.fetch(repository.mirror, repository.remote),
    ):
        with pytest.raises(Refused) as refused:
            use()
        assert refused.value.rule == "mirror"

    assert not (tmp_path / "ran").exists()


def test_the_users_own_settings_are_not_read(
    repository: Repository, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the home's configuration nor git's variables reach it, though plain git obeys both."""
    evil = script(tmp_path)
    (tmp_path / ".gitconfig").write_text(f'[url "ext::{evil} "]\n\tinsteadOf = http\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EXTERNAL_DIFF", "GIT_PROXY_COMMAND", "GIT_EXEC_PATH"):
        monkeypatch.setenv(name, str(evil))

    assert git.fetch(repository.mirror, repository.remote) == head
    assert not (tmp_path / "ran").exists()
