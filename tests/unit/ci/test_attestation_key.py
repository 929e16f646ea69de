"""Where an attestation key comes from: each place gives one that signs, or says why not, without quoting it."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from interlock.ci.host import KeySource
from interlock.contract import dsse
from interlock.contract.dsse import Key, LocalKey
from interlock.errors import HostConfigError
from tasks.ci import attestation_key
from tasks.ci.attestation_key import load_key

PRIVATE = dsse.generate_key()
PUBLIC = LocalKey(PRIVATE).public


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.key"
    path.touch(mode=0o600)
    path.write_bytes(PRIVATE)
    return path


def test_a_key_in_a_file_is_its_owners_alone(file: Path) -> None:
    """One that others may read is nobody's, and a missing one is told with what makes it."""
    assert load_key(KeySource(file=file), owner="shop").public == PUBLIC

    file.chmod(0o640)
    with pytest.raises(HostConfigError, match="others may read it"):
        load_key(KeySource(file=file), owner="shop")
    file.unlink()
    with pytest.raises(HostConfigError) as missing:
        load_key(KeySource(file=file), owner="shop")
    assert f"interlock key --attestation {file}" in missing.value.hint


def test_a_file_that_is_no_key_is_told(file: Path) -> None:
    """With the repository that it is for, and without a byte of it."""
    file.write_text("s3cret")

    with pytest.raises(HostConfigError, match="the key of shop: attestation key: not a private key") as caught:
        load_key(KeySource(file=file), owner="shop")
    assert "s3cret" not in str(caught.value)


def test_a_key_in_a_variable_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program that the signer starts inherits it."""
    monkeypatch.setenv("SHOP_KEY", PRIVATE.decode())
    source = KeySource(environment="SHOP_KEY")

    assert load_key(source, owner="shop").public == PUBLIC
    assert "SHOP_KEY" not in os.environ
    with pytest.raises(HostConfigError, match="SHOP_KEY is not set"):
        load_key(source, owner="shop")


class _Elsewhere:
    """A key that never leaves its place."""

    public = PUBLIC

    def sign(self, message: bytes) -> bytes:
        return LocalKey(PRIVATE).sign(message)


class _Broken(_Elsewhere):
    def sign(self, message: bytes) -> bytes:
        return LocalKey(dsse.generate_key()).sign(message)


def _fails(address: str) -> Key:
    raise OSError(f"no way to {address}")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], object]], list[str]]:
    """Installs a plug-in for keys of the kind `acme:`; what it was asked for."""
    asked: list[str] = []

    def install(make: Callable[[str], object]) -> list[str]:
        def load(address: str) -> object:
            asked.append(address)
            return make(address)

        class Point:
            name = "acme"

            @staticmethod
            def load() -> Callable[[str], object]:
                return load

        points = {attestation_key.KMS: [Point]}
        monkeypatch.setattr(metadata, "entry_points", lambda *, group: points.get(group, []))
        return asked

    return install


def test_a_key_in_a_kms_is_a_plug_in(plugin: Callable[[Callable[[str], object]], list[str]]) -> None:
    """What stands after the colon is the plug-in's; it has signed once before anything rests on it."""
    asked = plugin(lambda address: _Elsewhere())

    assert load_key(KeySource(kms="acme:keys/shop"), owner="shop").public == PUBLIC
    assert asked == ["keys/shop"]


@pytest.mark.parametrize(
    ("make", "said"),
    [(_fails, "OSError: no way to keys/shop"), (lambda address: _Broken(), "does not fit its own public half")],
    ids=["fails", "signs with another"],
)
def test_a_kms_that_does_not_work_is_told(
    plugin: Callable[[Callable[[str], object]], list[str]], make: Callable[[str], object], said: str
) -> None:
    """At start, and not with the first release."""
    plugin(make)

    with pytest.raises(HostConfigError, match=said):
        load_key(KeySource(kms="acme:keys/shop"), owner="shop")


def test_a_kms_that_nobody_knows_is_told() -> None:
    """And what would have to be installed."""
    with pytest.raises(HostConfigError, match="0 installed plug-ins know keys of the kind nobody:") as caught:
        load_key(KeySource(kms="nobody:shop"), owner="shop")
    assert "interlock.kms" in caught.value.hint


@pytest.mark.parametrize("places", [{}, {"file": Path("/key"), "environment": "KEY"}])
def test_a_key_is_in_one_place(places: dict[str, object]) -> None:
    """None and two are both a mistake."""
    with pytest.raises(ValueError, match="name one of file, environment and kms"):
        KeySource.model_validate(places)
