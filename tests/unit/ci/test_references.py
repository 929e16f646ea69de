"""What a Dockerfile takes from elsewhere is found however it is written, or the line is refused."""

from __future__ import annotations

import pytest

from interlock.ci.references import read_references, require_allowed, require_arguments, require_quiet
from interlock.contract.build_sources import Kind, full_name, is_allowed
from interlock.contract.models import BuildRules
from interlock.errors import FormatError, InputError

SUM = f"sha256:{'a' * 64}"


def names(text: str, kind: Kind = "image", **arguments: str) -> list[str]:
    return [each.name for each in read_references(text, path="Dockerfile", arguments=arguments).of(kind)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM debian:12", ["debian:12"]),
        ("\ufefffrom debian:12 as build\r\nFROM build\r\nFROM BUILD AS x\r\n", ["debian:12"]),
        ("  FROM --platform=$BUILDPLATFORM debian:12 AS b", ["debian:12"]),
        ("FROM scratch\nCOPY --chown=1 --from=busybox:1 /bin/sh /\nCOPY --from=0 /x /\n", ["busybox:1"]),
        ("ARG BASE=debian\nARG TAG='12' X=\"1\"\nFROM ${BASE}:$TAG\n", ["debian:12"]),
        ("ARG TAG\nFROM debian:${TAG:-12}${TAG:+x}\n", ["debian:12"]),
        ("FROM python\nFROM x AS python\nFROM python\n", ["python", "x"]),
        ("FROM a\nRUN --mount=type=bind,from=d,target=/x y\nRUN echo --from=e ,from=f\n", ["a", "d"]),
        ("FROM a\nRUN --network=none --mount=target=/x,FROM=d y\n", ["a", "d"]),
        ("# FROM a\nFROM b\nFROM b\nRUN echo FROM c\n", ["b"]),
        ("FROM a\nCOPY --link \\\n  # a comment\n\n  --from=b \\\n  /x /\n", ["a", "b"]),
        ("FR\\\nOM a\n", ["a"]),
        ("# escape=`\nFROM a\nCOPY `\n --from=b /x /\n", ["a", "b"]),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\nFROM c\n", ["a", "c"]),
        ("FROM a\nCOPY <<-X <<'Y' /z/\nFROM b\n\tX\nFROM c\nY\nFROM d\n", ["a", "d"]),
        ("FROM a\nRUN echo $((1<<2))\nFROM c\n", ["a", "c"]),
    ],
)
def test_images_are_found(text: str, found: list[str]) -> None:
    """Stages of its own and `scratch` are none; arguments with a value are filled in; a heredoc is text."""
    assert names(text) == found


def test_a_builds_arguments_decide() -> None:
    """Over a default, and only where the Dockerfile declares them before its first FROM."""
    assert names("ARG TAG=11\nFROM debian:$TAG", TAG="12") == ["debian:12"]
    with pytest.raises(FormatError, match=r"Dockerfile:1: debian:[$]TAG cannot be resolved"):
        names("FROM debian:$TAG", TAG="12")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("FROM debian:$TAG", 1),
        ("ARG TAG\nFROM debian:$TAG", 2),
        ("ARG TAG=$OTHER\nFROM debian:$TAG", 2),
        ("FROM ${A%x}", 1),
        ('FROM "debian"', 1),
        ("FROM deb\\\nian", 1),
        ("FROM a\nFROM\u00a0b", 2),
        ("FROM a\nCOPY --from=$X /x /", 2),
        ('FROM a\nCOPY --fr"om"=b /x /', 2),
        ('FROM a\nRUN --mount=type=bind,"from=b" x', 2),
        ("FROM a\nCOPY --from=3 /x /", 2),
        ("FROM a\nCOPY --from=later /x /\nFROM b AS later", 3),
        ("FROM a AS x\nFROM b AS X", 2),
        ("FROM a b", 1),
        ("FROM --other=1 a", 1),
        ("FROM a\nRUN echo \\\\\nFROM b", 2),
        ("FROM a\n# escape=`\n", 0),
        ("# check=skip=all\n# escape=`\nFROM a", 2),
        ("FROM a\nRUN echo '<<EOF'\n <<EOF\nFROM b\nEOF", 0),
        ("FROM a\nRUN echo ' <<EOF '\nFROM b\nEOF", 2),
        ("FROM a\nRUN echo ${X:-<<EOF}\nFROM b\nEOF", 2),
        ("FROM a\nRUN <<EOF\nFROM b", 2),
        ("FROM a\nRUN <<cmd\nADD http://h/x /x\ncmd\n", 2),
        ("FROM a\nADD https://example.org/x /x", 2),
        (f"FROM a\nADD --checksum={SUM} https://example.org/$X /x", 2),
        ("FROM a\nADD --checksum=sha256:12 https://example.org/x /x", 2),
        ("FROM a\nADD git@example.org:x.git /x", 2),
        ("FROM a\nONBUILD COPY --from=b /x /", 2),
        ("FROM a\nONBUILD ADD http://h/x /x", 2),
        ("// syntax=x\nFROM a", 1),
        ("#!/x\n# syntax=x\nFROM a", 1),
        ("# syntax=$X\nFROM a", 1),
        ("RUN x", 0),
        ("", 0),
    ],
)
def test_what_is_not_sure_is_refused(text: str, line: int) -> None:
    """With its line; line 0 stands for what another rule decides: read well, or no line to name."""
    if line:
        with pytest.raises(FormatError) as refused:
            read_references(text, path="Dockerfile")
        assert refused.value.line == line
    elif "FROM" in text:
        assert names(text) in (["a"], ["a", "b"])
    else:
        with pytest.raises(FormatError, match="no FROM"):
            read_references(text, path="Dockerfile")


