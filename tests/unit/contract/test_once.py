"""A property that is computed once."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.contract.once import once


@dataclass(frozen=True)
class Counted:
    calls: list[int]

    @once
    def value(self) -> int:
        """What it is."""
        self.calls.append(1)
        return len(self.calls)


def test_it_is_computed_at_the_first_use_only() -> None:
    """Every object computes its own value, once."""
    one, other = Counted([]), Counted([1])
    assert (one.value, one.value, other.value) == (1, 1, 2)
    assert (one.calls, other.calls) == ([1], [1, 1])


def test_the_class_shows_the_property_itself() -> None:
    """Its documentation is found as that of any property."""
    assert Counted.value.__doc__ == "What it is."
