"""The rules: what each accepts, and that each refuses what it is for."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from interlock.contract import commit as commits
from interlock.contract import evidence, signature
from interlock.contract.models import Signer
from interlock.contract.verification import explain, may_write, verify_range
from interlock.errors import Refused
from tests.unit.trust.conftest import EVERYBODY, RELEASE, VALUES, World
from tests.unit.trust.history import (
    BINDINGS,
    SIGNERS,
    TODAY,
    Files,
    binding,
    bindings_file,
    new_key,
    release_file,
    signers_file,
)

EVIDENCE = "environments/dev/shop/evidence/web-0123456789ab.json"


def rule(world: World, new: str) -> str:
    with pytest.raises(Refused) as refused:
        world.verify(new)
    assert refused.value.hint
    return refused.value.rule


# what passes -----------------------------------------------------------------------------------------


def test_accepts_what_everybody_may_write(world: World) -> None:
    """A developer's values, CI's own release with evidence, and an administrator's trust change pass, in order."""
    one = world.commit(world.root, {VALUES: b"replicas: 2\n"}, by="developer", message="Scale\n\nMore load.")
    two = world.commit(one, {RELEASE: release_file(web="two", worker="one"), EVIDENCE: b"{}"}, by="ci")
    three = world.commit(two, {SIGNERS: world.signers(*EVERYBODY, "newcomer")}, by="admin")

    verified = world.verify(three)

    assert [(each.commit, each.signer) for each in verified] == [(one, "developer"), (two, "ci"), (three, "admin")]
    assert verified[0].subject == "Scale"
    assert verified[1].paths == (EVIDENCE, RELEASE)
    assert verified[0].key == signature.fingerprint(world.keys["developer"].public)


def test_accepts_the_verified_head_itself(world: World) -> None:
    """Nothing new is nothing to judge."""
    assert world.verify(world.root) == ()


def test_accepts_a_new_signer_after_the_commit_that_adds_it(world: World) -> None:
    """A signer may sign from the commit after its introduction on."""
    added = world.commit(world.root, {SIGNERS: world.signers(*EVERYBODY, "newcomer")}, by="admin")
    first = world.commit(added, {VALUES: b"replicas: 3\n"}, by="newcomer")

    assert [each.signer for each in world.verify(first)] == ["admin", "newcomer"]


def test_accepts_an_empty_commit(world: World) -> None:
    """A signed commit that changes nothing passes."""
    assert len(world.verify(world.commit(world.root, {}, by="ci"))) == 1


def test_accepts_the_first_release_of_a_component(world: World) -> None:
    """A release.yaml that did not exist before may be made by the bound machine."""
    gone = world.commit(world.root, {RELEASE: None}, by="developer")
    made = world.commit(gone, {RELEASE: release_file(web="two")}, by="ci")

    assert len(world.verify(made)) == 2


# signatures ------------------------------------------------------------------------------------------


def test_refuses_an_unsigned_tip(world: World) -> None:
    """Push access is not enough: the newest commit must be signed."""
    new = world.commit(world.root, {VALUES: b"replicas: 9\n"}, by=None)

    with pytest.raises(Refused, match=new[:12]) as refused:
        world.verify(new)

    assert refused.value.rule == "unsigned"


def test_refuses_an_unsigned_commit_below_a_signed_tip(world: World) -> None:
    """Every commit counts, not the tip alone."""
    below = world.commit(world.root, {VALUES: b"replicas: 9\n"}, by=None)

    assert rule(world, world.commit(below, {}, by="admin")) == "unsigned"


def test_refuses_an_unknown_key(world: World) -> None:
    """A good signature by nobody's key is worth nothing."""
    assert rule(world, world.commit(world.root, {}, by="stranger")) == "unknown-key"


TAMPERINGS: dict[str, Callable[[bytes], bytes]] = {
    "message": lambda data: data.replace(b"Change", b"Chance"),
    "author": lambda data: data.replace(b"author Anybody", b"author Somebody"),
    "tree": lambda data: data.replace(data[5:45], b"1" * 40),
    "extra header": lambda data: data.replace(b"gpgsig ", b"x-note evil\ngpgsig ", 1),
    "two signatures": lambda data: data.replace(b"gpgsig ", b"gpgsig x\ngpgsig ", 1),
    "another kind of signature": lambda data: data.replace(b"gpgsig ", b"gpgsig-sha256 x\ngpgsig ", 1),
    "second author": lambda data: data.replace(b"gpgsig ", b"author E <e@e> 1 +0000\ngpgsig ", 1),
    "byte after the signature's end": lambda data: data.replace(
        b"-----END SSH SIGNATURE-----", b"AAAA\n -----END SSH SIGNATURE-----"
    ),
    "a NUL that hides the rest": lambda data: data + b"\0hidden",
    "no armor": lambda data: data.replace(b"BEGIN SSH SIGNATURE", b"BEGIN PGP SIGNATURE"),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS)
