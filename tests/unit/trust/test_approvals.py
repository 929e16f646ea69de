"""Which approvals count, for what, and how many are missing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from interlock.contract import approvals, effects, layout, signature, strict_yaml, trailers, verification
from interlock.contract.approvals import Question
from interlock.contract.trailers import Trailers
from interlock.errors import FormatError, Refused
from tests.unit.trust.approved import NOW, PROD, SHARED, TEMPLATE, VALUES, Place
from tests.unit.trust.history import new_key, signer


def the(found: Question | None) -> Question:
    assert found is not None
    return found


def why(place: Place, deployed: str | None, now: dt.datetime = NOW) -> str:
    """Why the one approval there does not count."""
    (weighed,) = the(place.ask(deployed=deployed, now=now)).approvals
    return weighed.problem


def test_a_change_waits_until_somebody_else_has_approved_it() -> None:
    """One who has not made the change agrees, and the environment may become what it reads."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})

    found = the(place.ask(deployed=deployed))
    assert found.wanted == ("1 approval of ada, ben, cleo",)
    assert (found.may, set(found.authors), found.changed) == (("ada", "ben", "cleo"), {"dora"}, (VALUES,))

    place.approve("ben", deployed=deployed)
    found = the(place.ask(deployed=deployed))
    assert (found.answered, found.counting) == (True, ("ben",))


def test_what_reads_the_same_waits_for_nobody() -> None:
    """Approvals, another environment, evidence and a change that was taken back ask for no approval."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    place.approve("ben", deployed=deployed)
    place.push({VALUES: b"greeting: hello\n"})
    place.push({"environments/dev/shop/values.yaml": b"greeting: ho\n"})
    place.push({layout.evidence("prod", "shop", "web", "sha256:" + "1" * 64): b"{}"})

    assert place.ask(deployed=deployed) is None


@pytest.mark.parametrize(
    "path",
    [SHARED, TEMPLATE, layout.application("shop"), layout.environment("prod"), layout.ENVIRONMENTS, layout.RULES],
)
def test_it_is_the_effect_that_asks(path: str) -> None:
    """A template, a shared value, a default or a rule changes the environment, whatever folder it lies in."""
    place = Place()
    deployed = place.head
    before = place.tree(deployed).files.get(path, b"format: 1\n")
    place.push({path: before + b"# other\n"})

    assert the(place.ask(deployed=deployed)).changed == (path,)


def test_nobody_approves_their_own_change() -> None:
    """Whoever signed a commit of the range, or is named as its author, does not count for it."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"}, by="ben", message="Change\n\nCo-authored-by: Cleo C <cleo@example.org>")
    for name in ("ben", "cleo"):
        place.approve(name, deployed=deployed)

    found = the(place.ask(deployed=deployed))
    assert (set(found.authors), found.wanted, found.may) == ({"ben", "cleo"}, ("1 approval of ada",), ("ada",))
    place.approve("ada", deployed=deployed)
    assert place.answered(deployed=deployed)


def test_nobody_approves_the_release_of_their_own_source() -> None:
    """Whoever wrote a source commit that a release brings, or signed it, does not count: CI names them."""
    place = Place()
    deployed = place.head
    key = signature.fingerprint(place.keys["cleo"].public)
    brought = Trailers(
        *("shop", "5" * 40, "run-1", "sha256:" + "2" * 64, "web"),
        authors=("Ben B <ben@example.org>", "Some\nbody <x>"),
        source_keys=(key,),
    )
    release = "environments/prod/shop/release.yaml"
    place.push({release: b"components: {}\n"}, by="ada", message=trailers.message("Release web to prod", brought))
    for name in ("ben", "cleo"):
        place.approve(name, deployed=deployed)

    found = the(place.ask(deployed=deployed))
    assert set(found.authors) == {"ada", "ben", "cleo"}
    assert found.wanted == ("1 approval of nobody: all of the pool have made the change themselves",)


