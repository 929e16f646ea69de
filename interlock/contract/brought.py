"""Who brought a release into the environment repository."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Brought:
    """The commit of the environment repository that wrote a release, who signed it, and when by its own word."""

    commit: str
    signer: str
    time: str
    repository: str = ""
    source: str = ""
    """The source's commit, and the repository that has it."""
    evidence: str = ""
