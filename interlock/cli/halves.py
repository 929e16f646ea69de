"""Which half a host has: each command loads one of them, and says so when it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from interlock.errors import InputError

_SDK = {"ci": "docker", "cd": "kubernetes"}


@contextmanager
def needs(half: Literal["ci", "cd"]) -> Iterator[None]:
    """Around the imports of a half: the half's missing SDK becomes an error that names the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != _SDK[half]:
            raise
        raise InputError(
            f"this command belongs to {half.upper()}, and its half of Interlock is not installed here",
            hint=f"on a {half.upper()} host, in a checkout: pip install '.[{half}]'",
        ) from error
