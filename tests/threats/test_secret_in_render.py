"""A template, a cache of renders or an unkeyed digest gives away what a Secret holds.

Defence: while rendering there are placeholders alone, which only a Secret may hold (interlock/contract/placeholder.py);
CD opens values after it, in memory (tasks/cd/secrets.py). What is kept of renders has no Secret, fingerprints are of
the ciphertext, and names are digests with the host's own key (interlock/cd/roll.py).
Not defended: values that stand in the open in a values file; who may write the application's templates can have a
sealed value in another Secret of that application.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from interlock.cd.roll import rolled
from interlock.cd.unseal import unsealed
from interlock.contract import layout, repository, sops
from interlock.contract.canonical import canonical
from interlock.contract.render import Rendered
from interlock.contract.repository import Repository
from interlock.errors import RenderError
from tasks.common import renders
from tasks.common.age import data_key, read_identity
from tasks.common.render import render_environment
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.sealing import identity, recipients_file, seal

PASSWORD = "canary-s3same"
KEY, RECIPIENT = identity()
LEAK = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: leak\ndata:\n  note: is {}\n"
SECRET = (
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: database\n  annotations:\n    interlock.dev/roll: 'true'\n"
    "stringData:\n  password: {{ secrets.password }}\n"
)


def _repository(template: str) -> Repository:
    return repository.read(
        environment_tree(
            {
                "templates/service/extra.yaml.j2": template,
                layout.secrets(ENVIRONMENT, APPLICATION): seal({"password": PASSWORD}, RECIPIENT),
                layout.RECIPIENTS: recipients_file(RECIPIENT),
                layout.values(ENVIRONMENT, APPLICATION): f"replicas: 2\npassword: {PASSWORD}\n",
            }
        )
    )


def _left(folder: Path) -> bytes:
    """Everything that rendering wrote."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_the_leak_succeeds_with_a_value_in_the_open(tmp_path: Path) -> None:
    """What a values file has in the open ends in a ConfigMap that anybody reads, and in the cache of renders."""
    found = render_environment.fn(
        _repository(LEAK.format("{{ values.password }}")), ENVIRONMENT, kept=renders.path(tmp_path)
    )
    assert PASSWORD in str([each.body for each in found.manifests])
    assert PASSWORD.encode() in _left(tmp_path)


def test_a_sealed_value_stays_out_of_everything_but_a_secret(tmp_path: Path) -> None:
    """The same template is refused, with its line; and nothing that was rendered or kept has the value."""
    with pytest.raises(RenderError, match="only the data or stringData of a Secret"):
        render_environment.fn(
            _repository(LEAK.format("{{ secrets.password }}")), ENVIRONMENT, kept=renders.path(tmp_path)
        )
    found = render_environment.fn(_sealed(), ENVIRONMENT, kept=renders.path(tmp_path))
    assert PASSWORD not in str([each.body for each in found.manifests if each.body["metadata"]["name"] == "database"])
    assert PASSWORD.encode() not in _left(tmp_path)


def _sealed() -> Repository:
    found = _repository(SECRET)
    return repository.read(
        environment_tree(
            {path: found.tree.files[path] for path in found.tree.files}
            | {layout.values(ENVIRONMENT, APPLICATION): b"replicas: 2\n"}
        )
    )


def _opened(folder: Path) -> Rendered:
    file = folder / "age.key"
    file.touch(mode=0o600)
    file.write_text(KEY)
    found = _sealed()
    sealed = found.environments[ENVIRONMENT].applications[APPLICATION].secrets
    assert sealed is not None
    values = sops.opened(sealed, data_key(sealed, read_identity(file)))
    return unsealed(render_environment.fn(found, ENVIRONMENT), {APPLICATION: values})


def _guessed(rendered: Rendered, *, key: bytes) -> list[str]:
    """Which of a list of passwords fits the name that a Secret got, for who tries them with a key."""
    (secret,) = [each.body for each in rendered.manifests if each.body["kind"] == "Secret"]
    digest = secret["metadata"]["name"].rpartition("-")[2]
    found = []
    for guess in ("12345678", PASSWORD, "password"):
        import base64

        data = {"password": base64.b64encode(guess.encode()).decode()}
        content = canonical(["Secret", None, data, None, None])
        if hmac.new(key, content, hashlib.sha256).hexdigest().startswith(digest):
            found.append(guess)
    return found


def test_guessing_by_a_name_succeeds_with_a_digest_that_anybody_can_make(tmp_path: Path) -> None:
    """Names are read by many who may read no Secret: with a known key each tells its password to who tries some."""
    assert _guessed(rolled(_opened(tmp_path), key=b"known"), key=b"known") == [PASSWORD]


def test_a_name_tells_nothing_without_the_hosts_key(tmp_path: Path) -> None:
    """And the fingerprint that caches have is that of the ciphertext."""
    opened = _opened(tmp_path)
    assert _guessed(rolled(opened, key=b"k" * 32), key=b"known") == []
    sealed = {each.identity: each.fingerprint for each in render_environment.fn(_sealed(), ENVIRONMENT).manifests}
    bodies = {each.identity: each for each in opened.manifests}
    (secret,) = [name for name in bodies if name.kind == "Secret"]
    plain = hashlib.blake2b(canonical(bodies[secret].body), digest_size=16).hexdigest()
    assert bodies[secret].fingerprint != plain
    assert sealed.keys() == bodies.keys()
