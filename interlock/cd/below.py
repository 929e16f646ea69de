"""What somebody changed below our objects: pods that do not run what they were made from describes.

Compared is what runs: containers by name, and their images. A controller makes pods and never looks at these again, and
takes over foreign pods with the right labels; so whoever may patch pods changes what runs without touching our objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from interlock.cd import compare
from interlock.cd.objects import Body, ItemKey, Path, group_of, label, spell
from interlock.cd.plan import FieldChange
from interlock.contract.workloads import TEMPLATES, mapping

_MADE = ("initContainers", "containers")
_ADDED = "ephemeralContainers"
_REVISION = "controller-revision-hash"


def changes(pod: Body, maker: Body) -> tuple[FieldChange, ...]:
    """Against the pod template of what made it; nothing where it may be of an older one, or none can be seen."""
    place = TEMPLATES.get((group_of(maker["apiVersion"]), maker["kind"]))
    template = mapping(maker, place) if place else {}
    return tuple(_against(pod, template)) if template and _is_of_now(pod, maker) else ()


def _is_of_now(pod: Body, maker: Body) -> bool:
    """Whether the newest template made the pod. Of a StatefulSet and a DaemonSet older pods stay for a while."""
    status = mapping(maker, ("status",))
    if maker["kind"] == "StatefulSet":
        return status.get("updateRevision") in {label(pod, _REVISION), status.get("currentRevision")}
    if maker["kind"] == "DaemonSet":
        seen = status.get("observedGeneration") == maker["metadata"].get("generation")
        return seen and status.get("updatedNumberScheduled") == status.get("desiredNumberScheduled")
    return True


def _against(pod: Body, template: Mapping[str, Any]) -> Iterator[FieldChange]:
    for field in (*_MADE, _ADDED):
        described = _images(mapping(template, ("spec",)), field) if field in _MADE else {}
        for name, image in _images(mapping(pod, ("spec",)), field).items():
            if described.get(name) != image:
                yield _change(pod, ("spec", field, ItemKey((("name", name),))), image, described.get(name))


def _images(spec: Mapping[str, Any], field: str) -> dict[str, str]:
    found = spec.get(field)
    return {each["name"]: each.get("image", "") for each in found or () if isinstance(each, dict) and "name" in each}


def _change(pod: Body, path: Path, live: str, described: str | None) -> FieldChange:
    whole = (*path, "image") if described is not None else path
    claim = compare.claimant(pod, whole, manager="")
    who, time, operation = (claim.manager, claim.time, claim.operation) if claim else ("", "", "")
    return FieldChange(spell(whole), live, described, who, time, "foreign", operation, whole)
