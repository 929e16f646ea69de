"""The pre-receive hook of an application repository on a real git server: real pushes by accounts that may push."""

from __future__ import annotations

import json
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import main
from interlock.contract import commit as commits
from interlock.contract import layout
from interlock.errors import InterlockError
from tasks.common import git
from tests.git.conftest import AUTHOR, Key, Server
from tests.git.guarded import raw_push, with_entry
from tests.git.guarded_source import CODE, DESCRIBED, FIRST, GuardedSource, make_guarded_source

MORE: dict[str, bytes | None] = {CODE: b"print(2)\n"}
WORSE: dict[str, bytes | None] = {CODE: b"print('evil')\n"}


@pytest.fixture
def guarded(server: Server, tmp_path: Path) -> GuardedSource:
    return make_guarded_source(server, tmp_path)


def test_good_pushes_land(guarded: GuardedSource) -> None:
    """Signed commits, several at once, a file that may be run among them; CI builds what the branch has then."""
    first = guarded.write(MORE)
    second = guarded.write({"docs/a.md": b"a\n"}, on=first)
    code, said = guarded.push_head(second)
    assert code == 0, said
    assert "2 commits accepted" in said

    program = with_entry(guarded, f"100755 blob {guarded.blob('#!/bin/sh')}\trun.sh")
    assert guarded.push_head(program)[0] == 0
    assert guarded.builds() == guarded.at == program


@pytest.mark.parametrize(
    "attack",
    [
        *("rewrite", "back", "deletion", "unsigned", "unsigned below", "stranger", "merge"),
        *("format", "bytes", "undescribed", "symlink", "submodule"),
    ],
)
def test_what_is_not_wanted_does_not_land(guarded: GuardedSource, attack: str, tmp_path: Path) -> None:
    """With the rule's word and what to do on the pusher's terminal, and nothing of it in the repository."""
    at = guarded.write(MORE)
    assert guarded.push_head(at)[0] == 0
    commit, rule, fix = pushed(guarded, attack, at, tmp_path)

    guarded.refuses(commit, rule=rule, fix=fix, deletion=attack == "deletion")

    assert attack in ("deletion", "back") or not guarded.has(commit)
    assert guarded.builds() == at


def pushed(guarded: GuardedSource, attack: str, at: str, folder: Path) -> tuple[str, str, str]:
    """A commit, the word of the rule that it breaks, and a part of what is said."""
    nowhere, path = "1" * 40, layout.APPLICATION_REPOSITORY
    made: dict[str, Callable[[], tuple[str, str, str]]] = {
        "rewrite": lambda: (guarded.write(WORSE, on=guarded.root), "rewritten", "git pull --rebase"),
        "back": lambda: (guarded.root, "rewritten", "by a new commit"),
        "deletion": lambda: (at, "deletion", "by a new commit"),
        "unsigned": lambda: (guarded.unsigned(WORSE), "source-signature", f"--gpg-sign {at[:12]}"),
        "unsigned below": lambda: (
            guarded.write(MORE, on=guarded.unsigned(WORSE)),
            "source-signature",
            "commit_keys` of shop",
        ),
        "stranger": lambda: (guarded.write(WORSE, by=Key.make(folder / "eve")), "source-signature", "attesters.yaml"),
        "merge": lambda: (merge(guarded, guarded.write(WORSE, on=guarded.root)), "merge", "rebase instead"),
        "format": lambda: (guarded.write({path: DESCRIBED + b"more: 1\n"}), "format", f"{path}:5:1: "),
        "bytes": lambda: (guarded.write({path: b"format: \xff\n"}), "format", "save it as UTF-8"),
        "undescribed": lambda: (guarded.write({path: None}), "format", "interlock init application"),
        "symlink": lambda: (with_entry(guarded, f"120000 blob {guarded.blob('/etc')}\tlink"), "mode", "regular file"),
        "submodule": lambda: (with_entry(guarded, f"160000 commit {nowhere}\tsub"), "mode", "a submodule"),
    }
    return made[attack]()


def merge(guarded: GuardedSource, side: str) -> str:
    """Signed by ada."""
    tree = git.tree_id(guarded.repository.mirror, side)
    parents = (guarded.at, side)
    data = commits.unsigned(tree=tree, parents=parents, author=AUTHOR, seconds=1_700_000_000, message="Merge")
    return guarded.wrote("commit", commits.signed(data, guarded.ada.path.read_bytes()).decode())


def test_other_branches_and_tags_are_free_and_other_refs_are_not(guarded: GuardedSource) -> None:
    """Nothing is built from them; but a tag that git shows for the branch, notes and replacements mislead people."""
    commit = guarded.unsigned(MORE)
    for ref in ("refs/heads/topic", "refs/tags/v1"):
        assert guarded.push(f"{commit}:{ref}")[0] == 0
    for ref in ("refs/notes/commits", f"refs/replace/{guarded.root}", "refs/tags/main"):
        code, said = guarded.push(f"{commit}:{ref}")
        assert code != 0 and "refused (ref)" in said, said


