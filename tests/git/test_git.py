"""Git over HTTP against a real server: what is fetched, written, pushed, exported, and how each failure reads."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from interlock.contract import commit as commits
from interlock.contract import signature
from interlock.contract.commit import Person
from interlock.contract.host import Remote
from interlock.errors import GitError, HostConfigError, PushRejected, Refused
from tasks.common import git
from tests.git.conftest import AUTHOR, Key, Repository


def test_fetch_gives_the_head_and_then_only_what_is_new(repository: Repository, tmp_path: Path) -> None:
    """A first fetch makes the mirror; a later one brings the new head into it."""
    mirror = tmp_path / "mirror.git"
    first = repository.push(None, {"a.txt": b"one\n"})
    assert git.fetch(mirror, repository.remote) == first

    second = repository.push(first, {"a.txt": b"two\n"})
    assert git.fetch(mirror, repository.as_role("cd")) == second
    assert git.read_tree(mirror, first).files == {"a.txt": b"one\n"}
    assert git.is_ancestor(mirror, first, second) and not git.is_ancestor(mirror, second, first)


def test_fetch_of_an_empty_repository(repository: Repository, tmp_path: Path) -> None:
    """A branch that does not exist is None where that may be, and an error with a hint elsewhere."""
    mirror = tmp_path / "mirror.git"
    assert git.fetch_or_empty(mirror, repository.remote) is None
    with pytest.raises(GitError, match="no branch 'main'") as error:
        git.fetch(mirror, repository.remote)
    assert error.value.hint and not error.value.transient


def test_commits_are_read_with_their_changes(repository: Repository) -> None:
    """Every commit comes with the files that it adds, changes and deletes, the oldest first."""
    first = repository.push(None, {"a": b"1", "d/b": b"2"})
    second = repository.push(first, {"a": b"3", "d/b": None, "c": b"4"})
    third = repository.push(second, {})
    back = repository.push(third, {"a": b"1", "d/b": b"2", "c": None})

    range_ = git.read_commits(repository.mirror, first, back)

    changes = [[(change.path, change.old_mode, change.new_mode) for change in each.changes] for each in range_]
    assert [each.id for each in range_] == [second, third, back]
    assert changes == [
        [("a", "100644", "100644"), ("c", "000000", "100644"), ("d/b", "100644", "000000")],
        [],
        [("a", "100644", "100644"), ("c", "100644", "000000"), ("d/b", "000000", "100644")],
    ]
    assert [change.path for change in git.read_commits(repository.mirror, None, first)[0].changes] == ["a", "d/b"]


def test_what_commits_wrote_is_read_without_what_is_known(repository: Repository) -> None:
    """Also what a later commit removes; the newest first; a commit that the mirror does not hold is nothing known."""
    first = repository.push(None, {"a": b"1"})
    second = repository.push(first, {"b": b"2", "c": b"3"})
    third = repository.push(second, {"b": None, "a": b"4"})
    unheld = "0" * 40

    everything, oldest = git.read_additions(repository.mirror, third, known=[unheld], most=10)
    since, _ = git.read_additions(repository.mirror, third, known=[first, unheld], most=10)
    newest, cut = git.read_additions(repository.mirror, third, known=[], most=1)

    assert [(each.commit, each.path) for each in everything] == [
        (third, "a"),
        (second, "b"),
        (second, "c"),
        (first, "a"),
    ]
    assert oldest is None
    assert since == everything[:3]
    assert (newest, cut) == (everything[:1], third)
    assert git.read_additions(repository.mirror, third, known=[third], most=10) == ((), None)


def test_what_a_merge_brings_is_read(repository: Repository) -> None:
    """What it changes against its first parent, so that nothing hides in a merge that nobody looks at."""
    first = repository.push(None, {"a": b"1"})
    side = repository.write(first, {"s": b"5"})
    tree = git.tree_id(repository.mirror, side)
    data = commits.unsigned(tree=tree, parents=(first, side), author=AUTHOR, seconds=1, message="merge")
    merge = git._hash_object(repository.mirror, "commit", data)

    found, _ = git.read_additions(repository.mirror, merge, known=[first], most=10)

    assert {(each.commit, each.path) for each in found} == {(merge, "s"), (side, "s")}


def test_push_moves_only_from_the_expected_commit(repository: Repository) -> None:
    """Whoever comes second is rejected, and the branch stays with the first."""
    first = repository.push(None, {"a": b"1"})
    second = repository.push(first, {"a": b"2"})

    late = repository.write(first, {"a": b"3"})
    with pytest.raises(PushRejected, match=first[:12]):
        git.push(repository.mirror, late, repository.remote, expected=first)
    with pytest.raises(PushRejected):
        git.push(repository.mirror, repository.write(None, {"a": b"4"}), repository.remote, expected=None)

    assert git.fetch(repository.mirror, repository.remote) == second


def test_push_is_never_a_forced_one(repository: Repository) -> None:
    """A commit that does not descend from the expected one is not pushed, even if the branch is there."""
    first = repository.push(None, {"a": b"1"})
    unrelated = repository.write(None, {"a": b"2"})

    with pytest.raises(GitError, match="does not descend"):
        git.push(repository.mirror, unrelated, repository.remote, expected=first)


def test_push_where_the_account_may_only_read(repository: Repository) -> None:
    """A 403 is told as such, and is no race to be tried again."""
    first = repository.push(None, {"a": b"1"})
    new = repository.write(first, {"a": b"2"})

    with pytest.raises(GitError, match="403") as error:
        git.push(repository.mirror, new, repository.as_role("cd"), expected=first)
    assert not isinstance(error.value, PushRejected) and not error.value.transient and "may not" in error.value.hint


def test_a_wrong_password_is_told_without_it(repository: Repository, tmp_path: Path) -> None:
    """The error points to the auth file; neither the password nor its encoded form is anywhere in it."""
    auth = tmp_path / "wrong.auth"
    auth.touch(mode=0o600)
    auth.write_text("developer:hunter2-canary\n")

    with pytest.raises(GitError) as error:
        git.fetch(tmp_path / "mirror.git", repository.remote.model_copy(update={"auth": auth}))

    assert "auth" in error.value.hint and "hunter2" not in str(error.value) and "Basic" not in str(error.value)


def test_credentials_are_nowhere_on_disk_or_in_arguments(repository: Repository, tmp_path: Path) -> None:
    """The mirror holds no trace of the login, and no process shows it in its arguments."""
    repository.push(None, {"a": b"1"})
    seen: list[bytes] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(process.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        git.fetch(tmp_path / "mirror.git", repository.remote)
    finally:
        done.set()
        watcher.join()

    ours = [line for line in seen if b"mirror.git" in line]
    assert ours and not any(b"Authorization" in line or b"dev-pass" in line for line in ours)
    for file in (tmp_path / "mirror.git").rglob("*"):
        assert file.is_dir() or b"dev-pass" not in file.read_bytes()


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o606])
def test_an_auth_file_that_everybody_reads_is_refused(repository: Repository, tmp_path: Path, mode: int) -> None:
    """A login that others can read is no secret."""
    auth = tmp_path / "open.auth"
    auth.write_text("developer:dev-pass\n")
    auth.chmod(mode)

    with pytest.raises(HostConfigError, match="chmod 0600"):
        git.fetch(tmp_path / "mirror.git", repository.remote.model_copy(update={"auth": auth}))


def test_a_key_that_others_read_is_refused(repository: Repository) -> None:
    """A signing key must be its owner's alone."""
    repository.key.path.chmod(0o640)

    with pytest.raises(HostConfigError, match="0640"):
        repository.write(None, {"a": b"1"})


