"""`interlock init application`: what it finds, what it writes, what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from interlock.cli import discovery, dockerfile
from interlock.contract.application import read_application
from tests.unit.cli.commands import interlock

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "service"
DOCKERFILE = 'FROM debian:12\nWORKDIR /srv\nCOPY . .\nUSER 1000\nEXPOSE 9090/tcp\nCMD ["python3", "app.py"]\n'
UNITTEST = (
    "import unittest\nclass Sums(unittest.TestCase):\n    def test_sum(self):\n        self.assertEqual(1 + 1, {})\n"
)


def write(folder: Path, **files: str) -> Path:
    """Files by path, `__` for `/` and `_DOT_` for `.`."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_example_is_described_as_it_is(tmp_path: Path) -> None:
    """Its port, base, user and vendored test runner are found, and what is written is valid."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    done = interlock("init", "application", "--yes", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "from interlock.sandbox/python:3.11" in done.stderr
    component = read_application((tmp_path / "interlock.yaml").read_text()).components["web"]
    command = component.tests.command
    assert (component.context, component.dockerfile) == (".", "Dockerfile")
    assert command[0] == "env"
    assert "/app/vendor/pytest-" in command[1]
    assert command[2:] == ("python", "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=/tmp/junit.xml", "tests")


def test_the_tests_found_in_the_example_run_with_nothing_installed(tmp_path: Path) -> None:
    """The vendored wheels are all that its tests need."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    read = dockerfile.Dockerfile("", 8080, "", str(tmp_path), sys.executable, (".",))
    found = discovery.tests(tmp_path, read)

    assert found is not None
    command = [word.replace("/tmp/junit.xml", str(tmp_path / "junit.xml")) for word in found.command]
    command[2] = f"{sys.executable}"
    done = subprocess.run([*command[:3], "-S", *command[3:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


@pytest.mark.parametrize("is_package", [True, False])
def test_unittest_gets_a_runner_that_leaves_a_report(tmp_path: Path, is_package: bool) -> None:
    """Where only unittest is used, a small runner is written, and its report says what passed and what failed."""
    write(tmp_path, Dockerfile=DOCKERFILE, app_DOT_py="", test__test_good_DOT_py="import app\n" + UNITTEST.format(2))
    write(tmp_path, test__test_bad_DOT_py=UNITTEST.format(3).replace("Sums", "Wrong"))
    write(tmp_path, test__test_broken_DOT_py="import absent_module\n")
    if is_package:
        (tmp_path / "test" / "__init__.py").write_text("")
    done = interlock("init", "application", "--yes", "-o", "json", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {
        "written": [".interlock/schemas/interlock.schema.json", "interlock.yaml", "test/interlock_tests.py"],
        "components": {"web": {"port": 9090, "base": "debian:12"}},
    }
    component = read_application((tmp_path / "interlock.yaml").read_text()).components["web"]
    assert component.tests.command == ("python3", "test/interlock_tests.py", "test", "/tmp/junit.xml")
    run = subprocess.run(
        [sys.executable, "test/interlock_tests.py", "test", "junit.xml"], cwd=tmp_path, capture_output=True, check=False
    )
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - our own runner wrote it
    assert run.returncode == 1
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")


def test_the_report_is_xml_whatever_a_test_says(tmp_path: Path) -> None:
    """Signs of XML's own, bytes that it may not hold, and names of subtests reach the reader, or a mark for each."""
    said = "<b> & \"'\x00\x1b[1m\ud800 é"
    lines = (
        "import unittest",
        "class Odd(unittest.TestCase):",
        f"    def test_raises(self): raise ValueError({said!r})",
        f"    def test_parts(self):\n        with self.subTest(part={said!r}): self.fail({said!r})",
        f"    @unittest.skip({said!r})\n    def test_later(self): pass",
        "    @unittest.expectedFailure\n    def test_good_by_mistake(self): pass",
    )
    write(tmp_path, Dockerfile=DOCKERFILE, app_DOT_py="", test__test_odd_DOT_py="\n".join(lines))
    assert interlock("init", "application", "--yes", folder=tmp_path).returncode == 0
    subprocess.run([sys.executable, "test/interlock_tests.py", "test", "junit.xml"], cwd=tmp_path, check=False)

    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - our own runner wrote it
    found = {case.get("name", "")[:12]: case[0] for case in suite if len(case)}
    assert {name: each.tag for name, each in found.items()} == {
        "test_raises": "error",
        "test_parts (": "failure",
        "test_later": "skipped",
        "test_good_by": "failure",
    }
    assert found["test_raises"].get("message") == "ValueError: <b> & \"'??[1m? é"
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == [str(len(suite)), "2", "1", "1"]


def test_folders_with_a_dockerfile_are_components(tmp_path: Path) -> None:
    """Without a Dockerfile at the root, each folder with one is a component of that name."""
    for name in ("Front_End", "worker"):
        folder = write(tmp_path / name, Dockerfile=DOCKERFILE, tests__test_it_DOT_py="")
        (folder / "requirements.txt").write_text("pytest==9.0\n")
    done = interlock("init", "application", "--yes", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    components = read_application((tmp_path / "interlock.yaml").read_text()).components
    assert {name: each.context for name, each in components.items()} == {"front-end": "Front_End", "worker": "worker"}
    assert components["worker"].tests.command[:3] == ("python3", "-m", "pytest")


def test_what_is_there_is_never_overwritten_without_force(tmp_path: Path) -> None:
    """An interlock.yaml of the person's stays as it is, and the error says how to replace it."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "interlock.yaml").write_text("mine\n")
    refused = interlock("init", "application", "--yes", folder=tmp_path)

    assert refused.returncode == 2
    assert "error: interlock.yaml exists already" in refused.stderr
    assert (tmp_path / "interlock.yaml").read_text() == "mine\n"
    assert interlock("init", "application", "--yes", "--force", folder=tmp_path).returncode == 0
    assert (tmp_path / "interlock.yaml").read_text() != "mine\n"


def test_nothing_is_written_when_nobody_can_be_asked(tmp_path: Path) -> None:
    """Without a terminal and without --yes, the error names --yes."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    done = interlock("init", "application", folder=tmp_path)

    assert done.returncode == 2
    assert "hint: --yes" in done.stderr
    assert not (tmp_path / "interlock.yaml").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no Dockerfile here"),
        ({"Dockerfile": DOCKERFILE}, "nothing is released untested"),
        ({"Dockerfile": "# empty\n", "tests__test_x_DOT_py": ""}, "no Dockerfile here"),
    ],
)
def test_what_cannot_be_released_is_told_at_once(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """One clear line and exit code 2; nothing is written."""
    write(tmp_path, **files)
    done = interlock("init", "application", "--yes", folder=tmp_path)

    assert done.returncode == 2
    assert message in done.stderr.splitlines()[0]
    assert not (tmp_path / "interlock.yaml").exists()


def test_what_will_stop_later_is_noted_now(tmp_path: Path) -> None:
    """An image that runs as root, or does not hold its tests, is noted before anybody waits for a pipeline."""
    text = 'FROM debian:12\nCOPY app.py app.py\nCMD ["python3", "app.py"]\n'
    write(tmp_path, Dockerfile=text, tests__test_x_DOT_py=UNITTEST.format(2))
    done = interlock("init", "application", "--yes", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "runs as root" in done.stderr
    assert "no COPY brings tests into the image" in done.stderr


def test_a_runner_beside_the_tests_is_noted_when_nothing_copies_it(tmp_path: Path) -> None:
    """Tests at the root of the repository have their runner there, and no COPY of a folder brings it."""
    write(tmp_path, Dockerfile="FROM debian:12\nCOPY app.py app.py\nUSER 1\n", test_x_DOT_py=UNITTEST.format(2))
    done = interlock("init", "application", "--yes", folder=tmp_path)

    assert "no COPY brings interlock_tests.py into the image" in done.stderr


def test_a_test_command_may_be_given(tmp_path: Path) -> None:
    """--tests is split as a shell would, and beats what is found."""
    write(tmp_path, Dockerfile=DOCKERFILE)
    done = interlock(
        *("init", "application", "--yes", "--tests", "make 'unit tests'", "--report", "/tmp/out.xml"), folder=tmp_path
    )

    assert done.returncode == 0, done.stderr
    tests = read_application((tmp_path / "interlock.yaml").read_text()).components["web"].tests
    assert (tests.command, tests.report) == (("make", "unit tests"), "/tmp/out.xml")


def test_the_last_stage_of_a_dockerfile_counts() -> None:
    """Stages, continuation lines, comments, both forms of CMD."""
    read = dockerfile.read(
        "ARG X=1\n# FROM nothing\nFROM golang:1.25 AS build\nUSER 65532:65532\n"
        "FROM build AS second\nFROM --platform=linux/amd64 second\n"
        "COPY --from=build /out /out\nCOPY --chown=1:1 app \\\n  tests \\\n  /srv/\nEXPOSE $PORT 8080/tcp 9\n"
        "ENTRYPOINT /usr/bin/python3.11 -m app\n"
    )

    assert read is not None
    assert (read.base, read.port, read.user, read.python) == ("golang:1.25", 8080, "65532:65532", "python3.11")
    assert read.copied == ("app", "tests")
    assert not read.is_root
