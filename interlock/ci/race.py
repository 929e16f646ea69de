"""When a writer that lost the branch to another one tries again: who has lost more often waits less."""

from __future__ import annotations

PATIENCE_SECONDS = 900.0
"""How long one writer keeps trying."""
_HALVINGS = 3
_LONGEST_ATTEMPT_SECONDS = 5.0
"""A slower attempt built or signed something on its way, which the next one need not do again."""


def pause(lost: int, *, took: float, waited: float, chance: float) -> float | None:
    """How many seconds to wait before the next attempt; None when it is time to give up.

    `lost`: attempts so far. `took`: how long the last one took, so that the pause fits this server and this load.
    `waited`: seconds since the first attempt. `chance`: a random number from 0 to 1, which keeps writers that lost
    together from meeting again. The longest pause is halved with every loss until there is none: newcomers make room
    for those who have tried before. Of any number of writers one gets through in each round, so nobody is passed for
    ever.
    """
    if waited > PATIENCE_SECONDS:
        return None
    step = min(took, _LONGEST_ATTEMPT_SECONDS)
    return chance * step * (2 ** (_HALVINGS - lost + 1) if lost <= _HALVINGS else 0)
