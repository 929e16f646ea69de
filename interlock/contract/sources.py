"""From an expression of a template to the lines of the values files that it reads.

The template's syntax tree says what an expression may read; the value that it made says which of that it was. What
cannot be told, such as a macro's arguments, is left out: a wrong line is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, cast

from jinja2 import Environment, TemplateSyntaxError, nodes

from interlock.contract import layout, strict_yaml
from interlock.contract.strict_yaml import Document, Path
from interlock.contract.template import Origin
from interlock.contract.tree import Tree
from interlock.errors import FormatError


@dataclass(frozen=True, slots=True)
class ValuePlace:
    """One value that an expression read: its name in the template, and where it is given."""

    name: str
    path: str
    line: int


class _Any:
    """Stands in a chain for a key that only the render knew."""


ANY = _Any()
Step = str | int | _Any
Chain = tuple[str, tuple[Step, ...]]
"""What a template may read, from the root of its context on: `("values", ("env", ANY))`."""

_MOST_DEPTH = 20
_SAME = frozenset({"default", "d", "sort", "dictsort", "items", "list", "reverse", "unique", "select", "reject"})
"""Filters whose result has the parts of what they are given."""
_ITEM = frozenset({"first", "last", "max", "min"})
_PLAIN = Environment(autoescape=False)  # noqa: S701 - it only parses


@dataclass(frozen=True)
class Sources:
    """The values of one environment, by application. What was parsed is kept for the next question."""

    tree: Tree
    environment: str
    _templates: dict[str, nodes.Template | None] = field(default_factory=dict)
    _documents: dict[str, Document | None] = field(default_factory=dict)
    _chains: dict[Origin, tuple[Chain, ...]] = field(default_factory=dict)

    def values(self, application: str, origin: Origin, below: Path, made: object) -> tuple[ValuePlace, ...]:
        """What `origin` read to make the part `below` of its value, which is `made`. Nothing for literal text."""
        if origin.expression is None:
            return ()
        if origin not in self._chains:
            self._chains[origin] = tuple(_read_by(self, origin))
        whole = [(root, (*steps, *below)) for root, steps in self._chains[origin]]
        places = (place for chain in whole for place in self._places(application, chain, made))
        return tuple(dict.fromkeys(places))

    def _places(self, application: str, chain: Chain, made: object) -> Iterator[ValuePlace]:
        root, steps = chain
        if root in {"environment", "namespace"}:
            yield from self._of_environment(root, steps)
            return
        for path, prefix, inner in _files(self.environment, application, root, steps):
            document = self.document(path)
            found = _matching(document.value, inner, made) if document else ()
            if document and found:
                skipped = 1 if root == "secrets" else 0
                yield from (
                    ValuePlace(".".join(map(str, (*prefix, *where[skipped:]))), path, document.line(where))
                    for where in found
                )
                return

    def _of_environment(self, root: str, steps: tuple[Step, ...]) -> Iterator[ValuePlace]:
        path = layout.environment(self.environment)
        where: Path = ("namespaces", 0) if root == "namespace" else ("id",) if steps == ("id",) else ()
        document = self.document(path) if where else None
        if document:
            yield ValuePlace(".".join((root, *map(str, steps))), path, document.line(where))

    def document(self, path: str) -> Document | None:
        if path not in self._documents:
            text = self.tree.text(path) if path in self.tree.files else None
            self._documents[path] = None if text is None else strict_yaml.load(text, path=path)
        return self._documents[path]

    def template(self, path: str) -> nodes.Template | None:
        if path not in self._templates:
            try:
                self._templates[path] = _PLAIN.parse(self.tree.text(path)) if path in self.tree.files else None
            except (TemplateSyntaxError, FormatError):
                self._templates[path] = None
        return self._templates[path]


def _files(
    environment: str, application: str, root: str, steps: tuple[Step, ...]
) -> Iterator[tuple[str, tuple[str, ...], tuple[Step, ...]]]:
    """The files that may give a value, the one that wins first; what its name begins with; the steps in the file."""
    if root == "values":
        yield layout.values(environment, application), ("values",), steps
        yield layout.shared_values(application), ("values",), steps
    elif root == "secrets":
        yield layout.secrets(environment, application), ("secrets",), (ANY, *steps)  # below the place it is sealed to
    elif root == "components":
        inner = (*steps[:1], "source", "commit") if steps[1:] == ("version",) else steps
        yield layout.release(environment, application), (), ("components", *inner)


def _matching(value: object, steps: tuple[Step, ...], made: object) -> tuple[Path, ...]:
    """Where the steps lead. Of several places those that fit what was made; when not just one does, what holds them."""
    found = tuple(_walk(value, steps, ()))
    if len(found) < 2:
        return tuple(where for where, _ in found)
    fitting = [where for where, each in found if _fits(each, where, made)]
    if len(fitting) == 1:
        return (fitting[0],)
    fixed = tuple(takewhile(lambda step: not isinstance(step, _Any), steps))
    return (cast("Path", fixed),) if fixed else ()


def _walk(value: Any, steps: tuple[Step, ...], where: Path) -> Iterator[tuple[Path, object]]:
    if not steps:
        yield where, value
        return
    head, *rest = steps
    for key, below in _entries(value):
        if isinstance(head, _Any) or key == head:
            yield from _walk(below, tuple(rest), (*where, key))


def _entries(value: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _fits(value: object, where: Path, made: object) -> bool:
    """Whether a value, or a key on the way to it, is or stands in what was made."""
    if value == made or made in where:
        return True
    return isinstance(made, str) and isinstance(value, str) and len(value) > 1 and value in made


# what an expression may read -------------------------------------------------------------------------

_IN_TEXT = re.compile(r"\{\{ (.*?) \}\}")


def _read_by(sources: Sources, origin: Origin) -> Iterator[Chain]:
    expressions = _IN_TEXT.findall(origin.expression or "") or [origin.expression]
    for expression in expressions:
        node = _parsed(f"{{{{ {expression} }}}}")
        if node is not None:
            yield from _chains(node, (), _Here(sources, origin.path, origin.line), 0)


def _parsed(text: str) -> nodes.Expr | None:
    """The expression's tree; None when it was cut short or is none."""
    try:
        body = _PLAIN.parse(text).body
    except TemplateSyntaxError:
        return None
    return body[0].nodes[0] if body and isinstance(body[0], nodes.Output) else None


