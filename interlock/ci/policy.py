"""What `interlock check` judges by."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.ci.targets import Target, targets
from interlock.contract.models import GateFile, Waiver
from interlock.contract.repository import Repository
from interlock.errors import ParameterError


@dataclass(frozen=True)
class Policy:
    """What to judge by: an environment repository's, or without one Interlock's defaults."""

    gate: GateFile
    waivers: tuple[Waiver, ...]
    targets: tuple[Target, ...]

    @classmethod
    def of(cls, repository: Repository | None, *, source: str | None) -> Policy:
        """`source`: the name that the bindings give this application repository; None: every binding counts."""
        if repository is None:
            return cls(GateFile(format=1), (), ())
        sources = {each.source for each in repository.bindings}
        if source and source not in sources:
            known = ", ".join(sorted(sources)) or "none"
            raise ParameterError(f"no binding is about {source}", hint=f"the repositories that bindings name: {known}")
        bound = targets(repository, source=source, signer=None)
        return cls(repository.gate, repository.waivers, bound)
