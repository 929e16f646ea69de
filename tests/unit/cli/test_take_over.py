"""What `interlock take-over` writes into environment.yaml."""

from __future__ import annotations

import pytest

from interlock.cli.take_over import extended
from interlock.contract.models import TakeOver

HEAD = "# ours\nformat: 1\nid: 0123456789ab   # never changes\n"
NEW = TakeOver(kind="ConfigMap", name="c", namespace="shop", managers=("pulumi",))
ADDED = "  - kind: ConfigMap\n    name: c\n    namespace: shop\n    managers:\n      - pulumi\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD, f"{HEAD}take_over:\n{ADDED}"),
        (f"{HEAD}take_over: []\ndrift: undo\n", f"{HEAD}drift: undo\ntake_over:\n{ADDED}"),
        (
            f"{HEAD}take_over:\n  # old\n  - kind: Job\n    name: j\ndrift: undo  # yes\n",
            f"{HEAD}take_over:\n  # old\n  - kind: Job\n    name: j\n{ADDED}drift: undo  # yes\n",
        ),
        (
            f"{HEAD}take_over:\n- kind: Job\n  name: j\n",
            f"{HEAD}take_over:\n- kind: Job\n  name: j\n{ADDED.replace(chr(10) + '  ', chr(10))[2:]}",
        ),
    ],
)
def test_entries_are_added_and_the_other_lines_stay(before: str, after: str) -> None:
    """Comments too; a list that is there grows at its end, in its own indentation."""
    assert extended(before, [NEW], path="environment.yaml") == after


def test_an_entry_that_is_there_is_not_added_again() -> None:
    """The command may be run twice."""
    once = extended(HEAD, [NEW], path="environment.yaml")
    assert extended(once, [NEW], path="environment.yaml") == once


def test_a_list_in_flow_style_is_written_anew() -> None:
    """What cannot be added to line by line keeps its meaning."""
    text = extended(f"{HEAD}take_over: [{{kind: Job, name: j}}]\n", [NEW], path="environment.yaml")
    assert "name: j\n" in text
    assert text.endswith(ADDED)
