"""What counts as named by the deny list."""

from __future__ import annotations

import pysequoia
import pytest

from interlock.cd.deny import Denied, DenyFile, kind_of, require_keys
from interlock.contract import openpgp
from interlock.contract.verification import Verified
from interlock.errors import ParameterError, Refused

FINGERPRINT = openpgp.fingerprint(openpgp.key_blob(str(pysequoia.Tsk.generate("ada").extract_certificate())))


@pytest.mark.parametrize("name", [FINGERPRINT, f"OPENPGP:{FINGERPRINT}"], ids=["bare", "with its kind"])
def test_an_openpgp_key_is_denied(name: str) -> None:
    """By the fingerprint that verification gives a commit's key, as it is printed and with its kind before it."""
    assert kind_of(name) == "key"
    file = DenyFile(format=1, denied=(Denied(key=name, reason="stolen"),))

    with pytest.raises(Refused, match="stolen"):
        require_keys(file, [Verified("1" * 40, "ada", FINGERPRINT, "Change", ())], environment="prod")


def test_a_commit_s_id_is_no_key() -> None:
    """Forty hex digits name a commit in small letters and a key in capitals; what is neither is refused."""
    assert kind_of("ab" * 20) == "commit"
    assert kind_of("AB" * 20) == "key"
    with pytest.raises(ParameterError):
        kind_of("OPENPGP:" + "ab" * 20)
