"""What of an image's configuration is checked: all that a check reads, and nothing that every build changes."""

from __future__ import annotations

import json

import pytest

from interlock.ci.findings import read_configuration
from interlock.ci.image_configuration import CANARY, to_check
from interlock.errors import ScanFailed

LAYER = f"sha256:{'1' * 64}"


def configuration(**changes: object) -> bytes:
    """One that a builder wrote."""
    entry = {"created": "2026-11-27T10:00:00Z", "created_by": f"COPY dir:{'a' * 64} in /app", "comment": "x"}
    settings = {"User": "ada", "Labels": {"org.opencontainers.image.revision": "b" * 40}}
    whole = {"architecture": "amd64", "os": "linux", "created": "2026-11-27T10:00:00Z", "config": settings}
    return json.dumps({**whole, "history": [entry], "rootfs": {"diff_ids": [LAYER]}, **changes}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"created": "2027-01-01T00:00:00Z"},
        {"config": {"User": "ada", "Labels": {"org.opencontainers.image.revision": "c" * 40}}},
        {"config": {"User": "ada", "Image": f"sha256:{'3' * 64}", "Hostname": "0123456789ab"}},
        {"history": [{"created": "2027", "created_by": f"COPY dir:{'f' * 64} in /app", "comment": "x"}]},
        {"rootfs": {"diff_ids": [f"sha256:{'2' * 64}"]}},
        {"container_config": {"Cmd": ["other"]}},
    ],
)
def test_what_every_build_changes_is_gone(changes: dict[str, object]) -> None:
    """Times, digests, labels and layers of another build by the same instructions make no difference."""
    assert to_check(configuration()) == to_check(configuration(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"User": "root"}},
        {"config": {"User": "ada", "Healthcheck": {"Test": ["NONE"]}}},
        {"history": [{"created_by": f"COPY dir:{'a' * 64} in /etc", "comment": "x"}]},
        {"history": [{"created_by": f"COPY dir:{'a' * 64} in /app"}]},
        {"history": [{"created_by": f"COPY dir:{'a' * 64} in /app", "comment": "x", "empty_layer": True}]},
        {"history": []},
        {"architecture": "arm64"},
        {"rootfs": {"diff_ids": [LAYER, LAYER]}},
    ],
)
def test_what_a_check_may_read_is_kept(changes: dict[str, object]) -> None:
    """Another instruction, setting, system or number of layers is another configuration."""
    assert to_check(configuration()) != to_check(configuration(**changes))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"history": 1, "rootfs": {"diff_ids": []}}', '{"rootfs": {"diff_ids": 1}}', "[" * 10_000]
)
def test_what_is_no_configuration_fails(text: str) -> None:
    """Half a configuration is none, and nothing is said to be clean for it."""
    with pytest.raises(ScanFailed, match="configuration cannot be read"):
        to_check(text.encode())


def report(*titles: str) -> bytes:
    """The scanner's, with findings of these titles."""
    found = [{"ID": "DS-0013", "Severity": "MEDIUM", "Status": "FAIL", "Message": title} for title in titles]
    result = {"Target": "configuration.tar", "Class": "config", "Misconfigurations": found}
    whole = {"SchemaVersion": 2, "Trivy": {"Version": "1"}, "ArtifactType": "container_image", "Results": [result]}
    return json.dumps(whole).encode()


def test_a_report_without_the_canary_counts_for_nothing() -> None:
    """And with it, all that is left are the image's own findings."""
    own = "RUN should not change directory: 'cd /tmp'"

    assert read_configuration(report(own)) is None
    assert [each.title for each in read_configuration(report(own, f"no: 'cd /{CANARY}'.")) or ()] == [own]


@pytest.mark.parametrize("before", ["", "/bin/sh -c #(nop)  "])
def test_instructions_are_as_a_dockerfile_has_them(before: str) -> None:
    """A health check is written down in Go's own form, which no parser of Dockerfiles reads; labels are left out."""
    told = [
        instructions(to_check(configuration(history=[{"created_by": before + each, "empty_layer": True}])))
        for each in ('HEALTHCHECK &{["CMD" "true"] "0s" "0s"}', 'HEALTHCHECK &{["NONE"] "0s"}', "LABEL a=b")
    ]

    assert told == [[f"{before}HEALTHCHECK CMD true"], [f"{before}HEALTHCHECK NONE"], []]


def test_plain_instructions_are_few() -> None:
    """Of what may be misread nothing is left, and who runs the image is."""
    written = ["RUN <<EOF\nid\nEOF", "USER root", "SHELL [x", 'ENV A="', "USER a b", "EXPOSE 22"]
    history = [{"created_by": each} for each in written]

    assert instructions(to_check(configuration(history=history), plain=True)) == ["USER root", "EXPOSE 22"]


def instructions(told: bytes) -> list[str]:
    """All but the canary."""
    return [each["created_by"] for each in json.loads(told)["history"]][:-1]
