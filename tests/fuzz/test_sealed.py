"""Sealed files, age identities, and the Secrets that opened values go into."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cd.unseal import unsealed
from interlock.contract import sops
from interlock.contract.manifest import Manifest
from interlock.contract.render import Rendered
from interlock.contract.sops import Opened, SealedFile
from interlock.errors import InterlockError
from tasks.common.age import Identity, data_key, read_identity, sealed_to
from tests.fuzz.hostile import JSON, fuzzed, hostile, hostile_text, only_ours
from tests.sealing import MODIFIED, OWN_PLACE

PATH = "environments/dev/shop/secrets.yaml"
KEY = bytes(range(sops.KEY_BYTES))
OWNER = pyrage.x25519.Identity.generate()
PIECES = [str(OWNER)[at : at + 12] for at in range(len("AGE-SECRET-KEY-1"), len(str(OWNER)) - 11)]
RECIPIENT = str(OWNER.to_public())
IDENTITY = Identity(OWNER, Path("own.agekey"))
VALUES = {
    "database": {"password": "hunter2", "port": 5432, "tls": True, "ratio": 0.25, "empty": ""},
    "certificate": "-----BEGIN\nüöä\n-----END\n",
    "list": ["one", "two"],
}
SEALED = sops.sealed(
    VALUES,
    place=OWN_PLACE,
    keys=sealed_to([RECIPIENT], KEY),
    key=KEY,
    nonces=iter([bytes([number]) * sops.NONCE_BYTES for number in range(20)]),
    modified=MODIFIED,
)
OTHER = SEALED.replace("hunter2", "x").replace("database", "list")
CONTENTS = sorted((b"hunter2", b"5432", b"True", b"0.25", "-----BEGIN\nüöä\n-----END\n".encode(), b"one", b"two"))


LINES = SEALED.splitlines(keepends=True)


@st.composite
def _rearranged(draw: st.DrawFn) -> str:
    """Lines of the file taken out, doubled or moved: each value in it is still a sealed one."""
    lines = list(LINES)
    for at in draw(st.lists(st.integers(0, len(LINES) - 1), min_size=1, max_size=3)):
        what = draw(st.sampled_from(("out", "twice", "moved")))
        line = lines.pop(at % len(lines))
        back = {"out": (), "twice": (at, at), "moved": (draw(st.integers(0, len(LINES))),)}[what]
        for place in back:
            lines.insert(place, line)
    return "".join(lines)


def _read(text: str) -> SealedFile | None:
    return only_ours(lambda: sops.read(text, path=PATH))


@fuzzed
@given(st.one_of(hostile_text([SEALED, OTHER]), _rearranged()))
def test_sealed_files(text: str) -> None:
    """Whatever was changed in one: it opens to what was sealed, all of it, or it is refused."""
    file = _read(text)
    if file is None:
        return
    found = only_ours(lambda: sops.opened(file, KEY))
    if found is not None:
        assert sorted(each.content for each in found.values()) == CONTENTS
        only_ours(lambda: sops.plain(file, found))


@fuzzed
@given(hostile_text([SEALED]), st.binary(max_size=40))
def test_another_key_opens_nothing(text: str, key: bytes) -> None:
    """Of any length."""
    file = _read(text)
    if file and file.values and key != KEY:
        assert only_ours(lambda: sops.opened(file, key)) is None


@fuzzed
@given(hostile([sealed_to([RECIPIENT], KEY)[RECIPIENT].encode()]))
def test_sealed_data_keys(sealed: bytes) -> None:
    """What age is given opens to the key, or is an error of ours; its library ends no process."""
    text = sealed.decode(errors="replace")
    file = SealedFile(PATH, OWN_PLACE, {}, (), {RECIPIENT: text}, "")
    key = only_ours(lambda: data_key(file, IDENTITY))
    assert key in (None, KEY)


@fuzzed
@given(hostile([f"# created\n{OWNER}\n".encode()]))
def test_identities(content: bytes) -> None:
    """A file that was cut, joined or damaged is told by its path, without what is in it."""
    with tempfile.NamedTemporaryFile() as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        path = Path(file.name)
        if only_ours(lambda: read_identity(path)) is None:
            with pytest.raises(InterlockError, match=re.escape(file.name)) as told:
                read_identity(path)
            assert not [each for each in PIECES if each in f"{told.value} {told.value.hint}"]


DIGEST = "0123456789abcdef" * 2
MARK = f"⟦sealed database.password {DIGEST}⟧"
TEXTS = st.one_of(st.just(MARK), hostile_text([MARK, f"https://ada:{MARK}@db/{MARK}"]), JSON)
ENTRIES = st.one_of(JSON, st.dictionaries(st.text(max_size=8), TEXTS, max_size=4))


@fuzzed
@given(ENTRIES, ENTRIES)
def test_secrets_that_values_go_into(data: Any, plain: Any) -> None:
    """Whatever stands there, the values enter, or the place is told; no placeholder is left half."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": "shop"},
        "data": data,
        "stringData": plain,
    }
    rendered = Rendered("dev", (Manifest(body, "shop", {}),), ())
    made = only_ours(lambda: unsealed(rendered, {"shop": {DIGEST: Opened(b"hunter2", "str")}}))
    if made:
        assert MARK not in [*_texts(made.manifests[0].body.get("data"))]


def _texts(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []
