"""What CI's host may say about its builder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from interlock.ci.host import CiHost
from interlock.contract.commit import committed
from tests import examples_of_repositories as example

HOST: dict[str, Any] = {
    "format": 1,
    "prefect": "http://127.0.0.1:1/api",
    "state": "/var/lib/interlock/ci",
    "environment_repository": {
        "name": "environments",
        "url": "https://git.example/environments.git",
        "root": {
            "commit": "a" * 40,
            "keys": [example.PERSON_KEY],
        },
    },
    "repositories": {"shop": {"url": "https://git.example/shop.git"}},
    "registry": {"host": "r.example"},
    "signing": {"signer": "ci-shop", "key": "/etc/interlock/ci.key"},
    "trivy": {"cache": "/var/lib/trivy"},
}
BUILDX = "/usr/libexec/docker/cli-plugins/docker-buildx"


def host(**more: object) -> CiHost:
    return CiHost.model_validate_json(json.dumps({**HOST, **more}))


def test_secrets_and_cache_need_a_builder_that_has_them() -> None:
    """Else a secret would stand in an image's history, and a cache nowhere."""
    secrets = {"shop": {"npm": "/etc/interlock/npm"}}

    assert host(build_secrets=secrets, buildkit={"buildx": BUILDX}).build_secrets.keys() == {"shop"}
    for more, said in (
        ({"build_secrets": secrets}, "build_secrets needs `buildkit`"),
        ({"build_secrets": {"other": {}}, "buildkit": {"buildx": BUILDX}}, "build_secrets names other"),
        ({"build_secrets": {"shop": {"a,src=/x": "/y"}}, "buildkit": {"buildx": BUILDX}}, "build_secrets"),
        ({"buildkit": {"buildx": BUILDX, "cache": True}}, "needs `address`"),
    ):
        with pytest.raises(ValidationError, match=said):
            host(**more)


def test_a_commit_says_when_it_was_made() -> None:
    """By its committer's line, which its message cannot stand for."""
    head = b"tree x\nauthor A <a> 1 +0000\ncommitter B <b> 1700000000 +0200\n"

    assert committed(head + b"\nsubject\n") == 1_700_000_000
    assert committed(b"tree x\n\ncommitter B <b> 5 +0000\n") is None


def test_a_repository_may_have_a_release_key_of_its_own() -> None:
    """Others are signed as the host is; no signer has two keys, and no key two signers."""
    own = {"signer": "ci-blog", "key": "/etc/interlock/ci-blog.key"}
    two = {**HOST["repositories"], "blog": {"url": "https://git.example/blog.git"}}

    found = host(repositories=two, release_keys={"blog": own})

    assert found.signing_of("blog").signer == "ci-blog"
    assert found.signing_of("shop") == found.signing_of("unknown") == found.signing
    assert [each.signer for each in found.signings] == ["ci-shop", "ci-blog"]
    for keys, said in (
        ({"other": own}, "release_keys names other"),
        ({"blog": own | {"signer": "ci-shop"}}, "here are 1 signers"),
        ({"blog": own | {"key": "/etc/interlock/ci.key"}}, "here are 1 keys"),
    ):
        with pytest.raises(ValidationError, match=said):
            host(repositories=two, release_keys=keys)
