"""The environment repository as CI and CD see it: fetched over HTTP, verified from the root pin or a later head."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from interlock.contract import commit as commits
from interlock.contract import layout
from interlock.contract.host import RootPin
from interlock.errors import FormatError, Refused, Untrusted
from tasks.common import git
from tasks.common.environment_repository import fetch_verified, read_verified
from tasks.common.mirrored import Mirrored
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, IMAGE_REPOSITORY, environment_tree, release_files
from tests.git.conftest import AUTHOR, Key, Server
from tests.git.verified import World, make_world

VALUES = layout.values(ENVIRONMENT, APPLICATION)


@pytest.fixture
def world(server: Server, tmp_path: Path) -> World:
    return make_world(server, tmp_path)


def test_the_first_verification_begins_at_the_root_pin(world: World) -> None:
    """Without a verified head the pinned commit is the first, and everything after it is judged."""
    scaled = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada, message="Scale")
    released = world.push(scaled, release_files(), by=world.ci, message="Release web")

    head = world.fetch()

    assert head.commit == released
    assert [(each.commit, each.signer) for each in head.new_commits] == [
        (world.root, "ada"),
        (scaled, "ada"),
        (released, "ci-shop"),
    ]
    application = head.repository.environments[ENVIRONMENT].applications[APPLICATION]
    assert application.values["replicas"] == 3 and application.release is not None
    assert application.release.components["web"].image.startswith(IMAGE_REPOSITORY)


def test_later_verifications_judge_only_what_is_new(world: World) -> None:
    """From the verified head on only its descendants are judged, and nothing when it is the head."""
    scaled = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    assert world.fetch(world.root).new_commits[-1].commit == scaled
    again = world.push(scaled, {VALUES: b"replicas: 4\n"}, by=world.ada)

    assert [each.commit for each in world.fetch(scaled).new_commits] == [again]
    assert world.fetch(again).new_commits == ()


def test_a_head_that_is_known_is_not_read_again(world: World) -> None:
    """It is judged as ever; another head is read, whatever is known."""
    known = world.fetch()
    again = world.fetch(world.root, known=known)
    assert (again.repository is known.repository, again.new_commits) == (True, ())
    scaled = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    newer = world.fetch(world.root, known=known)
    application = newer.repository.environments[ENVIRONMENT].applications[APPLICATION]
    assert (newer.commit, application.values["replicas"]) == (scaled, 3)
    world.push(scaled, {VALUES: b"replicas: 9\n"}, by=Key.make(world.state / "stranger"))
    with pytest.raises(Refused):
        world.fetch(scaled, known=newer)


def test_a_verified_commit_is_read_again_without_the_network(world: World) -> None:
    """While the head is refused, the commit verified before it can still be read."""
    world.fetch()
    world.push(world.root, {VALUES: b"replicas: 9\n"}, by=Key.make(world.state / "stranger"))
    assert world.refusal(world.root) == "unknown-key"

    assert read_verified.fn(world.remote, state=world.state, commit=world.root).repository.commit == world.root


def test_refuses_a_force_push_back(world: World) -> None:
    """A branch that was set back is refused, and accepted again once it is where it was."""
    scaled = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    world.fetch()
    world.force(world.root)
    assert world.refusal(scaled) == "rewritten"

    world.force(scaled)
    assert world.fetch(scaled).commit == scaled


def test_refuses_a_force_push_aside(world: World) -> None:
    """A well-signed other future does not replace the verified one."""
    scaled = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    world.fetch()
    world.force(world.repository.write(world.root, {VALUES: b"replicas: 1\n"}, by=world.ada))

    assert world.refusal(scaled) == "rewritten"


def test_refuses_an_unrelated_history(world: World) -> None:
    """Another repository at the same address is refused, with and without a verified head, whoever signed it."""
    tree = environment_tree(released=False, person_key=world.ada.public, machine_key=world.ci.public)
    world.fetch()
    world.force(world.repository.write(None, {**tree.files, VALUES: b"replicas: 0\n"}, by=world.ada))

    assert world.refusal(world.root) == "rewritten"
    assert world.refusal() == "root-pin"


def test_refuses_another_root(world: World) -> None:
    """A root that another key signed is not the pinned one, even if its id is."""
    other = Key.make(world.state.parent / "other")
    pin = RootPin(commit=world.root, keys=(other.public,))

    with pytest.raises(Refused) as refused:
        fetch_verified.fn(world.remote.model_copy(update={"root": pin}), state=world.state, since=None)

    assert refused.value.rule == "root-pin"


def test_refuses_an_unsigned_tip(world: World) -> None:
    """What plain `git commit` and a push make is refused; bringing the branch back mends it."""
    world.fetch()
    folder = world.state.parent / "clone"
    login = "developer:dev-pass@"
    url = world.repository.remote.url.replace("://", f"://{login}")
    subprocess.run(("git", "clone", "--quiet", url, str(folder)), check=True)
    (folder / VALUES).write_text("replicas: 9\n")
    identity = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false")
    subprocess.run(("git", "-C", str(folder), *identity, "commit", "--quiet", "-am", "Evil"), check=True)
    subprocess.run(("git", "-C", str(folder), "push", "--quiet"), check=True)

    assert world.refusal(world.root) == "unsigned"
    world.force(world.root)
    assert world.fetch(world.root).commit == world.root


def test_refuses_ci_beyond_its_release(world: World) -> None:
    """CI's stolen key cannot change values, trust or policy."""
    for path in (VALUES, layout.SIGNERS, layout.GATE, layout.environment(ENVIRONMENT)):
        world.force(world.repository.write(world.root, {path: b"format: 1\n# mine\n"}, by=world.ci))
        assert world.refusal(world.root) == "path-scope"


