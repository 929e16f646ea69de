"""What is said when a forge does not do what it was asked. The account is among the host files' models."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.contract.host import ForgeAccount, ForgeKind
from interlock.errors import ForgeError

__all__ = ["ForgeAccount", "ForgeKind", "failed", "seconds_to_wait", "shortened"]


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and a sign that more followed."""
    return text if len(text) <= most else text[: most - 1] + "…"


# what went wrong -------------------------------------------------------------------------------------


_HINTS = {
    401: "the forge does not accept the token: put a new one into {token}",
    403: "the token in {token} may not do that: give it the right, or name another file in the host's file",
    404: "there is no such project, or the token in {token} may not see it: correct `project` in the host's file",
}
_PASSING = frozenset({0, 408, 425, 429})
_LATER = "the forge is away or busy: it is tried again"


def failed(
    account: ForgeAccount, doing: str, *, status: int, said: str, after_seconds: float = 0, busy: bool = False
) -> ForgeError:
    """The error for an answer; status 0 means that there was none. `busy`: a limit was reached, whatever the status."""
    transient = busy or status in _PASSING or status >= 500
    answer = f"{status} {said}".strip() if status else said or "no answer"
    return ForgeError(
        f"{account.project} on {account.url}: {doing}: {shortened(' '.join(answer.split()), 300)}",
        status=status,
        hint=_LATER if transient else _HINTS.get(status, "").format(token=account.token),
        transient=transient,
        after_seconds=after_seconds,
    )


def seconds_to_wait(headers: Mapping[str, str], *, now: float) -> float:
    """What the answer asks for: by Retry-After in seconds, or by the second at which GitHub's limit ends."""
    lower = {name.lower(): value for name, value in headers.items()}
    if (after := lower.get("retry-after", "")).isdecimal():
        return float(after)
    reset = lower.get("x-ratelimit-reset", "")
    if lower.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(0.0, float(reset) - now)
    return 0.0
