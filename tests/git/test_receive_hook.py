"""The pre-receive hook on a real git server: real pushes over HTTP, by accounts that may push."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.cli.main import main
from interlock.contract import layout
from tests.examples_of_repositories import release_files
from tests.git.conftest import Key, Server
from tests.git.guarded import VALUES, Guarded, make_guarded, raw_push, with_entry

SCALED: dict[str, bytes | None] = {VALUES: b"replicas: 3\n"}


@pytest.fixture
def guarded(server: Server, tmp_path: Path) -> Guarded:
    return make_guarded(server, tmp_path)


def test_good_pushes_land(guarded: Guarded) -> None:
    """A person's commits, several at once, and CI's release, each on top of what is there; CD takes them all."""
    first = guarded.write(SCALED)
    second = guarded.write({VALUES: b"replicas: 4\n"}, on=first)
    code, said = guarded.push_head(second)
    assert code == 0, said
    assert "2 commits accepted" in said

    released = guarded.write(release_files(), by=guarded.ci)
    assert guarded.push_head(released, account="ci")[0] == 0
    assert guarded.deploys().commit == guarded.at == released


@pytest.mark.parametrize(
    "attack", ["rewrite", "deletion", "unsigned", "stranger", "path", "merge", "format", "symlink"]
)
def test_what_cd_would_refuse_does_not_land(guarded: Guarded, attack: str, tmp_path: Path) -> None:
    """With the rule's word and what to do on the pusher's terminal, and nothing of it in the repository."""
    at = guarded.write(SCALED)
    assert guarded.push_head(at)[0] == 0
    commit, rule, fix = pushed(guarded, attack, at, tmp_path)

    guarded.refuses(commit, rule=rule, fix=fix, deletion=attack == "deletion")

    assert guarded.at == at
    assert attack == "deletion" or not guarded.has(commit)


def pushed(guarded: Guarded, attack: str, at: str, folder: Path) -> tuple[str, str, str]:
    """A commit, the word of the rule that it breaks, and a part of the hint."""
    more: dict[str, bytes | None] = {VALUES: b"replicas: 5\n"}
    if attack == "merge":
        side = guarded.write(more, on=guarded.root)
        return guarded.unsigned(more, parents=(at, side)), "merge", "rebase instead"
    made: dict[str, Callable[[], tuple[str, str, str]]] = {
        "rewrite": lambda: (guarded.write(more, on=guarded.root), "rewritten", f"back to {at}"),
        "deletion": lambda: (at, "deletion", "by a new commit"),
        "unsigned": lambda: (guarded.unsigned(more), "unsigned", "git commit -S"),
        "stranger": lambda: (guarded.write(more, by=Key.make(folder / "eve")), "unknown-key", "signers.yaml"),
        "path": lambda: (guarded.write({layout.GATE: b"format: 1\n\n"}, by=guarded.ci), "path-scope", "signers.yaml"),
        "format": lambda: (guarded.write({layout.GATE: b"format: 1\nrulez: {}\n"}), "format", "known fields here"),
        "symlink": lambda: (
            with_entry(guarded, f"120000 blob {guarded.blob('/etc/passwd')}\tlink"),
            "mode",
            "verified head",
        ),
    }
    return made[attack]()


def test_other_branches_are_free_and_other_refs_are_not(guarded: Guarded) -> None:
    """CI proposes releases on branches of its own; tags and replacements have no place there."""
    commit = guarded.unsigned(SCALED)
    assert guarded.push(f"{commit}:refs/heads/interlock/shop/web/dev")[0] == 0
    for ref in ("refs/tags/v1", "refs/replace/" + commit):
        code, said = guarded.push(f"{commit}:{ref}")
        assert code != 0 and "refused (ref)" in said


def test_a_push_of_several_refs_is_one(guarded: Guarded) -> None:
    """What is right beside something wrong does not land either."""
    good, bad = guarded.write(SCALED), guarded.unsigned(SCALED)
    assert guarded.push(f"{bad}:refs/heads/main", f"{good}:refs/heads/side")[0] != 0

    assert guarded.at == guarded.root


def test_a_hostile_environment_has_no_say(guarded: Guarded, tmp_path: Path) -> None:
    """Neither variables that Python and git read, nor the repository's own configuration, attributes or hooks."""
    bare = guarded.repository.bare
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    trap.chmod(0o755)
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    subprocess.run(("git", f"--git-dir={bare}", "config", "core.fsmonitor", str(trap)), check=True)
    update = f"{guarded.root} {guarded.unsigned(SCALED)} refs/heads/main\n"
    surroundings = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "PYTHONPATH": str(tmp_path),
        "GIT_DIR": str(bare),
        "GIT_OBJECT_DIRECTORY": str(guarded.repository.mirror / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(bare / "objects"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": str(trap),
        "GIT_REPLACE_REF_BASE": "refs/heads/",
        "INTERLOCK_CONFIG": "/nowhere",
        "BASH_ENV": str(trap),
    }
    done = subprocess.run(
        (bare / "hooks" / "pre-receive",), input=update, capture_output=True, text=True, check=False, env=surroundings
    )

    assert done.returncode == 3 and "refused (unsigned)" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_hook_without_its_settings_takes_nothing(guarded: Guarded) -> None:
    """What cannot be judged is not taken; the pusher is told whose work it is."""
    (guarded.repository.bare / "hooks" / "interlock.yaml").write_text("format: 2\n")
    code, said = guarded.push_head(guarded.write(SCALED))

    assert code != 0 and "not judged, so not taken" in said and "administrator" in said
    assert guarded.at == guarded.root


def test_the_command_writes_the_hook(guarded: Guarded, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Again without harm, never over somebody else's, and not where the branch itself would be refused."""
    bare = guarded.repository.bare
    pin = ("--root-commit", guarded.root, "--root-key", guarded.ada.public)
    assert main(["protect", "hook", str(bare), *pin, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["head"] == guarded.root
    assert main(["protect", "hook", str(tmp_path), *pin]) == 2
    assert main(["protect", "hook", str(bare), "--root-commit", "main", "--root-key", guarded.ada.public]) == 2

    guarded.unguard()
    assert guarded.push_head(guarded.unsigned(SCALED))[0] == 0
    assert main(["protect", "hook", str(bare), *pin]) == 3
    assert not (bare / "hooks" / "pre-receive").exists()
    (bare / "hooks" / "pre-receive").write_text("#!/bin/sh\n")
    assert main(["protect", "hook", str(bare), *pin]) == 2
    assert "somebody else's hook" in capsys.readouterr().err


def test_a_branch_that_is_not_there_changes_no_hook(guarded: Guarded, capsys: pytest.CaptureFixture[str]) -> None:
    """A typo leaves the branch guarded that was; one that is there says whose guard ends."""
    bare = guarded.repository.bare
    hook = ["protect", "hook", str(bare), "--root-commit", guarded.root, "--root-key", guarded.ada.public, "--branch"]
    assert main([*hook, "nope"]) == 2
    assert "it has: main" in capsys.readouterr().err
    assert guarded.push_head(guarded.unsigned(SCALED))[0] != 0

    assert guarded.push(f"{guarded.root}:refs/heads/side")[0] == 0
    assert main([*hook, "side", "--output", "json"]) == 0
    said = capsys.readouterr()
    assert "main is judged no more" in said.err and json.loads(said.out)["before"] == "main"
    assert main([*hook, "side"]) == 0
    assert "judged no more" not in capsys.readouterr().err


def test_the_first_push_must_be_the_root_pin(server: Server, tmp_path: Path) -> None:
    """A hook on an empty repository takes the pinned commit and nothing else."""
    guarded = make_guarded(server, tmp_path)
    subprocess.run(("git", f"--git-dir={guarded.repository.bare}", "update-ref", "-d", "refs/heads/main"), check=True)
    other = guarded.repository.write(None, {"a": b"1\n"}, by=guarded.ada)
    code, said = guarded.push_head(other)
    assert code != 0 and "refused (root-pin)" in said

    assert guarded.push_head(guarded.root)[0] == 0


@pytest.mark.parametrize("attack", ["twice", "false old commit"])
def test_a_client_that_is_not_git_gets_no_further(guarded: Guarded, attack: str) -> None:
    """One that moves the branch twice in a push, and one that says that the branch is where its bad commit begins."""
    good, bad = guarded.write(SCALED), guarded.unsigned({VALUES: b"replicas: 50\n"})
    on_bad = guarded.write({VALUES: b"replicas: 51\n"}, on=bad)
    moves = {"twice": [(guarded.root, bad), (guarded.root, good)], "false old commit": [(bad, on_bad)]}[attack]

    answer = raw_push(guarded, moves)

    assert guarded.at == guarded.root, answer