def test_who_changed_only_something_else_may_approve() -> None:
    """A commit that changes nothing of the environment makes nobody its author."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    place.push({"environments/dev/shop/values.yaml": b"greeting: ho\n"}, by="ben")
    place.approve("ben", deployed=deployed)

    assert place.answered(deployed=deployed)


def test_people_count_and_files_do_not() -> None:
    """Two files of one person are one approval."""
    place = Place({"required": 2})
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    path = place.approve("ben", deployed=deployed)
    place.push({path.replace("ben", "other"): place.tree(place.head).files[path]})

    found = the(place.ask(deployed=deployed))
    assert (len(found.approvals), found.counting, found.wanted) == (2, ("ben",), ("1 approval of ada, ben, cleo",))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"repository": "9" * 12}, "of another repository or branch"),
        ({"branch": "next"}, "of another repository or branch"),
        ({"environment": "9" * 12}, "of another environment"),
        ({"base": None}, "was given when nothing was deployed"),
        ({"base": "9" * 40}, "was given when 999999999999 was deployed"),
        ({"ends": "2030-01-02T12:00:00Z"}, "ended at 2030-01-02T12:00:00Z"),
        ({"given": "2030-01-02T12:06:00Z"}, "is of 2030-01-02T12:06:00Z, which is still to come"),
        ({"ends": "2030-01-09T12:00:00Z"}, "lasts longer than the rule allows"),
    ],
)
def test_an_approval_is_of_one_place_one_step_and_a_time(other: dict[str, Any], expected: str) -> None:
    """One that was given for something else does not count, and it is said why."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    place.approve("ben", deployed=deployed, **other)

    assert why(place, deployed) == expected


def test_an_approval_of_another_state_says_nothing_of_this_one() -> None:
    """What was approved and changed afterwards is not approved."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    place.approve("ben", deployed=deployed)
    place.push({SHARED: b"replicas: 9\n"})

    found = the(place.ask(deployed=deployed))
    assert (found.answered, found.approvals) == (False, ())


def test_an_approval_is_spent_with_what_it_was_given_for() -> None:
    """What was approved once, and replaced since, does not come back by the approval of then."""
    place = Place()
    first = place.head
    second = place.push({VALUES: b"greeting: bye\n"})
    path = place.approve("ben", deployed=first)
    assert place.answered(deployed=first)
    third = place.push({VALUES: b"greeting: hello\n", path: None})
    place.push({VALUES: b"greeting: bye\n", path: place.tree(place.history.parents[third][0]).files[path]})

    assert place.tree(third).files == place.tree(first).files
    assert why(place, third) == f"was given when {first[:12]} was deployed"
    assert second != place.head


def test_other_commits_since_do_not_spend_an_approval() -> None:
    """While the environment reads the same, it does not matter which commit is deployed."""
    place = Place()
    deployed = place.head
    later = place.push({"environments/dev/shop/values.yaml": b"greeting: ho\n"})
    place.push({VALUES: b"greeting: bye\n"})
    place.approve("ben", deployed=deployed)
    place.approve("cleo", deployed=later)

    assert the(place.ask(deployed=later)).counting == ("ben", "cleo")


def test_only_the_giver_s_own_key_makes_an_approval() -> None:
    """Another signer's key, a stranger's, or a changed statement make none."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    path = place.approve("ben", deployed=deployed, key=place.keys["dora"])
    assert why(place, deployed).startswith("not signed by a key of ben: signed by a key that nobody here holds")

    good = place.tree(place.history.parents[place.head][0])
    assert path not in good.files
    place.approve("ben", deployed=deployed)
    later = place.tree(place.head).files[path].replace(b"T13:00:00Z", b"T14:00:00Z")
    place.push({path: later})
    assert why(place, deployed).startswith("not signed by a key of ben: the signature does not fit")


def test_a_commit_s_signature_is_no_approval() -> None:
    """A signature of another purpose over the same words does not count."""
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    given = approvals.Approval.model_validate(place.right("ben", deployed))
    armored = signature.sign(place.keys["ben"].private, approvals.statement(given))
    place.push({layout.approval("prod", "ben", given.reads, deployed): approvals.write(given, armored)})

    assert "namespace" in why(place, deployed)


def test_a_rule_is_loosened_only_with_the_approvals_that_it_asks_for() -> None:
    """The rule that is deployed holds for the commit that takes it away, and the keys of then."""
    place = Place({"required": 2})
    deployed = place.head
    thief = new_key()
    place.push({layout.SIGNERS: place.signers(None), VALUES: b"greeting: evil\n"})
    assert the(place.ask(deployed=deployed)).wanted == ("2 approvals of ada, ben, cleo",)

    place.push({layout.SIGNERS: place.signers({"required": 1}, ben=thief, eve=thief and new_key())})
    place.keys["ben"] = thief
    place.approve("ben", deployed=deployed)
    found = the(place.ask(deployed=deployed))
    assert found.approvals[0].problem == "ben did not have this key when the environment was deployed last"
    assert not found.answered


def test_a_rule_goes_as_it_came() -> None:
    """With the approval that it asks for it is taken away, while its approver is still a signer."""
    place = Place({"required": 1, "approvers": ["ben"]})
    deployed = place.head
    place.push({layout.SIGNERS: place.signers(None)}, by="ada")
    place.approve("ben", deployed=deployed)

    assert place.answered(deployed=deployed)


def test_a_stricter_rule_holds_at_once() -> None:
    """A commit that brings a rule is judged by it."""
    place = Place()
    before = place.push({layout.SIGNERS: place.signers(None)})
    place.push({layout.SIGNERS: place.signers({"required": 2})})
    place.approve("ben", deployed=before)

    assert the(place.ask(deployed=before)).wanted == ("1 approval of ada, ben, cleo",)


def test_trust_that_concerns_nobody_here_asks_for_nothing() -> None:
    """A signer who neither approves nor releases here, and may write nothing of it, is added without an approval."""
    place = Place()
    deployed = place.head
    place.push({layout.SIGNERS: letting_in(place, "environments/dev/**", "environments/prod2/**")}, by="ada")

    assert place.ask(deployed=deployed) is None


def letting_in(place: Place, *writes: str, machine: bool = False) -> bytes:
    """The trust of now, and zed."""
    place.keys.setdefault("zed", new_key())
    value = strict_yaml.load(place.tree(place.head).text(layout.SIGNERS), path="").value
    assert isinstance(value, dict)
    signers = [*value["signers"], signer("zed", place.keys["zed"], *writes, machine=machine)]
    return strict_yaml.dump({**value, "signers": signers}).encode()


@pytest.mark.parametrize("writes", ["**", "*/*/shop/*", "environments/prod/shop/values.yaml", "templates/service/**"])
def test_whom_an_approver_lets_in_is_agreed_to_first(writes: str) -> None:
    """Who may write anything that the environment reads is part of it, so that nobody approves their own puppet's
    change.
    """
    place = Place()
    deployed = place.head
    let_in = place.push({layout.SIGNERS: letting_in(place, writes)}, by="ben")
    place.approve("ben", deployed=deployed)
    found = the(place.ask(deployed=deployed))
    assert (found.changed, found.wanted) == (("trust/signers.yaml: zed",), ("1 approval of ada, cleo",))

    place.push({VALUES: b"greeting: evil\n"}, by="zed")
    place.approve("ben", deployed=deployed)
    assert not place.answered(deployed=deployed)
    assert let_in != deployed


def test_a_second_key_of_somebody_else_is_agreed_to_first() -> None:
    """An approver who gives a key of their own to one who only writes has made a puppet as well."""
    place = Place()
    deployed = place.head
    place.keys["dora"] = new_key()
    place.head = place.history.commit(place.head, {layout.SIGNERS: place.signers(place.rule)}, by=place.keys["ben"])
    place.approve("ben", deployed=deployed)

    assert the(place.ask(deployed=deployed)).changed == ("trust/signers.yaml: dora",)
    assert not place.answered(deployed=deployed)


def test_the_first_deploy_waits_too() -> None:
    """While nothing is deployed an approval says so."""
    place = Place()
    place.approve("ben", deployed=None)

    assert the(place.ask(deployed=None)).counting == ("ben",)
    assert place.answered(deployed=None)


def test_a_rule_holds_from_before_the_first_deploy_on() -> None:
    """Who may write trust does not take it away, or name other people, together with bringing what it is about."""
    place = Place({"required": 2})
    place.push({layout.SIGNERS: place.signers(None), VALUES: b"greeting: evil\n"}, by="ada")
    assert the(place.ask(deployed=None)).wanted == ("2 approvals of ben, cleo",)

    thief = new_key()
    place.push({layout.SIGNERS: place.signers({"required": 2}, ben=thief)}, by="ada")
    place.keys["ben"] = thief
    for name in ("ben", "cleo"):
        place.approve(name, deployed=None)
    found = the(place.ask(deployed=None))
    assert not found.answered
    assert any("whose rule holds still" in each.problem for each in found.approvals if each.approver == "ben")


def test_a_newer_root_pin_leaves_older_rules_behind() -> None:
    """It is the way out when nobody has the keys of then any more; what is above it holds still."""
    place = Place({"required": 2})
    root = place.push({layout.SIGNERS: place.signers({"required": 1})}, by="ada")

    assert the(place.ask(deployed=None)).wanted == ("2 approvals of ben, cleo", "1 approval of ben, cleo")
    assert the(place.ask(deployed=None, root=root)).wanted == ("1 approval of ben, cleo",)
    place.push({layout.SIGNERS: place.signers(None)}, by="ada")
    assert the(place.ask(deployed=None, root=root)).wanted == ("1 approval of ben, cleo",)


def test_a_newer_root_pin_leaves_what_is_deployed_behind() -> None:
    """Where nobody who counts has a key of then any more, it is said so; who keeps the host moves the pin forward."""
    place = Place({"required": 1, "approvers": ["ben"]})
    deployed = place.head
    place.keys["ben"] = new_key()
    root = place.push({layout.SIGNERS: place.signers(place.rule)}, by="ada")

    found = the(place.ask(deployed=deployed))
    assert (found.stuck, found.may) == (True, ())
    assert found.wanted == ("1 approval of nobody: ben had other keys at a commit whose rule holds",)
    place.approve("ben", deployed=deployed)
    assert not place.answered(deployed=deployed)
    assert not place.answered(deployed=deployed, root=place.history.parents[root][0])
    assert place.answered(deployed=deployed, root=root)


def test_what_can_be_agreed_to_still_is_not_stuck() -> None:
    """A key that was there before beside the new one counts, and so do those of others."""
    place = Place({"required": 2})
    deployed = place.head
    place.keys["ben"] = new_key()
    place.push({layout.SIGNERS: place.signers(place.rule)}, by="dora")

    found = the(place.ask(deployed=deployed))
    assert (found.stuck, found.may) == (False, ("ada", "cleo"))


def test_a_rule_of_a_commit_that_was_taken_back_never_holds() -> None:
    """Else whoever may push makes an environment wait for people who are nobody's."""
    place = Place({"required": 1})
    root = place.head
    place.push({layout.SIGNERS: place.signers({"required": 3})}, by=None)
    back = {layout.SIGNERS: place.tree(root).files[layout.SIGNERS]}
    place.push(back, by="ada", message=f"Undo\n\n{verification.RECOVERY}: {root}")

    assert the(place.ask(deployed=None, root=root)).wanted == ("1 approval of ben, cleo",)


def test_who_may_change_it_binds_by_effect() -> None:
    """A shared template that somebody else signs waits for one who may change the environment."""
    place = Place({"required": 0, "signers": ["ada"]})
    deployed = place.head
    changed = place.push({TEMPLATE: b"kind: Secret\n"}, by="ben")

    found = the(place.ask(deployed=deployed))
    assert found.outside == (f"{changed[:12]} by ben",)
    assert (found.wanted, found.may) == (("the approval of one who may change it (ada)",), ("ada",))
    place.approve("cleo", deployed=deployed)
    assert not place.answered(deployed=deployed)
    place.approve("ada", deployed=deployed)
    assert place.answered(deployed=deployed)


