"""YAML has one meaning or is an error with its place."""

from __future__ import annotations

import re

import pytest

from interlock.contract import strict_yaml
from interlock.contract.models import EnvironmentFile, GateFile, ReleaseFile, WaiversFile
from interlock.errors import FormatError

AWKWARD = [
    "",
    " ",
    "no",
    "Null",
    "~",
    "1e3",
    "0644",
    "1_000",
    ".inf",
    "-",
    "- a",
    "a: b",
    "a #b",
    "#a",
    "&a",
    "*a",
    "!!python/object:os.system",
    "{{ x }}",
    "---",
    "...",
    "%YAML 1.1",
    "<<",
    "'",
    '"',
    "\\",
    "a\nb: c",
    "a\r\nb",
    "a\rb",
    "a\u2028b",
    "a\u2029b",
    "a\x85b",
    "\ufeffa",
    "\x00\x07\x7f\x9f",
    "\ue0000\ue001",
    "\uffff\ufffe",
    "😀 ключ",
    "x\n",
    "x\ny\n",
    "x\n\ny\n",
    "x\ny\n\n",
    "\nx\ny\n",
    " x\ny\n",
    "x\n  y\n",
    "x \ny\n",
    "x\ty\nz\n",
    "x" * 5000,
]


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_comes_back(text: str) -> None:
    """What `dump` writes of a text, as key, value and item, `load` reads back as that text."""
    value = {"value": text, "items": [text, [text, {"deep": text}]], text: {"x": text}}
    assert strict_yaml.load(strict_yaml.dump(value), path="f.yaml").value == value


def test_values_of_all_types_come_back() -> None:
    """Numbers, truth values, nothing and empty containers keep their type."""
    value: dict[str, object] = {
        "a": 1,
        "b": -2.5,
        "c": True,
        "d": None,
        "e": [],
        "f": {},
        "g": [[1], [{}]],
        "h": 9223372036854775807,
    }
    assert strict_yaml.load(strict_yaml.dump(value), path="f.yaml").value == value


def test_dump_keeps_the_order_given() -> None:
    """Entries are written in the order of the mapping, in block style."""
    assert strict_yaml.dump({"b": [{"y": 1, "x": "z"}], "a": "l\nm\n"}) == "b:\n  - y: 1\n    x: z\na: |\n  l\n  m\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: null", {"a": None}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: true", {"a": True}),
        ("a: -0.5", {"a": -0.5}),
        ("a: 12", {"a": 12}),
        ("a: 2030-01-02", {"a": "2030-01-02"}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: y", {"a": "y"}),
        ("a: v1.10", {"a": "v1.10"}),
        ("a: 'no'", {"a": "no"}),
        ("a: |\n  no\n", {"a": "no\n"}),
        ("{a: [1, 'x']}\r\n", {"a": [1, "x"]}),
    ],
)
def test_plain_scalars_mean_what_json_means(text: str, value: object) -> None:
    """Only null, true, false and decimal numbers are not text."""
    assert strict_yaml.load(text, path="f.yaml").value == value


@pytest.mark.parametrize(
    ("text", "place", "complaint"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1", "the key 'a' stands here and in line 1"),
        ("a: &x 1", "1:4", "anchors and aliases are not allowed"),
        ("a: *x", "1:4", "anchors and aliases are not allowed"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "1:4", "anchors and aliases are not allowed"),
        ("a: !!python/object/apply:os.system [id]", "1:4", "the tag"),
        ("a: !secret x", "1:4", "the tag !secret is not allowed"),
        ("%YAML 1.1\n---\na: 1", "1:1", "directives are not allowed"),
        ("<<: {a: 1}", "1:1", "merge keys are not allowed"),
        ("1: a", "1:1", "the key 1 is not text"),
        ("null: a", "1:1", "the key null is not text"),
        ("a: 1\non: push", "2:1", "YAML readers disagree about what on is"),
        ("? [a]\n: b", "1:3", "a key must be text"),
        ("a: no", "1:4", "disagree about what no is"),
        ("a: 0644", "1:4", "disagree about what 0644 is"),
        ("a: 1e3", "1:4", "disagree about what 1e3 is"),
        ("a: 1.10", "1:4", "disagree about what 1.10 is"),
        ("a: 0x1F", "1:4", "disagree about what 0x1F is"),
        ("a: .nan", "1:4", "disagree about what .nan is"),
        ("a: 9223372036854775808", "1:4", "disagree"),
        ("a: 1\n---\nb: 1", "3:1", "a second document starts here"),
        ("a:\n\t- b", "2:1", "found character that cannot start any token"),
        ("a: [1,\n", "2:1", "did not find expected node content"),
        ("a: b: c", "1:5", "mapping values are not allowed"),
        ("a: x\u2028b: y", "1:5", "the character U+2028 may not stand in a file"),
        ("a: 1\nb: x\x85y", "2:5", "the character U+0085"),
        ("a: x\ry", "1:5", "the character U+000D"),
        ("a: \x00", "1:4", "the character U+0000"),
        ("\ufeffa: 1", "1:1", "the character U+FEFF"),
        ("[" * 5000, "1:42", "nested deeper than 40"),
        ("a: [" + "1," * 60_000 + "1]", None, "more than 50000 entries"),
        ("a: " + "x" * (1 << 20), "1:1", "larger than 1048576 bytes"),
    ],
)
def test_all_else_is_refused_with_its_place(text: str, place: str | None, complaint: str) -> None:
    """Every text that YAML readers might understand differently is one error with path, line and column."""
    with pytest.raises(FormatError, match=re.escape(complaint)) as refusal:
        strict_yaml.load(text, path="d/f.yaml")
    assert refusal.value.message.startswith(f"d/f.yaml:{place}:" if place else "d/f.yaml:")


