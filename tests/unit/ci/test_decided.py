"""Whether what became of a commit would be the same now."""

from __future__ import annotations

import pytest

from interlock.ci.decided import Decided, standing
from interlock.contract import layout

FILES = {
    layout.BINDINGS: "b1",
    layout.GATE: "g1",
    "environments/dev/shop/values.yaml": "v1",
    "environments/dev/shop/release.yaml": "r1",
}


@pytest.mark.parametrize(
    ("change", "policy", "places"),
    [
        pytest.param({}, True, True, id="nothing"),
        pytest.param({"environments/dev/shop/release.yaml": "r2"}, True, True, id="another release"),
        pytest.param({layout.GATE: "g2"}, False, True, id="policy"),
        pytest.param({"environments/dev/shop/values.yaml": "v2"}, False, True, id="values"),
        pytest.param({layout.BINDINGS: "b2"}, False, False, id="bindings"),
        pytest.param({"environments/dev/cart/values.yaml": "v1"}, False, False, id="another application's folder"),
    ],
)
def test_a_commit_stays_decided_until_what_decided_it_changes(
    change: dict[str, str], policy: bool, places: bool
) -> None:
    """A blocked one until people write, a released one until there are other places, and what CI writes is neither."""
    before, now = standing(FILES.items()), standing({**FILES, **change}.items())

    assert Decided("c", policy=before.policy).holds(now) == policy
    assert Decided("c", places=before.places).holds(now) == places
    assert Decided("c").holds(now)
