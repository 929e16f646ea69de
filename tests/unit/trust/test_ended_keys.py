"""How keys end: retired, compromised, removed; and who may say so."""

from __future__ import annotations

import datetime as dt

import pytest

from interlock.contract.verification import explain, newly_compromised, require_none_by, trust_of, verify_head
from interlock.errors import Refused, Untrusted
from tests.unit.trust.conftest import EVERYBODY, RELEASE, VALUES, World
from tests.unit.trust.history import BINDINGS, SIGNERS, TODAY, Key, ended, new_key, release_file, signer, signers_file

OTHERS = ("admin", "approver", "ci", "other-ci")


def rule(world: World, new: str, *, known: bool = False) -> str:
    with pytest.raises(Refused) as refused:
        world.history.verify(world.base, new, known=known)
    assert refused.value.hint
    return refused.value.rule


def by_developer(world: World, parent: str, replicas: int = 2) -> str:
    return world.commit(parent, {VALUES: f"replicas: {replicas}\n".encode()}, by="developer")


def ends(world: World, parent: str, *, by: str = "admin", **how: str) -> str:
    """A commit that takes the developer's key away and lists it as ended."""
    listed = [ended("developer", world.keys["developer"], **how)]
    return world.commit(parent, {SIGNERS: world.signers(*OTHERS, ended=listed)}, by=by)


@pytest.mark.parametrize("word", ["retired", "compromised"])
def test_what_an_ended_key_signed_up_to_its_end_is_believed(world: World, word: str) -> None:
    """The commit that ends the key names the last that counts: who begins at the root pin believes it up to there."""
    last = by_developer(world, world.root)
    new = ends(world, last, **{word: last})

    assert [each.signer for each in world.verify(new)] == ["developer", "admin"]


@pytest.mark.parametrize(("word", "expected"), [("retired", "trust-change"), ("compromised", "key-compromised")])
def test_what_an_ended_key_signed_later_is_refused(world: World, word: str, expected: str) -> None:
    """One commit after the last that counts, though it was signed before the key ended."""
    last = by_developer(world, world.root)
    new = ends(world, by_developer(world, last, 9), **{word: last})

    assert rule(world, new) == expected


def test_an_end_that_is_no_commit_of_the_line_believes_nothing(world: World) -> None:
    """A commit that is not there, or that lies before all that is judged, makes the key as good as removed."""
    last = by_developer(world, world.root)

    assert rule(world, ends(world, last, retired="1" * 40)) == "trust-change"
    assert rule(world, ends(world, last, retired=world.root)) == "trust-change"


def test_an_ended_key_signs_nothing_more(world: World) -> None:
    """Whatever its end says."""
    last = by_developer(world, world.root)

    assert rule(world, by_developer(world, ends(world, last, retired=last), 3)) == "unknown-key"


def test_an_ended_key_never_comes_back(world: World) -> None:
    """Not as somebody's key beside its end, not by taking the end out, not as merely retired."""
    before = ends(world, world.root, compromised=world.root)
    listed = [ended("developer", world.keys["developer"], compromised=world.root)]
    softer = [ended("developer", world.keys["developer"], retired=world.root)]
    for content in (
        world.signers(*EVERYBODY, ended=listed),
        world.signers(*EVERYBODY),
        world.signers(*OTHERS),
        world.signers(*OTHERS, ended=softer),
    ):
        assert rule(world, world.commit(before, {SIGNERS: content}, by="admin")) == "trust-change"


def test_a_retired_key_can_turn_out_to_be_compromised(world: World) -> None:
    """That is the stricter of the two."""
    retired = ends(world, world.root, retired=world.root)

    assert len(world.verify(ends(world, retired, compromised=world.root))) == 2


def test_only_an_approver_believes_a_key_further(world: World) -> None:
    """Up to where an ended key counts is for the approvers' pool to say again, not for everybody who writes trust."""
    world.base = world.history.point(world.root, world.keys["admin"])
    approving = signer("approver", world.keys["approver"], "**", approves=True)
    start = world.commit(
        world.root,
        {SIGNERS: signers_file(world.signer("admin"), world.signer("developer"), approving), BINDINGS: BINDINGLESS},
        by="admin",
    )
    bad = by_developer(world, start, 9)

    def says(parent: str, commit: str, by: str) -> str:
        listed = [ended("developer", world.keys["developer"], compromised=commit)]
        return world.commit(parent, {SIGNERS: signers_file(world.signer("admin"), approving, ended=listed)}, by=by)

    known = says(bad, start, "admin")
    assert rule(world, known) == "key-compromised"
    undone = world.commit(known, {VALUES: b"replicas: 1\n"}, by="admin")
    assert rule(world, says(undone, undone, "admin")) == "trust-change"
    assert [each.signer for each in world.verify(says(undone, undone, "approver"))][-1] == "approver"