def test_refuses_a_changed_commit(world: World, tamper: Callable[[bytes], bytes]) -> None:
    """A signature covers every byte, stands there once, and nothing stands beside it."""
    new = world.commit(world.root, {VALUES: b"replicas: 2\n"}, by="admin", tamper=tamper)

    assert rule(world, new) == "bad-signature"


def test_refuses_the_signature_of_another_commit(world: World) -> None:
    """A signature cannot be carried from one commit to another."""
    good = world.history.raw[world.commit(world.root, {VALUES: b"replicas: 2\n"}, by="admin")]
    armored = commits.parse(good.data).signature
    assert armored

    def replay(data: bytes) -> bytes:
        head, _, body = data.partition(b"\n\n")
        return head + b"\ngpgsig " + armored.replace("\n", "\n ").encode() + b"\n\n" + body

    assert rule(world, world.commit(world.root, {VALUES: b"replicas: 9\n"}, by=None, tamper=replay)) == "bad-signature"


def test_refuses_a_signature_made_for_something_else(world: World) -> None:
    """A signature over the same bytes as a file or a receipt is not one over a commit."""

    def as_file(data: bytes) -> bytes:
        head, _, body = data.partition(b"\n\n")
        armored = signature.sign(world.keys["admin"].private, data, namespace="file").rstrip("\n")
        return head + b"\ngpgsig " + armored.replace("\n", "\n ").encode() + b"\n\n" + body

    assert rule(world, world.commit(world.root, {}, by=None, tamper=as_file)) == "bad-signature"


def test_refuses_bytes_under_another_id(world: World) -> None:
    """What the store hands out under an id must hash to it."""
    new = world.commit(world.root, {}, by="admin")
    other = world.commit(world.root, {VALUES: b"x: 1\n"}, by="admin")
    world.history.raw[new] = commits.RawCommit(new, world.history.raw[other].data)

    assert rule(world, new) == "rewritten"


# history ---------------------------------------------------------------------------------------------


def test_refuses_a_head_that_went_back(world: World) -> None:
    """An older commit is not a way to roll back."""
    newer = world.commit(world.root, {VALUES: b"replicas: 2\n"}, by="admin")
    _, base = world.history, world.history.point(world.root, world.keys["admin"])
    later = type(base)(newer, commits.parse(world.history.raw[newer].data).tree, base.trust)

    with pytest.raises(Refused) as refused:
        world.verify(world.root, base=later)

    assert refused.value.rule == "rewritten"


def test_refuses_a_rewritten_branch(world: World) -> None:
    """A side branch of the same history is not a continuation."""
    one = world.commit(world.root, {VALUES: b"replicas: 2\n"}, by="admin")
    base = type(world.base)(one, commits.parse(world.history.raw[one].data).tree, world.base.trust)

    with pytest.raises(Refused) as refused:
        world.verify(world.commit(world.root, {VALUES: b"replicas: 3\n"}, by="admin"), base=base)

    assert refused.value.rule == "rewritten"


def test_refuses_an_unrelated_history(world: World) -> None:
    """Another root is another repository, whoever signed it."""
    unrelated = world.commit(None, {SIGNERS: world.signers("admin")}, by="admin")

    assert rule(world, world.commit(unrelated, {}, by="admin")) == "rewritten"


def test_refuses_merges(world: World) -> None:
    """History is one line: a merge could carry an older trust past the commits that changed it."""
    side = world.commit(world.root, {VALUES: b"replicas: 2\n"}, by="developer")
    straight = world.commit(world.root, {"policy/gate.yaml": b"format: 1\nrules: {}\n"}, by="admin")

    assert rule(world, world.commit(straight, {}, by="admin", second=side)) == "merge"


