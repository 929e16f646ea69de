"""A remembered verdict counts only while nothing that it rests on has moved."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from interlock.cd import verdicts
from interlock.cd.inventory import Entry
from interlock.cd.objects import Body
from interlock.contract.manifest import Manifest
from interlock.contract.render import Identity
from tests.unit.cd.bodies import scope

GROUND = verdicts.ground(scope(), server="https://a", version="v1.37.2", code="c")
C = Identity("", "ConfigMap", "shop", "c")
ENTRY = Entry(C, "shop", "n1", "u1")


def live(uid: str = "u1", version: str = "7") -> Body:
    return {"apiVersion": "v1", "metadata": {"uid": uid, "resourceVersion": version}}


def wish(data: str = "1", *, nonce: str = "n1", scaled: bool = False) -> str:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": data}}
    return verdicts.wanted(Manifest(body, "shop", {}), Entry(C, "shop", nonce, "u1"), scaled=scaled)


REMEMBERED = verdicts.Verdicts(GROUND, 1000.0, dict([verdicts.verdict(live(), wish())]))


def test_the_same_version_of_the_same_object_is_as_it_was() -> None:
    """After a round through the file too."""
    again = verdicts.read(verdicts.write(REMEMBERED), ground=GROUND, now=2000.0)
    assert again == REMEMBERED
    assert again.holds(live(), wish())


def test_a_server_that_went_back_is_not_remembered() -> None:
    """After etcd was restored, a version that was seen before may have another content."""
    seen = replace(REMEMBERED, seen=100)
    assert seen.at(100) == seen
    assert seen.at(101).holds(live(), wish())
    assert not seen.at(99).holds(live(), wish())


def test_a_custom_object_that_reads_otherwise_is_compared_again() -> None:
    """Its definition changed: fields were defaulted or pruned, and its version is the same."""
    widget = {**live(), "apiVersion": "x.org/v1", "kind": "Widget", "spec": {"size": 1}}
    seen = verdicts.Verdicts(GROUND, 1000.0, dict([verdicts.verdict(widget, wish())]))
    assert seen.holds(widget, wish())
    assert not seen.holds({**widget, "spec": {"size": 1, "color": "red"}}, wish())
    assert not seen.holds({**widget, "spec": {}}, wish())


def test_what_is_nested_too_deeply_is_compared_each_time() -> None:
    """Whoever may write a custom object's free fields must not break the plan of all others with them."""
    deep: Body = {}
    for _ in range(3000):
        deep = {"a": deep}
    widget = {**live(), "apiVersion": "x.org/v1", "kind": "Widget", "status": deep}
    seen = verdicts.Verdicts(GROUND, 1000.0, dict([verdicts.verdict(widget, wish())]))
    assert not seen.holds(widget, wish())


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (live(uid="u2"), wish()),
        (live(version="8"), wish()),
        (live(), wish("2")),
        (live(), wish(nonce="n2")),
        (live(), wish(scaled=True)),
    ],
)
def test_what_has_moved_is_compared_again(body: Body, wanted: str) -> None:
    """Another object, another version, another desire: each is enough."""
    assert not REMEMBERED.holds(body, wanted)


@pytest.mark.parametrize(
    "other",
    [
        verdicts.ground(scope(), server="https://b", version="v1.37.2", code="c"),
        verdicts.ground(scope(), server="https://a", version="v1.38.0", code="c"),
        verdicts.ground(scope(), server="https://a", version="v1.37.2", code="d"),
        verdicts.ground(scope(undo=False), server="https://a", version="v1.37.2", code="c"),
        verdicts.ground(scope(part_of="another"), server="https://a", version="v1.37.2", code="c"),
    ],
)
def test_another_ground_forgets_all(other: str) -> None:
    """Cluster, its version, code and policy are what all verdicts rest on."""
    assert verdicts.read(verdicts.write(REMEMBERED), ground=other, now=2000.0).known == {}


@pytest.mark.parametrize("now", [999.0, 1000.0 + verdicts.FULL_SECONDS])
def test_all_are_found_anew_once_a_day(now: float) -> None:
    """Too old, or from a clock that went back."""
    found = verdicts.read(verdicts.write(REMEMBERED), ground=GROUND, now=now)
    assert (found.known, found.since) == ({}, now)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", json.dumps({"ground": GROUND}).encode()])
def test_a_file_that_is_damaged_is_no_memory(data: bytes) -> None:
    """And no error: it is a cache."""
    assert verdicts.read(data, ground=GROUND, now=1.0).known == {}
