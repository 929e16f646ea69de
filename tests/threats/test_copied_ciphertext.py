"""The signer of one application copies another's sealed values into its own folder, and reads them in its own Secret.

Defence: everything in a file is sealed to its repository, environment and application: they are the key around all
values, whose path SOPS authenticates (interlock/contract/sealed.py); CI and CD refuse a file that lies elsewhere, and
under another key AES-GCM opens nothing (interlock/contract/sops.py).
Not defended: who may write both applications; who may write templates that both use.
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from interlock.contract import layout, sealed
from interlock.errors import FormatError, Refused
from tests.cluster.sealing import Sealing, begin
from tests.cluster.worlds import World
from tests.sealing import seal

OTHERS = "canary-of-till"


@pytest.fixture
def sealing(world: World, tmp_path: Path) -> Sealing:
    """The application `shop`; `till`, whose values are copied, has its own file."""
    made = begin(world, tmp_path)
    made.world.push(
        {
            layout.application("till"): "format: 1\ntemplate: other\n",
            "templates/other/empty.yaml.j2": "{# nothing #}\n",
            layout.values("dev", "till"): "",
            layout.secrets("dev", "till"): seal({"password": OTHERS}, made.recipient, to=made.place_of("till")),
        }
    )
    return made


def _copy(sealing: Sealing, *, to: str) -> None:
    """till's file in shop's folder, whose key may be given another name."""
    copied = seal({"password": OTHERS}, sealing.recipient, to=sealing.place_of("till"))
    sealing.world.push({layout.secrets("dev", "shop"): copied.replace(sealing.place_of("till"), to)})


async def test_the_copy_succeeds_where_nothing_is_sealed_to_its_place(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SOPS itself opens a file wherever it lies: shop's own Secret then has till's password."""
    monkeypatch.setattr(sealed, "require_sealed_as", lambda *_: None)
    _copy(sealing, to=sealing.place_of("till"))
    await sealing.world.deploy()
    live = sealing.world.get("Secret", "database")
    assert live is not None
    assert base64.b64decode(live["data"]["password"]).decode() == OTHERS


async def test_a_copy_is_refused_where_it_does_not_belong(sealing: Sealing) -> None:
    """By its key, with file and line, before anything is opened."""
    _copy(sealing, to=sealing.place_of("till"))
    with pytest.raises(FormatError, match=r"is sealed to .*/dev/till, and lies where .*/dev/shop belongs"):
        await sealing.world.deploy()
    assert sealing.password() is None


async def test_a_copy_under_the_right_key_does_not_open(sealing: Sealing) -> None:
    """Every value knows where it was sealed to."""
    _copy(sealing, to=sealing.place)
    with pytest.raises(Refused, match="was not sealed to this place") as caught:
        await sealing.world.deploy()
    assert caught.value.rule == "sealed"
    assert sealing.password() is None
