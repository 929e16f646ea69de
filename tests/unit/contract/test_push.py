"""What a push asks for, and where its objects wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.contract import push, strict_yaml
from interlock.contract.push import NONE, HookFile, Update
from interlock.errors import FormatError, InputError, Refused
from tests.examples_of_repositories import PERSON_KEY

A, B = "a" * 40, "b" * 40


def test_the_protected_branch_is_found_among_others() -> None:
    """Others' branches may come, move and go; tags may only go."""
    text = f"{NONE} {A} refs/heads/side\n{A} {B} refs/heads/main\n{A} {NONE} refs/tags/v1\n{A} {NONE} refs/heads/old\n"
    assert push.moved(push.updates(text), branch="main") == Update(A, B, "refs/heads/main")
    assert push.moved(push.updates(text), branch="trunk") is None


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (f"{A} {NONE} refs/heads/main", "deletion"),
        (f"{NONE} {A} refs/tags/main", "ref"),
        (f"{NONE} {A} refs/replace/{B}", "ref"),
        (f"{NONE} {A} HEAD", "ref"),
    ],
)
def test_some_pushes_need_no_commit_to_be_refused(line: str, rule: str) -> None:
    """The branch's deletion, and what is no branch."""
    with pytest.raises(Refused) as refused:
        push.moved(push.updates(line), branch="main")
    assert refused.value.rule == rule


def test_a_branch_that_is_moved_twice_is_refused() -> None:
    """Only one of the two would be judged, and git might take the other."""
    with pytest.raises(Refused, match="twice"):
        push.moved(push.updates(f"{A} {B} refs/heads/main\n{A} {'c' * 40} refs/heads/main\n"), branch="main")


def test_a_push_of_more_refs_than_are_read_is_refused_as_a_whole() -> None:
    """What stands after the end of what is read is not overlooked."""
    line = f"{NONE} {A} refs/heads/side\n"
    with pytest.raises(InputError, match="too many"):
        push.updates(line * (push.MAX_TEXT // len(line) + 1))


@pytest.mark.parametrize("line", ["nonsense", f"{A} {B}", f"{A} main refs/heads/main", f"--x {A} refs/heads/main"])
def test_what_git_would_not_say_is_an_error(line: str) -> None:
    """The hook is run by git alone."""
    with pytest.raises(InputError):
        push.updates(line)


def test_objects_are_read_from_quarantine_and_repository() -> None:
    """Each folder once, relative ones below the repository."""
    given = {"GIT_OBJECT_DIRECTORY": "/r/objects/incoming", "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/r/objects:pool"}
    found = push.stores(Path("/r"), given)
    assert found == (Path("/r/objects/incoming"), Path("/r/objects"), Path("/r/pool"))
    assert push.stores(Path("/r"), {}) == (Path("/r/objects"),)


def test_tags_are_free_where_they_are_taken_but_for_the_branch_s_name() -> None:
    """Git's own commands take a tag for the branch of the same name."""
    text = f"{NONE} {A} refs/tags/v1\n{A} {B} refs/heads/main\n{A} {NONE} refs/tags/main\n"
    assert push.moved(push.updates(text), branch="main", tags=True) == Update(A, B, "refs/heads/main")
    for ref in ("refs/tags/main", "refs/notes/commits", f"refs/replace/{B}", "refs/x", "HEAD"):
        with pytest.raises(Refused, match="tag"):
            push.moved(push.updates(f"{NONE} {A} {ref}\n"), branch="main", tags=True)


def test_a_hook_s_settings_are_of_one_kind() -> None:
    """Those of older hooks name only the root pin."""
    root = f"root: {{commit: {A}, keys: [{PERSON_KEY}]}}\n"
    rules = f"application: {{source: shop, policy: {A}, signed_commits: false, linear_history: true}}\n"
    assert strict_yaml.parse(f"format: 1\nbranch: main\n{root}", HookFile, path="x").root is not None
    assert strict_yaml.parse(f"format: 1\n{rules}", HookFile, path="x").application is not None
    for wrong in ("", root + rules):
        with pytest.raises(FormatError, match="either"):
            strict_yaml.parse(f"format: 1\n{wrong}", HookFile, path="x")