def test_refuses_commits_beside_the_line(world: World) -> None:
    """A commit that was handed in with the range, but is no part of its line, is not silently left out."""
    one = world.commit(world.root, {VALUES: b"replicas: 2\n"}, by="admin")
    beside = world.commit(world.root, {VALUES: b"replicas: 3\n"}, by="admin")
    range_ = [world.history.raw[one], world.history.raw[beside]]

    with pytest.raises(Refused) as refused:
        verify_range(range_, base=world.base, new=one, blobs=world.history.blobs.get, today=TODAY)

    assert refused.value.rule == "rewritten"


# files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["120000", "160000", "100755", "100664"])
def test_refuses_anything_but_regular_files(world: World, mode: str) -> None:
    """Symlinks, submodules and executables have no place, even from an administrator."""
    assert rule(world, world.commit(world.root, {VALUES: b"/etc/passwd"}, by="admin", modes={VALUES: mode})) == "mode"


@pytest.mark.parametrize(
    "path",
    [".gitattributes", "environments/dev/.GITMODULES", "a/../b", "a\nb", "a\\b", ".git/hooks/x", "x\u2028y", "\udcff"],
)
def test_refuses_paths_that_mean_something_else(world: World, path: str) -> None:
    """Paths that git, a shell or a terminal reads in its own way are refused."""
    assert rule(world, world.commit(world.root, {path: b"x"}, by="admin")) == "forbidden-path"


# scopes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"policy/gate.yaml": b"format: 1\nrules: {vulnerabilities: []}\n"},
        {"policy/gate.yaml": None},
        {SIGNERS: b"format: 1\n"},
        {"environments/production/shop/values.yaml": b"replicas: 0\n"},
    ],
)
def test_refuses_a_person_outside_of_their_paths(world: World, changes: Files) -> None:
    """Who may write dev may not write policy, trust or another environment, nor delete there."""
    assert rule(world, world.commit(world.root, changes, by="developer")) == "path-scope"


@pytest.mark.parametrize("path", [VALUES, SIGNERS, BINDINGS, "policy/gate.yaml", "policy/waivers.yaml"])
def test_refuses_ci_outside_of_its_paths(world: World, path: str) -> None:
    """CI's key writes releases and evidence, not values, trust or policy."""
    assert rule(world, world.commit(world.root, {path: b"x: 1\n"}, by="ci")) == "path-scope"


@pytest.mark.parametrize("path", [VALUES, SIGNERS, BINDINGS, "policy/gate.yaml", "templates/service/x.yaml.j2"])
def test_refuses_a_machine_whose_paths_are_too_wide(world: World, path: str) -> None:
    """A machine signer writes releases and evidence alone, even where its patterns match everything."""
    assert rule(world, world.commit(world.root, {path: b"x: 1\n"}, by="other-ci")) == "release-scope"


def test_refuses_ci_in_another_components_entry(world: World) -> None:
    """A CI key bound to web cannot change worker, not even beside its own entry."""
    new = world.commit(world.root, {RELEASE: release_file(web="two", worker="two")}, by="ci")

    with pytest.raises(Refused, match="worker") as refused:
        world.verify(new)

    assert refused.value.rule == "release-scope"


RESCAN = "environments/dev/shop/evidence/web-0123456789ab.rescan.json"
IMAGE = f"registry.example.org/web@sha256:0123456789ab{'0' * 52}"


def rescan(
    image: str = IMAGE, *, environments: tuple[str, ...] = ("dev",), more: tuple[evidence.Statement, ...] = ()
) -> bytes:
    said = [
        evidence.gate_verdict(image, environment=name, passed=False, policy_commit="c" * 40) for name in environments
    ]
    return evidence.envelope((*said, *more))


def test_accepts_a_rescan_that_comes_and_goes(world: World) -> None:
    """CI says what today's database knows of its own release, and takes it back with the next one."""
    one = world.commit(world.root, {RESCAN: rescan()}, by="ci")
    two = world.commit(one, {RESCAN: None, RELEASE: release_file(web="two", worker="one")}, by="ci")

    assert len(world.verify(two)) == 2


