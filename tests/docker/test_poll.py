"""Polling starts what no release has dealt with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from flows.ci.poll import is_left, look_at_environments, poll_order
from flows.ci.release import release_order
from interlock.ci.decided import Decided
from interlock.contract import layout
from interlock.errors import Refused, Unbound
from tasks.ci.decided import write_decided
from tasks.ci.workspace import turn
from tasks.common.effect import Effect
from tests.docker.conftest import Walk
from tests.docker.recorder import P, R, Recorder


def left(walk: Walk) -> bool:
    """As a poll sees it that saw this head before."""
    assert walk.application.head
    now = look_at_environments.fn(walk.host)
    is_left.fn(walk.host, "shop", walk.application.head, now)
    return is_left.fn(walk.host, "shop", walk.application.head, now)


def test_a_head_counts_when_it_was_seen_twice(walk: Walk) -> None:
    """So that a webhook's run comes first."""
    head, now = walk.application.head or "", look_at_environments.fn(walk.host)

    assert not is_left.fn(walk.host, "shop", head, now)
    assert is_left.fn(walk.host, "shop", head, now)


def test_what_is_decided_is_left_alone(walk: Walk) -> None:
    """Blocked ones until people write something, released ones until they change places; another commit is left."""
    head = walk.application.head or ""
    state = walk.host.state

    write_decided(state, "shop", Decided(head))
    assert not left(walk)
    now = look_at_environments.fn(walk.host)
    for decided in (Decided(head, policy=now.policy), Decided(head, places=now.places)):
        write_decided(state, "shop", decided)
        assert not left(walk)
    walk.environments.push({"environments/dev/other/release.yaml": b"format: 1\ncomponents: {}\n"})
    assert not left(walk)
    walk.environments.push({"policy/gate.yaml": b"format: 1\n# another text\n"})
    assert not left(walk)
    walk.environments.push({"environments/dev/other/values.yaml": b""})
    assert left(walk)
    write_decided(state, "shop", Decided(head, policy=now.policy))
    assert left(walk)
    assert not is_left.fn(walk.host, "shop", head, None), "nothing is started again while nobody knows how things stand"
    write_decided(state, "shop", Decided("a" * 40))
    assert left(walk)


async def test_a_repository_that_is_bound_nowhere_is_tried_once(walk: Walk) -> None:
    """It is started again when bindings or applications come and go, whatever else people write."""
    walk.environments.push({layout.BINDINGS: b"format: 1\nbindings: []\n"})

    with pytest.raises(Unbound, match="shop: no environment has an application"):
        await release_order(Recorder(), walk.host, "shop", None)

    assert not left(walk)
    walk.environments.push({layout.GATE: b"format: 1\n# another text\n"})
    assert not left(walk)
    walk.environments.push({layout.BINDINGS: b"format: 1\n# another text\nbindings: []\n"})
    assert left(walk)


def test_a_release_under_way_is_left_alone(walk: Walk) -> None:
    """It will see the newest commit itself, or the next poll does."""
    with turn(walk.host.state, "shop") as ours:
        assert ours
        assert not left(walk)
    assert left(walk)


@dataclass
class Started(Recorder):
    """Remembers what is started, without a Prefect that would do it."""

    parameters: list[object] = field(default_factory=list)
    keys: list[object] = field(default_factory=list)

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if effect.name == "start run":
            deployment, parameters, key = args
            self.said.append(str(deployment))
            self.parameters.append(parameters)
            self.keys.append(key)
            return cast("R", "an id")
        return await super().step(effect, *args, **kwargs)


async def test_a_hostile_environment_repository_stops_no_poll(walk: Walk) -> None:
    """What nobody has decided is started all the same, and says what is wrong there; what was decided stays so."""
    link = walk.environments.on_server("hash-object", "-w", "--stdin", given="/etc/passwd")
    tree = walk.environments.on_server("mktree", given=f"120000 blob {link}\tpolicy\n")
    walk.environments.rewind(walk.environments.on_server("commit-tree", tree, "-m", "Take over"))
    presenter = Started()
    for _ in range(2):
        with pytest.raises(Refused, match="policy"):
            await poll_order(presenter, walk.host)

    assert presenter.said == ["release/ci"]
    write_decided(walk.host.state, "shop", Decided(walk.application.head or "", policy="another"))
    with pytest.raises(Refused):
        await poll_order(presenter, walk.host)
    assert presenter.said == ["release/ci"]


def test_a_lost_memory_harms_nothing(walk: Walk) -> None:
    """Not even one that was cut off."""
    folder = walk.host.state / "decided"
    folder.mkdir()
    (folder / "shop.json").write_text('{"commit": ')

    assert left(walk)


async def test_a_head_has_one_key(walk: Walk) -> None:
    """A release is asked for with the head as its commit; the next poll of the same head asks under the same key."""
    presenter = Started()
    for _ in range(3):
        await poll_order(presenter, walk.host)

    assert presenter.parameters == [{"repository": "shop", "commit": walk.application.head}] * 2
    assert len(set(presenter.keys)) == 1
