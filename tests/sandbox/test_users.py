"""What a program that runs as one of the sandbox's users can reach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.part import SandboxError
from sandbox.parts.worker import half_folder
from sandbox.place import Place
from sandbox.supervisor import Sandbox
from sandbox.users import CHECKOUT, Cover, Show, as_user, reachable, user, write_private

CLOSED = {Path("/root"), Path("/home/ann"), Path("/root/work/secret")}


@pytest.mark.parametrize(
    ("paths", "steps"),
    [
        (["/srv/app"], []),
        (["/root/app"], [Cover(Path("/root")), Show(Path("/root/app"))]),
        (
            ["/root/work/secret/app", "/root/app", "/srv/x"],
            [Cover(Path("/root")), Show(Path("/root/app")), Show(Path("/root/work/secret/app"))],
        ),
        (["/root/app", "/root/app/.venv"], [Cover(Path("/root")), Show(Path("/root/app"))]),
        (
            ["/home/ann/app", "/root/py"],
            [Cover(Path("/home/ann")), Cover(Path("/root")), Show(Path("/home/ann/app")), Show(Path("/root/py"))],
        ),
    ],
)
def test_only_closed_folders_are_covered_and_only_what_is_asked_for_is_shown(
    paths: list[str], steps: list[Cover | Show]
) -> None:
    """The topmost closed folder is covered once; nested paths need no step of their own."""
    assert reachable(map(Path, paths), closed=lambda folder: folder in CLOSED) == steps


@pytest.fixture
def place(sandbox: Sandbox) -> Place:
    return sandbox.place


def run_as(place: Place, role: str, code: str, *, reads: list[Path] | None = None) -> subprocess.CompletedProcess[str]:
    command = as_user(user(place, role), [sys.executable, "-c", code], reads=reads or [])
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={"PATH": os.environ["PATH"]}
    )


def test_a_user_reaches_the_checkout_and_its_python(place: Place) -> None:
    """As CI's user, our own Python imports our own code, wherever root keeps both."""
    done = run_as(
        place, "ci", "import os, sandbox, prefect; print(os.getuid(), os.getgid(), os.getgroups(), sandbox.__file__)"
    )
    number = user(place, "ci").id
    assert done.stdout == f"{number} {number} [] {CHECKOUT}/sandbox/__init__.py\n", done.stderr


@pytest.fixture
def closed_folder(tmp_path: Path) -> Path:
    """A folder that only root may pass, with something wanted and something private in it, like a home folder."""
    folder = tmp_path / "home"
    (folder / "wanted").mkdir(parents=True)
    (folder / "wanted" / "file").write_text("seen")
    (folder / "private").write_text("credential")
    folder.chmod(0o700)
    tmp_path.chmod(0o755)
    return folder


def test_a_closed_folder_shows_what_is_wanted_read_only_and_nothing_else(place: Place, closed_folder: Path) -> None:
    """Other content of the closed folder does not exist for the user, and the shown part cannot be written."""
    code = f"import os; os.chdir({str(closed_folder)!r}); print(os.listdir(), open('wanted/file').read());"
    code += "open('wanted/new', 'w')"
    (closed_folder / "wanted").chmod(0o777)
    done = run_as(place, "cd", code, reads=[closed_folder / "wanted"])
    assert done.stdout == "['wanted'] seen\n", done.stderr
    assert "Read-only file system" in done.stderr


def test_a_user_cannot_become_root_again(place: Place) -> None:
    """No set-user-id program helps: no new privileges, no capabilities."""
    status = run_as(place, "ci", "print(open('/proc/self/status').read())").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (facts["NoNewPrivs"], facts["CapEff"], facts["CapPrm"]) == ("1", "0" * 16, "0" * 16)


@pytest.mark.parametrize(("reader", "owner"), [("ci", "cd"), ("cd", "ci"), ("receiver", "ci"), ("git", "cd")])
def test_no_role_reads_another_s_folder(place: Place, reader: str, owner: str) -> None:
    """Host config and home of one half are unreadable to the other and to every other role."""
    folder = half_folder(place, owner)  # type: ignore[arg-type]
    write_private(folder / f"{owner}.yaml", "secret", owner=0, group=user(place, owner).id)
    assert run_as(place, owner, f"print(open('{folder}/{owner}.yaml').read())").stdout == "secret\n"
    for path in (folder, folder / f"{owner}.yaml", folder / "home"):
        done = run_as(place, reader, f"import os; os.listdir({str(path)!r})")
        assert "PermissionError" in done.stderr


def test_a_role_cannot_change_its_own_host_config(place: Place) -> None:
    """The host config is root's: its reader can neither write nor replace it."""
    folder = half_folder(place, "ci")
    write_private(folder / "ci.yaml", "text", owner=0, group=user(place, "ci").id)
    for attempt in (f"open('{folder}/ci.yaml', 'a')", f"import os; os.unlink('{folder}/ci.yaml')"):
        assert "PermissionError" in run_as(place, "ci", attempt).stderr


def test_an_unreadable_program_is_refused_with_the_remedy(place: Place, tmp_path: Path) -> None:
    """What others may not read at all cannot be shown; the error says how to mend it."""
    folder = tmp_path / "umask077"
    folder.mkdir(mode=0o700)
    with pytest.raises(SandboxError, match="chmod -R o\\+rX"):
        as_user(user(place, "ci"), ["true"], reads=[folder])
