"""What the API server answers, as values."""

from __future__ import annotations

import pytest

from interlock.cd.living import decoded
from interlock.errors import ClusterError
from tasks.cd.cluster import _quoted


def _depth(value: object) -> int:
    depth = 0
    while isinstance(value, dict) and value:
        value, depth = next(iter(value.values())), depth + 1
    return depth


def test_what_is_nested_too_deeply_is_cut_and_hides_nothing_else() -> None:
    """An object's claims may be forged to any depth by whoever may write it; the others of a LIST are read as ever."""
    deep = b'{"f:a":' * 3_000 + b"{}" + b"}" * 3_000
    found = decoded(b'{"items":[{"text":"}\\"{[","deep":' + deep + b',"after":[{"a":"\\\\"}]},{"b":' + deep + b"}]}")
    first, second = found["items"]
    assert (first["text"], first["after"]) == ('}"{[', [{"a": "\\"}])
    assert 100 < _depth(first["deep"]) < 300
    assert 100 < _depth(second["b"]) < 300


def test_half_an_answer_is_none() -> None:
    """Only depth is forgiven."""
    with pytest.raises(ValueError, match="unexpected end"):
        decoded(b'{"items":[')


@pytest.mark.parametrize(
    "path", ["/apis/x.example/..", "/apis/x/v1/namespaces/a/widgets/../../b", "/api/v1/./pods", "/a//b"]
)
def test_what_others_wrote_leads_to_no_other_place(path: str) -> None:
    """An owner that somebody names may have any name and version."""
    with pytest.raises(ClusterError) as refused:
        _quoted(path, "x")
    assert refused.value.status == 404
    assert _quoted("/apis/rbac.authorization.k8s.io/v1/roles/a:b c", "x").endswith("a:b%20c")