PROVENANCE = evidence.Statement(IMAGE, evidence.PROVENANCE, {})
RESCANS_OUT_OF_SCOPE: dict[str, Files] = {
    "another component's": {RESCAN.replace("web-", "worker-"): rescan()},
    "another environment's": {RESCAN.replace("/dev/", "/production/"): rescan()},
    "about another digest": {RESCAN: rescan(IMAGE.replace("0123456789ab", "ba9876543210"))},
    "about another image repository": {RESCAN: rescan(IMAGE.replace("/web@", "/worker@"))},
    "a verdict for another environment": {RESCAN: rescan(environments=("production",))},
    "two verdicts": {RESCAN: rescan(environments=("dev", "dev"))},
    "no verdict": {RESCAN: rescan(environments=(), more=(evidence.Statement(IMAGE, evidence.VULNERABILITIES, {}),))},
    "provenance beside it": {RESCAN: rescan(more=(PROVENANCE,))},
    "not written as CI does": {RESCAN: b" " + rescan()},
    "no evidence": {RESCAN: b"{}"},
    "nothing": {RESCAN: b""},
    "deletes another's": {RESCAN.replace("web-", "worker-"): None},
}


@pytest.mark.parametrize("changes", RESCANS_OUT_OF_SCOPE.values(), ids=RESCANS_OUT_OF_SCOPE)
def test_refuses_a_rescan_of_anything_else(world: World, changes: Files) -> None:
    """It holds one verdict on that image for that environment, and its scan."""
    before = world.commit(world.root, {RESCAN.replace("web-", "worker-"): b"{}"}, by="admin")

    assert rule(world, world.commit(before, changes, by="ci")) == "release-scope"


def test_refuses_a_rescan_that_is_too_large_to_read(world: World) -> None:
    """What cannot be read cannot be accepted."""
    new = world.commit(world.root, {RESCAN: rescan()}, by="ci")
    del world.history.blobs[commits.object_id("blob", rescan())]

    assert rule(world, new) == "too-large"


RELEASES_OUT_OF_SCOPE: dict[str, Files] = {
    "deletes another entry": {RELEASE: release_file(web="one")},
    "takes its own entry away": {RELEASE: release_file(worker="one")},
    "deletes the file": {RELEASE: None},
    "releases to another environment": {"environments/production/shop/release.yaml": release_file(web="two")},
    "releases another application": {"environments/dev/bank/release.yaml": release_file(web="two")},
    "writes another's evidence": {"environments/dev/shop/evidence/worker-0123456789ab.json": b"{}"},
    "writes another environment's evidence": {"environments/production/shop/evidence/web-0123456789ab.json": b"{}"},
    "hides it behind a duplicate key": {RELEASE: b"format: 1\ncomponents: {}\ncomponents: {}\n"},
    "writes what is not a release": {RELEASE: b"[]"},
    "writes no text": {RELEASE: b"\xff\xfe"},
}


@pytest.mark.parametrize("changes", RELEASES_OUT_OF_SCOPE.values(), ids=RELEASES_OUT_OF_SCOPE)
def test_refuses_releases_that_no_binding_gives(world: World, changes: Files) -> None:
    """A binding gives one component of one application in named environments, nothing beside it."""
    assert rule(world, world.commit(world.root, changes, by="ci")) == "release-scope"


def test_refuses_a_release_that_is_too_large_to_read(world: World) -> None:
    """What cannot be read cannot be accepted."""
    new = world.commit(world.root, {RELEASE: release_file(web="two", worker="one")}, by="ci")
    del world.history.blobs[commits.object_id("blob", world.history.files[new][RELEASE])]

    assert rule(world, new) == "too-large"


def test_refuses_a_binding_that_its_own_commit_gives(world: World) -> None:
    """A release is judged by the bindings of its parent."""
    gone = world.commit(world.root, {BINDINGS: bindings_file(binding("worker", "other-ci"))}, by="admin")
    new = world.commit(gone, {RELEASE: release_file(web="two", worker="one")}, by="ci")

    assert rule(world, new) == "release-scope"


# trust -----------------------------------------------------------------------------------------------


def test_refuses_a_signer_that_introduces_itself(world: World) -> None:
    """No commit gives its own key a right."""
    new = world.commit(world.root, {SIGNERS: world.signers(*EVERYBODY, "newcomer")}, by="newcomer")

    assert rule(world, new) == "unknown-key"


def test_refuses_a_removed_signer_afterwards(world: World) -> None:
    """After its removal a key signs nothing more."""
    removed = world.commit(world.root, {SIGNERS: world.signers("admin", "approver", "ci", "other-ci")}, by="admin")

    assert rule(world, world.commit(removed, {VALUES: b"replicas: 9\n"}, by="developer")) == "unknown-key"


