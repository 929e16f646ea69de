"""No image that an object would bring into a pod goes unseen, whoever puts it there."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.cd.running import may_run, used
from interlock.contract.attesters import ImagePlace
from interlock.contract.manifest import Manifest

OTHER = f"evil.example/x@sha256:{'6' * 64}"


def deployment(*, annotations: dict[str, str] | None = None, spec: dict[str, Any] | None = None) -> Manifest:
    template = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [], **(spec or {})}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "a"},
        "spec": {"template": template},
    }
    return Manifest(body, "shop", {})


@pytest.mark.parametrize("name", ["sidecar.istio.io/proxyImage", "vault.hashicorp.com/agent-image"])
def test_an_image_that_an_annotation_has_injected_is_seen(name: str) -> None:
    """With its place; other annotations name none. One by tag has no digest that anybody could vouch for."""
    (found,) = used([deployment(annotations={name: OTHER, "example.org/base-image": "x"})])
    (tagged,) = used([deployment(annotations={name: "istio/proxyv2:1.20"})])

    assert (found.image, found.place) == (OTHER, f"spec.template.metadata.annotations.{name}")
    assert tagged.digest == ""


def test_an_image_that_a_volumes_driver_mounts_is_seen() -> None:
    """Whichever driver it is."""
    volume = {"name": "v", "csi": {"driver": "csi-image.example", "volumeAttributes": {"image": OTHER}}}
    (found,) = used([deployment(spec={"volumes": [volume]})])

    assert (found.image, found.place) == (OTHER, "spec.template.spec.volumes[0].csi.volumeAttributes.image")


@pytest.mark.parametrize(("kind", "api"), [("Deployment.apps", "apps/v1"), ("Deployment", "v1")])
def test_a_place_may_be_given_for_a_built_in_kind(kind: str, api: str) -> None:
    """With its group, which the core's kinds have not."""
    place = ImagePlace(kind=kind, path='spec.template.metadata.annotations["example.org/image"]')
    body = {**deployment(annotations={"example.org/image": OTHER}).body, "apiVersion": api}

    assert [each.image for each in used([Manifest(body, "shop", {})], [place])] == [OTHER]


def test_what_may_run_is_every_image_with_a_digest() -> None:
    """Of a Job before a release as of any other object, of injected containers and of configured places."""
    named = f"registry.example/postgres@sha256:{'2' * 64}"
    image = f"registry.example/shop/web:1@sha256:{'1' * 64}"
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "namespace": "a"},
        "spec": {"template": {"spec": {"containers": [{"name": "m", "image": image}]}}},
    }
    database = {
        "apiVersion": "db.example/v1",
        "kind": "Cluster",
        "metadata": {"name": "db", "namespace": "a"},
        "spec": {"imageName": named, "other": "x@y"},
    }
    injected = deployment(annotations={"sidecar.istio.io/proxyImage": OTHER, "dapr.io/sidecar-image": "dapr:1"})
    place = ImagePlace(kind="Cluster.db.example", path="spec.imageName")

    found = may_run([Manifest(job, "shop", {}), Manifest(database, "shop", {}), injected], [place])

    assert found == {f"registry.example/shop/web@sha256:{'1' * 64}", named, OTHER}