def test_recovers_with_an_approvers_commit(world: World) -> None:
    """After a refused commit an approver's recovery lets CD go on without a force push."""
    good = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    bad = world.push(good, {VALUES: b"replicas: 9\n", "evil.yaml": b"x: 1\n"}, by=Key.make(world.state.parent / "evil"))
    assert world.refusal(good) == "unknown-key"
    undo: dict[str, bytes | None] = {VALUES: b"replicas: 3\n", "evil.yaml": None}
    recovered = world.push(bad, undo, by=world.ada, message=f"Recover\n\nInterlock-Recovery: {good}")

    for since in (good, world.root, None):
        judged = world.fetch(since).new_commits[-1]
        assert (judged.commit, judged.skipped) == (recovered, (bad,))
    line = {each.id: each for each in git.read_commits(git.mirror_path(world.state, "environments"), None, recovered)}
    history = Mirrored(git.mirror_path(world.state, "environments"))
    assert [history.refuses(line[each]) for each in (good, bad, recovered, world.root)] == [False, True, False, False]


def test_a_revoked_key_and_a_moved_root_pin(world: World) -> None:
    """A key that is only taken out no longer passes from the old root; it does from a pin moved forward."""
    released = world.push(world.root, release_files(), by=world.ci)
    assert world.fetch(world.root).commit == released
    new_ci = Key.make(world.state.parent / "ci2")
    tree = environment_tree(person_key=world.ada.public, machine_key=new_ci.public)
    rotated = world.push(released, {layout.SIGNERS: tree.files[layout.SIGNERS]}, by=world.ada)

    assert world.fetch(released).commit == rotated
    assert world.refusal() == "trust-change"

    world.root = rotated
    assert world.fetch().commit == rotated
    assert world.fetch(released).commit == rotated


def _signers(world: World, *, ci: Key | None, ended: str = "") -> dict[str, bytes | None]:
    """The signers' file with another key for CI, or none and no binding, and with what ended."""
    key = (ci or Key.make(world.state.parent / "spare")).public
    text = environment_tree(person_key=world.ada.public, machine_key=key).text(layout.SIGNERS)
    return {layout.SIGNERS: (text + ended).encode()}


def _ended(world: World, word: str, commit: str) -> str:
    return f"ended:\n  - {{name: ci-shop, key: '{world.ci.public}', {word}: {commit}}}\n"


