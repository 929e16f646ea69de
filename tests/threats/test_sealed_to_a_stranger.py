"""Somebody has a file of secrets sealed to a stranger as well, who reads whatever is written into it from then on.

Defence: the recipients of a file are just those of trust/recipients.yaml, and no data key is sealed to somebody whom
its file does not name (interlock/contract/sealed.py, interlock/contract/sops.py); `interlock secrets edit` and
`rotate` make a new data key each time.
Not defended: who sealed the values knew them; what a declared recipient does with them; a second X25519 key hidden in
place of a declared recipient's, which only that recipient could notice.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.contract import layout, repository, sealed
from interlock.errors import FormatError
from sandbox.parts.sops import Sops
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.sealing import OWN_PLACE, identity, recipients_file, seal

PATH = layout.secrets(ENVIRONMENT, APPLICATION)
OWN_KEY, OWN = identity()
STRANGERS_KEY, STRANGER = identity()
FILE = seal({"password": "canary-hunter2"}, OWN, STRANGER)


def _read() -> repository.Repository:
    return repository.read(environment_tree({PATH: FILE, layout.RECIPIENTS: recipients_file(OWN)}))


def test_reading_succeeds_for_the_stranger_where_nobody_compares_recipients(
    sops_program: Sops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a file looks like any other, CD opens it, and the real sops gives the stranger what is in it."""
    monkeypatch.setattr(sealed, "require_sealed_as", lambda *_: None)
    assert _read().environments[ENVIRONMENT].applications[APPLICATION].secrets is not None
    key = tmp_path / "stranger.key"
    key.write_text(STRANGERS_KEY)
    arguments = ("decrypt", "--input-type", "yaml", "--output-type", "json", "/dev/stdin")
    opened = json.loads(sops_program.sops(*arguments, given=FILE, identity=key))
    assert opened == {OWN_PLACE: {"password": "canary-hunter2"}}


def test_a_file_with_a_stranger_is_refused() -> None:
    """Without any key, so CI refuses it too, and says what to do."""
    with pytest.raises(FormatError, match=f"is sealed to {STRANGER} too") as caught:
        _read()
    assert caught.value.path == PATH
    assert "change the values" in caught.value.hint
