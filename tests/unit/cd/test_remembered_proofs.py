"""What a host remembers of evidence is kept whole, whichever runs write it."""

from __future__ import annotations

from pathlib import Path

from interlock.cd.proofs import read_memory
from tasks.cd.proofs import note_deployed, read_deployed, remember
from tests import examples_of_evidence as proof
from tests.examples_of_evidence import CRITICAL
from tests.unit.cd.test_chain import DIGEST, links, proven


def test_a_run_that_began_before_a_mark_does_not_take_it_away(tmp_path: Path) -> None:
    """It read an empty memory, judged, and writes after the run that saw the mark."""
    file = tmp_path / "evidence" / "dev.json"
    slow = proven(proof.tree()).memory
    remember(file, proven(proof.tree(changes=proof.rescanned(CRITICAL))).memory)

    remember(file, slow)

    kept = read_memory(file.read_bytes())
    assert links(proven(proof.tree(), memory=kept)) == ["scan"]
    assert kept.passed == slow.passed


def test_what_was_deployed_is_added_to_what_is_there(tmp_path: Path) -> None:
    """The newest last; what is there already moves to the end only with something new."""
    note_deployed(tmp_path, "dev", ["a", "b"])
    note_deployed(tmp_path, "dev", iter(["a", DIGEST]))

    assert read_deployed(tmp_path, "dev") == ["b", "a", DIGEST]
