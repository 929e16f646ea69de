"""Values enter after the YAML is read: none of them is ever markup, whatever it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from interlock.contract.template import Made, Origin, TemplateSet
from interlock.errors import RenderError

FOLDER = "templates/service"
AWKWARD = [
    "",
    "no",
    "null",
    "1e3",
    "0644",
    "12",
    "true",
    "a\nkey: added",
    "a\r\nkey: added",
    "a\rkey: added",
    "a\u2028key: added",
    "a\u2029key: added",
    "a\x85key: added",
    "'",
    '"',
    '", key: "added',
    "{{ values }}",
    "{% raw %}",
    "---",
    "--- \nkind: Secret",
    "&a",
    "*a",
    "!!python/object/apply:os.system [id]",
    "# comment",
    "a #b",
    "\ue0000\ue001",
    "\ue000",
    "{a: b}",
    "- a",
    "<<",
    "<b>&amp;</b>",
    "ключ 😀",
    "\x00",
    "x" * 100_000,
]


def made(text: str, files: Mapping[str, str] | None = None, **context: object) -> tuple[Made, ...]:
    """The documents of one template, `t.yaml.j2`, beside other files."""
    return TemplateSet({"t.yaml.j2": text, **(files or {})}, folder=FOLDER).render("t.yaml.j2", context)


def body(text: str, files: Mapping[str, str] | None = None, **context: object) -> object:
    (only,) = made(text, files, **context)
    return only.body


def refusal(text: str, files: Mapping[str, str] | None = None, **context: object) -> RenderError:
    with pytest.raises(RenderError) as raised:
        made(text, files, **context)
    return raised.value


# where a value may stand -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", AWKWARD)
def test_a_text_stays_one_text_wherever_it_stands(value: str) -> None:
    """As a whole scalar, inside others, quoted, in block scalars, in flow style and as a key: never a second key."""
    template = """\
whole: {{ v }}
part: a-{{ v }}-b
twice: {{ v }}{{ v }}
single: '{{ v }}'
double: "a\\t{{ v }}"
literal: |
  # {{ v }}
  end
folded: >-
  a {{ v }}
  b
flow: [{{ v }}, x, {k: {{ v }}}]
{{ v }}-key: 1
keys:
  {{ v }}: 2
"""
    assert body(template, v=value) == {
        "whole": value,
        "part": f"a-{value}-b",
        "twice": value + value,
        "single": value,
        "double": f"a\t{value}",
        "literal": f"# {value}\nend\n",
        "folded": f"a {value} b",
        "flow": [value, "x", {"k": value}],
        f"{value}-key": 1,
        "keys": {value: 2},
    }


@pytest.mark.parametrize("value", [0, -1, 2.5, True, False, None, [], {}, [1, ["a"]], {"a": {"b": [None]}}])
def test_a_whole_plain_scalar_keeps_the_values_type(value: object) -> None:
    """Numbers, truth values, nothing, lists and mappings stay what they are."""
    assert body("a: {{ v }}\nb: [{{ v }}]\n", v=value) == {"a": value, "b": [value]}


@pytest.mark.parametrize(("value", "text"), [(1, "1"), (-2.5, "-2.5"), (True, "true"), (False, "false")])
def test_inside_a_text_a_value_is_written_as_json(value: object, text: str) -> None:
    """Quoted or beside other text, a number or truth value is text."""
    assert body('a: "{{ v }}"\nb: x{{ v }}\nc: {{ v }}{{ v }}\n', v=value) == {
        "a": text,
        "b": f"x{text}",
        "c": text * 2,
    }


@pytest.mark.parametrize("value", [None, [], {"a": 1}])
@pytest.mark.parametrize("place", ['"{{ v }}"', "x-{{ v }}", "|\n  {{ v }}\n"])
def test_nothing_lists_and_mappings_are_no_text(value: object, place: str) -> None:
    """Inside a text they are an error at the expression's line."""
    error = refusal(f"a: 1\nb: {place}\n", v=value)
    assert (error.path, error.line) == (f"{FOLDER}/t.yaml.j2", 3 if "\n" in place else 2)
    assert "{{ v }}" in error.message
    assert "inside a text" in error.message


