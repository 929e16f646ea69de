"""`interlock test`: the command's exit codes, its words, its reports, and the sets that come with Interlock."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.cli.commands import git, interlock

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {a: '{{ values.a }}'}\n"
TEST = """\
format: 1
tests:
  - name: given
    values: {a: x}
    expect:
      match:
        - apiVersion: v1
          kind: ConfigMap
          metadata: {name: one}
          data: {a: x}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with one template set that has one test."""
    return write(tmp_path, {"templates/one/one.yaml.j2": TEMPLATE, "templates/one/tests/a.yaml": TEST})


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "templates" / "sets").iterdir()))
def test_the_sets_that_come_with_interlock_pass_their_tests(name: str) -> None:
    """Each has some; none passes over a value."""
    done = interlock("test", ROOT / "templates" / "sets" / name, folder=ROOT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_a_new_environment_repository_passes_its_tests(tmp_path: Path) -> None:
    """The tests come with the templates, and need nothing else."""
    options = ("--application", "shop", "--image", "r.example/shop/web", "--ci-key", "ci.key.pub", "--yes")
    assert interlock("key", "ci.key", folder=tmp_path).returncode == 0
    assert interlock("init", "environment", "environments", *options, folder=tmp_path).returncode == 0
    done = interlock("test", folder=tmp_path / "environments")

    assert done.returncode == 0, done.stderr
    assert git("status", "--porcelain", folder=tmp_path / "environments") == ""


def test_a_test_that_passes_is_counted(folder: Path) -> None:
    """Exit code 0, one line."""
    done = interlock("test", folder=folder)

    assert (done.returncode, done.stdout, done.stderr) == (0, "1 render test passed\n", "")


def test_what_differs_is_shown_with_both_lines(folder: Path) -> None:
    """Exit code 1; the test, the field, what was expected and where, what was rendered and by which line."""
    (folder / "templates/one/one.yaml.j2").write_text(TEMPLATE.replace("values.a", "values.a | upper"))
    done = interlock("test", folder=folder)

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "FAILED templates/one/tests/a.yaml:3: given",
        "  ConfigMap/test/one: data.a",
        '    - "x"  (templates/one/tests/a.yaml:10)',
        '    + "X"  (templates/one/one.yaml.j2:4 {{ values.a | upper }})',
        "1 of 1 render test failed",
    ]


def test_an_update_writes_what_is_rendered(folder: Path) -> None:
    """It says which tests, and they pass from then on; with nothing to write nothing is touched."""
    test = folder / "templates/one/tests/a.yaml"
    (folder / "templates/one/one.yaml.j2").write_text(TEMPLATE.replace("values.a", "values.a | upper"))
    updated = interlock("test", "--update", folder=folder)
    written = test.stat().st_mtime_ns
    again = interlock("test", "--update", folder=folder)

    assert updated.returncode == 0, updated.stderr
    assert updated.stdout == "updated templates/one/tests/a.yaml:3: given\n1 render test passed\n"
    assert "data: {a: x}" not in test.read_text()
    assert again.stdout == "1 render test passed\n"
    assert test.stat().st_mtime_ns == written


def test_an_update_never_makes_an_error_of_objects(folder: Path) -> None:
    """A template that broke is mended, not expected."""
    (folder / "templates/one/one.yaml.j2").write_text(TEMPLATE.replace("values.a", "values.b"))
    done = interlock("test", "--update", folder=folder)

    assert done.returncode == 1
    assert "reads 'b', which is not given" in done.stdout
    assert (folder / "templates/one/tests/a.yaml").read_text() == TEST


def test_the_repositorys_own_rules_judge(folder: Path) -> None:
    """Those of the environment repository around the set, and the default ones without it."""
    rule = "{name: no-x, expression: 'object.data.a != \"x\"', message: x is taken}"
    write(folder, {"environments.yaml": "format: 1\nid: a0b1c2d3e4f5\n"})
    assert interlock("test", folder=folder).returncode == 0
    write(folder, {"policy/rules.yaml": f"format: 1\nrules: [{rule}]\n"})
    done = interlock("test", "templates/one", folder=folder)

    assert done.returncode == 1
    assert "    + deny: no-x: x is taken  (templates/one/one.yaml.j2:1)" in done.stdout.splitlines()


def test_a_value_that_nothing_reads_is_told(folder: Path) -> None:
    """On stderr, with the test's line; it fails nothing."""
    (folder / "templates/one/tests/a.yaml").write_text(TEST.replace("{a: x}\n    expect", "{a: x, b: y}\n    expect"))
    done = interlock("test", folder=folder)

    assert done.returncode == 0
    assert done.stderr == "note: templates/one/tests/a.yaml:3: test: no template reads the value b\n"