def test_refuses_what_a_removed_signer_put_below_its_removal(world: World) -> None:
    """A stolen key's commit does not slip in before the removal that has not been verified yet."""
    backdated = world.commit(world.root, {VALUES: b"replicas: 9\n"}, by="developer")
    new = world.commit(backdated, {SIGNERS: world.signers("admin", "approver", "ci", "other-ci")}, by="admin")

    with pytest.raises(Refused, match=backdated[:12]) as refused:
        world.verify(new)

    assert refused.value.rule == "trust-change"


def test_refuses_another_key_under_the_same_name(world: World) -> None:
    """The key counts, not the name: replacing developer's key revokes the old one."""
    old_key = world.keys["developer"]
    by_old = world.commit(world.root, {VALUES: b"replicas: 9\n"}, by="developer")
    world.keys["developer"] = new_key()
    new = world.commit(by_old, {SIGNERS: world.signers(*EVERYBODY)}, by="admin")

    assert rule(world, new) == "trust-change"
    assert old_key.public not in world.history.files[new][SIGNERS].decode()


@pytest.mark.parametrize(
    "content",
    [None, b"format: 1\nsigners: []\n", b"not: [yaml", b"format: 2\nsigners: []\n"],
    ids=["deleted", "empty", "broken", "unknown format"],
)
def test_refuses_trust_that_cannot_be_read(world: World, content: bytes | None) -> None:
    """A trust file that is gone or broken would leave nobody to be believed."""
    assert rule(world, world.commit(world.root, {SIGNERS: content}, by="admin")) == "trust-change"


def test_refuses_to_lock_everybody_out(world: World) -> None:
    """Some person must stay who can write the signers' file."""
    narrowed = {**world.signer("admin"), "writes": ["environments/**"]}
    only = signers_file(narrowed, world.signer("ci"), world.signer("other-ci"))

    with pytest.raises(Refused, match="no person is left") as refused:
        world.verify(world.commit(world.root, {SIGNERS: only}, by="admin"))

    assert refused.value.rule == "trust-change"


def test_refuses_the_same_key_under_two_names(world: World) -> None:
    """A key belongs to one signer, or its scope would be anybody's guess."""
    twice = signers_file(world.signer("admin"), {**world.signer("admin"), "name": "again"})
    bindings = bindings_file()

    new = world.commit(world.root, {SIGNERS: twice, BINDINGS: bindings}, by="admin")

    assert rule(world, new) == "trust-change"


# root pin --------------------------------------------------------------------------------------------


def test_root_must_be_the_pinned_commit(world: World) -> None:
    """Another first commit is refused, whoever signed it."""
    with pytest.raises(Refused) as refused:
        world.history.root(world.root, world.keys["admin"], pin="1" * 40)

    assert refused.value.rule == "root-pin"


def test_root_must_be_signed_by_a_pinned_key(world: World) -> None:
    """The pinned commit's own signers do not vouch for it: the host config's keys do."""
    with pytest.raises(Refused) as refused:
        world.history.root(world.root, world.keys["stranger"])

    assert refused.value.rule == "root-pin"


def test_root_without_a_signature_is_refused(world: World) -> None:
    """A pin does not replace a signature."""
    unsigned = world.commit(None, world.history.files[world.root] | {}, by=None)

    with pytest.raises(Refused) as refused:
        world.history.root(unsigned, world.keys["admin"])

    assert refused.value.rule == "unsigned"


# recovery --------------------------------------------------------------------------------------------


def recovery(world: World, parent: str, restore: str, *, by: str, names: str = "") -> str:
    before = world.history.files[parent]
    changes: Files = {**dict.fromkeys(before), **world.history.files[restore]}
    return world.commit(parent, changes, by=by, message=f"Recover\n\nInterlock-Recovery: {names or restore}")


def test_an_approver_recovers_from_refused_commits(world: World) -> None:
    """A commit that restores the verified tree lets the branch go on; what it skips is named, and never accepted."""
    bad = world.commit(world.root, {SIGNERS: b"evil", VALUES: b"replicas: 9\n"}, by=None)
    worse = world.commit(bad, {"evil.yaml": b"x: 1\n"}, by="stranger")
    recovered = recovery(world, worse, world.root, by="approver")
    after = world.commit(recovered, {VALUES: b"replicas: 2\n"}, by="developer")

    verified = world.verify(after)

    assert [each.commit for each in verified] == [recovered, after]
    assert verified[0].skipped == (bad, worse)


