"""When a writer tries again."""

from __future__ import annotations

from interlock.ci.race import PATIENCE_SECONDS, pause


def test_who_lost_more_often_waits_less() -> None:
    """The longest pause shrinks with every loss, until there is none."""
    longest = [pause(lost, took=1, waited=10, chance=1) for lost in range(1, 9)]

    assert longest == [8, 4, 2, 0, 0, 0, 0, 0]
    assert pause(1, took=1, waited=10, chance=0) == 0


def test_a_slow_server_makes_pauses_longer() -> None:
    """What matters is how long an attempt takes there, but nobody waits for longer than 40 seconds."""
    assert pause(2, took=4, waited=10, chance=0.5) == 8
    assert pause(1, took=600, waited=610, chance=1) == 40


def test_patience_ends() -> None:
    """However often it lost."""
    assert pause(1, took=1, waited=PATIENCE_SECONDS + 1, chance=1) is None
    assert pause(99, took=1, waited=PATIENCE_SECONDS - 1, chance=1) == 0