def test_export_writes_the_commit_and_nothing_else(repository: Repository, tmp_path: Path) -> None:
    """An export has the commit's files with plain modes; executables keep their bit."""
    first = repository.push(None, {"Dockerfile": b"FROM x\n", "src/app.py": b"print()\n", "src/same.py": b"print()\n"})
    blob = git.list_files(repository.mirror, first)[0].blob
    executable = commit_with(repository, f"100755 blob {blob}\trun.sh\n")

    git.export(repository.mirror, first, tmp_path / "one")
    git.export(repository.mirror, executable, tmp_path / "two")

    written = {str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert written == {"Dockerfile", "src/app.py", "src/same.py"}
    assert (tmp_path / "one/src/app.py").read_bytes() == b"print()\n"
    assert (tmp_path / "one/src/app.py").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "two/run.sh").stat().st_mode & 0o777 == 0o755


def commit_with(repository: Repository, entries: str) -> str:
    """A commit whose tree has these `git mktree` lines."""
    plumbing = ("git", f"--git-dir={repository.mirror}")
    tree = subprocess.run((*plumbing, "mktree", "--missing"), input=entries.encode(), capture_output=True, check=True)
    data = commits.signed(
        commits.unsigned(
            tree=tree.stdout.decode().strip(), parents=(), author=Person("A", "a@b"), seconds=1, message="Odd"
        ),
        repository.key.path.read_bytes(),
    )
    written = (*plumbing, "hash-object", "-t", "commit", "-w", "--stdin", "--literally")
    done = subprocess.run(written, input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


ODD_ENTRIES = {
    "symlink": ("120000 blob {blob}\tlink\n", "mode"),
    "submodule": ("160000 commit 1111111111111111111111111111111111111111\tmodule\n", "mode"),
    "executable": ("100755 blob {blob}\trun\n", "mode"),
    "backslash": ("100644 blob {blob}\ta\\b\n", "forbidden-path"),
    "git folder": ("040000 tree {tree}\t.GIT\n", "forbidden-path"),
}


@pytest.mark.parametrize(("entries", "rule"), ODD_ENTRIES.values(), ids=ODD_ENTRIES)
def test_odd_files_are_refused(repository: Repository, tmp_path: Path, entries: str, rule: str) -> None:
    """Symlinks, submodules and paths that lead elsewhere are neither read nor exported."""
    first = repository.push(None, {"a": b"/etc/passwd"})
    blob = git.list_files(repository.mirror, first)[0].blob
    odd = commit_with(repository, entries.format(blob=blob, tree=git.tree_id(repository.mirror, first)))

    with pytest.raises(Refused) as refused:
        git.read_tree(repository.mirror, odd)
    assert refused.value.rule == rule
    if "100755" not in entries:
        with pytest.raises(Refused):
            git.export(repository.mirror, odd, tmp_path / "out")


def test_executables_are_read_where_they_are_allowed(repository: Repository) -> None:
    """An application repository may have scripts."""
    first = repository.push(None, {"a": b"#!/bin/sh\n"})
    blob = git.list_files(repository.mirror, first)[0].blob

    tree = git.read_tree(repository.mirror, commit_with(repository, f"100755 blob {blob}\trun\n"), executable=True)

    assert tree.files == {"run": b"#!/bin/sh\n"}


def test_too_large_files_are_refused(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beyond the limit is refused before it is read."""
    first = repository.push(None, {"a": b"x" * 2000})
    monkeypatch.setattr(git, "MAX_FILE_BYTES", 1000)

    with pytest.raises(Refused) as refused:
        git.read_tree(repository.mirror, first)

    assert refused.value.rule == "too-large"


def test_a_tree_that_contains_itself_many_times_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three small objects that name a billion files are refused by the length of the list, before memory runs out."""
    first = repository.push(None, {"a": b"1"})
    blob = git.list_files(repository.mirror, first)[0].blob
    leaf = commit_with(repository, "".join(f"100644 blob {blob}\t{number}\n" for number in range(1000)))
    inner = git.tree_id(repository.mirror, leaf)
    for _ in range(2):
        bomb = commit_with(repository, "".join(f"040000 tree {inner}\t{number}\n" for number in range(1000)))
        inner = git.tree_id(repository.mirror, bomb)

    monkeypatch.setattr(git, "MAX_LIST_BYTES", 1 << 20)
    monkeypatch.setattr(git, "MAX_MEMORY_BYTES", 64 << 20)
    for ask in (git.read_tree, git.read_commit):
        with pytest.raises(Refused) as refused:
            ask(repository.mirror, bomb)
        assert refused.value.rule == "too-large"


def test_a_server_that_is_down_is_passing(tmp_path: Path) -> None:
    """Nobody answers: an error that a later try may mend."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x.git"
        with pytest.raises(GitError) as error:
            git.fetch(tmp_path / "mirror.git", Remote(url=url))

    assert error.value.transient


def test_a_server_that_never_answers_is_left(tmp_path: Path) -> None:
    """A hanging server costs no more than the time given, and no process stays behind."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
        started = time.monotonic()
        with pytest.raises(GitError, match="too long") as error:
            git.fetch(tmp_path / "mirror.git", Remote(url=url), timeout=0.5)

    assert error.value.transient and time.monotonic() - started < 60
    assert not _processes_with(str(tmp_path / "mirror.git"))


def _processes_with(text: str) -> list[str]:
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(process.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if text in line]


def test_concurrent_fetches_of_one_mirror(repository: Repository, tmp_path: Path) -> None:
    """Many fetchers of one mirror all get the head, one after the other."""
    head = repository.push(None, {"a": b"1"})
    heads: list[str] = []

    def fetch() -> None:
        heads.append(git.fetch(tmp_path / "mirror.git", repository.remote))

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert heads == [head] * 8


def test_what_a_killed_run_left_hinders_nobody(repository: Repository, tmp_path: Path) -> None:
    """Git's stale lock files and half-made mirrors are swept by the next fetch."""
    mirror = tmp_path / "mirror.git"
    first = repository.push(None, {"a": b"1"})
    assert git.fetch(mirror, repository.remote) == first
    head = repository.push(first, {"a": b"2"})
    (mirror / "refs/interlock/head.lock").touch()
    (mirror / "packed-refs.lock").touch()
    (tmp_path / ".mirror.git.new-killed").mkdir()

    assert git.fetch(mirror, repository.remote) == head
    assert not (tmp_path / ".mirror.git.new-killed").exists()


def test_a_killed_fetch_is_made_good_by_the_next(repository: Repository, tmp_path: Path) -> None:
    """SIGKILL at any moment of a fetch, and the next one works."""
    files: dict[str, bytes | None] = {f"f{number}": os.urandom(30_000) for number in range(20)}
    head = repository.push(None, files)
    mirror = tmp_path / "mirror.git"
    program = textwrap.dedent(f"""
        from pathlib import Path
        from interlock.contract.host import Remote
        from tasks.common import git
        remote = Remote(url={repository.remote.url!r}, auth=Path({str(repository.remote.auth)!r}))
        print("ready", flush=True)
        git.fetch(Path({str(mirror)!r}), remote)
    """)
    for delay in (0.005, 0.02, 0.05, 0.09):
        with subprocess.Popen((sys.executable, "-c", program), stdout=subprocess.PIPE) as process:
            assert process.stdout and process.stdout.readline() == b"ready\n"
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)

        assert git.fetch(mirror, repository.remote, timeout=30) == head
        assert len(git.read_tree(mirror, head).files) == 20


@pytest.mark.parametrize("commit", ["main", "HEAD", "--output=/tmp/x", "abc123", "0" * 39, "0" * 41, "A" * 40, "-n"])
def test_only_full_ids_reach_git(repository: Repository, commit: str) -> None:
    """A name, an option or an abbreviation where a commit id belongs is refused."""
    for ask in (git.read_tree, git.read_commit, git.has_commit):
        with pytest.raises(Refused) as refused:
            ask(repository.mirror, commit)
        assert refused.value.rule == "commit-id"


@pytest.mark.parametrize(
    "url", ["ext::sh -c touch% /tmp/x", "file:///etc", "/srv/x.git", "ssh://h/x", "git://h/x", "http://u:p@h/x.git"]
)
def test_only_http_addresses_without_logins(url: str) -> None:
    """Transports that run commands or read files cannot be spelled, nor can a password in an address."""
    with pytest.raises(ValueError, match="url"):
        Remote(url=url)


@pytest.mark.parametrize("branch", ["--upload-pack=x", "-x", "a..b", "a b", "a~1", "x.lock", "a//b", "", "a:b", "@{u}"])
def test_only_plain_branch_names(branch: str) -> None:
    """A branch that git would take for an option or an expression cannot be spelled."""
    with pytest.raises(ValueError, match="branch"):
        Remote(url="http://h/x.git", branch=branch)


def test_transports_stay_closed_below_the_model(repository: Repository, tmp_path: Path) -> None:
    """Even an address that came past the model runs nothing: git itself is told to allow http alone."""
    bad = repository.remote.model_copy(update={"url": f"ext::sh -c touch% {tmp_path}/ran", "auth": None})

    with pytest.raises(GitError, match="not allowed"):
        git.fetch(tmp_path / "mirror.git", bad)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_openssh_and_git_accept_our_signature(repository: Repository, tmp_path: Path) -> None:
    """A commit of ours is a good one for `git verify-commit`, and so is a receipt for `ssh-keygen -Y verify`."""
    head = repository.push(None, {"a": b"1"}, message="Release web\n\nInterlock-Run: r1")
    allowed = tmp_path / "allowed"
    allowed.write_text(f'ci@example.org namespaces="git" {repository.key.public}\n')

    verified = subprocess.run(
        ("git", f"--git-dir={repository.bare}", "-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", head),
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0 and "Good" in verified.stderr + verified.stdout

    message = b"hello\n"
    (tmp_path / "sig").write_text(signature.sign(repository.key.path.read_bytes(), message))
    arguments = ("ssh-keygen", "-Y", "verify", "-n", "git", "-f", str(allowed), "-I", "ci@example.org")
    done = subprocess.run((*arguments, "-s", str(tmp_path / "sig")), input=message, capture_output=True, check=False)
    assert done.returncode == 0


def test_writing_on_nothing_and_removing(repository: Repository) -> None:
    """A commit's tree is the parent's with the changes, and a folder may give way to a file."""
    first = repository.push(None, {"a/b": b"1", "keep": b"2"})
    second = repository.push(first, {"a/b": None, "a": b"3"})

    assert git.read_tree(repository.mirror, second).files == {"a": b"3", "keep": b"2"}


def test_a_wrong_kind_of_key_is_refused(repository: Repository, tmp_path: Path) -> None:
    """A file that is no ed25519 private key says how to make one."""
    path = tmp_path / "bad"
    path.touch(mode=0o600)
    path.write_text("nonsense")

    with pytest.raises(Exception, match="ssh-keygen"):
        repository.write(None, {"a": b"1"}, by=Key(path, ""))
