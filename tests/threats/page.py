"""docs/threats.md, as the files of this folder tell it. They are read, not imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PAGE = ROOT / "docs" / "threats.md"
UNDEFENDED = FOLDER / "undefended.md"
"""The page's last section, written by hand."""

NUMBERED = (
    "A CI worker is taken over",
    "The right to push to the environment repository is stolen",
    "CI's signing key is stolen",
    "History is rewritten or rolled back",
    "Templates or values run code",
    "A template takes all time or memory",
    "A value writes YAML",
    "A YAML file is a bomb, or means two things",
    "A path or symlink leads out of the repository",
    "A repository's address or revision is an option or a command for git",
    "A repository brings git configuration or hooks",
    "Submodules, LFS and filters bring in what nobody verified",
    "A secret reaches a log",
    "Access to Docker becomes root",
    "A tag moves to another image",
    "The image pushed is not the image scanned",
    "A file or variable of the repository switches the gate off",
    "A dependency comes from somebody else",
    "A signature or statement stands for something else",
    "A webhook is forged or replayed",
    "CD may do more in the cluster than it needs",
    "A kubeconfig runs a program",
    "A policy is loosened in the range that it judges",
    "A key that ended stays trusted",
    "Prefect's API is open to who should not deploy",
    "Evidence is changed afterwards",
)
FIELDS = ("Number", "Defence", "Not defended")
SHOWS = "succeeds"
"""What the name of a test has that shows the attack at work."""


class Unclear(Exception):
    """A file has not the form that `tests.threats` describes."""


@dataclass(frozen=True)
class Threat:
    """What one file says of itself, and its tests."""

    name: str
    sentence: str
    numbers: tuple[int, ...]
    defence: str
    undefended: str
    tests: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(test for test in self.tests if SHOWS in test)

    @property
    def refused(self) -> tuple[str, ...]:
        return tuple(test for test in self.tests if SHOWS not in test)


# reading ---------------------------------------------------------------------------------------------


def threats(folder: Path = FOLDER) -> tuple[Threat, ...]:
    """Of every file, by name. Unclear at the first that is not as it must be."""
    return tuple(read(path) for path in sorted(folder.glob("test_*.py")))


def read(path: Path) -> Threat:
    try:
        return _threat(path.name, ast.parse(path.read_text()))
    except Unclear as unclear:
        raise Unclear(f"tests/threats/{path.name}: {unclear}; tests/threats/__init__.py has the form") from None


def _threat(name: str, module: ast.Module) -> Threat:
    sentence, _, rest = (ast.get_docstring(module) or "").partition("\n\n")
    fields = _fields(rest)
    if not sentence.endswith("."):
        raise Unclear("the docstring begins with a sentence and an empty line")
    if missing := [each for each in FIELDS[1:] if not fields.get(each)]:
        raise Unclear(f"the docstring has no {missing[0]!r}")
    tests = tuple(
        each.name
        for each in module.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_")
    )
    numbers = _numbers(fields.get("Number", ""))
    threat = Threat(name, _one_line(sentence), numbers, fields["Defence"], fields["Not defended"], tests)
    if not threat.shown:
        raise Unclear(f"no test with {SHOWS!r} in its name shows the attack with the defence taken out")
    if not threat.refused:
        raise Unclear(f"no test without {SHOWS!r} in its name shows the attack refused")
    return threat


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        word, colon, value = line.partition(":")
        if colon and word in FIELDS:
            if word in found:
                raise Unclear(f"the docstring has {word!r} twice")
            name, found[word] = word, value.strip()
        elif not name:
            raise Unclear(f"after its sentence the docstring has only {', '.join(FIELDS)}")
        else:
            found[name] = f"{found[name]} {line}".strip()
    return found


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(map(int, re.findall(r"[0-9]+", text)))
    if text and not re.fullmatch(r"[0-9]+(, [0-9]+)*", text):
        raise Unclear(f"the number {text!r} is not one or several with commas between")
    if unknown := [each for each in numbers if not 1 <= each <= len(NUMBERED)]:
        raise Unclear(f"there is no threat number {unknown[0]}")
    return numbers


def _one_line(text: str) -> str:
    return " ".join(text.split())


# writing ---------------------------------------------------------------------------------------------

_HEAD = """\
# Threats

Written by `python -m tests.threats` from the files of [tests/threats](../tests/threats); changes go there.

Each threat is a test that runs on real parts where the threat has some.
It shows the attack **at work** with the defence taken out (a switch that only the test can reach, or a plain tool in
Interlock's place), and **refused** with the defence in place: a test that shows only a refusal proves little.
`make test ARGS=tests/threats` runs them all.
"""


def page(folder: Path = FOLDER) -> str:
    found = threats(folder)
    others = [each for each in found if not each.numbers]
    parts = [
        _HEAD,
        _overview(found, others),
        "## The counted threats\n",
        *(_counted(number, found) for number in range(1, len(NUMBERED) + 1)),
        "## Further threats\n",
        *(f"### {each.sentence.removesuffix('.')}\n\n{_body(each)}" for each in others),
        UNDEFENDED.read_text(),
    ]
    return "\n".join(parts)


def _overview(found: Sequence[Threat], others: Sequence[Threat]) -> str:
    rows = [(str(number), title, _links(_of(number, found))) for number, title in enumerate(NUMBERED, start=1)]
    rows += [("", each.sentence.removesuffix("."), _links([each])) for each in others]
    return "\n".join(("| # | threat | tests |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows), ""))


def _of(number: int, found: Iterable[Threat]) -> list[Threat]:
    return [each for each in found if number in each.numbers]


def _counted(number: int, found: Sequence[Threat]) -> str:
    blocks = [f"{each.sentence}\n\n{_told(number, each)}" for each in _of(number, found)]
    return f"### {number}. {NUMBERED[number - 1]}\n\n" + ("\n".join(blocks) or "No test yet.\n")


def _told(number: int, threat: Threat) -> str:
    """In full where a file's first number stands, and a word that leads there at the others."""
    first = threat.numbers[0]
    return _body(threat) if number == first else f"{_link(threat)} is told at number {first}.\n"


def _body(threat: Threat) -> str:
    return "\n".join((*_lines(threat), ""))


def _lines(threat: Threat) -> Iterator[str]:
    yield f"- **Defence**: {threat.defence}"
    yield f"- **Not defended**: {threat.undefended}"
    yield f"- **Tests**: {_link(threat)}"
    yield f"  - at work without the defence: {_names(threat.shown)}"
    yield f"  - refused with it: {_names(threat.refused)}"


def _names(tests: Iterable[str]) -> str:
    return ", ".join(f"`{test}`" for test in tests)


def _links(found: Iterable[Threat]) -> str:
    return ", ".join(map(_link, found)) or "no test yet"


def _link(threat: Threat) -> str:
    return f"[{threat.name}](../tests/threats/{threat.name})"
