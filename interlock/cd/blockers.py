"""Why an object that was deleted is still there, and whether anybody is left to finish it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from interlock.cd.compare import Claim, claims
from interlock.cd.objects import Body, conditions

_KNOWN = {
    "foregroundDeletion": "what it owns is deleted first, by the garbage collector",
    "orphan": "the garbage collector lets go of what it owns first",
    "kubernetes.io/pvc-protection": "a pod still uses it",
    "kubernetes.io/pv-protection": "a claim is still bound to it",
    "kubernetes": "all that is in it is deleted first",
}
_TOLD = frozenset(
    {
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionGroupVersionParsingFailure",
        "NamespaceDeletionContentFailure",
        "NamespaceContentRemaining",
        "NamespaceFinalizersRemaining",
    }
)
"""A Namespace's conditions that say what holds it up."""


def waits_for(live: Body, groups: Collection[str] | None) -> str:
    """What holds up a deletion; `groups` are the API groups that the cluster serves, None when that is not known."""
    finalizers = [*(live["metadata"].get("finalizers") or ()), *_of_namespace(live)]
    parts = [_finalizer(name, live, groups) for name in finalizers]
    return "; ".join((*parts, *_conditions(live))) or "about to go"


def _of_namespace(live: Body) -> Iterable[str]:
    return (live.get("spec") or {}).get("finalizers") or () if live.get("kind") == "Namespace" else ()


def _conditions(live: Body) -> Iterable[str]:
    for condition in conditions(live):
        if live.get("kind") == "Namespace" and condition.get("type") in _TOLD and condition.get("status") == "True":
            yield str(condition.get("message", condition["type"]))


def _finalizer(name: str, live: Body, groups: Collection[str] | None) -> str:
    """One finalizer, by what it is known for, or by who wrote it and whether his API is there still."""
    if name in _KNOWN:
        return f"waits for {name}: {_KNOWN[name]}"
    return f"waits for the finalizer {name}{_written(name, live)}{_served(name, groups)}"


def _written(name: str, live: Body) -> str:
    owner = next((claim for claim in claims(live) if f'v:"{name}"' in _finalizers(claim)), None)
    if owner is None:
        return ", nobody says whose it is"
    last = max(claim.time for claim in claims(live) if claim.manager == owner.manager)
    return f", written by {owner.manager}, whose last sign on it is of {last or 'an unknown time'}"


def _finalizers(claim: Claim) -> Collection[str]:
    found: Collection[str] = (claim.fields.get("f:metadata") or {}).get("f:finalizers") or ()
    return found


def _served(name: str, groups: Collection[str] | None) -> str:
    """Whether its controller may live: its finalizers are mostly named after an API group of its own."""
    domain = name.partition("/")[0]
    if groups is None or "." not in domain:
        return ""
    if any(group == domain or group.endswith(f".{domain}") for group in groups):
        return f"; the cluster serves {domain}, so its controller should be there: look into its log"
    return (
        f"; the cluster serves no API of {domain}, so its controller seems to be gone: bring it back, "
        "or take the finalizer off by hand if you know that it has nothing left to clean up"
    )
