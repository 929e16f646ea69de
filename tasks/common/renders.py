"""Where renders are kept: one SQLite file in a half's state folder, which may be lost at any time.

Any number of runs may use it at once. Whatever is wrong with it costs the next render its time, nothing else.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from interlock.contract import kept_renders as form
from interlock.contract.kept_renders import Kept
from tasks.common.code import digest_of

MOST_BYTES = 512 << 20
"""Of what is kept; what was not used for the longest time goes first."""
_DAY = 24 * 3600
_TABLE = """
CREATE TABLE IF NOT EXISTS renders (
    key BLOB PRIMARY KEY, day INTEGER NOT NULL, bodies BLOB NOT NULL, origins BLOB NOT NULL
)
"""


def path(state: Path) -> Path:
    return state / "renders.db"


def code() -> str:
    """Which code renders, the libraries that read and write for it included."""
    own = digest_of(Path(form.__file__).parent)
    return " ".join([own, *(f"{name} {version(name)}" for name in ("jinja2", "pyyaml", "orjson"))])


def read(file: Path | None, keys: Iterable[bytes]) -> Mapping[bytes, Kept]:
    """Those of the keys that are there; none without a file."""
    found: dict[bytes, Kept] = {}
    wanted, today = list(keys), _today()
    with suppress(sqlite3.Error, OSError), _opened(file) as database:
        old = [key for key in wanted if (day := _take(database, key, found)) is not None and day != today]
        with database:
            database.executemany("UPDATE renders SET day = ? WHERE key = ?", [(today, key) for key in old])
    return found


def _take(database: sqlite3.Connection, key: bytes, found: dict[bytes, Kept]) -> int | None:
    """The day on which it was used last."""
    row = database.execute("SELECT day, bodies, origins FROM renders WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    found[key] = Kept(row[1], row[2])
    return int(row[0])


def write(file: Path | None, made: Mapping[bytes, Kept]) -> None:
    """Whole or not at all."""
    rows = [(key, _today(), kept.bodies, kept.origins) for key, kept in made.items()]
    with suppress(sqlite3.Error, OSError), _opened(file) as database, database:
        database.executemany("INSERT OR REPLACE INTO renders VALUES (?, ?, ?, ?)", rows)
        _trim(database)


def _trim(database: sqlite3.Connection) -> None:
    """Forget the older half, when there is too much."""
    (used,) = database.execute("SELECT coalesce(sum(length(bodies) + length(origins)), 0) FROM renders").fetchone()
    if used > MOST_BYTES:
        half = "SELECT key FROM renders ORDER BY day LIMIT (SELECT count(*) / 2 FROM renders)"
        database.execute(f"DELETE FROM renders WHERE key IN ({half})")  # noqa: S608 - no words of anybody's


@contextmanager
def _opened(file: Path | None) -> Iterator[sqlite3.Connection]:
    if file is None:
        raise FileNotFoundError
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
    with closing(sqlite3.connect(file, timeout=5)) as database:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")  # with this journal a crash loses rows and spoils none
            database.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                file.unlink(missing_ok=True)
            raise
        yield database


def _today() -> int:
    return int(time.time() // _DAY)
