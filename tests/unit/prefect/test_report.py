"""A report says the same everywhere, and text from outside cannot become markup."""

from __future__ import annotations

import pytest

from interlock.contract.report import Report, Table, cell, counted, uncelled


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a|b", r"a\|b"),
        ("two\nlines\r\nand\u2028more", "two lines and more"),
        ("<script>x</script>", r"\<script\>x\</script\>"),
        ("[x](http://evil)", r"\[x\](http://evil)"),
        ("`code` *bold* _x_ # ~", r"\`code\` \*bold\* \_x\_ \# \~"),
        ("\\|", r"\\\|"),
    ],
)
def test_a_cell_is_one_line_of_text(text: str, shown: str) -> None:
    """What would end the cell, or be drawn as something else, is escaped."""
    assert cell(text) == shown


def test_plain_text_has_no_escapes() -> None:
    """A terminal shows a test's name as it is, and code, where nothing is escaped, too."""
    name = "tests.test_it.Test.test_[a|b]\\c"

    assert uncelled(f"- {cell(name)}\n\n    a\\_b") == f"- {name}\n\n    a\\_b"


def test_plain_text_has_no_marks_of_ours() -> None:
    """Neither for bold nor for code; what came from outside keeps its own, escaped or not."""
    assert uncelled(f"**Commit** `1a2b`: {cell('**a** `b`')}") == "Commit 1a2b: **a** `b`"
    assert uncelled("    **a** `b`") == "    **a** `b`"


def test_numbers_agree_with_their_words() -> None:
    """One is no plural; a phrase has both of its forms."""
    assert [counted(n, "object") for n in (0, 1, 2)] == ["0 objects", "1 object", "2 objects"]
    assert [counted(n, "pod is new", "pods are new") for n in (1, 2)] == ["1 pod is new", "2 pods are new"]


def test_a_table_has_whole_rows() -> None:
    """A row that does not fit under the columns is a defect of who made it."""
    with pytest.raises(ValueError, match="2 cells under 1 columns"):
        Table(("one",), (("a", "b"),))


def test_a_reports_key_is_one_that_prefect_takes() -> None:
    """Lowercase letters, digits and dashes."""
    with pytest.raises(ValueError, match="not 'Scan Result'"):
        Report("Scan Result", "title")


def test_the_body_is_markdown_with_its_tables() -> None:
    """Text first, then each table, apart by empty lines."""
    report = Report("plan", "1 to create", "text", (Table(("what",), (("a|b",),)),))

    assert report.body == "text\n\n| what |\n| --- |\n| a\\|b |"