def test_a_retired_key_is_believed_from_the_root_pin_on(world: World) -> None:
    """A rotation that lists the old key as retired asks nothing of hosts, old or new."""
    released = world.push(world.root, release_files(), by=world.ci)
    new_ci = Key.make(world.state.parent / "ci2")
    rotated = world.push(released, _signers(world, ci=new_ci, ended=_ended(world, "retired", released)), by=world.ada)
    world.push(rotated, {layout.release(ENVIRONMENT, APPLICATION): None}, by=world.ada)

    assert world.fetch(released).new_commits[0].commit == rotated
    assert [each.signer for each in world.fetch().new_commits] == ["ada", "ci-shop", "ada", "ada"]


def test_a_compromised_key_makes_what_passed_untrusted(world: World) -> None:
    """What its thief released, verified long ago, stops everything, until it is undone and an approver says so."""
    good = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    stolen = world.push(good, release_files(), by=world.ci)
    later = world.push(stolen, {VALUES: b"replicas: 4\n"}, by=world.ada)
    assert world.fetch(world.root).commit == later
    new_ci = Key.make(world.state.parent / "ci2")
    told = world.push(later, _signers(world, ci=new_ci, ended=_ended(world, "compromised", good)), by=world.ada)

    for since in (later, stolen):
        with pytest.raises(Untrusted if since == later else Refused, match=stolen[:12]) as refused:
            world.fetch(since)
        assert refused.value.rule == "key-compromised"
    assert world.refusal() == "key-compromised"

    undone = world.push(told, dict.fromkeys(release_files()), by=world.ada)
    assert world.refusal(later) == "key-compromised"
    moved = world.push(undone, _signers(world, ci=new_ci, ended=_ended(world, "compromised", undone)), by=world.ada)
    assert [world.fetch(since).commit for since in (later, stolen, None, moved)] == [moved] * 4


def test_the_verified_head_is_verified_again(world: World) -> None:
    """A mark on the host that names a commit which nobody verified does not make it a good one."""
    good = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    assert world.fetch(good).new_commits == ()
    evil = world.push(good, {VALUES: b"replicas: 9\n"}, by=Key.make(world.state.parent / "evil"))

    with pytest.raises(Untrusted) as untrusted:
        world.fetch(evil)

    assert untrusted.value.rule == "unknown-key"


def test_a_replaced_commit_is_judged_as_it_is(world: World) -> None:
    """A good commit that is put in a bad one's place in the mirror, as plain git would follow it, helps nobody."""
    good = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    assert world.fetch(world.root).commit == good
    evil = world.push(good, {VALUES: b"replicas: 9\n"}, by=Key.make(world.state.parent / "evil"))
    harmless = world.repository.write(good, {VALUES: b"replicas: 4\n"}, by=world.ada)
    mirror = git.mirror_path(world.state, "environments")
    git.fetch(mirror, world.remote)
    read = ("git", f"--git-dir={world.repository.mirror}", "cat-file", "commit", harmless)
    data = subprocess.run(read, capture_output=True, check=True).stdout
    write = ("git", f"--git-dir={mirror}", "hash-object", "-t", "commit", "-w", "--stdin", "--literally")
    subprocess.run(write, input=data, capture_output=True, check=True)
    subprocess.run(("git", f"--git-dir={mirror}", "update-ref", f"refs/replace/{evil}", harmless), check=True)
    shown = subprocess.run(
        ("git", f"--git-dir={mirror}", "cat-file", "commit", evil), capture_output=True, check=True
    ).stdout
    assert shown == data

    assert world.refusal(good) == "unknown-key"


def test_a_graft_in_a_mirror_is_refused(world: World) -> None:
    """A file that gives commits other parents makes the mirror one that somebody else changed."""
    good = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    world.fetch(world.root)
    info = git.mirror_path(world.state, "environments") / "info"
    info.mkdir(exist_ok=True)
    (info / "grafts").write_text(f"{good}\n")

    assert world.refusal(world.root) == "mirror"