@dataclass(frozen=True)
class _Here:
    """A template, and the line up to which its definitions count."""

    sources: Sources
    path: str
    line: int

    def before(self, line: int) -> _Here:
        """What is assigned in a line reads what was known until then."""
        return _Here(self.sources, self.path, line - 1)

    def definitions(self, name: str) -> Iterator[tuple[nodes.Node, tuple[Step, ...], _Here]]:
        """What a local name may be: the value last assigned, an item of what a loop goes through, an import."""
        tree = self.sources.template(self.path)
        if tree is None:
            return
        last: tuple[nodes.Node, tuple[Step, ...], _Here] | None = None
        for node in sorted(tree.find_all((nodes.Assign, nodes.For, nodes.FromImport)), key=lambda each: each.lineno):
            if node.lineno > self.line:
                break
            last = next(self._of(node, name), last)
        if last:
            yield last

    def _of(self, node: nodes.Node, name: str) -> Iterator[tuple[nodes.Node, tuple[Step, ...], _Here]]:
        if isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name) and node.target.name == name:
            yield node.node, (), self.before(node.lineno)
        elif isinstance(node, nodes.For) and name in {each.name for each in _targets(node.target)}:
            yield node.iter, (ANY,), self.before(node.lineno)
        elif isinstance(node, nodes.FromImport) and isinstance(node.template, nodes.Const):
            original = {(each if isinstance(each, str) else each[1]): each for each in node.names}.get(name)
            if original is not None:
                imported = original if isinstance(original, str) else original[0]
                path = f"{self.path.rpartition('/')[0]}/{node.template.value}"
                yield nodes.Name(imported, "load"), (), _Here(self.sources, path, _LAST_LINE)


_LAST_LINE = 1 << 30


def _targets(target: nodes.Node) -> Iterator[nodes.Name]:
    if isinstance(target, nodes.Name):
        yield target
    yield from target.find_all(nodes.Name)


_GLOBALS = frozenset({"values", "secrets", "components", "environment", "namespace", "application"})


def _chains(node: nodes.Node, steps: tuple[Step, ...], here: _Here, depth: int) -> Iterator[Chain]:
    """The chains from the context's roots that the part `steps` of a node's value comes from."""
    if depth > _MOST_DEPTH:
        return
    for below, rest, where in _behind(node, steps, here):
        if isinstance(below, nodes.Name) and below.name in _GLOBALS:
            yield below.name, rest
        else:
            yield from _chains(below, rest, where, depth + 1)


def _behind(
    node: nodes.Node, steps: tuple[Step, ...], here: _Here
) -> Iterator[tuple[nodes.Node, tuple[Step, ...], _Here]]:
    """One step towards the roots."""
    match node:
        case nodes.Name():
            if node.name in _GLOBALS:
                yield node, steps, here
                return
            for value, extra, where in here.definitions(node.name):
                yield value, (*extra, *steps), where
        case nodes.Getattr():
            yield node.node, (node.attr, *steps), here
        case nodes.Getitem():
            step: Step = node.arg.value if isinstance(node.arg, nodes.Const) else ANY
            yield node.node, (step, *steps), here
        case nodes.Dict():
            chosen = [pair.value for pair in node.items if steps and _is(pair.key, steps[0])]
            kept = steps[1:] if chosen else ()
            yield from ((each, kept, here) for each in chosen or [pair.value for pair in node.items if not steps])
        case nodes.CondExpr():
            yield from ((each, steps, here) for each in (node.expr1, node.expr2) if each is not None)
        case nodes.Filter() if node.node is not None:
            yield node.node, _filtered(node.name, steps), here
            yield from ((each, steps, here) for each in node.args if node.name in {"default", "d"})
        case nodes.Call():
            yield from ((each, rest, here) for each, rest in _called(node, steps))
        case _:
            yield from ((each, (), here) for each in node.iter_child_nodes())


def _filtered(name: str, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if name in _ITEM:
        return (ANY, *steps)
    return steps if name in _SAME else ()


def _called(node: nodes.Call, steps: tuple[Step, ...]) -> Iterator[tuple[nodes.Node, tuple[Step, ...]]]:
    """Of a mapping's own methods; a macro's value is not followed."""
    method = node.node
    if not isinstance(method, nodes.Getattr):
        return
    if method.attr == "get" and node.args:
        first = node.args[0]
        yield method.node, (first.value if isinstance(first, nodes.Const) else ANY, *steps)
    elif method.attr in {"items", "values", "keys"}:
        yield method.node, steps


def _is(key: nodes.Expr, step: Step) -> bool:
    return isinstance(key, nodes.Const) and key.value == step