BINDINGLESS = b"format: 1\nbindings: []\n"


def test_what_passed_before_a_key_was_known_to_be_compromised_is_asked_again(world: World) -> None:
    """The commits between the last that counts and the verified head are looked at, once, when the end is new."""
    first = by_developer(world, world.root)
    second = world.commit(first, {VALUES: b"replicas: 3\n"}, by="admin")
    before = world.base.trust
    now = trust_of({**before.files, SIGNERS: _compromised(world, world.root)}, commit=second)
    (key,) = newly_compromised(before, now)

    with pytest.raises(Untrusted, match=first[:12]) as untrusted:
        require_none_by(key, [world.history.raw[first], world.history.raw[second]])

    assert untrusted.value.rule == "key-compromised"
    require_none_by(key, [world.history.raw[second]])
    assert newly_compromised(now, now) == ()
    moved = trust_of({**before.files, SIGNERS: _compromised(world, second)}, commit=second)
    assert len(newly_compromised(now, moved)) == 1


def _compromised(world: World, since: str) -> bytes:
    return world.signers(*OTHERS, ended=[ended("developer", world.keys["developer"], compromised=since)])


# several keys ----------------------------------------------------------------------------------------


def test_a_person_with_several_keys_signs_with_each(world: World) -> None:
    """The signer's name is the person's, whichever key it is; a key alone can be taken away."""
    desk, laptop = new_key(), new_key()
    many = {**_without_key(world.signer("developer")), "keys": [desk.public, laptop.public]}
    start = world.commit(world.root, {SIGNERS: signers_file(*_all_but(world, "developer"), many)}, by="admin")
    world.keys |= {"desk": desk, "laptop": laptop}
    one = world.commit(start, {VALUES: b"replicas: 2\n"}, by="desk")
    two = world.commit(one, {VALUES: b"replicas: 3\n"}, by="laptop")

    assert [each.signer for each in world.verify(two)][1:] == ["developer", "developer"]
    assert len({each.key for each in world.verify(two)}) == 3
    fewer = {**many, "keys": [desk.public]}
    less = world.commit(two, {SIGNERS: signers_file(*_all_but(world, "developer"), fewer)}, by="admin")
    assert rule(world, less) == "trust-change"


def _without_key(value: dict[str, object]) -> dict[str, object]:
    return {name: each for name, each in value.items() if name != "key"}


def _all_but(world: World, name: str) -> list[dict[str, object]]:
    return [world.signer(each) for each in EVERYBODY if each != name]


@pytest.mark.parametrize(
    "content",
    [
        {"keys": []},
        {"key": "K", "keys": ["K"]},
        {"keys": ["K", "K"]},
    ],
)
def test_keys_stand_in_one_place(world: World, content: dict[str, object]) -> None:
    """None, two places, or the same key twice, cannot be read."""
    text = repr(content).replace("'K'", f'"{new_key().public}"')
    line = f"format: 1\nsigners:\n  - {{name: admin, writes: ['**'], {text[1:]}\n".encode()

    assert rule(world, world.commit(world.root, {SIGNERS: line}, by="admin")) == "trust-change"


# the stricter wins -----------------------------------------------------------------------------------


def test_a_right_that_was_taken_away_is_not_used_below_that_commit(world: World) -> None:
    """The verified head and the new head must both allow it; who begins at the root pin has only the parents."""
    used = by_developer(world, world.root)
    narrowed = {**world.signer("developer"), "writes": ["applications/**"]}
    new = world.commit(used, {SIGNERS: signers_file(*_all_but(world, "developer"), narrowed)}, by="admin")

    assert rule(world, new, known=True) == "path-scope"
    assert len(world.history.verify(world.base, new)) == 2


def test_a_binding_that_was_taken_away_is_not_used_below_that_commit(world: World) -> None:
    """The same for what a machine may release."""
    released = world.commit(world.root, {RELEASE: release_file(web="two", worker="one")}, by="ci")
    new = world.commit(released, {BINDINGS: BINDINGLESS}, by="admin")

    assert rule(world, new, known=True) == "release-scope"


