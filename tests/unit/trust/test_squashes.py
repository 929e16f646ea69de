"""What a forge squashed and signed passes where its reviews vouch for it, and nowhere else."""

from __future__ import annotations

import datetime as dt

import pytest

from interlock.contract import strict_yaml, verification
from interlock.contract.models import Account, SignersFile
from interlock.contract.reviews import Review
from interlock.errors import FormatError, Refused
from tests.unit.trust.history import BINDINGS, SIGNERS, release_file
from tests.unit.trust.squashed import FORGE, POLICY, VALUES, Squashed, account

CHANGE = {VALUES: b"a: 2\n"}


def refusal(place: Squashed, new: str, *, known: bool = False) -> Refused:
    with pytest.raises(Refused) as refused:
        place.verify(new, known=known)
    return refused.value


def test_a_reviewed_request_passes() -> None:
    """One of the pool who may write all of it has reviewed its newest commit, and is none of its authors."""
    place = Squashed()
    made = place.squash(place.root, CHANGE, "cleo", "ben")

    (passed,) = place.verify(made)
    assert (passed.signer, sorted(passed.vouched)) == ("forge", ["ben", "cleo"])


def test_only_what_a_forge_signed_is_asked_of_one() -> None:
    """A person's commits need nobody's word."""
    place = Squashed()
    one = place.history.commit(place.root, CHANGE, by=place.keys["dora"])
    made = place.squash(one, {VALUES: b"a: 3\n"}, "cleo")
    place.verify(place.history.commit(made, {VALUES: b"a: 4\n"}, by=place.keys["dora"]))

    assert place.asked == [made]


def test_who_asks_no_forge_takes_nothing_that_one_has_signed() -> None:
    """So does the hook of a git server, and a host that names no forge."""
    place = Squashed()
    made = place.squash(place.root, CHANGE, "cleo")

    with pytest.raises(Refused, match="whose reviews are not asked for here") as refused:
        place.history.judge(place.base(), made)
    assert refused.value.rule == "squash"


def test_without_a_review_it_does_not_pass() -> None:
    """However good its signature."""
    place = Squashed()
    found = refusal(place, place.squash(place.root, CHANGE))

    assert (found.rule, "there is none" in found.message) == ("squash", True)


@pytest.mark.parametrize("name", ["dora", "eve"])
def test_a_reviewer_out_of_the_pool_vouches_for_nothing(name: str) -> None:
    """Who may write it is not yet one of those who approve."""
    place = Squashed()

    assert (
        "nobody of the approvers' pool" in refusal(place, place.squash(place.root, CHANGE, name, author="ben")).message
    )


def test_one_reviewer_may_write_all_of_it() -> None:
    """cleo, who writes no policy, does not vouch for it; ben does."""
    place = Squashed()
    changes = {**CHANGE, POLICY: b"format: 1\n# \n"}

    assert "nobody may write all" in refusal(place, place.squash(place.root, changes, "cleo")).message
    assert place.verify(place.squash(place.root, changes, "cleo", "ben"))


def test_nobody_vouches_for_a_request_of_their_own() -> None:
    """Who opened it, signed a commit of it, or is named by one."""
    place = Squashed()
    opened = place.squash(place.root, CHANGE, "ben", author="ben", message="Opened by ben")
    signed = place.squash(place.root, CHANGE, "ben", by="ben")
    named = place.squash(place.root, CHANGE, "ben", message="Change\n\nCo-authored-by: Ben <ben@example.org>")

    assert "the reviewer's own" in refusal(place, opened).message
    for each in (signed, named):
        assert "ben is one of its authors" in refusal(place, each).message


def test_a_request_of_nobody_known_is_vouched_for_by_nobody() -> None:
    """It may be the reviewer's, by another account."""
    place = Squashed()
    made = place.squash(place.root, CHANGE, "ben")
    place.otherwise(made, author=Account(forge=FORGE, name="ben-2", id=22))

    assert "may be the reviewer" in refusal(place, made).message


def test_a_review_of_an_older_head_vouches_for_nothing() -> None:
    """What was pushed to the request afterwards was not seen."""
    place = Squashed()
    made = place.squash(place.root, CHANGE)
    place.otherwise(made, reviews=(Review(account("ben"), "1" * 40, dt.datetime(2029, 12, 1, tzinfo=dt.UTC)),))

    assert "was pushed afterwards" in refusal(place, made).message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"squashed": ""}, "the forge made no commit of request 7"),
        ({"squashed": "e" * 40}, "the forge made eeeeeeeeeeee of request 7, not this"),
        ({"tree": "e" * 40}, "does not hold the files of request 7"),
        ({"onto": False}, "had not what was on the branch before it"),
    ],
)
def test_it_is_just_what_was_reviewed(fields: dict[str, object], said: str) -> None:
    """The commit that the forge made of the request, with the files of its newest one, and nothing else below."""
    place = Squashed()
    made = place.squash(place.root, CHANGE, "ben")
    place.otherwise(made, **fields)

    assert said in refusal(place, made).message


def test_a_forge_writes_nothing_of_trust() -> None:
    """Whatever its `writes` say and whoever has reviewed it: else it could let anybody in."""
    place = Squashed()
    for path, data in ((SIGNERS, place.signers()), (BINDINGS, b"format: 1\nbindings: []\n")):
        made = place.squash(place.root, {path: data + b"# \n"}, "ada", "ben")
        assert (found := refusal(place, made)).rule == "path-scope"
        assert "says nothing of who is trusted" in found.message


def test_a_forge_writes_only_what_it_may() -> None:
    """Its own `writes` hold beside those of the reviewers; CI's releases may be among it."""
    place = Squashed()
    release = "environments/dev/shop/release.yaml"
    assert place.verify(place.squash(place.root, {release: release_file(web="1")}, "ben"))

    value = strict_yaml.load(place.signers().decode(), path="").value
    assert isinstance(value, dict)
    value["signers"][-1]["writes"] = ["policy/**"]
    narrow = strict_yaml.dump(value).encode()
    at = place.history.commit(place.root, {SIGNERS: narrow}, by=place.keys["ada"])
    assert refusal(place, place.squash(at, CHANGE, "ben")).rule == "path-scope"


def test_a_right_that_was_taken_away_vouches_for_nothing_new() -> None:
    """By the new head as well: who reviewed may write it there still."""
    place = Squashed()
    made = place.squash(place.root, CHANGE, "cleo")
    head = place.history.commit(made, {SIGNERS: place.signers(cleo=("policy/**",))}, by=place.keys["ada"])

    assert place.verify(head)
    assert refusal(place, head, known=True).rule == "squash"


def test_the_verified_head_is_judged_again() -> None:
    """With the reviews that vouched for it."""
    place = Squashed()
    made = place.squash(place.root, CHANGE, "cleo")
    head, trust = place.history.raw[made], place.base().trust

    verification.verify_head(head, parent=place.base(), trust=trust, blobs=place.history.blobs.get, vouch=place.vouch)
    place.otherwise(made, reviews=())
    with pytest.raises(Refused, match="would not pass any more"):
        verification.verify_head(
            head, parent=place.base(), trust=trust, blobs=place.history.blobs.get, vouch=place.vouch
        )


def test_a_forge_recovers_nothing() -> None:
    """A recovery is an approver's own."""
    place = Squashed()
    bad = place.history.commit(place.root, CHANGE, by=None)
    message = f"Recover\n\n{verification.RECOVERY}: {place.root}"
    made = place.squash(bad, {VALUES: b"a: 1\n"}, "ada", message=message)

    assert refusal(place, made).rule == "recovery"


def test_explain_says_that_a_forge_has_to_be_asked() -> None:
    """In a clone nobody can tell."""
    place = Squashed()
    made = place.squash(place.root, CHANGE, "cleo")

    found = verification.explain(
        place.history.raw[made], place.base(), blobs=place.history.blobs.get, today=dt.date(2030, 1, 1)
    )
    assert {each.rule: each.passes for each in found}["squash"] is None


@pytest.mark.parametrize("more", [{"machine": False}, {"approves": True}])
def test_a_forge_is_a_machine_that_approves_nothing(more: dict[str, object]) -> None:
    """The file is refused otherwise."""
    place = Squashed()
    value = strict_yaml.load(place.signers().decode(), path=SIGNERS).value
    assert isinstance(value, dict)
    value["signers"][-1] |= more

    with pytest.raises(FormatError, match="a forge is a machine"):
        strict_yaml.parse(strict_yaml.dump(value), SignersFile, path=SIGNERS)
