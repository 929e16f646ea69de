"""Names of content, and who follows them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from interlock.cd.roll import references, rolled
from interlock.contract.manifest import ROLL, Manifest
from interlock.contract.render import Rendered
from interlock.contract.template import Origin
from interlock.errors import RenderError
from tasks.cd.digest_key import digest_key

KEY = b"k" * 32


def _made(kind: str, name: str, application: str = "shop", *, rolling: bool = False, **fields: Any) -> Manifest:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop"}
    if rolling:
        metadata["annotations"] = {ROLL: "true"}
    body = {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}
    return Manifest(body, application, {(): Origin("f.yaml", 3, "")})


def _names(*manifests: Manifest, key: bytes = KEY) -> list[str]:
    return [each.identity.name for each in rolled(Rendered("dev", manifests, ()), key=key).manifests]


def test_a_secrets_name_tells_nothing_without_the_key() -> None:
    """Another key is another name; a ConfigMap's is the same everywhere."""
    password = _made("Secret", "p", rolling=True, stringData={"a": "hunter2"})
    settings = _made("ConfigMap", "s", rolling=True, data={"a": "1"})
    one, other = _names(password, settings), _names(password, settings, key=b"o" * 32)
    assert (one[0] == other[0], one[1] == other[1]) == (False, True)
    assert all(len(name) == 10 for name in one)


def test_a_secrets_fingerprint_tells_nothing_without_the_key() -> None:
    """Verdicts on disk have it: nobody without the key can try values against it; another content is another one."""

    def fingerprint(text: str, key: bytes = KEY) -> str:
        made = _made("Secret", "p", rolling=True, stringData={"a": text})
        (found,) = rolled(Rendered("dev", (made,), ()), key=key).manifests
        assert found.fingerprint != Manifest(found.body, "shop", {}).fingerprint, "a plain digest of the body"
        return str(found.fingerprint)

    assert fingerprint("hunter2") == fingerprint("hunter2")
    assert fingerprint("hunter2") != fingerprint("hunter3")
    assert fingerprint("hunter2") != fingerprint("hunter2", b"o" * 32)


def test_runs_that_make_the_key_at_once_have_the_same(tmp_path: Path) -> None:
    """And it is there as a whole or not at all: a run that is killed leaves no half one."""
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(digest_key, [tmp_path / "state"] * 8))
    assert [len(key) for key in keys] == [32]
    assert [each.name for each in (tmp_path / "state").iterdir()] == ["digest.key"]


def test_every_place_that_names_content_follows() -> None:
    """Volumes, projected ones, envFrom, env, pull secrets, service accounts and certificates."""
    container = {
        "name": "web",
        "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "a"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a"}}},
        ],
    }
    sources = [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]
    pod = {
        "containers": [container],
        "initContainers": [container],
        "imagePullSecrets": [{"name": "s"}],
        "volumes": [
            {"name": "1", "configMap": {"name": "c"}},
            {"name": "2", "secret": {"secretName": "s"}},
            {"name": "3", "projected": {"sources": sources}},
            {"name": "4", "emptyDir": {}},
        ],
    }
    job = {"jobTemplate": {"spec": {"template": {"spec": pod}}}}
    users = [
        _made("Deployment", "d", spec={"template": {"spec": pod}}),
        _made("CronJob", "j", spec=job),
        _made("Pod", "p", spec=pod),
        _made("ServiceAccount", "a", imagePullSecrets=[{"name": "s"}], secrets=[{"name": "s"}]),
        _made("Ingress", "i", spec={"tls": [{"secretName": "s"}]}),
    ]
    content = [_made("ConfigMap", "c", rolling=True, data={}), _made("Secret", "s", rolling=True, data={})]
    found = rolled(Rendered("dev", (*content, *users), ()), key=KEY).manifests
    named = {each.identity.kind: each.identity.name for each in found[:2]}

    counts = [len(list(references(each.body))) for each in found[2:]]
    assert counts == [13, 13, 13, 2, 1]
    for each in found[2:]:
        assert {(ref.kind, ref.name) for ref in references(each.body)} <= set(named.items())


def test_another_application_does_not_follow_and_is_refused() -> None:
    """It would name what is not there any more."""
    user = _made("Pod", "p", "other", spec={"imagePullSecrets": [{"name": "s"}]})
    with pytest.raises(RenderError, match=r"f\.yaml:3: Pod p uses Secret s"):
        _names(_made("Secret", "s", rolling=True, data={}), user)


def test_what_rolls_is_for_life_and_the_rest_stays_as_it_is() -> None:
    """The copy is immutable; nothing is touched without the annotation."""
    settings = _made("ConfigMap", "n" * 253, rolling=True, data={"a": "1"})
    plain = _made("ConfigMap", "plain", data={"a": "1"})
    first, second = rolled(Rendered("dev", (settings, plain), ()), key=KEY).manifests
    assert (first.body["immutable"], len(first.identity.name)) == (True, 253)
    assert second is plain
    assert rolled(Rendered("dev", (plain,), ()), key=KEY).manifests == (plain,)
