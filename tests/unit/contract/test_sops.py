"""Sealed files: read strictly without a key, opened only as they were sealed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.contract import sops
from interlock.contract.sops import Opened, SealedFile
from interlock.errors import FormatError, InterlockError, Refused
from tests.sealing import OWN_PLACE, identity, seal

PATH = "environments/dev/shop/secrets.yaml"
KEY, RECIPIENT = identity()
VALUES = {
    "database": {"password": "hunter2-canary", "port": 5432, "ratio": 0.5, "tls": True, "empty": "", "none": None},
    "certificate": "-----BEGIN\nüöä ⟦\n-----END\n",
    "list": ["one", "two", {"three": "3"}],
}
TEXT = seal(VALUES, RECIPIENT)


def _open(text: str, key: str = KEY) -> dict[str, bytes]:
    import pyrage

    file = sops.read(text, path=PATH)
    sealed = file.recipients[RECIPIENT]
    data_key = pyrage.decrypt(sealed.encode(), [pyrage.x25519.Identity.from_str(key)])
    found = sops.opened(file, data_key)
    return {value.name: found[value.digest].text for value in file.values}


def test_what_was_sealed_is_opened() -> None:
    """Every value comes back as the text that a Secret holds; what is empty is never sealed."""
    assert _open(TEXT) == {
        "database.password": b"hunter2-canary",
        "database.port": b"5432",
        "database.ratio": b"0.5",
        "database.tls": b"true",
        "certificate": VALUES["certificate"].encode(),  # type: ignore[attr-defined]
        "list.0": b"one",
        "list.1": b"two",
        "list.2.three": b"3",
    }
    file = sops.read(TEXT, path=PATH)
    assert (file.place, file.tree["database"]["empty"], file.tree["database"]["none"]) == (OWN_PLACE, "", None)


def test_nothing_shows_what_was_opened() -> None:
    """A value that is printed by accident shows nothing of its content."""
    assert "hunter2" not in repr(Opened(b"hunter2", "str"))
    assert "ENC" not in repr(sops.read(TEXT, path=PATH))


CHANGES: dict[str, Callable[[str], str]] = {
    "a value moved to another key": lambda text: text.replace("    password:", "    passwort:"),
    "a value dropped": lambda text: re.sub(r"    port: .*\n", "", text),
    "two values exchanged": lambda text: re.sub(r"(    - \"ENC.*\n)(    - \"ENC.*\n)", r"\2\1", text),
    "the MAC of another file": lambda text: re.sub(
        r"  mac: .*", "".join(re.findall(r"  mac: .*", seal(VALUES, RECIPIENT))), text
    ),
    "another time": lambda text: text.replace("2030-01-02", "2030-01-03"),
    "another type": lambda text: re.sub(r"(    password: .*)type:str", r"\1type:bool", text),
    "another place": lambda text: text.replace("/dev/shop:", "/dev/till:"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_since_does_not_open(change: str) -> None:
    """Values cannot be moved, dropped, exchanged, mixed or turned into a bool, nor the file moved to another place."""
    changed = CHANGES[change](TEXT)
    assert changed != TEXT
    with pytest.raises(Refused) as caught:
        _open(changed)
    assert caught.value.rule == "sealed"
    assert "hunter2" not in str(caught.value)


REFUSED = {
    "is not sealed: it has no `sops` entry": "password: hunter2\n",
    "the value note is not sealed": TEXT.replace("\n  database:", "\n  note: plain\n  database:"),
    "mac_only_encrypted leaves": TEXT.replace("\n  lastmodified", "\n  mac_only_encrypted: true\n  lastmodified"),
    "is sealed by pgp too": TEXT.replace("\n  lastmodified", "\n  pgp:\n    - fp: AB\n      enc: x\n  lastmodified"),
    "is sealed by key_groups too": TEXT.replace("\n  lastmodified", "\n  key_groups: [x]\n  lastmodified"),
    "must have one mapping beside `sops`": TEXT + "other:\n  a: b\n",
    "has a colon": TEXT.replace("    password:", '    "pass:word":'),
    "as those do that SOPS leaves open": TEXT.replace("    password:", "    password_unencrypted:"),
    "must have 1 to 50 recipients": re.sub(
        r"  age:\n.*?\n  lastmodified", "  age: []\n  lastmodified", TEXT, flags=re.DOTALL
    ),
    "is no recipient of age": TEXT.replace(RECIPIENT, "age1short"),
    "the MAC is not as SOPS writes it": re.sub(r"  mac: .*", "  mac: x", TEXT),
    "`sops` has no mac": re.sub(r"  mac: .*\n", "", TEXT),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_sealed_as_it_must_be_is_refused_without_a_key(message: str) -> None:
    """One error with file and line, before anybody opens anything."""
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        sops.read(REFUSED[message], path=PATH)
    assert caught.value.path == PATH
    assert caught.value.line


def test_a_recipient_cannot_hide_in_the_key_of_another() -> None:
    """age seals one key to several recipients; whoever is not named could read what is sealed later."""
    import pyrage

    hidden = pyrage.x25519.Identity.generate().to_public()
    both = pyrage.encrypt(b"k" * 32, [pyrage.x25519.Recipient.from_str(RECIPIENT), hidden], armored=True).decode()
    document = yaml.safe_load(TEXT)
    document["sops"]["age"][0]["enc"] = both
    with pytest.raises(FormatError, match="sealed to others as well"):
        sops.read(yaml.safe_dump(document), path=PATH)


# hostile files ---------------------------------------------------------------------------------------

_leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=40),
    st.from_regex(
        r"ENC\[AES256_GCM,data:[A-Za-z0-9+/=]{0,40},iv:[A-Za-z0-9+/=]{0,50},tag:[A-Za-z0-9+/=]{0,30},type:str\]"
    ),
)
_tree = st.recursive(
    _leaf, lambda each: st.one_of(st.lists(each), st.dictionaries(st.text(max_size=8), each)), max_leaves=20
)
_metadata = st.fixed_dictionaries(
    {},
    optional={
        "age": st.one_of(_tree, st.lists(st.fixed_dictionaries({"recipient": st.just(RECIPIENT), "enc": st.text()}))),
        "mac": _leaf,
        "lastmodified": st.one_of(st.text(), st.just("2030-01-02T03:04:05Z")),
        "mac_only_encrypted": st.booleans(),
        "pgp": _tree,
    },
)


def _all_of_it(text: str) -> SealedFile | None:
    try:
        file = sops.read(text, path=PATH)
        sops.opened(file, b"k" * 32)
    except InterlockError:
        return None
    return file


@settings(max_examples=300, deadline=2000)
@given(st.dictionaries(st.sampled_from(["a", OWN_PLACE]), _tree, max_size=2), _metadata)
def test_no_document_breaks_the_reader(body: dict[str, object], metadata: dict[str, object]) -> None:
    """Whatever a document holds: one of our errors, or a file that does not open with a wrong key."""
    assert _all_of_it(yaml.safe_dump({**body, "sops": metadata})) is None


@settings(max_examples=300, deadline=2000)
@given(st.data())
def test_no_byte_changed_in_a_file_gives_other_values(data: st.DataObject) -> None:
    """A file in which something was changed is refused, or opens to just what was sealed."""
    at = data.draw(st.integers(0, len(TEXT) - 1))
    changed = TEXT[:at] + data.draw(st.text(max_size=4)) + TEXT[at + data.draw(st.integers(0, 6)) :]
    try:
        found = _open(changed)
    except (InterlockError, KeyError):
        return
    except Exception as error:  # what age itself says of a broken key
        assert type(error).__name__ == "DecryptError"
        return
    assert set(found.items()) <= set(_open(TEXT).items())
