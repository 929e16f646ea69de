"""How often, how long, and for which fields an undo waits."""

from __future__ import annotations

import pytest

from interlock.cd.contest import (
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    MOST_FIELDS,
    WINDOW_SECONDS,
    History,
    noted,
    read,
    waiting,
    write,
)
from interlock.cd.objects import ItemKey, Path
from interlock.contract.models import ConflictRule
from interlock.contract.render import Identity

C = Identity("", "ConfigMap", "shop", "c")
A: Path = ("data", "a")
NOW = 1_000_000.0


def _fought(*times: float, identity: Identity = C, path: Path = A, rules: tuple[ConflictRule, ...] = ()) -> History:
    history = History()
    for time in times:
        history = noted(history, [(identity, path, "x")], rules, time)
    return history


@pytest.mark.parametrize(
    ("flips", "seconds"),
    [(1, 0), (2, 0), (3, FIRST_WAIT_SECONDS), (4, 2 * FIRST_WAIT_SECONDS), (14, LONGEST_WAIT_SECONDS)],
)
def test_the_wait_begins_with_the_third_flip_and_doubles(flips: int, seconds: float) -> None:
    """From the last flip on, and never longer than a bound."""
    history = _fought(*(NOW + i for i in range(flips)))
    last = NOW + flips - 1

    found = waiting(history, last)

    assert [round(contest.until - last) for contest in found] == ([round(seconds)] if seconds else [])
    assert waiting(history, last + seconds + 1) == ()


def test_flips_that_are_far_apart_are_no_fight() -> None:
    """Somebody's slip now and then is undone at once."""
    assert waiting(_fought(NOW, NOW + WINDOW_SECONDS, NOW + 2 * WINDOW_SECONDS), NOW + 2 * WINDOW_SECONDS) == ()


@pytest.mark.parametrize(
    ("identity", "path"),
    [
        (
            Identity("apps", "Deployment", "shop", "web"),
            ("spec", "template", "spec", "containers", ItemKey((("name", "web"),)), "image"),
        ),
        (Identity("rbac.authorization.k8s.io", "RoleBinding", "shop", "x"), ("subjects",)),
        (Identity("networking.k8s.io", "NetworkPolicy", "shop", "x"), ("spec", "ingress")),
    ],
)
def test_what_is_never_given_up_is_not_counted(identity: Identity, path: Path) -> None:
    """There is no waiting for it."""
    assert _fought(NOW, NOW, NOW, NOW, identity=identity, path=path).fields == {}


def test_what_a_rule_forces_is_not_counted() -> None:
    """Somebody has decided about it."""
    rule = ConflictRule.model_validate(
        {"kind": "ConfigMap", "path": "data", "manager": "*", "decision": "force", "reason": "Git alone decides"}
    )
    assert _fought(NOW, NOW, NOW, rules=(rule,)).fields == {}


def test_the_memory_is_bounded_and_survives_a_restart() -> None:
    """The newest fights are kept; what was written is read again; what is no history is none."""
    many = [(C, ("data", str(index)), "x") for index in range(MOST_FIELDS + 5)]
    history = noted(_fought(NOW), many, (), NOW + 1)
    assert len(history.fields) == MOST_FIELDS
    fought = _fought(*(NOW for _ in range(50)))
    assert read(write(fought)) == fought
    assert len(fought.fields[(C, "data.a")].times) < 50
    assert _fought(NOW, NOW, NOW, path=("spec", "rules", 0)).fields == {}
    assert read(b'[["", "ConfigMap", "shop", "c", "data[", "x", [1.0]]]') == History()
    assert read(b'[["", "ConfigMap", "shop", "c", "data.a", "x", []]]') == History()
    for damaged in (b"", b"{}", b"[1]", b'[["", "ConfigMap"]]', b"\xff"):
        assert read(damaged) == History()
