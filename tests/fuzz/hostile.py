"""Bytes that hurt, and what every reader owes us when it gets them."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from interlock.errors import InterlockError

T = TypeVar("T")

_FEW = 60
EXAMPLES = int(os.environ.get("INTERLOCK_FUZZ_EXAMPLES", _FEW))
fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES == _FEW,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
"""For every test here: how long one may take is measured by `only_ours`, without what others do on the machine."""

MOST_SECONDS = 3.0
"""Processor time that one reader may need for one text of some kilobytes."""
MOST_KIB = 512 << 10
"""By how much the process may grow while it reads one."""

TOKENS: tuple[bytes, ...] = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", "\u2028".encode()),
    *("\x85".encode(), "\ue000".encode(), "\ue0000\ue001".encode(), b"\r", b"\r\n", b"\n\n", b"\t", b" " * 64),
    *(
        b"&a ",
        b"*a",
        b"!!python/object/apply:os.system ",
        b"<<: ",
        b"---\n",
        b"%YAML 1.1\n",
        b"? ",
        b"|-\n",
        b"- " * 50,
    ),
    *(b"{" * 60, b"[" * 60, b"}" * 3, b"]" * 3, b'"', b"'", b"\\", b"\\u0000", b"\\ud800", b": ", b",", b"#"),
    *(b"null", b"true", b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 40, b"0x10", b"0o17", b"1_000", b".inf", b"no"),
    *(b"{{ values }}", b"{{", b"}}", b"{% for x in y %}", b"{% endfor %}", b"{% raw %}", b"{#", b"{{ ''.__class__ }}"),
    *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<![CDATA[", b"&lt;", b"&#0;", b"&#x110000;", b"<a>" * 60, b"xmlns:x=''"),
    *(b"../", b"/etc/passwd", b"sha256:", b"@", b"A" * 300, b"=" * 5, b"-----BEGIN SSH SIGNATURE-----\n", b"gpgsig "),
    *(
        b"parent " + b"0" * 40 + b"\n",
        b"tree ",
        b"\n ",
        b"FROM ",
        b"COPY --from=",
        b"RUN <<EOF\n",
        b"$",
        b"${X:-y}",
        b"`",
    ),
)


def hostile(seeds: Sequence[bytes], tokens: Sequence[bytes] = TOKENS) -> st.SearchStrategy[bytes]:
    """Good texts with some edits; now and then just any bytes."""
    place = st.floats(0, 1, exclude_max=True)
    edit = st.one_of(
        st.tuples(st.just("insert"), place, st.sampled_from(tokens)),
        st.tuples(st.just("insert"), place, st.binary(max_size=8)),
        st.tuples(st.just("cut"), place, st.integers(1, 64)),
        st.tuples(st.just("repeat"), place, st.integers(1, 200)),
        st.tuples(st.just("flip"), place, st.integers(0, 255)),
        st.tuples(st.just("swap"), place, st.sampled_from(seeds)),
    )
    edited = st.builds(_edited, st.sampled_from(seeds), st.lists(edit, max_size=8))
    return st.one_of(edited, edited, edited, st.binary(max_size=200), st.lists(st.sampled_from(tokens)).map(b"".join))


def _edited(seed: bytes, edits: Sequence[tuple[str, float, Any]]) -> bytes:
    for kind, share, what in edits:
        at = int(share * len(seed))
        if kind == "insert":
            seed = seed[:at] + what + seed[at:]
        elif kind == "cut":
            seed = seed[:at] + seed[at + what :]
        elif kind == "repeat":
            seed = seed[:at] + seed[at : at + 40] * what + seed[at:]
        elif kind == "flip":
            seed = seed[:at] + bytes([what]) + seed[at + 1 :]
        else:
            seed = seed[:at] + what[int(share * len(what)) :]
    return seed[: 256 << 10]


def hostile_text(seeds: Sequence[str]) -> st.SearchStrategy[str]:
    """The same, for readers whose callers have decoded it."""
    return hostile([seed.encode() for seed in seeds]).map(lambda data: data.decode(errors="replace"))


NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1) | st.decimals(-10_000, 10_000, places=3).map(float)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
"""What our YAML can hold: numbers that every reader takes for the same one."""

OURS: tuple[type[Exception], ...] = (InterlockError,)


def only_ours(read: Callable[[], T], *, also: tuple[type[Exception], ...] = ()) -> T | None:
    """What it reads; nothing when it ends with an error of ours. Any other one fails the test, as do time and memory.

    `also`: what its docstring promises besides.
    """
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        found = read()
    except (*also, *OURS):
        found = None
    seconds, grown = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert seconds < MOST_SECONDS, f"it took {seconds:.1f} s"
    assert grown < MOST_KIB, f"it grew by {grown >> 10} MiB"
    return found
