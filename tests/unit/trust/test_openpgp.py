"""OpenPGP keys that GnuPG would not make."""

from __future__ import annotations

import base64
import datetime as dt

import pysequoia

from interlock.contract import openpgp


def test_a_key_that_says_nothing_of_itself_is_good_on_no_day() -> None:
    """A bare primary key, without anything that it signed: nobody knows until when it may be used."""
    armored = str(pysequoia.Tsk.generate("Ada <ada@example.org>").extract_certificate())
    body = "".join(line for line in armored.splitlines() if line and not line.startswith(("-", "Comment:", "=")))
    packets = base64.b64decode(body)
    assert packets[0] == 0xC6
    assert packets[1] < 192  # one byte of length, and so many of the primary key
    bare = base64.b64encode(packets[: 2 + packets[1]]).decode()
    key = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{bare}\n-----END PGP PUBLIC KEY BLOCK-----\n"

    assert openpgp.last_day(openpgp.key_blob(armored)) is None
    assert openpgp.last_day(openpgp.key_blob(key)) == dt.date.min
