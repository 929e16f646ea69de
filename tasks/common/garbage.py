"""Python's search for cycles, which finds none in a cluster's objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = 200_000, 50, 1_000


@contextmanager
def collected_rarely() -> Iterator[None]:
    """For the length of a block that holds many JSON values.

    They are freed by counting references; by default every 700 new ones start a search through the young ones, and
    again and again through all: most of what reading ten thousand objects takes.
    """
    usual = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
