"""What a Dockerfile tells about the image that it makes: its last stage, read without a daemon."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_PYTHON = re.compile(r"(?:.*/)?(python(?:3(?:\.[0-9]+)?)?)")


@dataclass(frozen=True)
class Dockerfile:
    """The last stage. `port` is the first one exposed; `user` and `workdir` are empty when nothing sets them."""

    base: str
    port: int | None
    user: str
    workdir: str
    python: str | None
    """The interpreter's name in CMD or ENTRYPOINT."""
    copied: tuple[str, ...]
    """What COPY and ADD take from the context."""

    @property
    def is_root(self) -> bool:
        return self.user.partition(":")[0] in ("", "root", "0")


def read(text: str) -> Dockerfile | None:
    """None when there is no FROM."""
    stages: dict[str, list[tuple[str, str]]] = {}
    last: list[tuple[str, str]] = []
    for word, rest in _instructions(text):
        if word == "FROM":
            base, name = _from(rest)
            # A stage goes on where the one that it names ended: user, ports and files included.
            last = [*stages[base]] if base in stages else [("FROM", base)]
            stages |= {name: last} if name else {}
        elif last:
            last.append((word, rest))
    return _stage(last) if last else None


def _stage(instructions: list[tuple[str, str]]) -> Dockerfile:
    def every(word: str) -> list[str]:
        return [rest for name, rest in instructions if name == word]

    ports = [int(found) for rest in every("EXPOSE") for found in re.findall(r"\b([0-9]{1,5})\b", rest)]
    return Dockerfile(
        base=every("FROM")[0],
        port=next((port for port in ports if 0 < port < 65536), None),
        user=next(reversed(every("USER")), ""),
        workdir=next((path for path in reversed(every("WORKDIR")) if "$" not in path), ""),
        python=next((name for rest in every("ENTRYPOINT") + every("CMD") if (name := _python(rest))), None),
        copied=tuple(path for rest in every("COPY") + every("ADD") for path in _sources(rest)),
    )


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\[ \t]*\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word.upper(), rest.strip()


def _from(rest: str) -> tuple[str, str]:
    words = [word for word in rest.split() if not word.startswith("--")]
    name = words[2] if len(words) > 2 and words[1].upper() == "AS" else ""
    return (words[0] if words else ""), name


def _sources(rest: str) -> list[str]:
    if "--from=" in rest:
        return []
    return [word for word in _words(rest) if not word.startswith("--")][:-1]


def _python(rest: str) -> str | None:
    return next((found[1] for word in _words(rest) if (found := _PYTHON.fullmatch(word))), None)


def _words(rest: str) -> list[str]:
    """Of both forms, JSON and shell."""
    try:
        return shlex.split(rest.strip("[]").replace(",", " ") if rest.startswith("[") else rest)
    except ValueError:
        return rest.split()