# the head itself -------------------------------------------------------------------------------------


def head_rule(world: World, head: str, *, parent: str | None, key: Key | None = None) -> str:
    """What is said of the verified head when nothing is new; empty when it is good still."""
    point = world.history.judge(world.base, parent)[1] if parent else None
    now = trust_of({path: world.history.files[head][path] for path in (SIGNERS, BINDINGS)}, commit=head)
    try:
        verify_head(world.history.raw[head], parent=point, trust=now, blobs=world.history.blobs.get)
    except Untrusted as untrusted:
        return untrusted.rule
    return ""


def test_the_verified_head_is_judged_again(world: World) -> None:
    """A good commit passes each time; one that nobody signed does not, wherever the mark of it came from."""
    assert head_rule(world, by_developer(world, world.root), parent=world.root) == ""
    assert head_rule(world, world.commit(world.root, {}, by=None), parent=world.root) == "unsigned"
    assert head_rule(world, world.commit(world.root, {}, by="stranger"), parent=world.root) == "unknown-key"
    beyond = world.commit(world.root, {BINDINGS: BINDINGLESS}, by="developer")
    assert head_rule(world, beyond, parent=world.root) == "path-scope"


def test_a_recovery_passes_again_as_the_head(world: World) -> None:
    """Its parent was refused, and may hold trust files that nobody can read; an imitation does not pass."""
    bad = world.commit(world.root, {SIGNERS: b"evil"}, by=None)
    back = {SIGNERS: world.history.files[world.root][SIGNERS]}
    message = f"Recover\n\nInterlock-Recovery: {world.root}"

    assert head_rule(world, world.commit(bad, back, by="approver", message=message), parent=None) == ""
    assert head_rule(world, world.commit(bad, back, by="developer", message=message), parent=None) != ""


# explaining ------------------------------------------------------------------------------------------


def test_an_explanation_knows_where_a_key_ended(world: World) -> None:
    """A commit at or before the last that counts passes, a later one does not."""
    first = by_developer(world, world.root)
    now = trust_of({**world.base.trust.files, SIGNERS: _compromised(world, first)}, commit=first)
    raw, blobs = world.history.raw, world.history.blobs.get

    assert all(each.passes for each in explain(raw[first], world.base, blobs=blobs, today=TODAY, now=now))
    second = world.history.judge(world.base, first)[1]
    later = explain(raw[by_developer(world, first, 9)], second, blobs=blobs, today=TODAY, now=now)
    assert [each.rule for each in later if not each.passes] == ["key-compromised"]


# the last day ----------------------------------------------------------------------------------------


def test_a_key_past_its_last_day_signs_nothing_new(world: World) -> None:
    """By the host's clock, whatever the commit says of its own time; on the last day itself it still does."""
    until = {**world.signer("developer"), "until": "2030-06-30"}
    start = world.commit(world.root, {SIGNERS: signers_file(*_all_but(world, "developer"), until)}, by="admin")
    new = by_developer(world, start)

    assert len(world.history.verify(world.base, new, today=dt.date(2030, 6, 30))) == 2
    with pytest.raises(Refused, match="2030-06-30") as refused:
        world.history.verify(world.base, new, today=dt.date(2030, 7, 1))
    assert refused.value.rule == "key-expired"
    raw, point = world.history.raw[new], world.history.judge(world.base, start)[1]
    said = explain(raw, point, blobs=world.history.blobs.get, today=dt.date(2030, 7, 1))
    assert [each.rule for each in said if not each.passes] == ["key-expired"]


def test_what_a_key_signed_in_its_time_is_believed_once_it_is_retired(world: World) -> None:
    """So a host that begins at the root pin later is not stopped by a day that has gone by."""
    until = {**world.signer("developer"), "until": "2030-06-30"}
    start = world.commit(world.root, {SIGNERS: signers_file(*_all_but(world, "developer"), until)}, by="admin")
    last = by_developer(world, start)

    assert len(world.history.verify(world.base, ends(world, last, retired=last), today=dt.date(2035, 1, 1))) == 3


LATER = dt.date(2035, 1, 1)


@pytest.fixture
def expired(world: World) -> str:
    """A developer who may write trust, until a day that is over; gives the commit that said so."""
    return world.commit(world.root, {SIGNERS: trusting(world, "2030-06-30")}, by="admin")


