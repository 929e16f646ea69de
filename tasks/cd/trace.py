"""What a trace rests on: receipts, the environment repository's history as this host has it, and the pods that live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from interlock.cd.objects import Body
from interlock.cd.receipts import Entry, Released
from interlock.cd.trace import Known, Pod
from interlock.contract import layout
from interlock.contract import release as releases
from interlock.contract.host import EnvironmentRemote
from tasks.cd.cluster import Cluster
from tasks.common import git
from tasks.common.effect import effect
from tasks.common.release_history import History


@effect(name="read releases of older commits")
def read_releases(
    remote: EnvironmentRemote, environment: str, wanted: Iterable[str], *, state: Path
) -> Mapping[str, tuple[Released, ...]]:
    """What an environment had of releases at commits whose receipts do not say it; a commit that is lost has none."""
    mirror = git.mirror_path(state, remote.name)
    return {
        commit: tuple(_released(mirror, commit, environment))
        for commit in dict.fromkeys(wanted)
        if git.has_commit(mirror, commit)
    }


def _released(mirror: Path, commit: str, environment: str) -> Iterator[Released]:
    files = git.list_files(mirror, commit, under=f"environments/{environment}")
    for file in files:
        if not (parsed := layout.parse_release(file.path)):
            continue
        text = git.read_blobs(mirror, [file.blob])[file.blob].decode(errors="replace")
        for name, entry in releases.read(text, path=file.path).components.items():
            yield Released(
                application=parsed[1],
                component=name,
                image=entry.image,
                source=entry.source,
                evidence=entry.evidence,
            )


@effect(name="look for pods", retries=1)
def look_for_pods(cluster: Cluster, namespaces: Sequence[str]) -> tuple[Pod, ...]:
    """The pods of an environment's namespaces, with the images that they are to run and do run."""
    resource = cluster.resource("v1", "Pod")
    return tuple(_pod(body) for namespace in namespaces for body in cluster.list(resource, namespace))


def _pod(body: Body) -> Pod:
    spec, status = body.get("spec") or {}, body.get("status") or {}
    named = [each.get("image", "") for each in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))]
    runs = [
        each.get("imageID", "")
        for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    ]
    digests = dict.fromkeys(image.partition("@")[2] for image in (*named, *runs) if "@sha256:" in image)
    metadata = body["metadata"]
    started = status.get("startTime") or metadata.get("creationTimestamp") or ""
    return Pod(
        metadata["namespace"],
        metadata["name"],
        tuple(digests),
        status.get("phase", "unknown"),
        started,
        spec.get("nodeName", ""),
    )


def known(
    environment: str,
    entries: tuple[Entry, ...],
    history: History,
    *,
    older: Mapping[str, tuple[Released, ...]],
    pods: tuple[Pod, ...],
    unread: tuple[str, ...],
) -> Known:
    """All of it, of one environment."""
    brought = history.brought.get(environment, {})
    return Known(environment, entries, older, brought, history.evidence, pods, unread)