def test_who_may_change_it_needs_no_approval_of_their_own() -> None:
    """What the environment's own signers sign goes on at once where nobody has to approve."""
    place = Place({"required": 0, "signers": ["ada"]})
    deployed = place.head
    place.push({TEMPLATE: b"kind: Secret\n"}, by="ada")

    assert place.answered(deployed=deployed)


def test_what_a_recovery_takes_back_makes_no_author() -> None:
    """Commits that were refused and undone do not count for or against anybody."""
    place = Place({"required": 0, "signers": ["ada"]})
    deployed = place.head
    place.push({VALUES: b"greeting: evil\n"}, by=None)
    place.push({VALUES: b"greeting: hello\n"}, by="ben", message=f"Undo\n\n{verification.RECOVERY}: {deployed}")
    place.push({VALUES: b"greeting: bye\n"}, by="ada")

    assert the(place.ask(deployed=deployed)).outside == ()
    assert place.answered(deployed=deployed)


def test_a_person_may_bring_their_own_approval_and_nobody_else_s() -> None:
    """Whatever a signer's paths are, they include the signer's own approvals, to add and not to delete."""
    place = Place()
    point = place.history.point(place.head, place.keys["ada"])
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n"})
    path = place.approve("ben", deployed=deployed)
    place.history.verify(point, place.head)

    for by, changes in (("ada", {path: b"{}"}), ("ben", {path: None}), ("ben", {"approvals/prod/ben.txt": b""})):
        head = place.history.commit(place.head, changes, by=place.keys[by])
        with pytest.raises(Refused) as refused:
            place.history.verify(point, head)
        assert refused.value.rule == "path-scope"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"{" * 100_000, b'{"approval": {}, "signature": ""}', b"\xff"])
def test_what_is_no_approval_is_said_to_be_none(data: bytes) -> None:
    """Bytes of anybody's in an approval's place are one clear problem, and change nothing else."""
    with pytest.raises(FormatError):
        approvals.read(data, path="approvals/prod/x.json")
    place = Place()
    deployed = place.head
    place.push({VALUES: b"greeting: bye\n", "approvals/prod/x.json": data})
    place.approve("ben", deployed=deployed)
    assert place.answered(deployed=deployed)


def test_a_written_approval_is_read_again() -> None:
    """What `write` makes, `read` takes, to the letter."""
    place = Place()
    path = place.approve("ben", deployed=None)
    given = approvals.read(place.tree(place.head).files[path], path=path)

    assert (given.approval.approver, given.approval.environment) == ("ben", PROD)
    assert approvals.write(given.approval, given.signature) == place.tree(place.head).files[path]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"required": 4}, "4 have to agree, and there is only ada, ben, cleo"),
        ({"approvers": ["dora"]}, "'dora' is not in the approvers' pool"),
        ({"signers": ["eve"]}, "no signer is named 'eve'"),
        ({"required": -1}, "required"),
    ],
)
def test_a_rule_that_nobody_could_satisfy_is_an_error(rule: dict[str, object], expected: str) -> None:
    """It names the file, the line and what is wrong, and such a commit is refused."""
    place = Place()
    point = place.history.point(place.head, place.keys["ada"])
    head = place.push({layout.SIGNERS: place.signers(rule)}, by="ada")

    with pytest.raises(Refused, match=expected) as refused:
        place.history.verify(point, head)
    assert refused.value.rule == "trust-change"


def test_every_kind_of_read_has_its_name() -> None:
    """What an environment reads is told by path, or by the part of a file that is about it."""
    place = Place()

    assert tuple(effects.reads(place.tree(place.head), "prod")) == (
        SHARED.replace("values", "application"),
        SHARED,
        layout.ENVIRONMENTS,
        layout.environment("prod"),
        VALUES,
        "policy/gate.yaml: rules for prod",
        TEMPLATE,
        "trust/signers.yaml: ada",
        "trust/signers.yaml: approvals for prod",
        "trust/signers.yaml: ben",
        "trust/signers.yaml: cleo",
        "trust/signers.yaml: dora",
    )
