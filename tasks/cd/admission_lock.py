"""What CD does for the lock in the API server: it keeps the list of images, and looks whether the policies are there.

Only the control namespace's one ConfigMap is written.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from interlock.cd import admission_lock as form
from interlock.cd.admission_lock import IMAGES, Locked
from interlock.cd.objects import Body
from interlock.errors import ClusterError
from tasks.cd.cluster import Cluster
from tasks.common.effect import effect

MOST_BYTES = 900_000
"""An object of more than a megabyte is no object for etcd."""
LEARN_SECONDS = 2.0
"""An API server learns of a new list by a watch. Until then it refuses everything that the list is about, CD's too."""
LEARN_MORE_SECONDS = 0.5
"""The same of a list that got longer. A pod that comes too early is refused, and made again by its controller."""


@effect(name="list the images", retries=3)
def list_images(cluster: Cluster, control_namespace: str, images: Collection[str], *, only: bool) -> bool:
    """Have the list name these images: beside what it names, or `only` these. Whether it had to be written.

    Beside, as long as pods of the former release may come back; only, when the new one is healthy.
    """
    live = cluster.get(cluster.resource("v1", "ConfigMap"), IMAGES, control_namespace)
    before = dict((live or {}).get("data") or {})
    wanted = form.listing(images, control_namespace, beside={} if only else before)
    if live is not None and wanted["data"] == before:
        return False
    size = sum(len(digest) + len(image) for digest, image in wanted["data"].items())
    if size > MOST_BYTES:
        raise ClusterError(
            f"ConfigMap/{control_namespace}/{IMAGES}: {len(wanted['data'])} images are more than one object holds",
            hint="part the environment, or take admission_lock out of its cd.yaml",
        )
    if live is None:
        cluster.create(wanted, manager="interlock")
        time.sleep(LEARN_SECONDS)
    else:
        cluster.replace({**live, "data": wanted["data"]}, manager="interlock")
        if not wanted["data"].keys() <= before.keys():
            time.sleep(LEARN_MORE_SECONDS)
    return True


@effect(name="look for the list of images", retries=3)
def is_listing(cluster: Cluster, control_namespace: str) -> bool:
    """Whether there is a list."""
    return cluster.get(cluster.resource("v1", "ConfigMap"), IMAGES, control_namespace) is not None


@effect(name="look at the lock", retries=3)
def weakened(cluster: Cluster, locked: Locked) -> tuple[str, ...]:
    """What of the policies is missing or changed, one line each."""
    live: list[Body] = []
    try:
        for kind in form.KINDS:
            live += cluster.list(cluster.resource(form.API, kind))
    except ClusterError as error:
        if error.status != 403:
            raise
        return (f"the policies cannot be read: {error.message}",)
    return form.weakened(locked, live)
