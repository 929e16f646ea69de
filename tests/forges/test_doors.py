"""The door to a forge whose client is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.contract.forge import ForgeAccount
from interlock.contract.reviews import Range
from interlock.errors import HostConfigError
from tasks.cd import pull_requests
from tasks.ci.forge import asked
from tasks.common.protection import doors as protection
from tasks.common.reviews import doors as reviews
from tests.forges.server import KINDS, PROJECT, Kind

RANGE = Range(("1" * 40,), ("1" * 40,))
WAYS: dict[str, Callable[[ForgeAccount], object]] = {
    "tasks.ci": lambda account: asked(account, lambda forge: forge.issues()),
    "tasks.cd.commenting": lambda account: pull_requests.open_requests.fn(account, "main"),
    "tasks.common.protection": lambda account: protection.observe.fn(account, "main"),
    "tasks.common.reviews": lambda account: reviews.requests(account, "main", RANGE),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("room", WAYS)
def test_a_client_that_is_not_installed_is_named(
    room: str, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks, with what installs it."""
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("t\n")
    client = {"github": "github", "gitlab": "gitlab", "gitea": "pyforgejo"}[kind]
    mine = [name for name in sys.modules if name.partition(".")[0] == client or name.endswith(f".{kind}")]
    for name in mine:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, client, None)
    account = ForgeAccount(kind=kind, url="http://127.0.0.1:9", project=PROJECT, token=token)

    with pytest.raises(HostConfigError, match=f"what speaks to {kind} is not installed here: {client}") as told:
        WAYS[room](account)

    assert "pip install" in told.value.hint
