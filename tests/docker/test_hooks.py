"""The published hooks, run by pre-commit itself in fresh repositories: what they stop, and what they let by."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sandbox.parts.baseimage import BaseImage
from sandbox.parts.docker import Docker
from sandbox.parts.trivy import Trivy
from tests.docker import service
from tests.docker.test_check import TOKEN
from tests.unit.cli.commands import interlock

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / ".pre-commit-hooks.yaml"
PROGRAMS = Path(sys.executable).parent
pytestmark = pytest.mark.timeout(600)


@dataclass
class Person:
    """Somebody with a clone, whose programs are those of this checkout."""

    home: Path
    clone: Path

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        surroundings = {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "PRE_COMMIT_HOME": str(self.home / "pre-commit"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.org",
            **env,
        }
        return subprocess.run(
            words, cwd=self.clone, env=surroundings, capture_output=True, text=True, timeout=300, check=False
        )

    def commit(self, message: str = "Change") -> subprocess.CompletedProcess[str]:
        self.must("git", "add", "--all")
        return self.run("git", "commit", "--quiet", "--message", message)

    def must(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def write(self, path: str, text: str) -> None:
        (self.clone / path).parent.mkdir(parents=True, exist_ok=True)
        (self.clone / path).write_text(text)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository that publishes the hooks as this one does, and its commit.

    They run with the installed program: what pre-commit's own environments take is Python's packaging.
    """
    folder = tmp_path_factory.mktemp("published")
    shutil.copy(PUBLISHED, folder)
    person = Person(folder, folder)
    person.must("git", "init", "--quiet")
    assert person.commit().returncode == 0
    return folder, person.must("git", "rev-parse", "HEAD").strip()


def person(home: Path, published: tuple[Path, str], hooks: dict[str, list[str]]) -> Person:
    """A clone with these hooks installed for commits and pushes, each with arguments of its own."""
    clone = home / "clone"
    clone.mkdir(exist_ok=True)
    made = Person(home, clone)
    entries = [{"id": name, "language": "system", "args": args} for name, args in hooks.items()]
    for entry in entries:
        entry["additional_dependencies"] = []
    config = {"repos": [{"repo": str(published[0]), "rev": published[1], "hooks": entries}]}
    made.write(".pre-commit-config.yaml", yaml.safe_dump(config))
    if not (clone / ".git").exists():
        made.must("git", "init", "--quiet", "--initial-branch=main")
    made.must("pre-commit", "install", "--hook-type", "pre-commit", "--hook-type", "pre-push")
    return made


@pytest.fixture
def developer(tmp_path: Path, published: tuple[Path, str], trivy_database: Trivy) -> Person:
    """In an application repository, with the hooks that look at its files."""
    scanner = ["--trivy-cache", str(tmp_path / "trivy"), "--pinned-database"]
    shutil.copytree(trivy_database.cache / "db", tmp_path / "trivy" / "db")
    hooks = ("interlock-secrets", "interlock-misconfiguration", "interlock-check")
    made = person(tmp_path, published, dict.fromkeys(hooks, scanner))
    for path, content in service.files().items():
        made.write(path, (content or b"").decode())
    return made


def test_a_clean_commit_passes_every_hook(developer: Person) -> None:
    """Each of them runs, and the commit is there."""
    done = developer.commit()

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("Passed") == 3
    assert developer.must("git", "rev-list", "--count", "HEAD").strip() == "1"


def test_a_secret_is_not_committed(developer: Person) -> None:
    """The hook names file and line; one that is not staged stops nobody."""
    assert developer.commit().returncode == 0
    developer.write("settings.py", f'TOKEN = "{TOKEN}"\n')
    stopped = developer.commit()
    developer.must("git", "reset", "--quiet", "settings.py")
    developer.write("notes.md", "nothing\n")
    developer.must("git", "add", "notes.md")
    passed = developer.run("git", "commit", "--quiet", "--message", "Only notes")

    assert stopped.returncode == 1
    assert "source: secret github-pat in settings.py:1" in stopped.stderr
    assert TOKEN not in stopped.stdout + stopped.stderr
    assert passed.returncode == 0, passed.stderr


