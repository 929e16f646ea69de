"""`interlock test`: render tests of template sets, in the process that renders environments."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import output
from interlock.cli.output import Format, Output
from interlock.contract import layout
from interlock.errors import InputError

if TYPE_CHECKING:
    from interlock.contract.render_tests import Case, Difference, Outcome, TemplateFiles
    from interlock.contract.rules import Rule

EXAMPLES = """\b
Tests are YAML files beside the templates: templates/<set>/tests/*.yaml; `interlock schema render-test` has their form.
Exit code 0: all pass; 1: some do not; 2: a file is wrong, or there is no test at all.
\b
Examples:
  interlock test                            # every set below templates/
  interlock test templates/service --junit report.xml
  interlock test --update                   # what is rendered becomes what is expected; git diff shows it
"""
_TESTS = "tests"
_SUFFIX = ".yaml.j2"
_SCHEMA = "values.schema.json"


def _sets() -> list[str]:
    """For the shell, which completes them."""
    return [folder.as_posix() for folder in _below(Path("templates"))]


@dataclass(frozen=True)
class TemplateSet:
    """What is read of one set's folder."""

    files: TemplateFiles
    cases: tuple[Case, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Result:
    """What became of one test."""

    case: Case
    outcome: Outcome
    differences: tuple[Difference, ...]
    updated: bool = False

    @property
    def passed(self) -> bool:
        return self.updated or not self.differences


def test(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...",
            help="Folders of template sets.",
            show_default="all below templates/",
            file_okay=False,
            autocompletion=_sets,
        ),
    ] = None,
    *,
    update: Annotated[
        bool, typer.Option("--update", help="Write what is rendered into the tests that fail, or expect nothing yet.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit report too.", dir_okay=False)
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Render the tests of template sets, and compare with what they expect: objects, broken rules, or an error.

    Rules are those of policy/rules.yaml of the repository around a set, or the default ones. Reads no environment.
    """
    from tasks.common import render_tests as running

    found = [_read(folder) for folder in folders or _below(Path("templates"))]
    results = [result for each in found for result in _judged(each, running.run(each.cases, each.files, each.rules))]
    if not results:
        hint = f"tests are YAML files in DIR/{_TESTS}/, beside the templates"
        raise InputError("there is no render test", hint=hint)
    if update:
        results = _update(results)
    if junit:
        _write(junit, _report(results))
    _show(results, form)
    raise typer.Exit(0 if all(each.passed for each in results) else 1)


# reading ---------------------------------------------------------------------------------------------


def _below(folder: Path) -> list[Path]:
    """The template sets in a folder."""
    if not folder.is_dir():
        hint = "name the folders of template sets, or go where the repository begins"
        raise InputError(f"{folder}/: there is no such folder here", hint=hint)
    return sorted({path.parent for path in folder.glob(f"*/*{_SUFFIX}")})


def _read(folder: Path) -> TemplateSet:
    from interlock.contract import render_tests
    from interlock.contract.render_tests import TemplateFiles

    paths = sorted(folder.rglob("*.j2"))
    if not any(path.name.endswith(_SUFFIX) for path in paths):
        raise InputError(f"{folder}: no template set", hint=f"its templates end in {_SUFFIX}")
    schema = folder / _SCHEMA
    files = TemplateFiles(
        folder.as_posix(),
        {path.relative_to(folder).as_posix(): _text(path) for path in paths},
        _text(schema) if schema.exists() else None,
    )
    tests = sorted((folder / _TESTS).glob("*.yaml"))
    cases = tuple(case for path in tests for case in render_tests.read(_text(path), path=path.as_posix()))
    return TemplateSet(files, cases, _rules(folder))


def _rules(folder: Path) -> tuple[Rule, ...]:
    """Of the environment repository that the set is in; the default ones elsewhere."""
    from interlock.contract import repository
    from interlock.contract.tree import Tree

    around = (each for each in folder.resolve().parents if (each / layout.ENVIRONMENTS).is_file())
    root = next(around, None)
    path = root / layout.RULES if root else None
    return repository.read_rules(Tree.of({layout.RULES: _text(path).encode()} if path and path.exists() else {}))


def _text(path: Path) -> str:
    if path.is_symlink():
        raise InputError(f"{path}: a symlink, which is refused", hint="replace it by a plain file")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _judged(given: TemplateSet, outcomes: Iterable[Outcome]) -> Iterator[Result]:
    from interlock.contract import render_tests

    for case, outcome in zip(given.cases, outcomes, strict=True):
        yield Result(case, outcome, render_tests.judge(case, outcome))


