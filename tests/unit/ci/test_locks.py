"""Dependencies without versions: what no scanner can judge is a finding."""

from __future__ import annotations

import pytest

from interlock.ci.locks import is_manifest, unlocked

PACKAGE = b'{"name": "x", "dependencies": {"lodash": "^4"}}'
PROJECT = b'[project]\nname = "x"\ndependencies = ["requests>=2"]\n'


def found(files: dict[str, bytes], *others: str) -> list[str]:
    assert all(is_manifest(path) for path in files)
    return [finding.place for finding in unlocked(files, [*files, *others])]


@pytest.mark.parametrize(
    ("name", "content", "lock"),
    [
        ("package.json", PACKAGE, "package-lock.json"),
        ("package.json", b"{ not json", "yarn.lock"),
        ("pyproject.toml", PROJECT, "uv.lock"),
        ("pyproject.toml", b"[tool.poetry.dependencies]\npython = '^3'\nrequests = '*'\n", "poetry.lock"),
        ("Pipfile", b"[packages]\nrequests = '*'\n", "Pipfile.lock"),
        ("Cargo.toml", b"[dependencies]\nserde = '1'\n", "Cargo.lock"),
        ("composer.json", b'{"require": {"a/b": "*"}}', "composer.lock"),
        ("Gemfile", b"gem 'rails'\n", "Gemfile.lock"),
    ],
)
def test_a_manifest_needs_its_lock_file(name: str, content: bytes, lock: str) -> None:
    """In its folder or above it; one elsewhere is another's."""
    assert found({f"a/{name}": content}) == [f"a/{name}"]
    assert found({f"a/{name}": content}, f"b/{lock}") == [f"a/{name}"]
    assert found({f"a/{name}": content}, f"a/{lock}") == []
    assert found({f"a/{name}": content}, lock) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("package.json", b'{"name": "x", "scripts": {}}'),
        ("pyproject.toml", b"[tool.ruff]\nline-length = 100\n"),
        ("pyproject.toml", b"[tool.poetry.dependencies]\npython = '^3'\n"),
        ("Cargo.toml", b"[package]\nname = 'x'\n"),
    ],
)
def test_a_manifest_without_dependencies_needs_none(name: str, content: bytes) -> None:
    """There is nothing to judge."""
    assert found({name: content}) == []


@pytest.mark.parametrize(
    "line",
    [
        b"requests==2.31.0",
        b"requests[socks] == 2.31.0 ; python_version > '3'",
        b"requests==2.31.0 \\",
        b"    --hash=sha256:abc",
        b"requests==2.31.0 --hash=sha256:abc",
        b"-r base.txt",
        b"-e .",
        b"--index-url https://index.example.org/simple",
        b"# requests",
        b"requests==2.31.0  # why",
        b"",
        b"\xef\xbb\xbfrequests==2.31.0",
    ],
)
def test_lines_with_one_version_are_well(line: bytes) -> None:
    """As pip reads them."""
    assert found({"requirements.txt": line + b"\n"}) == []


@pytest.mark.parametrize(
    "line",
    [
        b"requests",
        b"requests>=2",
        b"requests~=2.19.0",
        b"requests===2.19.0",
        b"requests==2.19.*",
        b"requests \\",
        b"git+https://example.org/x.git",
        b"requests @ https://example.org/x.whl",
        b"./wheels/x.whl",
        b"-e git+https://example.org/x.git",
        b"--editable=git+ssh://example.org/x.git",
        b"-rhttps://example.org/requirements.txt",
    ],
)
def test_lines_without_one_are_told(line: bytes) -> None:
    """No scanner knows what they stand for."""
    assert found({"requirements/prod.txt": b"a==1\n" + line + b"\n"}) == ["requirements/prod.txt:2"]
