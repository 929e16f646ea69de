"""The files that say whom to trust are written so that people and machines read different things, or choke.

Defence: one strict reader (interlock/contract/strict_yaml.py) and one model; whatever is no plain file of the known
form refuses the commit that brings it, and nobody can be left without a person who may mend it
(interlock/contract/verification.py).
Not defended: a name that looks like another person's; `interlock trust explain` shows the key's fingerprint too.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from interlock.contract import layout
from tests.examples_of_repositories import environment_tree
from tests.git.conftest import Key, Server
from tests.git.verified import World, make_world


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return make_world(server, tmp_path)


def hostile(world: World) -> dict[str, bytes]:
    """By what is wrong with them; ada signs each, deceived."""
    good = environment_tree(person_key=world.ada.public, machine_key=world.ci.public).text(layout.SIGNERS)
    mallory = Key.make(world.state.parent / "mallory").public
    person = f'  - {{name: mallory, key: "{mallory}", writes: ["**"]}}\n'
    ended = 'ended:\n  - {name: bob, key: "%s", retired: "%s"}\n'
    return {
        "a second list that wins": f"{good}signers:\n{person}".encode(),
        "a bomb": b"a: &a [x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nsigners: *c\n",
        "a tag": good.replace("signers:", "signers: !!python/object/apply:os.system", 1).encode(),
        "a document behind": f"{good}---\nformat: 1\nsigners:\n{person}".encode(),
        "a field that nobody knows": good.replace("approves: true", "aproves: true").encode(),
        "two ways to end": f"{good}ended:\n  - {{name: bob, key: \"{mallory}\", retired: '{'1' * 40}', "
        f"compromised: '{'2' * 40}'}}\n".encode(),
        "no way to end": f'{good}ended:\n  - {{name: bob, key: "{mallory}"}}\n'.encode(),
        "an end without a full id": (good + ended % (mallory, "HEAD~1")).encode(),
        "an end of a key that signs": (good + ended % (world.ada.public, "1" * 40)).encode(),
        "a key over two lines": good.replace(world.ada.public, f'"{world.ada.public}\\n{mallory}"').encode(),
        "a path that is no path": good.replace('["**"]', '["../**"]').encode(),
        "a terminal's commands": good.replace("name: ada", 'name: "ada\\e[2J"').encode(),
        "not text": b"\xff\xfe\x00",
        "a list a mile deep": b"[" * 100_000,
        "more than a megabyte": good.encode() + b"# x\n" * 300_000,
        "nobody left": good.replace('writes: ["**"]', 'writes: ["environments/**"]').encode(),
        "machines alone": good.replace("    approves: true", "    machine: true").encode(),
    }


def test_a_hidden_signer_succeeds_with_a_plain_reader(world: World) -> None:
    """PyYAML takes the last of two keys: who reads the file's top sees ada, and mallory signs."""
    text = hostile(world)["a second list that wins"]

    assert [each["name"] for each in yaml.safe_load(text)["signers"]] == ["mallory"]


def test_hostile_trust_files_are_refused(world: World) -> None:
    """Each by a rule's word, in a moment, and the branch goes on from where it was."""
    for what, content in hostile(world).items():
        started = time.perf_counter()
        world.force(world.repository.write(world.root, {layout.SIGNERS: content}, by=world.ada))
        assert world.refusal(world.root) in ("trust-change", "too-large"), what
        assert time.perf_counter() - started < 20, what
    good = world.repository.write(world.root, {}, by=world.ada)
    world.force(good)
    assert world.fetch(world.root).commit == good
