"""An ADD that could fetch from the network is found however it is written; every other line is let through."""

from __future__ import annotations

import pytest

from interlock.ci.dockerfile import require_local
from interlock.contract.build_sources import repository_of
from interlock.errors import FormatError

ADDRESS = "http://127.0.0.1:4200/api/admin/settings"
FETCHES = {
    "plain": f"ADD {ADDRESS} /x",
    "small letters": f"add {ADDRESS} /x",
    "with a flag": f"ADD --chown=1:1 {ADDRESS} /x",
    "by git": "ADD git@example.org:x.git /x",
    "on build": f"ONBUILD ADD {ADDRESS} /x",
    "form feed": f"\u00a0ADD\f{ADDRESS} /x",
    "carriage return": f"ADD\r{ADDRESS} /x\r",
    "byte order mark": f"\ufeffADD {ADDRESS} /x",
    "JSON": f'ADD ["{ADDRESS}", "/x"]',
    "JSON escapes": 'ADD ["http\\u003a//h", "/x"]',
    "no JSON": "ADD [http /x",
    "an argument": "ARG U=http:\nADD $U//h/x /x",
    "quotes": 'ADD "http"":"//h/x /x',
    "escapes": "ADD http\\://h/x /x",
    "continued": f"ADD \\\n {ADDRESS} /x",
    "continued by another mark": f"# escape=`\nADD `  \n {ADDRESS} /x",
    "continued behind a comment": f"ADD \\\n# comment\n\n {ADDRESS} /x",
    "the word is cut": f"AD\\\nD {ADDRESS} /x",
    "the word follows": f"ADD\\\n {ADDRESS} /x",
    "cut on build": f"ONBUILD A\\\nDD {ADDRESS} /x",
    "behind what only looks continued": f"RUN echo \\\\\nADD {ADDRESS} /x",
}
LOCAL = (
    "ADD vendor.tar.gz /opt/",
    'ADD ["a b", "/x/"]',
    "ADD --chown=1:1 a /x",
    "ADD a \\\n  b \\\n  /x/\nENV HOME=http://h",
    "RUN echo ADD http://h/x",
    "ENV U=http://h\nCOPY a /x\n# ADD http://h /x",
    "RUN apt-get install \\\n  curl\\\n  wget",
    "ADDRESS=http://h",
)


@pytest.mark.parametrize("text", FETCHES.values(), ids=FETCHES)
def test_an_add_from_the_network_is_refused(text: str) -> None:
    """With its file; the hint names COPY."""
    with pytest.raises(FormatError) as refused:
        require_local(f"FROM base\n{text}\n" if "\ufeff" not in text else text, path="Dockerfile")

    assert refused.value.path == "Dockerfile"
    assert "COPY" in refused.value.hint


@pytest.mark.parametrize("text", LOCAL)
def test_what_stays_in_the_context_passes(text: str) -> None:
    """Addresses elsewhere are the RUN steps' business, which have no network."""
    require_local(f"FROM base\n{text}\n", path="Dockerfile")


def test_the_line_is_told() -> None:
    """The instruction's own."""
    with pytest.raises(FormatError, match="docker/Dockerfile:3: ADD may only name"):
        require_local(f"FROM base\n\nADD {ADDRESS} /x", path="docker/Dockerfile")


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("python", "python"),
        ("python:3.11", "python"),
        ("registry.example:5000/base/python", "registry.example:5000/base/python"),
        ("registry.example:5000/base/python:3.11@sha256:1a", "registry.example:5000/base/python"),
    ],
)
def test_a_repository_is_a_name_without_tag_and_digest(name: str, repository: str) -> None:
    """A registry's port is no tag."""
    assert repository_of(name) == repository
