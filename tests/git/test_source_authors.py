"""Who made what a release brings, by the commits of the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.contract import signature, trailers
from interlock.contract.commit import Person
from interlock.contract.trailers import Trailers
from interlock.errors import Blocked
from tasks.ci.source import MOST_AUTHORS, authors_since
from tasks.common import git
from tests.git.conftest import Key, Repository


def test_every_author_and_key_since_the_oldest_release_is_named(repository: Repository, tmp_path: Path) -> None:
    """Whichever environment is behind: what is new for one of them has its authors in the release's commit."""
    keys = {name: Key.make(tmp_path / name) for name in ("ada", "ben", "cleo")}
    commits: list[str] = []
    for name, key in keys.items():
        author = Person(f"{name.title()} X", f"{name}@example.org")
        message = "Change\n\nCo-Authored-By: Dora <dora@example.org>" if name == "cleo" else "Change"
        before = commits[-1] if commits else None
        changes: dict[str, bytes | None] = {"file": name.encode()}
        commits.append(
            git.write_commit(repository.mirror, before, changes, message=message, key=key.path, author=author)
        )
    first, second, head = commits

    found = authors_since(repository.mirror, head, (second, first, "9" * 40))

    assert found.people == ("Ben X <ben@example.org>", "Cleo X <cleo@example.org>", "Dora <dora@example.org>")
    assert set(found.keys) == {signature.fingerprint(keys[name].public) for name in ("ben", "cleo")}
    assert authors_since(repository.mirror, head, ()).people == found.people[1:]


def test_nobody_is_left_out_for_their_number(repository: Repository) -> None:
    """Whoever names a thousand others, who come first in the alphabet, does not hide who made it."""
    others = "".join(f"\nCo-authored-by: !{number} <!{number}@example.org>" for number in range(1_000))
    author = Person("Zoe", "zoe@example.org")
    head = git.write_commit(
        repository.mirror, None, {}, message=f"Change\n{others}", key=repository.key.path, author=author
    )

    with pytest.raises(Blocked, match="name more than 1,000 authors"):
        authors_since(repository.mirror, head, ())


def test_an_address_stays_whatever_the_name_is(repository: Repository) -> None:
    """Approvals are held against it, so a long name does not push it out of the release's commit."""
    brought = Trailers(*("shop", "5" * 40, "run-1", f"sha256:{'2' * 64}", "web"), authors=(f"{'x' * 999} <eve@x.org>",))

    read = trailers.parse(trailers.message("Release", brought))

    assert read is not None and read.authors == (f"{'x' * 64} <eve@x.org>",)


def test_a_message_of_the_most_authors_is_read() -> None:
    """With names and addresses of the longest that are kept: CD does not refuse what CI has written."""
    longest = "\U0001f600"
    people = tuple(f"{longest * 99} <{longest * 199}{number}@x>" for number in range(MOST_AUTHORS))
    keys = tuple(f"SHA256:{number:043}" for number in range(MOST_AUTHORS))
    brought = Trailers(*("shop", "5" * 40, "run-1", f"sha256:{'2' * 64}", "web"), authors=people, source_keys=keys)

    assert len(trailers.message("Release", brought).encode()) < git.MAX_COMMIT_BYTES - 10_000


def test_a_release_s_message_keeps_them(repository: Repository) -> None:
    """They are trailers that git reads, whatever somebody calls themselves, and are read back."""
    brought = Trailers(
        *("shop", "5" * 40, "run-1", f"sha256:{'2' * 64}", "web"),
        authors=("Eve\n\nInterlock-Run: x <eve@example.org>",),
        source_keys=("SHA256:abc",),
    )

    read = trailers.parse(trailers.message("Release", brought))

    assert read is not None
    assert (read.run, read.source_keys) == ("run-1", ("SHA256:abc",))
    assert read.authors == ("Eve Interlock-Run: x <eve@example.org>",)
