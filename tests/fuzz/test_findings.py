"""What hostile bytes have found, each with the input that did it."""

from __future__ import annotations

import pytest

from interlock.contract import field_path, oci, signature
from interlock.errors import FormatError, RegistryError


@pytest.mark.parametrize("text", ["ssh-ed25519 \ufffd", "\0\tключ"])
def test_a_key_that_is_not_ascii(text: str) -> None:
    """It ended with a ValueError of the base64 module; it is no key."""
    with pytest.raises(FormatError, match="not an OpenSSH public key"):
        signature.key_blob(text)


def test_a_path_through_an_empty_key() -> None:
    """What was read was spelled so that nobody could read it again."""
    steps = field_path.parse('data[""].a')

    assert steps == ("data", "", "a")
    assert field_path.parse(field_path.spelled(steps)) == steps


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"layers": [{"size": NaN}]}'])
def test_a_manifest_that_cannot_be_written_again(text: str) -> None:
    """Half a character, or a number that is none: signatures could not be attached, and the error was Python's."""
    with pytest.raises(RegistryError, match="it is not a manifest"):
        oci.read_json(text.encode(), subject="it")
