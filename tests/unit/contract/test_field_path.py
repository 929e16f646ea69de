"""Paths into objects as people write them, and what is never given up."""

from __future__ import annotations

import pytest

from interlock.contract.field_path import Item, parse, protected, spelled


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("spec.replicas", ("spec", "replicas")),
        ('metadata.labels["a.b/c"]', ("metadata", "labels", "a.b/c")),
        ('metadata.annotations["x y"].z', ("metadata", "annotations", "x y", "z")),
        ("spec.containers[name=web].image", ("spec", "containers", Item((("name", "web"),)), "image")),
        ("spec.ports[*].nodePort", ("spec", "ports", Item(), "nodePort")),
        (
            "spec.ports[port=80,protocol=TCP]",
            ("spec", "ports", Item((("port", "80"), ("protocol", "TCP")))),
        ),
        ('v[mountPath="/a,b]"]', ("v", Item((("mountPath", "/a,b]"),)))),
    ],
)
def test_a_path_is_read_as_a_plan_prints_it(text: str, steps: tuple[object, ...]) -> None:
    """Fields, quoted fields, items by their keys, and any item."""
    assert parse(text) == steps


@pytest.mark.parametrize(
    "text", ["", ".", ".spec", "a..b", "a.", "[*]", "a[", "a[b]", "a[name=]", 'a["b]', "a b", "a]"]
)
def test_what_is_no_path_is_an_error(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="no path"):
        parse(text)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", "spec"),
        ("Deployment", "spec.template.spec"),
        ("Deployment", "spec.template.spec.containers"),
        ("Deployment", "spec.template.spec.containers[*]"),
        ("Deployment", "spec.template.spec.containers[name=web].image"),
        ("StatefulSet", "spec.template.spec.initContainers[name=x].args"),
        ("DaemonSet", "spec.template.spec.containers[*].securityContext.privileged"),
        ("Job", "spec.template.spec.containers[*].lifecycle"),
        ("Job", "spec.template.spec.containers[*].livenessProbe"),
        ("Job", "spec.template.spec.containers[*].livenessProbe.exec.command"),
        ("CronJob", "spec.jobTemplate.spec"),
        ("CronJob", "spec.jobTemplate.spec.template.spec.hostNetwork"),
        ("Pod", "spec.serviceAccountName"),
        ("Deployment", "spec.template.spec.volumes"),
        ("Deployment", "spec.template.spec.volumes[name=x].hostPath.path"),
        ("Rollout", "spec.template.spec.containers[*].command"),
        ("RoleBinding", "metadata.labels.x"),
        ("NetworkPolicy", "spec.egress"),
    ],
)
def test_what_runs_and_what_it_may_do_is_protected(kind: str, path: str) -> None:
    """And so is every field that has such a one below it."""
    assert protected(kind, parse(path))


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", "spec.replicas"),
        ("Deployment", "metadata.labels.x"),
        ("Deployment", "spec.template.metadata.annotations.x"),
        ("Deployment", "spec.template.spec.containers[name=web].resources"),
        ("Deployment", "spec.template.spec.containers[name=web].env[name=X]"),
        ("Deployment", "spec.template.spec.containers[name=web].readinessProbe.periodSeconds"),
        ("Deployment", "spec.template.spec.volumes[name=x].configMap"),
        ("ConfigMap", "data"),
    ],
)
def test_other_fields_are_not(kind: str, path: str) -> None:
    """An operator may size containers, and an autoscaler choose replicas."""
    assert not protected(kind, parse(path))
    assert parse(spelled(parse(path))) == parse(path)
