"""What a receipt says of a decision, within its limits."""

from __future__ import annotations

from interlock.cd import receipt_facts, receipts
from interlock.cd.receipt_facts import agreed, rolled_back
from interlock.contract.approvals import Question, Weighed
from interlock.contract.repository import read
from interlock.contract.verification import Verified
from tests.examples_of_repositories import ENVIRONMENT, IMAGE, SOURCE_COMMIT, environment_tree
from tests.unit.cd.test_trace import NEW, OLD, chain, release, said

READS = "sha256:" + "e" * 64


def question(*given: Weighed) -> Question:
    return Question(
        environment="dev",
        commit="c" * 40,
        base=None,
        reads=READS,
        changed=(),
        authors=frozenset({"ada"}),
        outside=(),
        approvals=given,
        wanted=(),
        may=(),
    )


def test_only_approvals_that_count_are_told() -> None:
    """Sound ones, once, and nobody's for a change of their own."""
    ends = "2030-02-01T00:00:00Z"
    given = (
        Weighed("a", "ben", ends),
        Weighed("b", "ben", ends),
        Weighed("c", "ada", ends),
        Weighed("d", "cleo", ends, "it is over"),
    )

    (found,) = agreed(question(*given))

    assert (found.person, found.statement, found.until) == ("ben", READS, ends)
    assert agreed(None) == ()


def test_a_release_names_image_source_and_evidence() -> None:
    """What a trace needs of every component that was released."""
    environment = read(environment_tree()).environments[ENVIRONMENT]

    (found,) = receipt_facts.releases(environment)

    assert (found.application, found.component, found.image, found.source.commit) == (
        "shop",
        "web",
        IMAGE,
        SOURCE_COMMIT,
    )


def test_long_lists_are_cut_and_counted() -> None:
    """The newest commits are told, and how many there were beyond."""
    environment = read(environment_tree()).environments[ENVIRONMENT]
    verified = [Verified(f"{number:040x}", "ada", "SHA256:x", "s", ()) for number in range(receipts.MOST_COMMITS + 7)]

    found = receipt_facts.facts(environment, "c" * 40, verified, ())

    commits = found["commits"]
    assert isinstance(commits, tuple) and len(commits) == receipts.MOST_COMMITS
    assert commits[0].commit == verified[-1].commit
    assert found["more"] == {"commits": 7}


def test_going_back_to_an_image_is_a_rollback() -> None:
    """Only to one that the environment had and left; a new one, or the same, is none."""
    old, new = release(OLD, "5"), release(NEW, "6")
    history = chain(
        said("intent", "a"),
        said("result", "a", outcome="healthy", releases=(old,)),
        said("intent", "b"),
        said("result", "b", outcome="healthy", releases=(new,)),
    )

    assert rolled_back([old], history) == (f"shop/web to {OLD}",)
    assert rolled_back([new], history) == ()
    assert rolled_back([release(OLD.replace("1a", "3c"), "7")], history) == ()
    assert rolled_back([old], history[:2]) == ()
