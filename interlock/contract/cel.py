"""Rules in CEL, the cluster's own language for them (cel.dev), through the library of its authors.

A rule cannot loop: an evaluation has a budget of 10,000 iterations, and what needs more is an error as any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

MOST_CHARACTERS = 4_000
"""Of one expression; with the budget of iterations it bounds what an evaluation may cost."""
_MARK = re.compile(r"\s*\[[A-Z_]+\]$|^[A-Z_]+: (ERROR: <input>:)?")


class CelError(Exception):
    """An expression that is no CEL, or that has no answer for this object. One line."""


@dataclass(frozen=True)
class Program:
    """A compiled expression over named variables. `answers` is its type as the compiler knows it: `BOOL`, `DYN`, …"""

    text: str
    answers: str
    _compiled: Any

    def evaluate(self, **variables: object) -> object:
        """The answer as a Python value; CelError when there is none, as for a field that is not there."""
        try:
            found = self._compiled.eval(data=variables)
            failed, value = found.type().name() == "ERROR", found.plain_value()
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise CelError(_one_line(error)) from None
        if failed:
            raise CelError(_one_line(value))
        return cast("object", value)


@lru_cache(maxsize=1_000)
def compiled(text: str, *variables: str) -> Program:
    """The expression over these variables, each of any type. CelError says what is wrong, and where in it.

    Texts have the functions of CEL's `strings` extension, and what may be missing is `object.?status.?phase`.
    """
    if len(text) > MOST_CHARACTERS:
        raise CelError(f"the expression has {len(text)} characters; at most {MOST_CHARACTERS} are read")
    try:
        program = _environment(variables).compile(text)
    except (RuntimeError, TypeError) as error:  # TypeError: text that is no UTF-8
        raise CelError(_one_line(error)) from None
    return Program(text, str(program.return_type().name()), program)


@lru_cache(maxsize=8)
def _environment(variables: tuple[str, ...]) -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_optional, ext_strings

    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional()]
    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN), extensions=extensions)


def _one_line(error: object) -> str:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return _MARK.sub("", first).strip()
