"""What of a crashed container's log is shown."""

from __future__ import annotations

import base64

from interlock.cd.logs import LINES, MOST_CHARACTERS, MOST_LINE, MOST_VALUES, excerpt, secret_values
from interlock.cd.objects import Body
from interlock.contract.secret_text import MASK


def _secret(**data: bytes) -> Body:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": encoded}


def test_the_last_lines_are_shown() -> None:
    """As many as fit, the last ones, each cut; empty lines are none."""
    raw = "\n".join(f"line {n}\n" for n in range(100)).encode()
    assert excerpt(raw) == tuple(f"line {n}" for n in range(100 - LINES, 100))
    assert len(excerpt(b"x" * 100_000)[0]) == MOST_LINE
    assert sum(map(len, excerpt(b"\n".join(b"y" * 1000 for _ in range(50))))) <= MOST_CHARACTERS
    assert excerpt(b"\n \n") == ()


def test_a_log_moves_no_cursor() -> None:
    """Escape sequences, carriage returns and bytes that are no text are shown as such."""
    assert excerpt(b"a\x1b[2Jb\rc\xff\n\xe2\x80\xaed") == ("a\\x1b[2Jb\\rc\ufffd", "\\u202ed")


def test_secrets_are_masked_before_anything_is_cut() -> None:
    """Whole values, lines of them, and both as base64; a short value is a word like others."""
    values = secret_values([_secret(password=b"correct-horse\n", key=b"-----BEGIN\nabcdefgh\n", user=b"ada")])
    assert values is not None
    encoded = base64.b64encode(b"correct-horse").decode()
    assert excerpt(f"ada: correct-horse {encoded} abcdefgh".encode(), values) == (
        f"ada: {MASK} {MASK}{'=' * encoded.count('=')} {MASK}",
    )
    long = b"x" * (MOST_LINE - 5) + b"correct-horse"
    assert "corre" not in excerpt(long, values)[0]
    assert (secret_values([{"data": {"a": "not base64!"}}, {}]) or frozenset()) >= {"not base64!", "bm90IGJhc2U2NCE"}


def test_what_a_secret_has_within_is_masked() -> None:
    """The values of its lines, as of an environment file, and the texts of its JSON, as of a registry's credential."""
    registry = b'{"auths": {"r.example": {"username": "robot", "password": "open sesame"}}}'
    values = secret_values([_secret(env=b'export DB="correct-horse"\nport: 5432', registry=registry)])
    assert values is not None
    assert excerpt(b"correct-horse at 5432: open sesame", values) == (f"{MASK} at 5432: {MASK}",)


def test_so_many_secrets_that_masking_takes_hours_are_too_many() -> None:
    """Whoever may write Secrets in the namespace must not hold up the run: no log is shown then."""
    lines = "\n".join(f"value {n}" for n in range(MOST_VALUES))
    assert secret_values([_secret(a=lines.encode())]) is None