def test_values_that_do_not_fit_the_sets_schema_fail(folder: Path) -> None:
    """As they do when an environment is rendered."""
    write(folder, {"templates/one/values.schema.json": '{"properties": {"a": {"type": "integer"}}}'})
    done = interlock("test", folder=folder)

    assert done.returncode == 1
    assert "the values of test: a: must be a whole number, not text" in done.stdout


def test_reports_for_machines(folder: Path) -> None:
    """JSON on stdout, JUnit in a file, both with what failed; control characters break neither."""
    more = '  - name: "odd \\u0007"\n    values: {a: y}\n    expect: {error: x}\n'
    (folder / "templates/one/tests/a.yaml").write_text(TEST + more)
    done = interlock("test", "-o", "json", "--junit", "report.xml", folder=folder)
    told = json.loads(done.stdout)
    suite = ElementTree.parse(folder / "report.xml").getroot()[0]  # noqa: S314 - our own

    assert done.returncode == 1
    assert (told["passed"], told["failed"]) == (1, 1)
    assert [(each["line"], each["passed"]) for each in told["tests"]] == [(3, True), (11, False)]
    assert told["tests"][1]["differences"][0]["field"] == "error"
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [len(each) for each in suite] == [0, 1]


@pytest.mark.parametrize(
    ("change", "words", "complaint"),
    [
        ({}, ("nosuch",), "nosuch: no template set"),
        ({}, ("templates/one/tests",), "templates/one/tests: no template set"),
        (
            {"templates/one/tests/a.yaml": "format: 1\ntests: [{name: x, nam: x}]\n"},
            (),
            "templates/one/tests/a.yaml:2:19: unknown",
        ),
        ({"templates/one/tests/a.yaml": "a: [\n"}, (), "templates/one/tests/a.yaml:2"),
        ({"policy/rules.yaml": "format: 2\n", "environments.yaml": ""}, (), "policy/rules.yaml:1:1: format"),
    ],
)
def test_what_cannot_be_tested_is_an_error(
    folder: Path, change: dict[str, str], words: tuple[str, ...], complaint: str
) -> None:
    """Exit code 2 and one line that names the place."""
    done = interlock("test", *words, folder=write(folder, change))

    assert done.returncode == 2
    assert f"error: {complaint}" in done.stderr


def test_no_test_at_all_is_an_error(folder: Path, tmp_path: Path) -> None:
    """Zero tests prove nothing; a folder without templates is told as such."""
    shutil.rmtree(folder / "templates/one/tests")
    done = interlock("test", folder=folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    assert done.returncode == 2
    assert "there is no render test" in done.stderr
    assert "templates/: there is no such folder here" in interlock("test", folder=elsewhere).stderr


def test_a_symlink_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """What lies outside is not read, as in a commit."""
    (tmp_path / "secret").write_text("format: 1\n")
    (folder / "templates/one/tests/b.yaml").symlink_to(tmp_path / "secret")
    done = interlock("test", folder=folder)

    assert done.returncode == 2
    assert "b.yaml: a symlink, which is refused" in done.stderr


def test_one_endless_test_does_not_hide_the_others(folder: Path) -> None:
    """It fails by itself, and the rest is judged."""
    loops = "".join(f"{{% for {name} in values.x %}}" for name in "abcdef") + "{% endfor %}" * 6
    template = TEMPLATE + "{% if values.x is defined %}" + loops + "{% endif %}"
    endless = "  - name: endless\n    values: {a: x, x: [" + "1," * 300 + "1]}\n    expect: {violations: []}\n"
    write(folder, {"templates/one/one.yaml.j2": template, "templates/one/tests/a.yaml": TEST + endless})
    done = interlock("test", folder=folder)

    assert done.returncode == 1
    assert "takes too much time or memory" in done.stdout
    assert "1 of 2 render tests failed" in done.stdout