def test_recovery_by_others_is_refused(world: World) -> None:
    """Only the approvers' pool recovers, not even who may write everything."""
    bad = world.commit(world.root, {VALUES: b"replicas: 9\n"}, by=None)

    assert rule(world, recovery(world, bad, world.root, by="admin")) == "recovery"


def test_recovery_to_other_files_is_refused(world: World) -> None:
    """A recovery restores exactly, it does not bring something along."""
    bad = world.commit(world.root, {VALUES: b"replicas: 9\n"}, by=None)
    message = f"Recover\n\nInterlock-Recovery: {world.root}"

    assert rule(world, world.commit(bad, {VALUES: b"replicas: 8\n"}, by="approver", message=message)) == "recovery"


def test_recovery_past_good_commits_is_refused(world: World) -> None:
    """A removed approver cannot undo the removal by recovering to the commit before it."""
    removed = world.commit(world.root, {SIGNERS: world.signers("admin", "developer", "ci", "other-ci")}, by="admin")
    bad = world.commit(removed, {VALUES: b"replicas: 9\n"}, by=None)

    assert rule(world, recovery(world, bad, world.root, by="approver")) == "unsigned"


def test_a_false_recovery_does_not_hinder_a_true_one(world: World) -> None:
    """An attacker's imitation before the approver's commit changes nothing."""
    bad = world.commit(world.root, {VALUES: b"replicas: 9\n"}, by=None)
    false = recovery(world, bad, world.root, by="stranger")
    true = recovery(world, world.commit(false, {VALUES: b"replicas: 7\n"}, by=None), world.root, by="approver")

    assert [each.commit for each in world.verify(true)] == [true]


# patterns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("**", "a/b/c", True),
        ("environments/*/shop/release.yaml", "environments/dev/shop/release.yaml", True),
        ("environments/*/shop/release.yaml", "environments/a/b/shop/release.yaml", False),
        ("environments/**", "environments", False),
        ("environments/**", "environments2/x", False),
        ("**/release.yaml", "release.yaml", True),
        ("**/release.yaml", "a/b/release.yaml", True),
        ("**/release.yaml", "a/xrelease.yaml", False),
        ("a.c", "abc", False),
        ("a?c", "a/c", False),
        ("[ab]", "a", False),
        ("**/*/x", "a/b/x", True),
        ("**/*/x", "x", False),
        ("a/**b", "a/c/d/b", True),
        ("*a*", "bab", True),
        ("a/*", "a/", True),
    ],
)
def test_patterns(glob: str, path: str, *, matches: bool) -> None:
    """`*` stays within a folder, `**` does not, and everything else means itself."""
    key = new_key().public
    assert may_write(Signer(name="x", key=key, writes=(glob,)), path) is matches


@pytest.mark.parametrize("glob", ["**/" * 99 + "x", "*a" * 149 + "x", "**a" * 99 + "x", "a**" * 99 + "x"])
def test_no_pattern_takes_long(glob: str) -> None:
    """Whoever may write trust stops no host by a pattern that tries every way through a path."""
    began = time.process_time()

    assert not may_write(Signer(name="x", key=new_key().public, writes=(glob,)), "a/" * 300 + "a" * 300)
    assert time.process_time() - began < 2


# explaining ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "changes", "failing"),
    [
        ("developer", {VALUES: b"replicas: 2\n"}, ()),
        ("ci", {RELEASE: release_file(web="two", worker="one")}, ()),
        ("developer", {"policy/gate.yaml": b"", SIGNERS: b""}, ("path-scope", "path-scope", "trust-change")),
        ("ci", {RELEASE: release_file(web="one", worker="two")}, ("release-scope",)),
        ("ci", {"environments/dev/.gitmodules": b""}, ("forbidden-path", "path-scope", "release-scope")),
        ("stranger", {VALUES: b"replicas: 2\n"}, ("unknown-key",)),
    ],
)
def test_an_explanation_agrees_with_the_judgement(
    world: World, by: str, changes: Files, failing: tuple[str, ...]
) -> None:
    """Every rule that fails is told, one line for each path; and just where one fails, the commit is refused."""
    new = world.commit(world.root, changes, by=by)
    checks = explain(world.history.raw[new], world.base, blobs=world.history.blobs.get, today=TODAY)

    assert tuple(each.rule for each in checks if each.passes is False) == failing
    if failing:
        assert rule(world, new) in failing
    else:
        assert world.verify(new)