def test_a_tag_does_not_become_the_branch(guarded: GuardedSource) -> None:
    """What git would follow to a good commit is not one itself, also where nothing has to be signed."""
    guarded.want({"signed_commits": False})
    guarded.guard()
    good = guarded.write(MORE)
    tag = guarded.wrote("tag", f"object {good}\ntype commit\ntag t\ntagger A <a@b.c> 1700000000 +0000\n\nx\n")

    answer = raw_push(guarded, [(guarded.root, tag)])

    assert guarded.at == guarded.root and "pre-receive hook declined" in answer


@pytest.mark.parametrize("attack", ["twice", "false old commit", "as if new"])
def test_a_client_that_is_not_git_gets_no_further(guarded: GuardedSource, attack: str) -> None:
    """One that moves the branch twice in a push, and ones that say that it is elsewhere, or that there is none."""
    good, bad = guarded.write(MORE), guarded.unsigned(WORSE)
    on_bad = guarded.write(MORE, on=bad)
    moves = {
        "twice": [(guarded.root, bad), (guarded.root, good)],
        "false old commit": [(bad, on_bad)],
        "as if new": [("0" * 40, guarded.write(WORSE, on=guarded.root))],
    }[attack]

    answer = raw_push(guarded, moves)

    assert guarded.at == guarded.root, answer


def test_merges_land_where_they_are_wanted(guarded: GuardedSource) -> None:
    """With what they bring in judged as everything else: an unsigned commit does not come by a signed merge."""
    guarded.want({"linear_history": False}, commit_keys=[guarded.ada.public])
    guarded.guard()
    assert guarded.push_head(merge(guarded, guarded.write(MORE)))[0] == 0

    code, said = guarded.push_head(merge(guarded, guarded.unsigned(WORSE)))

    assert code != 0 and "refused (source-signature)" in said


def test_where_signatures_are_not_wanted_the_newest_commit_is_what_ci_asks_for(guarded: GuardedSource) -> None:
    """Signed where `commit_keys` says by whom, and by anybody or nobody where it does not."""
    guarded.want({"signed_commits": False}, commit_keys=[guarded.ada.public])
    guarded.guard()
    unsigned = guarded.unsigned(MORE)
    assert guarded.push_head(unsigned)[0] != 0
    assert guarded.push_head(guarded.write({"b": b"b\n"}, on=unsigned))[0] == 0

    guarded.want({"signed_commits": False})
    guarded.guard()
    assert guarded.push_head(guarded.unsigned(WORSE))[0] == 0


def test_the_first_push_is_judged_as_a_whole(server: Server, tmp_path: Path) -> None:
    """A hook on an empty repository takes a signed history and nothing else."""
    guarded = make_guarded_source(server, tmp_path, empty=True)
    eve = guarded.repository.write(None, FIRST, by=Key.make(tmp_path / "eve"))
    code, said = guarded.push_head(guarded.write(MORE, on=eve))
    assert code != 0 and "refused (source-signature)" in said and "--gpg-sign --root" in said

    head = guarded.write(MORE, on=guarded.root)
    code, said = guarded.push_head(head)
    assert code == 0 and "2 commits accepted" in said
    assert guarded.builds() == head


def test_thousands_of_commits_land_at_once(guarded: GuardedSource) -> None:
    """A long branch is read in one go, and a bad commit in the middle of it is found."""
    good = chain(guarded, guarded.root, 3_000)
    unsigned = guarded.unsigned(WORSE, parents=(good,))
    assert guarded.push_head(chain(guarded, unsigned, 1_000))[0] != 0
    assert guarded.at == guarded.root

    code, said = guarded.push_head(good)

    assert code == 0 and "3000 commits accepted" in said


def chain(guarded: GuardedSource, on: str, length: int) -> str:
    """Commits signed by ada, written as git writes loose objects."""
    mirror, key = guarded.repository.mirror, guarded.ada.path.read_bytes()
    tree = git.tree_id(mirror, guarded.root)
    for number in range(length):
        data = commits.unsigned(tree=tree, parents=(on,), author=AUTHOR, seconds=1_700_000_000 + number, message="x")
        data = commits.signed(data, key)
        on = commits.object_id("commit", data)
        path = mirror / "objects" / on[:2] / on[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(b"commit %d\0%s" % (len(data), data), 1))
    return on


# the command -----------------------------------------------------------------------------------------