def trusting(world: World, until: str | None, *more: dict[str, object], **ends: str) -> bytes:
    own = {**world.signer("developer"), "writes": ["**"], **({"until": until} if until else {})}
    listed = [ended("developer", world.keys["developer"], **ends)] if ends else []
    return signers_file(*_all_but(world, "developer"), *more, *([] if ends else [own]), ended=listed)


def refused_later(world: World, new: str, *, since: str | None = None) -> str:
    """By a host whose verified head is `since`, else by one that begins at the root; both say so."""
    start = world.history.judge(world.base, since)[1] if since else world.base
    for base in (start, world.base):
        with pytest.raises(Refused) as refused:
            world.history.verify(base, new, today=LATER, known=base is not world.base)
    assert refused.value.hint
    return refused.value.rule


@pytest.mark.parametrize("until", [None, "2099-12-31"])
def test_an_expired_key_gives_itself_no_more_time(world: World, expired: str, until: str | None) -> None:
    """Its parent's trust judges it too, and `trust explain` says so as hosts do."""
    new = world.commit(expired, {SIGNERS: trusting(world, until), VALUES: b"replicas: 9\n"}, by="developer")
    used = by_developer(world, new, 10)

    assert refused_later(world, new, since=expired) == "key-expired"
    assert refused_later(world, used, since=expired) == "key-expired"
    point = world.history.judge(world.base, expired)[1]
    now = trust_of({path: world.history.files[new][path] for path in (SIGNERS, BINDINGS)}, commit=new)
    said = explain(world.history.raw[new], point, blobs=world.history.blobs.get, today=LATER, now=now)
    assert [each.rule for each in said if not each.passes] == ["key-expired"]


@pytest.mark.parametrize("how", ["retired", "longer"])
def test_an_expired_key_is_not_vouched_for_by_a_signer_of_its_own_making(world: World, expired: str, how: str) -> None:
    """Who came into trust by the expired key says nothing for it, however often and whatever the way."""
    world.keys["puppet"] = new_key()
    puppet = world.signer("puppet")
    added = world.commit(expired, {SIGNERS: trusting(world, "2030-06-30", puppet)}, by="developer")
    more = {"retired": added} if how == "retired" else {}
    listed = trusting(world, None, puppet, **more)
    new = world.commit(added, {SIGNERS: listed}, by="puppet")

    assert refused_later(world, new, since=expired) == "key-expired"
    assert refused_later(world, world.commit(new, {VALUES: b"replicas: 9\n"}, by="puppet")) == "key-expired"


def test_two_expired_keys_do_not_vouch_for_each_other(world: World) -> None:
    """The one that got its time from the other is as good as the other."""
    one = {**world.signer("developer"), "writes": ["**"], "until": "2030-06-30"}
    two = {**world.signer("newcomer"), "until": "2030-06-30"}

    def says(one_until: str, two_until: str) -> bytes:
        return signers_file(*_all_but(world, "developer"), {**one, "until": one_until}, {**two, "until": two_until})

    start = world.commit(world.root, {SIGNERS: says("2030-06-30", "2030-06-30")}, by="admin")
    first = world.commit(start, {SIGNERS: says("2030-06-30", "2099-12-31")}, by="developer")
    new = world.commit(first, {SIGNERS: says("2099-12-31", "2099-12-31")}, by="newcomer")

    assert refused_later(world, new, since=start) == "key-expired"


@pytest.mark.parametrize("how", ["retired", "longer"])
def test_another_good_key_vouches_for_what_an_expired_one_signed(world: World, expired: str, how: str) -> None:
    """Also for whom the key had let in meanwhile, and whom those had: a host that begins at the root pin goes on."""
    let_in = world.commit(expired, {SIGNERS: trusting(world, "2030-06-30", world.signer("newcomer"))}, by="developer")
    by_newcomer = world.commit(let_in, {VALUES: b"replicas: 2\n"}, by="newcomer")
    more = {"retired": by_newcomer} if how == "retired" else {}
    new = world.commit(
        by_newcomer, {SIGNERS: trusting(world, "2099-12-31", world.signer("newcomer"), **more)}, by="admin"
    )
    after = world.commit(new, {VALUES: b"replicas: 3\n"}, by="newcomer")

    assert len(world.history.verify(world.base, after, today=LATER)) == 5
