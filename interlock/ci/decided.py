"""What became of a repository's newest commit, and whether it would become the same now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from interlock.contract import layout
from interlock.contract.canonical import canonical, digest


@dataclass(frozen=True)
class Decided:
    """A commit that a release has dealt with, for good when nothing else is said.

    `policy`: what people had written when the gate kept it out. `places`: where it might be released when it was.
    """

    commit: str
    policy: str | None = None
    places: str | None = None

    def holds(self, now: Standing) -> bool:
        """Whether nothing has changed that could give another result."""
        return self.policy in (None, now.policy) and self.places in (None, now.places)


@dataclass(frozen=True)
class Standing:
    """Digests of what releases depend on in the environment repository; another's release changes none of them."""

    policy: str
    """Of all that people wrote."""
    places: str
    """Of the bindings, and of which environment has which application."""


def standing(files: Iterable[tuple[str, str]]) -> Standing:
    """What a commit of the environment repository says, given as its files' paths and object ids."""
    written = [(path, blob) for path, blob in files if not layout.is_machines(path)]
    folders = sorted({path.rpartition("/")[0] for path, _ in written if path.startswith("environments/")})
    bindings = [blob for path, blob in written if path == layout.BINDINGS]
    return Standing(digest(canonical([list(each) for each in written])), digest(canonical([bindings, folders])))