# updating --------------------------------------------------------------------------------------------


def _update(results: Sequence[Result]) -> list[Result]:
    """Write what was rendered into the tests that fail; one whose rendering fails against its word stays as it is."""
    from dataclasses import replace

    from interlock.contract import render_tests

    wanted = {id(each): each for each in results if not each.passed and _may_be_updated(each)}
    by_file: dict[str, list[Result]] = {}
    for each in wanted.values():
        by_file.setdefault(each.case.document.path, []).append(each)
    for path, changed in by_file.items():
        expectations = {each.case.index: render_tests.expectation(each.case, each.outcome) for each in changed}
        document = changed[0].case.document
        _write(Path(path), render_tests.updated(document, _text(Path(path)), expectations))
    return [replace(each, updated=id(each) in wanted) for each in results]


def _may_be_updated(result: Result) -> bool:
    expect = result.case.test.expect
    return expect is None or bool(expect.error) or not isinstance(result.outcome.rendered, Exception)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, newline="\n")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


# telling ---------------------------------------------------------------------------------------------


def _show(results: Sequence[Result], form: Format) -> None:
    failed = [each for each in results if not each.passed]
    for each in results:
        _note_unread(each)
    if form is Format.JSON:
        passed = len(results) - len(failed)
        output.show_json({"passed": passed, "failed": len(failed), "tests": [_data(each) for each in results]})
        return
    for each in results:
        if each.updated:
            typer.echo(output.plain(f"updated {each.case.place}: {each.case.test.name}"))
    for each in failed:
        typer.echo(output.plain(f"FAILED {each.case.place}: {each.case.test.name}"))
        for line in _lines(each):
            typer.secho(output.plain(line), fg=_COLOURS.get(line.lstrip()[:2]) if sys.stdout.isatty() else None)
    count = f"{len(results)} render test{'' if len(results) == 1 else 's'}"
    typer.echo(f"{len(failed)} of {count} failed" if failed else f"{count} passed")


_COLOURS = {"- ": typer.colors.RED, "+ ": typer.colors.GREEN}


def _note_unread(result: Result) -> None:
    from interlock.contract.render import Rendered

    rendered = result.outcome.rendered
    for unread in rendered.unread if isinstance(rendered, Rendered) else ():
        output.note(f"note: {result.case.place}: {unread}")


def _lines(result: Result) -> Iterator[str]:
    for each in result.differences:
        yield from _of(each)


def _of(difference: Difference) -> Iterator[str]:
    """A heading with object and field, then what was expected (-) and what was rendered (+), each with its place."""
    d = difference
    if d.field == "expect":
        yield "  expects nothing yet: `interlock test --update` writes what is rendered"
        return
    yield "  " + ": ".join(part for part in (d.subject, d.field) if part)
    if d.expected is not None and d.rendered is not None and "\n" in d.expected + d.rendered:
        yield f"    --- {d.expected_at}"
        yield f"    +++ {d.rendered_at}"
        compared = difflib.ndiff(d.expected.splitlines(), d.rendered.splitlines())
        yield from (f"    {line}" for line in compared if not line.startswith("?"))
        return
    yield f"    - {'nothing' if d.expected is None else d.expected}  ({d.expected_at})"
    rendered_at = f"  ({d.rendered_at})" if d.rendered_at else ""
    yield f"    + {'nothing' if d.rendered is None else d.rendered}{rendered_at}"


def _data(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "file": case.document.path,
        "line": case.line,
        "name": case.test.name,
        "passed": result.passed,
        "updated": result.updated,
        "differences": [] if result.updated else [asdict(each) for each in result.differences],
    }


def _report(results: Sequence[Result]) -> str:
    """JUnit's form, a suite for each file."""
    from xml.etree import ElementTree

    suites = ElementTree.Element("testsuites")
    for path in dict.fromkeys(each.case.document.path for each in results):
        mine = [each for each in results if each.case.document.path == path]
        failures = sum(not each.passed for each in mine)
        suite = ElementTree.SubElement(suites, "testsuite", name=path, tests=str(len(mine)), failures=str(failures))
        for each in mine:
            name = _xml(each.case.test.name)
            case = ElementTree.SubElement(suite, "testcase", classname=path, name=name, file=path)
            case.set("line", str(each.case.line))
            if not each.passed:
                text = _xml("\n".join(_lines(each)))
                ElementTree.SubElement(case, "failure", message=text.strip().partition("\n")[0]).text = text
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Without the characters that XML 1.0 has no form for."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
