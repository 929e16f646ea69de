"""Installing Debian packages: what is refused, and what stays untouched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import debian
from sandbox.debian import missing_packages, provide_packages, provide_unpacked
from sandbox.part import SandboxError


def _silent(part: str, message: str) -> None:
    raise AssertionError(f"nothing was to be done, but {part} said: {message}")


def test_says_nothing_and_does_nothing_when_all_is_there() -> None:
    """Installed packages need no root, no network and no word."""
    provide_packages(["dpkg", "bash"], report=_silent)


def test_tells_the_missing_from_the_installed() -> None:
    """Only what dpkg does not call installed is missing, in the order given."""
    assert missing_packages(["interlock-no-such-package", "bash", "dpkg"]) == ["interlock-no-such-package"]


def test_refuses_where_there_is_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another distribution the message names the packages whose content is needed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"not Debian or Ubuntu.*: runc nftables"):
        provide_packages(["runc", "nftables"], report=_silent)


def test_a_package_is_unpacked_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files lie in the cache, nothing else is left there, and the next time there is nothing to do."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told: list[str] = []
    folder = provide_unpacked("nginx", report=lambda part, message: told.append(message))
    assert os.access(folder / "usr" / "sbin" / "nginx", os.X_OK)
    assert [each.name for each in folder.parent.iterdir()] == ["nginx"]
    assert provide_unpacked("nginx", report=_silent) == folder


def test_refuses_to_unpack_where_there_is_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another distribution the message names the package and where its files belong."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SandboxError, match=f"put the files of nginx into {tmp_path}/interlock/debian/nginx"):
        provide_unpacked("nginx", report=_silent)


def test_refuses_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who is not root gets the command to run."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match="sudo apt-get install interlock-no-such-package"):
        provide_packages(["interlock-no-such-package"], report=_silent)


def test_forbids_service_starts_and_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """During an install nothing may start; afterwards, also after a crash in it, the machine decides again."""
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(debian, "POLICY", policy)
    with pytest.raises(KeyboardInterrupt), debian._no_service_starts():
        assert os.access(policy, os.X_OK)
        assert "exit 101" in policy.read_text()
        raise KeyboardInterrupt
    assert not policy.exists()


def test_keeps_the_policy_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that somebody else wrote is neither changed nor removed."""
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    monkeypatch.setattr(debian, "POLICY", policy)
    with debian._no_service_starts():
        assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_removes_the_policy_that_a_killed_install_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run takes it away, even when nothing is missing any more."""
    policy = tmp_path / "policy-rc.d"
    policy.write_text(debian.POLICY_TEXT)
    monkeypatch.setattr(debian, "POLICY", policy)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    provide_packages(["bash"], report=_silent)
    assert not policy.exists()
