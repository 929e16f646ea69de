"""The page of threats is what the tests of threats say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.threats import page

WHOLE = '''"""Somebody does something.

Number: 4, 23
Defence: a wall,
which is high.
Not defended: a ladder.
"""

def test_it_succeeds_without_a_wall() -> None: ...

async def test_it_is_refused() -> None: ...
'''
BROKEN = {
    "no docstring": (WHOLE.rpartition('"""')[2], "begins with a sentence"),
    "no sentence": (WHOLE.replace("something.", "something"), "begins with a sentence"),
    "no defence": (WHOLE.replace("Defence: a wall,\nwhich is high.\n", ""), "no 'Defence'"),
    "nothing said of the rest": (WHOLE.replace(" a ladder.", ""), "no 'Not defended'"),
    "a field twice": (WHOLE.replace("Not defended", "Defence"), "'Defence' twice"),
    "another text": (WHOLE.replace("Number: 4, 23", "See: the moon"), "after its sentence"),
    "an unknown number": (WHOLE.replace("23", "27"), "no threat number 27"),
    "a number in words": (WHOLE.replace("23", "many"), "'4, many'"),
    "no attack": (WHOLE.replace("succeeds", "ends"), "shows the attack with the defence taken out"),
    "no refusal": (WHOLE.replace("is_refused", "succeeds"), "shows the attack refused"),
}


def test_the_page_is_what_the_files_say() -> None:
    """Every file has its form and both kinds of test, and docs/threats.md is made from them."""
    assert page.PAGE.read_text() == page.page(), "run: python -m tests.threats"


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """Its sentence, numbers, fields over several lines, and tests of both kinds."""
    path = tmp_path / "test_wall.py"
    path.write_text(WHOLE)

    assert page.threats(tmp_path) == (
        page.Threat(
            "test_wall.py",
            "Somebody does something.",
            (4, 23),
            "a wall, which is high.",
            "a ladder.",
            ("test_it_succeeds_without_a_wall", "test_it_is_refused"),
        ),
    )
    written = page.page(tmp_path)
    assert "### 4. History is rewritten" in written and "is told at number 4" in written
    assert written.count("a wall, which is high.") == 1 and "### 5. " in written


@pytest.mark.parametrize(("text", "said"), BROKEN.values(), ids=BROKEN)
def test_a_file_out_of_form_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Without a threat, a defence, what is left open, or one of the two kinds of test, there is no page."""
    path = tmp_path / "test_wall.py"
    path.write_text(text)

    with pytest.raises(page.Unclear, match=said):
        page.read(path)