@pytest.mark.parametrize("value", [1, True, None, [], {}])
def test_a_key_is_one_text(value: object) -> None:
    """No other type becomes a key."""
    assert "stands as a key and must be text" in refusal("{{ v }}: 1\n", v=value).message


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("a: 1 # {{ v }}\n", "{{ v }} stands in a comment"),
        ("a: 1\n# {{ v }}\n", "{{ v }} stands in a comment"),
        ("a: {{ v }} # {{ v }}\n", "{{ v }} stands in a comment"),
        ("# {{ v }}\n", "{{ v }} stands in a comment"),
        ("a: b\n--- # {{ v }}\n", "{{ v }} stands in a comment"),
        ("a: &{{ v }} 1\n", ""),
        ("a: &x{{ v }} 1\n", ""),
        ("a: *{{ v }}\n", ""),
        ("a: !{{ v }} 1\n", ""),
        ("a: !<{{ v }}> 1\n", ""),
        ("%YAML {{ v }}\n---\na: 1\n", ""),
        ("%TAG ! {{ v }}\n---\na: 1\n", ""),
        ("a: |{{ v }}\n  x\n", ""),
        ('a: "\\{{ v }}"\n', ""),
        ('a: "\\x4{{ v }}"\n', ""),
        ('a: "\\uE0001\\uE001"\n# {{ v }}\n', "an escape makes the mark of a value"),
        ('a: "\\uE000{{ v }}\\uE001\\uE0001\\uE001"\n', "an escape makes the mark of a value"),
    ],
)
def test_elsewhere_a_value_is_refused(template: str, complaint: str) -> None:
    """Comments, anchors, aliases, tags, directives and escapes take no value, and none is dropped silently."""
    error = refusal(template, v="1")
    assert complaint in error.message
    assert error.line
    assert "\ue000" not in str(error)


def test_a_value_cannot_double_a_key() -> None:
    """Keys are compared after values have entered, with the line of the second."""
    error = refusal("a: 1\nb: 2\n{{ v }}: 3\n", v="a")
    assert str(error) == f"{FOLDER}/t.yaml.j2:3: the key 'a' stands here and in line 1\n  hint: remove one of them"


# structure -------------------------------------------------------------------------------------------


def test_macros_includes_and_blocks_make_structure() -> None:
    """Their text is the template's own; the values in it enter later, like all others."""
    files = {
        "_macros.j2": "{% macro entry(name, value) %}\n{{ name }}: {{ value }}\nsecond: {{ caller() }}\n{% endmacro %}",
        "_part.j2": "included: {{ v }}\n",
        "_base.j2": "base: {% block inner %}old{% endblock +%}\n{% block tail %}tail: 1\n{% endblock %}",
    }
    template = """\
{% extends "_base.j2" %}
{% from "_macros.j2" import entry %}
{% block inner %}{{ v }}{{ super() }}{% endblock %}
{% block tail %}
{% include "_part.j2" %}
{% set kept %}
kept:
  - {{ v }}
{% endset %}
{{ kept }}
nested:
{% filter indent(2, true) %}{% call entry("first", v) %}x{{ v }}{% endcall %}{% endfilter %}

again:
  {{ super() | indent(2) }}
{% for item in [1, [2, 3]] recursive %}
{% if item is sequence %}{{ loop(item) }}{% else %}
i{{ item }}: {{ item }}
{% endif %}
{% endfor %}
{% endblock %}
"""
    value = "a\nb: c"
    assert body(template, files, v=value) == {
        "base": f"{value}old",
        "included": value,
        "kept": [value],
        "nested": {"first": value, "second": f"x{value}"},
        "again": {"tail": 1},
        "i1": 1,
        "i2": 2,
        "i3": 3,
    }


def test_filters_work_on_values() -> None:
    """Filters see the value, before it is written; `indent` and `tojson` write no markup either."""
    template = "a: {{ v | upper }}\nb: {{ v ~ '\\n- x' }}\nc: {{ [v, 1] | tojson }}\nd: {{ v | indent(2) }}\n"
    assert body(template, v="q\nr: s") == {
        "a": "Q\nR: S",
        "b": "q\nr: s\n- x",
        "c": '["q\\nr: s", 1]',
        "d": "q\n  r: s",
    }


