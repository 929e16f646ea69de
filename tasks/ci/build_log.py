"""What a build prints, which may be endless: bounded for the run's page, and its end quoted when the build fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable

MOST_LINES = 2000
LINE = 500
"""Characters of a line that are shown."""
QUOTED_LINES = 25

Say = Callable[[str], None]


def say_some(say: Say, line: str, number: int) -> None:
    """Show a line by its number from 0; from a point on, only that there are more."""
    if number < MOST_LINES:
        say(line)
    elif number == MOST_LINES:
        say("the build prints more; the rest is not shown")


def quoted(lines: Iterable[str]) -> str:
    """The end of a log, for an error."""
    return "\n".join(f"  | {line}" for line in lines)
