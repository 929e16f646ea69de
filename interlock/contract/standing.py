"""What the newest verdict in the environment repository says of a release: its evidence's, or the last rescan's."""

from __future__ import annotations

from interlock.contract import evidence, layout
from interlock.contract.tree import Tree
from interlock.errors import FormatError


def no_longer_clean(tree: Tree, environment: str, application: str, component: str, image: str) -> tuple[str, ...]:
    """What blocks it by the last rescan, as keys of findings or as reasons; empty while the release is clean.

    A rescan that cannot be read, or that says nothing, is not clean.
    """
    path = layout.rescan(environment, application, component, image.partition("@")[2])
    if path not in tree.files:
        return ()
    try:
        verdicts = evidence.read_envelope(tree.files[path], path=path).predicates(evidence.GATE_VERDICT)
    except FormatError:
        return ("the last rescan cannot be read",)
    if not verdicts or verdicts[-1].get("result") == "PASSED":
        return ()
    newest = verdicts[-1]
    return tuple(map(str, newest.get("blocking") or newest.get("reasons") or ("the last rescan does not say why",)))