def test_a_misconfiguration_and_code_that_is_not_safe_are_not_committed(developer: Person) -> None:
    """Each by the hook that is for it, and by the gate as a whole."""
    developer.write("Dockerfile", "FROM interlock.sandbox/python:3.11\nUSER root\n")
    done = developer.commit()

    assert done.returncode == 1
    failed = [line for line in done.stderr.splitlines() if line.endswith("Failed")]
    assert [line.partition(" (")[0] for line in failed] == ["misconfiguration", "CI's gate on the sources"]
    assert "DS-0002" in done.stderr


def test_tests_run_before_a_push(
    tmp_path: Path, published: tuple[Path, str], docker_daemon: Docker, base_image: BaseImage
) -> None:
    """In the image, of the commit that is pushed, and once; what fails stays here."""
    made = person(tmp_path, published, {"interlock-component-tests": ["--docker", docker_daemon.docker_host]})
    for path, content in service.files().items():
        made.write(path, (content or b"").decode())
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "remote.git"], check=True)
    made.must("git", "remote", "add", "origin", str(tmp_path / "remote.git"))
    assert made.commit().returncode == 0
    first = made.run("git", "push", "--quiet", "origin", "HEAD:main")
    made.must("git", "commit", "--amend", "--quiet", "--message", "The same files")
    again = made.run("git", "push", "--quiet", "--force", "origin", "HEAD:main")
    made.write("shop/__init__.py", "def price(n):\n    return 0\n")
    assert made.commit().returncode == 0
    made.write("shop/__init__.py", "def price(n):\n    return n * 10\n")  # mended, but not in the commit
    wrong = made.run("git", "push", "--quiet", "origin", "HEAD:main")

    assert first.returncode == 0, first.stdout + first.stderr
    assert "tests of web" not in first.stdout + first.stderr
    assert again.returncode == 0
    assert "read the same before, so not run again: tests of web" in again.stdout + again.stderr
    assert wrong.returncode == 1
    assert "test_price" in wrong.stdout + wrong.stderr
    assert made.must("git", "ls-remote", "origin", "main").split()[0] == made.must("git", "rev-parse", "HEAD~1").strip()


def test_an_environment_repository_has_hooks_of_its_own(tmp_path: Path, published: tuple[Path, str]) -> None:
    """A value that does not fit, a rule that is broken and a render test that fails are not committed."""
    options = ("--application", "shop", "--image", "r.example/shop/web", "--ci-key", "ci.key.pub", "--yes")
    assert interlock("key", "ci.key", folder=tmp_path).returncode == 0
    assert interlock("init", "environment", "clone", *options, folder=tmp_path).returncode == 0
    made = person(tmp_path, published, {"interlock-render": [], "interlock-test": []})
    fine = made.commit()
    values = "environments/dev/shop/values.yaml"
    made.write(values, "replicas: three\n")
    misfit = made.commit()
    made.write(values, "resources: {requests: {cpu: 1}}\n")
    denied = made.commit()
    made.write(values, "replicas: 1\n")
    template = made.clone / "templates/service/deployment.yaml.j2"
    template.write_text(template.read_text().replace("default(1)", "default(2)"))
    differs = made.commit()

    assert fine.returncode == 0, fine.stdout + fine.stderr
    assert [each.returncode for each in (misfit, denied, differs)] == [1, 1, 1]
    assert f"{values}:1: the values of shop: replicas: must be a whole number" in misfit.stderr
    assert "Deployment/shop/shop: requests: " in denied.stderr
    assert "spec.replicas" in differs.stderr


def test_the_hooks_are_what_pre_commit_takes() -> None:
    """It validates the manifest, and every hook starts a command that there is."""
    done = subprocess.run(
        [PROGRAMS / "pre-commit", "validate-manifest", PUBLISHED], capture_output=True, text=True, check=False
    )
    hooks = yaml.safe_load(PUBLISHED.read_text())

    assert done.returncode == 0, done.stdout
    for hook in hooks:
        program, command, *_ = hook["entry"].split()
        assert program == "interlock"
        assert interlock(command, "--help", folder=ROOT).returncode == 0
