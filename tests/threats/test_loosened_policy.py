"""Somebody loosens the rules in the commits that these rules judge: gives a key of theirs a right, and uses it.

Number: 23
Defence: each commit is judged by the signers and bindings of its parent, and what was taken away since the verified
head must be allowed at the new head too; besides, a key's right must come from a key that was good when it gave it
(interlock/contract/verification.py). Rules and waivers are taken from the
verified head, from what is deployed and from the new head, and the strictest wins (tasks/cd/rules.py).
Not defended: one person who may write trust/ gives a right in one commit, and it is used from the next on; who is to
need a second one for that asks for approvals.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from interlock.contract import layout, strict_yaml, verification
from interlock.contract.verification import Blobs, Point, Verified, Vouch
from interlock.errors import Blocked
from tests.cluster.worlds import World as ClusterWorld
from tests.cluster.worlds import manifest_path
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, environment_tree
from tests.git.conftest import Key, Server
from tests.git.verified import World, make_world

VALUES = layout.values(ENVIRONMENT, APPLICATION)


@pytest.fixture
def trusted(server: Server, tmp_path: Path) -> World:
    return make_world(server, tmp_path)


def with_signer(world: World, key: Key) -> bytes:
    """The signers' file with one more person, who may do everything."""
    text = environment_tree(person_key=world.ada.public, machine_key=world.ci.public).text(layout.SIGNERS)
    listed = f'{text}  - {{name: mallory, key: "{key.public}", writes: ["**"]}}\n'
    strict_yaml.load(listed, path=layout.SIGNERS)
    return listed.encode()


def test_a_commit_that_lets_its_own_signer_in_succeeds_by_its_own_rules(
    trusted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the rules are read from the commit that they judge, and no key's right is traced to who gave it."""
    mallory = Key.make(trusted.state.parent / "mallory")
    evil = trusted.push(trusted.root, {layout.SIGNERS: with_signer(trusted, mallory)}, by=mallory)
    judge = verification._judge

    def by_its_own(link: verification._Link, parent: Point, blobs: Blobs, vouch: Vouch) -> tuple[Verified, Point]:
        own = verification._trust_after(parent.trust, link.raw, blobs, None)
        return judge(link, Point(parent.commit, parent.tree, own), blobs, vouch)

    monkeypatch.setattr(verification, "_judge", by_its_own)
    assert trusted.refusal(trusted.root) == "key-expired"
    monkeypatch.setattr(verification, "_require_in_time", lambda *_: None)

    assert [(each.commit, each.signer) for each in trusted.fetch(trusted.root).new_commits] == [(evil, "mallory")]


def test_a_commit_that_lets_its_own_signer_in_is_refused(trusted: World) -> None:
    """And so is everything that follows it, by the same key or by another."""
    mallory = Key.make(trusted.state.parent / "mallory")
    evil = trusted.push(trusted.root, {layout.SIGNERS: with_signer(trusted, mallory)}, by=mallory)
    assert trusted.refusal(trusted.root) == "unknown-key"

    trusted.push(evil, {VALUES: b"replicas: 3\n"}, by=trusted.ada)
    assert trusted.refusal(trusted.root) == "unknown-key"


def test_a_right_used_below_the_commit_that_takes_it_is_refused(trusted: World) -> None:
    """A commit that a thief slips in before the right is taken away does not count on it."""
    bob = Key.make(trusted.state.parent / "bob")
    with_bob = with_signer(trusted, bob)
    start = trusted.push(trusted.root, {layout.SIGNERS: with_bob}, by=trusted.ada)
    assert trusted.fetch(trusted.root).commit == start
    used = trusted.push(start, {layout.GATE: b"format: 1\nrules: {vulnerabilities: []}\n"}, by=bob)
    narrowed = with_bob.replace(b'writes: ["**"]}', b'writes: ["environments/**"]}')
    trusted.push(used, {layout.SIGNERS: narrowed}, by=trusted.ada)

    assert trusted.refusal(start) == "path-scope"


async def test_a_rule_that_its_own_commit_takes_away_is_refused(world: ClusterWorld) -> None:
    """The rules of what is deployed judge the manifest that comes with their end."""
    await world.deploy()
    container = {"name": "c", "image": f"registry.example/x@sha256:{'1' * 64}", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "evil"}, "spec": {"containers": [container]}}
    world.push({layout.RULES: "format: 1\ndefaults: false\n", manifest_path("evil"): yaml.safe_dump(pod)})

    with pytest.raises(Blocked, match="evil"):
        await world.deploy()

    assert world.get("Pod", "evil") is None