def test_attributes_in_the_history_are_refused(world: World) -> None:
    """`.gitattributes` could tell git to show or filter files in another way; nobody may add one, in any folder."""
    for path in (".gitattributes", "environments/dev/.gitattributes", "environments/dev/.GitAttributes"):
        world.force(world.repository.write(world.root, {path: b"* filter=evil diff=evil\n"}, by=world.ada))
        assert world.refusal(world.root) == "forbidden-path"


def test_the_keys_of_the_root_pin_are_asked_each_time(world: World) -> None:
    """When the host config names other keys, what was verified by the old ones is not believed any more."""
    good = world.push(world.root, {VALUES: b"replicas: 3\n"}, by=world.ada)
    world.fetch(world.root)
    other = RootPin(commit=world.root, keys=(Key.make(world.state.parent / "other").public,))
    remote = world.remote.model_copy(update={"root": other})

    for since in (good, world.root):
        with pytest.raises(Refused) as refused:
            fetch_verified.fn(remote, state=world.state, since=since)
        assert refused.value.rule == "root-pin"


def test_signers_must_stay_readable_for_the_strict_reader(world: World) -> None:
    """An anchor bomb in trust is refused as a change of trust, not as an accident."""
    bomb = b"a: &a [x, x]\nb: &b [*a, *a]\nsigners: *b\n"
    world.force(world.repository.write(world.root, {layout.SIGNERS: bomb}, by=world.ada))

    assert world.refusal(world.root) == "trust-change"


def test_too_many_commits_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of commits is refused before it is judged."""
    head = world.root
    for _ in range(4):
        head = world.repository.write(head, {}, by=world.ada)
    world.force(head)
    monkeypatch.setattr(git, "MAX_COMMITS", 3)

    assert world.refusal(world.root) == "too-large"


def test_an_approval_is_small(world: World) -> None:
    """Everybody may bring their own ones, whatever else they may write: no host reads megabytes for it."""
    path = layout.approval("dev", "ada", "sha256:" + "1" * 64, None)
    small = world.push(world.root, {path: b"x" * (16 << 10)}, by=world.ada)
    assert world.fetch(world.root).commit == small

    world.push(small, {path: b"x" * ((16 << 10) + 1)}, by=world.ada)
    assert world.refusal(small) == "too-large"


def test_a_thousand_commits_cost_a_few_processes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging 1,000 signed commits, every second one a release, costs neither a process nor a server's answer each."""
    world.force(_thousand(world))
    begun: list[object] = []

    class Counted(subprocess.Popen[bytes]):
        def __init__(self, *words: Any, **more: Any) -> None:
            begun.append(words)
            super().__init__(*words, **more)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    judged = world.fetch(world.root).new_commits

    assert len(judged) == 1000
    assert {each.signer for each in judged} == {"ada", "ci-shop"}
    assert 0 < len(begun) < 50


def _thousand(world: World) -> str:
    """CI releases, a person takes the release back, and so on; written as loose objects, which is quick."""
    mirror = world.repository.mirror
    trees = [git.tree_id(mirror, each) for each in (world.root, world.repository.write(world.root, release_files()))]
    keys = [world.ada.path.read_bytes(), world.ci.path.read_bytes()]
    head = world.root
    for number in range(1, 1001):
        odd = number % 2
        data = commits.unsigned(tree=trees[odd], parents=(head,), author=AUTHOR, seconds=number, message="Change")
        data = commits.signed(data, keys[odd])
        head = commits.object_id("commit", data)
        path = mirror / "objects" / head[:2] / head[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(b"commit %d\0" % len(data) + data))
    return head


def test_strictness_of_files_beside_trust(world: World) -> None:
    """A well-signed commit with a malformed file is an error with its place, not a refusal of trust."""
    world.push(world.root, {layout.GATE: b"format: 1\nrules: {unknown: 1}\n"}, by=world.ada)

    with pytest.raises(FormatError, match=r"policy/gate.yaml:2"):
        world.fetch(world.root)
