"""What a push to a git server asks for, and which of it no rule of commits is needed to refuse. Pure.

What moves the protected branch is then judged as CD judges an environment repository, or CI an application repository.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import model_validator

from interlock.contract.commit import COMMIT_ID
from interlock.contract.host import Branch, RootPin
from interlock.contract.models import File
from interlock.contract.source_push import SourceRules
from interlock.errors import InputError, Refused

MAX_TEXT = 1 << 20
"""How much git may say of one push."""
NONE = "0" * 40
"""What git calls a ref that is not there."""
OBJECTS = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
"""How git tells a hook where the pushed objects wait: they are in quarantine, and a part of the repository later."""


class HookFile(File):
    """interlock.yaml, beside a pre-receive hook. With `root` it guards an environment repository, with `application` an
    application repository.
    """

    branch: Branch = "main"
    root: RootPin | None = None
    application: SourceRules | None = None

    @model_validator(mode="after")
    def one_of_two(self) -> Self:
        if (self.root is None) == (self.application is None):
            raise ValueError("give either `root`, for an environment repository, or `application`")
        return self

    @property
    def guards(self) -> str:
        return (
            f"the application repository {self.application.source}" if self.application else "an environment repository"
        )


@dataclass(frozen=True)
class Update:
    """One ref that a push moves."""

    old: str
    new: str
    ref: str


def updates(text: str) -> tuple[Update, ...]:
    """What git gives a pre-receive hook on stdin: all of it, or an error."""
    if len(text) > MAX_TEXT:
        raise InputError("the push moves too many refs at once", hint="push fewer branches at a time")
    found = []
    for line in text.splitlines():
        words = line.split(" ", 2)
        if len(words) != 3 or not all(COMMIT_ID.fullmatch(word) for word in words[:2]):
            raise InputError(
                f"{line[:120]!r} is no line of a pre-receive hook", hint="git runs it; its form is OLD NEW REF"
            )
        found.append(Update(*words))
    return tuple(found)


def moved(pushed: Iterable[Update], *, branch: str, tags: bool = False) -> Update | None:
    """What the push does to the protected branch. Refused: its deletion, and refs that are no branches.

    `tags`: tags are free as well, but for one that git's own commands would take for the branch.
    """
    free = ("refs/heads/", "refs/tags/") if tags else ("refs/heads/",)
    found = None
    for update in pushed:
        if update.ref == f"refs/heads/{branch}":
            if found:  # git would take the first, and find only then that the second does not follow
                raise Refused(f"the branch {branch} is moved twice by one push", rule="ref", hint="push it once")
            found = update
        elif update.new == NONE:
            continue
        elif not update.ref.startswith(free):
            only = "branches and tags: no notes or" if tags else "branches only: no tags, notes or"
            raise Refused(
                f"{update.ref[:200]!a} is no branch{' or tag' if tags else ''}",
                rule="ref",
                hint=f"{'an application' if tags else 'an environment'} repository has {only} replacements",
            )
        elif update.ref == f"refs/tags/{branch}":
            raise Refused(
                f"a tag may not be named {branch}, as the branch is",
                rule="ref",
                hint="git's own commands would show people the tag for the branch; give it another name",
            )
    if found and found.new == NONE:
        raise Refused(
            f"the branch {branch} may not be deleted", rule="deletion", hint="undo what is wrong by a new commit"
        )
    return found


def stores(repository: Path, given: dict[str, str]) -> tuple[Path, ...]:
    """The folders with the pushed objects and the repository's own."""
    named = [given.get(OBJECTS[0], ""), *given.get(OBJECTS[1], "").split(":"), str(repository / "objects")]
    return tuple(dict.fromkeys(repository / name for name in named if name))