def test_a_tab_is_called_one() -> None:
    """Who indents with a tab is told so: it cannot be seen."""
    with pytest.raises(FormatError, match="cannot start any token") as refusal:
        strict_yaml.load("a:\n\t- b", path="f.yaml")
    assert refusal.value.hint == "indent with spaces: this is a tab"


@pytest.mark.parametrize("text", ["0bcf88fdac0b274307a6e359ed3d5bc4e3b46cb2", "0o8", "0x", "0b2", "1.2.3"])
def test_what_only_looks_like_a_number_is_text(text: str) -> None:
    """A commit id may be written without quotes: no YAML reader makes a number of it."""
    assert strict_yaml.load(f"a: {text}", path="f.yaml").value == {"a": text}


def test_an_anchor_bomb_is_refused_at_its_first_anchor() -> None:
    """A text that would grow to billions of entries is refused before it grows."""
    bomb = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a, *a]\n" for i in range(30))
    with pytest.raises(FormatError, match=r"f.yaml:1:4: anchors and aliases are not allowed"):
        strict_yaml.load(bomb, path="f.yaml")


def test_a_document_knows_its_lines() -> None:
    """A mapping's entry stands at its key, an item where it begins; what is missing, at what is around it."""
    document = strict_yaml.load("a:\n  - x\n  - b: 1\nc: 2\n", path="f.yaml")
    assert [document.line(where) for where in (("a",), ("a", 1, "b"), ("c",), ("a", 1, "z"))] == [1, 3, 4, 3]


@pytest.mark.parametrize(
    ("model", "text", "complaint"),
    [
        (
            EnvironmentFile,
            "format: 1\nid: abc\ncluster: a\nnamespaces: [b]\n",
            "f.yaml:2:1: id: 'abc' is not an id (12 hex digits)",
        ),
        (
            GateFile,
            "format: 1\nrules:\n  unfix: true\n",
            "f.yaml:3:3: unknown field 'unfix'\n  hint: known fields here: ",
        ),
        (GateFile, "format: 1\nenvironments:\n  dev:\n    unfix: 1\n", "f.yaml:4:5: unknown field 'unfix'"),
        (GateFile, "format: 1\nenvironments:\n  Dev: {}\n", "f.yaml:3:3: environments.Dev: 'Dev' is not a name"),
        (GateFile, "format: 1\nrules: {unfixed: 1}\n", "f.yaml:2:9: rules.unfixed must be true or false, not 1"),
        (GateFile, "format: 1\nrules: [a]\n", "f.yaml:2:1: rules must be a mapping, not a list"),
        (GateFile, "format: 2\n", "f.yaml:1:1: format: 2 is not 1"),
        (GateFile, "rules: {}\n", "f.yaml:1:1: the field 'format' is missing\n  hint: add format"),
        (GateFile, "", "f.yaml:1:1: the file must be a mapping, not nothing"),
        (
            WaiversFile,
            "format: 1\nwaivers:\n- {finding: CVE-1, component: w, reason: some reason, owner: a, ends: 2030-02-31}\n",
            "f.yaml:3:65: waivers.0.ends must be a day such as 2030-12-31, not '2030-02-31'",
        ),
        (
            ReleaseFile,
            "format: 1\ncomponents:\n  web:\n    image: registry.example/web:latest\n",
            "f.yaml:3:3: the field 'source' is missing (and 2 more problems in this file)",
        ),
    ],
)
def test_a_model_complains_in_our_words(model: type[GateFile], text: str, complaint: str) -> None:
    """The first thing that does not fit is named with its line, and the others are counted."""
    with pytest.raises(FormatError, match=re.escape(complaint)):
        strict_yaml.parse(text, model, path="f.yaml")


def test_an_image_by_tag_is_refused() -> None:
    """A release names its image by digest, and the error says so."""
    source = "source: {repository: shop, commit: '" + "5" * 40 + "'}"
    entry = f"{{image: registry.example/web:v1, {source}, evidence: 'sha256:{'0' * 64}'}}"
    with pytest.raises(FormatError, match=r"f.yaml:3:9: .*is not an image by digest .* tags are not allowed"):
        strict_yaml.parse(f"format: 1\ncomponents:\n  web: {entry}\n", ReleaseFile, path="f.yaml")
