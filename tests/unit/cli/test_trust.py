"""`interlock trust explain`: every rule's word on a commit of a person's clone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.unit.cli.commands import git, interlock

VALUES = "environments/dev/shop/values.yaml"


def commit(home: Path, path: str, text: str, *options: str) -> None:
    clone = home / "environments"
    (clone / path).parent.mkdir(parents=True, exist_ok=True)
    (clone / path).write_text(text)
    git("add", path, folder=clone)
    git("commit", "--quiet", "--message", "Change", *options, folder=clone)


def explained(home: Path, *words: str) -> tuple[int, dict[str, tuple[bool | None, str]]]:
    """The exit code, and what each rule says."""
    done = interlock("trust", "explain", *words, "--repository", "environments", "-o", "json", folder=home)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["accepted"] is (done.returncode == 0)
    return done.returncode, {each["rule"]: (each["passes"], each["said"]) for each in found["checks"]}


def test_a_commit_that_passes_is_told_rule_by_rule(home: Path) -> None:
    """Who signed, what he may write, and that everything else is in order."""
    commit(home, VALUES, "replicas: 2\n")

    code, rules = explained(home)

    assert code == 0
    assert all(passes for passes, _ in rules.values())
    assert set(rules) == {
        *("merge", "signature", "key-expired", "too-large", "mode", "path-scope", "release-scope", "trust-change"),
    }
    assert rules["signature"][1].startswith("by ada, SHA256:")


def test_each_rule_that_fails_is_told(home: Path) -> None:
    """Not the first alone: an unsigned commit with a forbidden file says both, and what then cannot be known."""
    commit(home, ".gitattributes", "* text\n", "--no-gpg-sign")

    code, rules = explained(home, "HEAD")

    assert code == 3
    assert rules["unsigned"] == (False, "it is not signed")
    assert rules["forbidden-path"][0] is False
    assert rules["path-scope"][0] is None
    assert rules["trust-change"][0] is True


def test_a_key_that_was_removed_since_is_told(home: Path) -> None:
    """The commit passed at its parent, and its key is nobody's at the head."""
    commit(home, VALUES, "replicas: 2\n")
    clone = home / "environments"
    file = clone / "trust" / "signers.yaml"
    other = (home / "ci.key.pub").read_text().split()[1]
    text = file.read_text()
    mine = next(key for key in re.findall(r"AAAA[\w+/=]+", text) if key != other)
    assert interlock("key", "new.key", folder=home).returncode == 0
    commit(home, "trust/signers.yaml", text.replace(mine, (home / "new.key.pub").read_text().split()[1]))

    code, rules = explained(home, "HEAD~1")

    assert code == 3
    assert rules["trust-change"] == (False, "ada's key was removed from trust/signers.yaml since")


def test_what_cannot_be_explained_is_one_error(home: Path) -> None:
    """The first commit has no parent to be judged by; a name that git does not know; a folder that is no clone."""
    first = interlock("trust", "explain", "--repository", "environments", folder=home)
    assert (first.returncode, "root pin" in first.stderr) == (2, True)
    unknown = interlock("trust", "explain", "nosuch", "--repository", "environments", folder=home)
    assert (unknown.returncode, "there is no such commit" in unknown.stderr) == (2, True)
    nowhere = interlock("trust", "explain", folder=home)
    assert (nowhere.returncode, "no git repository" in nowhere.stderr) == (2, True)
    missing = interlock("trust", "explain", "--repository", "nosuch", folder=home)
    assert (missing.returncode, "there is no such folder" in missing.stderr) == (2, True)
    git("init", "--quiet", "other", folder=home)
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for _ in range(2):
        git(*identity, "commit", "--quiet", "--allow-empty", "--message", "x", folder=home / "other")
    other = interlock("trust", "explain", "--repository", "other", folder=home)
    assert (other.returncode, "has no trust/signers.yaml" in other.stderr) == (2, True)
