"""What this process knows to be secret is masked in all that it says: in logs, on pages, in errors.

Whoever reads a secret from outside says so here, once, at the door where it comes in. A run has a process of its own,
so what is known is known to that run. Values of fewer than six characters are not looked for.
"""

from __future__ import annotations

import logging
import resource
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from interlock.contract.secret_text import MASK, forms, masked
from interlock.errors import InputError, Refused

_PR_SET_DUMPABLE = 4
_PEM = "-----"
_lock = threading.Lock()
_known: frozenset[str] = frozenset()
_ordered: tuple[str, ...] = ()
_sealed: frozenset[str] = frozenset()
"""Of what is known, the values that were opened of files of the repository."""
_told: ContextVar[bool] = ContextVar("refusals are told to people who may guess", default=False)


def know(*secrets: str | bytes, sealed: bool = False) -> None:
    """From now on these are masked, whatever form they take. `sealed`: they were opened of files of the repository."""
    global _known, _ordered, _sealed  # noqa: PLW0603 - what a process knows is one thing
    texts = (each.decode(errors="replace") if isinstance(each, bytes) else each for each in secrets)
    found = frozenset(part for text in texts for part in forms(text) if not part.startswith(_PEM))
    with _lock:
        _sealed = _sealed | (found - _known) if sealed else _sealed - found
        if not found <= _known:
            _known |= found
            _ordered = tuple(sorted(_known, key=len, reverse=True))
    _watch_logs()


def forget() -> None:
    """Nothing is known any more."""
    global _known, _ordered, _sealed
    with _lock:
        _known, _ordered, _sealed = frozenset(), (), frozenset()


def redacted(text: str, *, sealed: bool = True) -> str:
    """The text with a mask for each secret in it.

    Without `sealed` values for whoever may write a part of the text: a mask would tell them that a guess was right.
    """
    secrets = _ordered if sealed else tuple(each for each in _ordered if each not in _sealed)
    return masked(text, secrets) if secrets else text


@contextmanager
def told_to_guessers() -> Iterator[None]:
    """What commits are refused for is told in the block to people who may have written it."""
    token = _told.set(True)
    try:
        yield
    finally:
        _told.reset(token)


@contextmanager
def in_errors() -> Iterator[None]:
    """Errors that leave the block tell no secret, nor do those that led to them."""
    try:
        yield
    except Exception as error:
        _redact(error)
        raise


def _redact(error: BaseException) -> None:
    """It, what led to it, and what a group of errors holds: arguments, notes, and what else is kept in them."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while _ordered and waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        sealed = not (_told.get() and isinstance(each, Refused | InputError))
        each.args = _masked(each.args, sealed=sealed)
        vars(each).update({name: _masked(value, sealed=sealed) for name, value in vars(each).items()})
        waiting += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


_MOST_DEPTH = 20


def _masked(value: Any, depth: int = 0, *, sealed: bool = True) -> Any:
    if depth > _MOST_DEPTH:
        return MASK
    if isinstance(value, str):
        return redacted(value, sealed=sealed)
    if isinstance(value, bytes):
        text = value.decode(errors="surrogateescape")
        return redacted(text, sealed=sealed).encode(errors="surrogateescape")
    within = partial(_masked, depth=depth + 1, sealed=sealed)
    if type(value) is dict:
        return {within(key): within(each) for key, each in value.items()}
    if type(value) in {tuple, list, set, frozenset}:
        return type(value)(map(within, value))
    return value


# logs ------------------------------------------------------------------------------------------------


class _Record(logging.LogRecord):
    """A line of a log as it may be read. Python's own formatters take the text of an error from `exc_text`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not _ordered:
            return
        message = self.getMessage()
        if (clean := redacted(message)) != message:
            self.msg, self.args = clean, ()
        if self.exc_info and self.exc_info[1]:
            said = "".join(traceback.format_exception(self.exc_info[1])).rstrip("\n")
            if (clean := redacted(said)) != said:
                self.exc_text = clean
                self.exc_info = None


def _watch_logs() -> None:
    if logging.getLogRecordFactory() is not _Record:
        logging.setLogRecordFactory(_Record)


# memory ----------------------------------------------------------------------------------------------


def keep_from_dumps() -> None:
    """No core dump has what is in this process' memory, nor may other processes of the same user look into it."""
    import ctypes

    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    # A dump that is piped to a program heeds no limit. Where this fails, the limit is what there is.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
