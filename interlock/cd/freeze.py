"""A frozen environment: nothing new is deployed to it. What is deployed is kept up, and nothing is rolled back.

A freeze is this host's own; each cause has at most one, and who set it lifts it when the cause is gone. Pure: where
they lie is `tasks.cd.freezes`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from interlock.errors import FormatError, Refused


@dataclass(frozen=True)
class Freeze:
    """`cause` is a word such as `branch-protection`; `since` the moment that it was set, in UTC."""

    cause: str
    reason: str
    since: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.cause}, since {self.since}: {self.reason}"


def write(freeze: Freeze) -> bytes:
    return json.dumps(asdict(freeze), sort_keys=True).encode()


def read(data: bytes, *, path: str) -> Freeze:
    """FormatError for anything that was not written by `write`."""
    try:
        found = json.loads(data)
        texts = {name: found[name] for name in ("cause", "reason", "since", "hint")}
    except (ValueError, LookupError, TypeError) as error:
        raise FormatError("it is no freeze", path=path) from error
    if not all(isinstance(text, str) for text in texts.values()):
        raise FormatError("it is no freeze", path=path)
    return Freeze(**texts)


def require_free(environment: str, freezes: Sequence[Freeze], *, commit: str, deployed: str | None) -> None:
    """Refused (`frozen`) when the commit is not what is deployed and there is any freeze."""
    if not freezes or commit == deployed:
        return
    stays = f"{deployed[:12]} is kept up" if deployed else "nothing is deployed"
    said = "; ".join(map(str, freezes))
    hints = "; ".join(dict.fromkeys(each.hint for each in freezes if each.hint))
    raise Refused(
        f"{environment} is frozen, {commit[:12]} is not deployed and {stays}: {said}",
        rule="frozen",
        hint=hints or "it is lifted by itself once the cause is gone",
    )
