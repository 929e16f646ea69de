"""Host files are root's, strict, and hold no secret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import main
from interlock.cli.state import require_own
from interlock.errors import HostConfigError, InputError
from tasks.cd.host import load_cd
from tasks.ci.host import load_ci
from tests.prefect import hosts


def broken(value: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    """A copy with one value changed."""
    copy: dict[str, Any] = json.loads(json.dumps(value))
    place = copy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return copy


def test_reads_both_halves(tmp_path: Path) -> None:
    """Each half's loader reads its own file."""
    ci = load_ci(hosts.written(tmp_path, "ci.yaml", hosts.ci("http://p/api", tmp_path)))
    cd = load_cd(hosts.written(tmp_path, "cd.yaml", hosts.cd("http://p/api", tmp_path)))

    assert ci.repositories["shop"].branch == "main"
    assert cd.environments["dev"].cluster == "sandbox"


def test_refuses_a_file_that_others_may_write(tmp_path: Path) -> None:
    """Who can write the file can choose what is deployed where, so only root may."""
    file = hosts.written(tmp_path, "ci.yaml", hosts.ci("http://p/api", tmp_path))
    file.chmod(0o664)

    with pytest.raises(HostConfigError, match="writable for others") as refused:
        load_ci(file)
    assert refused.value.hint == f"chmod go-w {file}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_refuses_a_file_that_is_not_roots(tmp_path: Path) -> None:
    """A file of another user is refused, whatever its mode."""
    file = hosts.written(tmp_path, "ci.yaml", hosts.ci("http://p/api", tmp_path))
    os.chown(file, 12345, 0)

    with pytest.raises(HostConfigError, match="belongs to user 12345"):
        load_ci(file)


def test_says_whose_file_it_is(tmp_path: Path) -> None:
    """CI's file for a command of CD is not told field by field; a file that is not there is named once."""
    file = tmp_path / "ci.yaml"
    file.write_text("format: 1\nprefect: http://p/api\nregistry:\n  host: r.example.org\n")

    with pytest.raises(HostConfigError) as refused:
        load_cd(file)
    assert refused.value.message == f"{file} is a CI host's file, and this asks for a CD host's cd.yaml"
    assert refused.value.hint == "let INTERLOCK_CONFIG name the right one"

    with pytest.raises(HostConfigError) as refused:
        load_cd(tmp_path / "nosuch.yaml")
    assert refused.value.message == f"{tmp_path}/nosuch.yaml: No such file or directory"


def test_says_which_variable_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without INTERLOCK_CONFIG the message names it."""
    monkeypatch.delenv("INTERLOCK_CONFIG", raising=False)

    with pytest.raises(HostConfigError, match="INTERLOCK_CONFIG is not set"):
        load_ci()


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("environments", "dev", "cluster"), "elsewhere"),
        (("environments", "dev", "control_namespace"), "shop"),
        (("environments", "dev", "namespaces"), []),
        (("environments", "dev", "resync_seconds"), 1),
        (("environment_repository", "name"), "ledger"),
        (("environment_repository", "url"), "ext::sh -c id"),
        (("environment_repository", "url"), "http://user:password@git/e.git"),
        (("environment_repository", "branch"), "../main"),
        (("environment_repository", "branch"), "--upload-pack=id"),
        (("environment_repository", "root", "commit"), "main"),
        (("environment_repository", "root", "keys"), []),
        (("signing", "key"), "relative/key"),
        (("state",), "/var/../etc"),
        (("prefect",), "file:///etc/passwd"),
        (("extra",), 1),
    ],
)
def test_refuses_what_is_wrong(tmp_path: Path, path: tuple[str, ...], to: Any) -> None:
    """A wrong value is an error that names the file."""
    file = hosts.written(tmp_path, "cd.yaml", broken(hosts.cd("http://p/api", tmp_path), *path, to=to))

    with pytest.raises(HostConfigError, match=r"cd\.yaml"):
        load_cd(file)


def register(file: Path, *words: str) -> int:
    return main(["register", *words, "--config", str(file)])


HEAD = (
    *("--prefect", "http://p/api", "--environment-repository", "environments", "--url", "http://git/e.git"),
    *("--root-commit", hosts.ROOT, "--root-key", hosts.KEY, "--signer", "cd", "--key", "/etc/interlock/key"),
    *("--ledger", "ledger", "--ledger-url", "http://git/l.git"),
)


def test_registers_a_cd_host_step_by_step(tmp_path: Path) -> None:
    """What `register` writes is what the worker reads; written again, the head keeps the entries."""
    file = tmp_path / "cd.yaml"

    assert register(file, "cd", *HEAD) == 0
    assert register(file, "cluster", "east", "--kubeconfig", "/etc/k") == 0
    kinds = ("--cluster-kind", "CustomResourceDefinition", "--cluster-kind", "ClusterRole")
    assert register(file, "environment", "dev", "--cluster", "east", "--namespace", "shop", *kinds) == 0
    assert register(file, "cd", *HEAD, "--poll-seconds", "7") == 0

    host = load_cd(file)
    assert (host.poll_seconds, host.environments["dev"].control_namespace) == (7, "interlock-dev")
    assert host.environments["dev"].cluster_kinds == ("CustomResourceDefinition", "ClusterRole")
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_wrong_entry_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Everything is checked before anything is written."""
    file = tmp_path / "cd.yaml"
    register(file, "cd", *HEAD)
    before = file.read_text()

    assert register(file, "environment", "dev", "--cluster", "unknown", "--namespace", "shop") == 2
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def test_an_entry_needs_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries go into a file that is there; the message says what writes one."""
    assert register(tmp_path / "cd.yaml", "cluster", "east", "--kubeconfig", "/etc/k") == 2
    assert "interlock register ci, cd or receiver writes it" in capsys.readouterr().err


def test_keeps_the_mode_of_a_file_that_is_there(tmp_path: Path) -> None:
    """A file that only a group may read stays so."""
    file = tmp_path / "cd.yaml"
    register(file, "cd", *HEAD)
    file.chmod(0o640)

    register(file, "cluster", "east", "--kubeconfig", "/etc/k")

    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_says_whose_state_it_is(tmp_path: Path) -> None:
    """Somebody else's state folder is refused with the user to be, who may have no name on this machine."""
    os.chown(tmp_path, 64999, 64999)

    with pytest.raises(InputError, match="belongs to user 64999") as refused:
        require_own(tmp_path, half="CD")
    assert "setpriv --reuid 64999" in (refused.value.hint or "")