def test_the_command_says_what_no_hook_holds(guarded: GuardedSource, capsys: pytest.CaptureFixture[str]) -> None:
    """Reviews, checks and who pushes without a review: wanted, and known to no plain git server."""
    wanted = {"reviews": 2, "reviewers": ["ada", "ben"], "checks": ["interlock/release"], "may_push": ["bot"]}
    guarded.want(wanted, commit_keys=[guarded.ada.public])
    assert main([*guarded.command, "--output", "json"]) == 0

    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["head"] == guarded.root and found["wrong"] is None and found["before"] is None
    assert found["application"]["commit_keys"] == [guarded.ada.public]
    assert list(found["not_held"]) == ["reviews", "direct-push", "checks"]
    for part in ("at least 2 of ada, ben", "nobody but bot", "wanted are interlock/release"):
        assert part in said.err


@pytest.mark.parametrize(
    ("wanted", "attester", "told"),
    [
        ({}, {}, "name the keys in `commit_keys` of shop in trust/attesters.yaml"),
        ({"branch": "trunk"}, {"branch": "main"}, "give shop its `branch` in policy/protection.yaml"),
        ({"branch": "trunk", "signed_commits": False}, {}, "it has: main"),
    ],
)
def test_a_policy_that_cannot_be_held_changes_no_hook(
    guarded: GuardedSource,
    wanted: dict[str, Any],
    attester: dict[str, Any],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Signatures of nobody, a branch that nobody releases from, one that is not there: what to write is said."""
    guarded.want(wanted, **attester)

    assert main(guarded.command) == 2
    assert told in capsys.readouterr().err
    assert guarded.push_head(guarded.unsigned(WORSE))[0] != 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "nothing says what the hook judges by"),
        (["--root-commit", "1" * 40], "--root-commit do not say"),
        (["--application", "shop"], "--policy for an application repository"),
        (["--policy", "{policy}"], "--root-key for an environment repository"),
        (["--application", "shop", "--policy", "{policy}", "--root-commit", "1" * 40], "do not say"),
        (["--application", "shop", "--policy", "{policy}", "--branch", "main"], "leave --branch out"),
        (["--application", "shopp", "--policy", "{policy}"], "it has: shop"),
    ],
)
def test_only_one_of_two_ways_is_taken(
    guarded: GuardedSource, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A root pin for an environment repository, a name and a policy for an application repository, nothing between."""
    given = [option.format(policy=guarded.policy) for option in options]

    assert main(["protect", "hook", str(guarded.repository.bare), *given]) == 2
    assert told in capsys.readouterr().err


def test_another_kind_of_guard_says_so(guarded: GuardedSource, capsys: pytest.CaptureFixture[str]) -> None:
    """The same again says nothing; another name or kind says what was held until now, and another branch too."""
    again = ["--output", "json"]
    capsys.readouterr()
    assert main([*guarded.command, *again]) == 0
    assert "until now" not in capsys.readouterr().err

    guarded.want({"branch": "release"}, commit_keys=[guarded.ada.public])
    assert guarded.push(f"{guarded.root}:refs/heads/release")[0] == 0
    assert main([*guarded.command, *again]) == 0
    assert "main is judged no more" in capsys.readouterr().err

    pin = ["--root-commit", guarded.root, "--root-key", guarded.ada.public]
    assert main(["protect", "hook", str(guarded.repository.bare), *pin]) == 3
    guarded.unguard()
    (guarded.repository.bare / "hooks" / "interlock.yaml").write_text(
        f"format: 1\nbranch: release\nroot:\n  commit: {guarded.root}\n  keys: [{guarded.ada.public}]\n"
    )
    capsys.readouterr()
    assert main([*guarded.command, *again]) == 0
    said = capsys.readouterr().err
    assert "as an environment repository, from now on as the application repository shop" in said


def test_a_branch_that_ci_would_not_build_is_mended_by_a_push(
    guarded: GuardedSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what is there only the newest commit is judged, and told of: the hook is written all the same."""
    guarded.unguard()
    assert guarded.push_head(guarded.unsigned(WORSE))[0] == 0
    capsys.readouterr()
    assert main(guarded.command) == 0
    said = capsys.readouterr()
    assert "which would be refused" in said.out and "until a push mends it: shop" in said.err
    with pytest.raises(InterlockError):
        guarded.builds()

    mended = guarded.write(FIRST)
    assert guarded.push_head(mended)[0] == 0
    assert guarded.builds() == mended


def test_the_policy_may_be_the_bare_repository_itself(guarded: GuardedSource, tmp_path: Path) -> None:
    """On the git server it lies beside the application's: no clone is needed."""
    bare = tmp_path / "environments.git"
    subprocess.run(("git", "clone", "--quiet", "--bare", str(guarded.policy), str(bare)), check=True)

    assert main([*guarded.command[:-1], str(bare)]) == 0
