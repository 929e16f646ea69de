"""The state that a flow returns."""

from __future__ import annotations

from flows.ending import ending
from interlock.ci.targets import nowhere


async def test_a_repository_that_is_bound_nowhere_is_no_failure() -> None:
    """One line, in a run that is not red: nobody has asked for that repository's release."""

    async def order() -> str:
        raise nowhere("shop", "ci-shop")

    state = await ending(order(), str)

    assert state.is_completed()
    assert state.name == "Unbound"
    assert state.message == (
        "shop: no environment has an application that a binding gives to its components and the signer ci-shop"
    )