@pytest.mark.parametrize(
    "use",
    [
        "a: {{ kept | upper }}",
        "a: {{ kept | length }}",
        "a: {{ kept | replace('x', 'y') }}",
        "a: {{ kept ~ 'x' }}",
        "a: {{ 'x%s' | format(kept) }}",
        "a: {{ [kept, 'x'] | join('-') }}",
        "a: {{ [kept] }}",
        "a: {{ {'k': kept} }}",
        "a: {{ kept[0] }}",
        "a: {{ kept[1:] }}",
        "a: {{ kept | list }}",
        "a: {{ kept | string }}",
        "a: {{ kept | tojson }}",
        "a: {{ kept | trim }}",
        "a: {{ kept._pieces }}",
        "a: {{ kept + 'x' }}",
        "a: {{ kept * 2 }}",
        "{% if kept == 'x' %}a: 1{% endif %}",
        "{% if kept %}a: 1{% endif %}",
        "{% for letter in kept %}a: 1{% endfor %}",
        "{% filter upper %}a: {{ v }}{% endfilter %}",
        "{% filter length %}a: {{ v }}{% endfilter %}",
        "{% call v.upper() %}{% endcall %}",
    ],
)
def test_what_a_block_wrote_is_no_text(use: str) -> None:
    """Tokens can be neither read, cut, counted nor changed: captured text is written out as a whole or refused."""
    error = refusal("{% set kept %}x{{ v }}{% endset %}\nb: 1\n" + use + "\n", v="value")
    assert error.path == f"{FOLDER}/t.yaml.j2"


def test_several_documents() -> None:
    """Each `---` starts one; a whole document may be a value."""
    documents = made("{% for each in v %}\n---\n{{ each }}\n{% endfor %}\n", v=[{"a": 1}, {"b": "--- c"}])
    assert [each.body for each in documents] == [{"a": 1}, {"b": "--- c"}]


def test_a_values_own_entries_come_before_methods() -> None:
    """A value named `items` is read as such."""
    assert body("a: {{ v.items }}\nb: {{ v.keys() | list }}\n", v={"items": [1]}) == {"a": [1], "b": ["items"]}


# origins ---------------------------------------------------------------------------------------------


def test_every_part_knows_what_made_it() -> None:
    """Leaves, lists and mappings have the template, the line and the expression, through includes and loops."""
    template = "a: 1\nb: {{ v.x }}\n{% for each in v.list %}\nk{{ each }}:\n  - x-{{ each | upper }}\n{% endfor %}\n"
    template += '{% include "_part.j2" %}\n'
    (only,) = made(template, {"_part.j2": "{# c #}\nz: |\n  q\n  {{ v.x.y }}\n"}, v={"x": {"y": 1}, "list": ["m", "n"]})
    own, part = f"{FOLDER}/t.yaml.j2", f"{FOLDER}/_part.j2"
    assert only.origins == {
        (): Origin(own, 1),
        ("a",): Origin(own, 1),
        ("b",): Origin(own, 2, "v.x"),
        ("b", "y"): Origin(own, 2, "v.x"),
        ("km",): Origin(own, 4),
        ("km", 0): Origin(own, 5, "x-{{ each | upper }}"),
        ("kn",): Origin(own, 4),
        ("kn", 0): Origin(own, 5, "x-{{ each | upper }}"),
        ("z",): Origin(part, 4, "q\n{{ v.x.y }}\n"),
    }


# errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "line", "complaint"),
    [
        ("a: 1\nb: {{ v.x }}\n", 2, "{{ v.x }} reads 'x', which is not given"),
        ("a: 1\nb: {{ v.x.y }}\n", 2, "the template reads 'x', which is not given"),
        ("a: 1\n{% if v.x %}\nb: 1\n{% endif %}\n", 2, "the template reads 'x', which is not given"),
        ("a: 1\n{% for i in v.x %}\nb: 1\n{% endfor %}\n", 2, "the template reads 'x', which is not given"),
        ("a: 1\nb: {{ [v.x] }}\n", 2, "reads 'x', which is not given"),
        ("{% macro m(x) %}\n\nb: {{ x.y }}\n{% endmacro %}\n{{ m({}) }}\n", 3, "reads 'y', which is not given"),
        ("a: {{ v\n", 1, "unexpected end of template"),
        ("a: 1\n{% foo %}\n", 2, "Encountered unknown tag 'foo'"),
        ("a: 1\n{% if v %}\n", 2, "Unexpected end of template"),
        ("a: 1\nb: {{ v | safe }}\n", 2, "No filter named 'safe'"),
        ("a: 1\nb: {{ v | random }}\n", 2, "No filter named 'random'"),
        ("a: 1\n{% include '/etc/passwd' %}\n", 2, "there is no template '/etc/passwd' in this set"),
        ("a: 1\n{% include '../other/x.j2' %}\n", 2, "there is no template '../other/x.j2' in this set"),
        ("a: 1\n{% autoescape true %}{% endautoescape %}\n", 2, "`autoescape` means nothing here"),
        ("a: 1\n{% print v %}\n", None, "`{% print … %}` is not allowed"),
        ("a: 1\nb: {{ 1 / 0 }}\n", 2, "ZeroDivisionError"),
        ("a: 1\nb: {{ v() }}\n", 2, "TypeError"),
        ("a: 1\nb: {{ 2 ** 64 }}\n", 2, "is int, which is no value"),
        ('a: 1\nb: {{ "\\ud800" }}\n', 2, "is str, which is no value"),
        ("a: 1\nb: {{ {1: 2} }}\n", 2, "is dict, which is no value"),
        ("a: 1\nb: {{ self }}\n", 2, "is TemplateReference, which is no value"),
        ("a: 1\nb: no\n", 2, "YAML readers disagree about what no is"),
        ("a: 1\n{% set x = 1 %}\n{# two\nlines #}\nb: [\n", 6, "did not find expected node content"),
        ("a: 1\nb: \x85\n", 2, "the character U+0085 may not stand in a template"),
        ("a: 1\nb: \ue000\n", 2, "the character U+E000 may not stand in a template"),
    ],
)
def test_errors_point_into_the_template(template: str, line: int | None, complaint: str) -> None:
    """Path and line are the template's, not the rendered text's."""
    error = refusal(template, v={})
    assert (error.path, error.line) == (f"{FOLDER}/t.yaml.j2", line)
    assert complaint in error.message


@pytest.mark.parametrize(
    "probe",
    [
        "''.__class__.__mro__",
        "v.__class__",
        "v['__class__']",
        "v.append(1)",
        "v.__init__.__globals__",
        "self.__init__",
        "cycler.__init__.__globals__.os",
        "lipsum.__globals__",
        "joiner",
        "namespace()",
        "range(10)",
        "dict(a=1)",
        "m.__globals__",
        "m._func",
        "'{0.__class__}'.format(v)",
        "('{0.__class__}' | format)(v)",
        "v | attr('__class__')",
        "v | map(attribute='__class__') | list",
        "loop",
        "kept.__class__",
        "kept._pieces",
        "kept._no_text.__globals__",
        "config",
        "environment",
    ],
)
def test_templates_reach_nothing_but_what_they_are_given(probe: str) -> None:
    """No attribute with an underscore, no global, no change of a value, no environment."""
    template = "{% macro m() %}{% endmacro %}{% set kept %}{% endset %}a: {{ " + probe + " }}\n"
    assert refusal(template, v=["x"]).line == 1


def test_a_template_cannot_change_its_values() -> None:
    """What one template was given, the next one gets unchanged, even when it is written out and changed there."""
    value = {"list": [1]}
    (first,) = made("a: {{ v }}\n", v=value)
    assert isinstance(first.body, dict)
    first.body["a"]["list"].append(2)
    assert value == {"list": [1]}


def test_a_large_result_is_refused() -> None:
    """The text that a template writes has the limits of every YAML file."""
    template = "{% for i in v %}\n- [a, a, a, a, a, a, a, a, a, a]\n{% endfor %}\n"
    assert re.search("more than 50000 entries", refusal(template, v=list(range(9000))).message)