def test_a_frontend_and_a_pinned_address_are_found() -> None:
    """The address with the checksum that it must have."""
    text = f"# syntax = docker/dockerfile:1\nFROM a\nADD --checksum={SUM} https://example.org/x /x\n"

    assert names(text, "frontend") == ["docker/dockerfile:1"]
    assert names(read_references(text, path="Dockerfile").without_frontend().text, "address") == [
        "https://example.org/x"
    ]
    assert read_references(text, path="Dockerfile").of("address")[0].digest == SUM


def test_the_pinned_text_differs_in_the_names_alone() -> None:
    """Wherever they stand; all else keeps its bytes."""
    text = (
        "# syntax=f:1\r\nARG T=1\r\nFROM --platform=x a:$T AS s\r\nRUN --mount=from=b,target=/x --mount=from=b "
        "true\r\nCOPY \\\r\n  --from=c /c /\r\nFROM s\r\n"
    )
    recipe = read_references(text, path="Dockerfile")

    assert recipe.pinned({"f:1": "F", "a:1": "A", "b": "BB", "c": "C"}) == (
        "# syntax=F\r\nARG T=1\r\nFROM --platform=x A AS s\r\nRUN --mount=from=BB,target=/x --mount=from=BB "
        "true\r\nCOPY \\\r\n  --from=C /c /\r\nFROM s\r\n"
    )


def test_the_stage_of_the_tests_stands_on_the_one_that_ships() -> None:
    """Its FROM can be given another name, which no other place gets; else it is refused."""
    recipe = read_references(
        "FROM a AS web\nFROM b AS other\nCOPY --from=web /x /\nFROM Web AS Test\n", path="Dockerfile"
    )

    below = recipe.standing_on("web", stage="test")
    assert recipe.pinned({"a": "A", "b": "B"}, instead={below: "SHIPPED"}) == (
        "FROM A AS web\nFROM B AS other\nCOPY --from=web /x /\nFROM SHIPPED AS Test\n"
    )
    with pytest.raises(FormatError, match="Dockerfile:2: the stage other stands on b, not on web, which ships"):
        recipe.standing_on("web", stage="other")
    with pytest.raises(FormatError, match="the Dockerfile has no stage none") as refused:
        recipe.stage("none")
    assert refused.value.hint == "its stages: web, other, test"


def test_policy_lists_the_arguments_that_may_be_set() -> None:
    """Any where nothing is said."""
    require_arguments(["VERSION"], (BuildRules(),))
    require_arguments(["APP_X"], (BuildRules(arguments=()), BuildRules(arguments=("APP_*",))))
    with pytest.raises(InputError, match=r"does not let interlock.yaml set the build's argument VERSION"):
        require_arguments(["VERSION"], (BuildRules(arguments=("APP_*",)),))


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("python:3", "docker.io/library/python:3"),
        ("a/b@sha256:1", "docker.io/a/b@sha256:1"),
        ("ghcr.io/a", "ghcr.io/a"),
        ("localhost/a", "localhost/a"),
        ("h:5000/a:1", "h:5000/a:1"),
    ],
)
def test_a_full_name_has_its_registry(name: str, full: str) -> None:
    """As Docker fills it in."""
    assert full_name(name) == full


def test_policy_lists_what_a_build_may_take() -> None:
    """Any image where nothing is said, but no frontend and no address; a pattern matches with or without tag."""
    listed = BuildRules(images=("docker.io/library/python", "h.example/base/*"), addresses=("https://h.example/*",))

    assert is_allowed("image", "anything", BuildRules())
    assert not is_allowed("frontend", "docker/dockerfile:1", BuildRules())
    assert not is_allowed("address", "https://h.example/x", BuildRules())
    assert is_allowed("image", "python:3.12", listed)
    assert is_allowed("image", "h.example/base/a/b:1", listed)
    assert not is_allowed("image", "h.example.org/base/a", listed)
    assert not is_allowed("image", "python2", listed)
    assert is_allowed("address", "https://h.example/x", listed)


def test_what_no_environment_allows_is_refused_before_the_build() -> None:
    """With its line; one environment that allows it is enough to build."""
    recipe = read_references("FROM a\nCOPY --from=b /x /", path="Dockerfile")
    narrow, wide = BuildRules(images=("docker.io/library/a",)), BuildRules()

    require_allowed(recipe, (narrow, wide))
    with pytest.raises(FormatError, match="Dockerfile:2: the image b is not among those") as refused:
        require_allowed(recipe, (narrow,))
    assert "`build.images` in policy/gate.yaml" in refused.value.hint


@pytest.mark.parametrize(
    "trigger", ["ADD http://h/x /x", "COPY --from=b /x /", "RUN --mount=from=b x", "RUN 'a\u00a0'"]
)
def test_what_a_base_does_on_build_may_fetch_nothing(trigger: str) -> None:
    """Its ONBUILD instructions are not in our Dockerfile."""
    require_quiet(["COPY . /app", "RUN make"], name="base", path="Dockerfile", line=1)
    with pytest.raises(FormatError, match="Dockerfile:1: base has the instruction ONBUILD"):
        require_quiet(["COPY . /app", trigger], name="base", path="Dockerfile", line=1)
