"""What a registry has under a digest that is new here: one image, an index of several, nothing, or nobody knows."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from interlock.cd.chain import Fault
from interlock.contract import layout, oci
from interlock.contract.canonical import digest

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = (oci.MANIFEST, oci.DOCKER_MANIFEST, oci.INDEX, DOCKER_INDEX)


@dataclass(frozen=True)
class Answer:
    """`manifests`: the digests of an index. `why`: what kept us from knowing."""

    kind: Literal["image", "index", "missing", "other", "unknown"]
    manifests: tuple[str, ...] = ()
    why: str = ""


def read(content: bytes | None, media_type: str, *, wanted: str) -> Answer:
    """A registry's answer to a GET of a manifest by its digest. What has both, a configuration and manifests, is an
    index: which of them runs, the node decides.
    """
    if content is None:
        return Answer("missing")
    if digest(content) != wanted:
        return Answer("other")
    try:
        document = json.loads(content)
        if "manifests" in document or {media_type, document.get("mediaType")} & {oci.INDEX, DOCKER_INDEX}:
            return Answer("index", tuple(str(each["digest"]) for each in document["manifests"]))
        return Answer("image" if "config" in document else "other")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Answer("other")


def fault(answer: Answer, *, pinned: Collection[str]) -> Fault | None:
    """`pinned`: digests of the image's repository that a person has pinned."""
    match answer.kind:
        case "image":
            return None
        case "missing":
            return _fault("the registry does not have it", "push it again, or release it again")
        case "other":
            return _fault("the registry gives something else under it", "find out who changes what it keeps")
        case "unknown":
            said = f"it is not known whether the registry has it: {answer.why}"
            return _fault(said, "it is looked up again by the next run")
        case "index":
            if answer.manifests and set(answer.manifests) <= set(pinned):
                return None
            said = f"it is an index of {len(answer.manifests)} manifests, and which of them runs, the node decides"
            fix = f"name the manifest of one platform, or pin all of its digests too in {layout.IMAGES}"
            return _fault(said, fix)


def _fault(said: str, fix: str) -> Fault:
    """What runs already came from somewhere: a registry gates only what is new."""
    return Fault("digest", said, fix, ages=True)
