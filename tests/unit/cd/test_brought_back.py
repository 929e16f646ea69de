"""Whose word brings an earlier release back: a person's, and no machine's, whatever else a commit touches."""

from __future__ import annotations

from dataclasses import replace

from interlock.cd.proofs import Change, Entries, brought, changers, went_back
from interlock.contract import repository
from interlock.contract.models import ReleasedComponent, Source
from tests import examples_of_evidence as proof
from tests import examples_of_repositories as example

WEB = ("shop", "web")
CI, ADA = Change("ci-shop"), Change("ada")
LATER = "2031-01-01T00:00:00Z"
READ = repository.read(proof.tree())


def entry(digit: str) -> ReleasedComponent:
    source = Source(repository="shop", commit=digit * 40)
    image = f"{example.IMAGE_REPOSITORY}@sha256:{digit * 64}"
    return ReleasedComponent(image=image, source=source, evidence=f"sha256:{digit * 64}")


def test_who_changed_an_entry_last_is_asked_not_who_changed_the_file() -> None:
    """A person's commit to another component of the same file does not make a machine's release a person's."""
    start = {"web": entry("1"), "api": entry("1")}
    by_ci = {**start, "web": entry("2")}
    by_ada = {**by_ci, "api": entry("3")}

    assert signers(start, ("ci-shop", by_ci), ("ada", by_ada)) == {"web": "ci-shop", "api": "ada"}
    assert signers(start, ("ci-shop", by_ci), ("ada", start)) == {"web": "ada"}
    assert signers({}, ("ci-shop", start)) == {"web": "ci-shop", "api": "ci-shop"}
    assert signers(start, ("ada", start)) == {}


def changed(start: Entries, *steps: tuple[str, Entries]) -> dict[str, Change]:
    numbered = [(signer, f"c{number}", after) for number, (signer, after) in enumerate(steps, 1)]
    return changers(start, numbered, at="c0", people=frozenset({"ada"}))


def signers(start: Entries, *steps: tuple[str, Entries]) -> dict[str, str]:
    return {name: change.signer for name, change in changed(start, *steps).items()}


def test_all_that_machines_put_away_since_a_persons_change_counts() -> None:
    """Two small steps back are one; a person's change begins anew."""
    first, second, third = ({"web": entry(digit)} for digit in "123")

    assert changed(third, ("ci-shop", first), ("ci-shop", second))["web"].stood == (
        ("c0", entry("3")),
        ("c1", entry("1")),
    )
    assert changed(third, ("ci-shop", first), ("ada", second))["web"] == Change("ada")
    assert changed(third, ("ada", first), ("ci-shop", second))["web"].stood == (("c1", entry("1")),)


def test_a_machine_does_not_go_back_and_a_person_may() -> None:
    """A machine that is no signer any more is still no person."""
    removed = replace(READ, signers=tuple(each for each in READ.signers if not each.machine))

    for read in (READ, removed):
        assert [*went_back(read, "dev", before={WEB: LATER}, by={WEB: CI})] == [example.IMAGE]
    assert not went_back(READ, "dev", before={WEB: LATER}, by={WEB: ADA})
    assert not went_back(READ, "dev", before={WEB: LATER}, by={})
    assert not went_back(READ, "dev", before={WEB: "2030-01-01T00:00:00Z"}, by={WEB: CI})


def test_what_a_machine_brings_is_not_known_by_having_run_once() -> None:
    """Its digest is named, so that a mark keeps it out; a person's rollback, and what nobody changed, is not."""
    assert brought(READ, "dev", {WEB: CI}) == {example.IMAGE.partition("@")[2]}
    assert not brought(READ, "dev", {WEB: ADA})
    assert not brought(READ, "dev", {})
