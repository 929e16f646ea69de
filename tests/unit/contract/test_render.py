"""An environment's manifests: complete, checked, and the same for the same input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest

from interlock.contract import repository
from interlock.contract.canonical import canonical
from interlock.contract.render import Identity, Manifest, Origin, Rendered, inputs, render
from interlock.errors import FormatError, RenderError
from tests.examples_of_repositories import IMAGE, environment_tree

MANIFEST = "environments/dev/extra/manifests/extra.yaml"
TEMPLATE = "templates/service/extra.yaml.j2"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n{rest}"
POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n"
JOB = "spec:\n  jobTemplate: {spec: {template: {spec: {containers: [{image: a.b/c}]}}}}\n"
DIGEST = "@sha256:" + "0" * 64


def rendered(changes: Mapping[str, str | bytes | None] | None = None, *, released: bool = True) -> Rendered:
    return render(repository.read(environment_tree(changes, released=released)), "dev")


def extra(text: str) -> Manifest:
    """The one object of an additional plain manifest."""
    (found,) = [each for each in rendered({MANIFEST: text}).manifests if each.application == "extra"]
    return found


def config(name: str = "c", rest: str = "") -> str:
    return CONFIG.format(name=name, rest=rest)


def test_the_example_renders_to_a_deployment_and_a_service() -> None:
    """Release, values and names have entered, with their types."""
    deployment, service = rendered().manifests
    assert deployment.identity == Identity("apps", "Deployment", "shop", "shop")
    assert service.identity == Identity("", "Service", "shop", "shop")
    assert (deployment.api_version, deployment.application) == ("apps/v1", "shop")
    assert deployment.body["spec"]["replicas"] == 2
    container = deployment.body["spec"]["template"]["spec"]["containers"][0]
    assert (container["name"], container["image"]) == ("web", IMAGE)
    assert container["env"] == [
        {"name": "PORT", "value": "8080"},
        {"name": "VERSION", "value": "5" * 12},
        {"name": "GREETING", "value": "hello"},
    ]
    assert service.body["spec"]["selector"] == deployment.body["spec"]["selector"]["matchLabels"]


def test_the_same_input_makes_the_same_bytes() -> None:
    """Rendering twice, or from files in another order, changes no byte."""
    tree = environment_tree()
    shuffled = environment_tree(dict(reversed(list(tree.files.items()))))
    first, second = (render(repository.read(each), "dev") for each in (tree, shuffled))
    assert [each.canonical for each in first.manifests] == [each.canonical for each in second.manifests]
    assert first.manifests[0].canonical == canonical(first.manifests[0].body)


def test_what_is_awaited_renders_nothing() -> None:
    """Without its release an application has no manifests and is reported."""
    assert rendered(released=False) == Rendered("dev", (), ("shop",))


def test_a_placeholder_stands_in_for_an_image() -> None:
    """CI renders before the first release, with an image by digest that nobody can pull."""
    found = render(repository.read(environment_tree(released=False)), "dev", placeholder="placeholder.invalid")
    container = found.manifests[0].body["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], found.awaiting) == ("placeholder.invalid/web" + DIGEST, ())


def test_rendered_survives_json() -> None:
    """What the child process writes, its parent reads as the same."""
    found = rendered({MANIFEST: config()})
    assert Rendered.from_json(json.loads(json.dumps(found.to_json()))) == found
    given = inputs(repository.read(environment_tree({MANIFEST: config()})), "dev")
    assert type(given).from_json(json.loads(json.dumps(given.to_json()))) == given


def test_plain_manifests_know_their_lines() -> None:
    """They go the same way as templates, and get the environment's first namespace."""
    found = extra(config(rest="data:\n  key: 'no'\n") + "---\n")
    assert found.body == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "shop"},
        "data": {"key": "no"},
    }
    assert found.origin(("data", "key")) == Origin(MANIFEST, 6)
    assert found.origin(("metadata", "namespace")) == Origin(MANIFEST, 3)


def test_namespaces_of_the_environment_may_be_used_and_made() -> None:
    """Any of its namespaces, and the Namespace objects of just those names."""
    environment = environment_tree().text("environments/dev/environment.yaml").replace("[shop]", "[shop, shop-jobs]")
    text = (
        config(rest="  namespace: shop-jobs\n") + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop-jobs}\n"
    )
    found = rendered({MANIFEST: text, "environments/dev/environment.yaml": environment})
    assert [each.identity for each in found.manifests if each.application == "extra"] == [
        Identity("", "ConfigMap", "shop-jobs", "c"),
        Identity("", "Namespace", "", "shop-jobs"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("- a\n", 1, "the document: is no Kubernetes object"),
        ("text\n", 1, "is no Kubernetes object"),
        ("kind: ConfigMap\nmetadata: {name: c}\n", 1, "apiVersion is None"),
        ("apiVersion: v1/../x\nkind: ConfigMap\n", 1, "apiVersion is 'v1/../x'"),
        ("apiVersion: v1\nkind: 1\n", 2, "kind is 1"),
        ("apiVersion: v1\nkind: List\nitems: []\n", 2, "lists are not applied"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", 3, "metadata.name is None"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  generateName: a\n", 3, "metadata.name is None"),
        (config("a/../b"), 4, "metadata.name is 'a/../b'"),
        (config("''"), 4, "metadata.name is ''"),
        (config(rest="status: {}\n"), 5, "`status` belongs to the cluster"),
        (config(rest="  uid: a\n"), 5, "`metadata.uid` belongs to the cluster"),
        (config(rest="  managedFields: []\n"), 5, "`metadata.managedFields` belongs to the cluster"),
        (config(rest="  labels: [a]\n"), 5, "metadata.labels must be a mapping"),
        (config(rest="  labels:\n    a: true\n"), 6, "a must be text, not True"),
        (config(rest="  labels:\n    applyset.kubernetes.io/part-of: a\n"), 6, "is written by Interlock itself"),
        (config(rest="  annotations: {interlock/nonce: a}\n"), 5, "is written by Interlock itself"),
        (config(rest="  annotations:\n    interlock.dev/health-timeout: 10 minutes\n"), 6, "is no time from 1s to 24h"),
        (config(rest="  annotations: {interlock.dev/no-progress-timeout: ''}\n"), 5, "is no time from 1s to 24h"),
        (config(rest="  annotations: {interlock.dev/prune: always}\n"), 5, "prune: always means nothing"),
        (config(rest="  labels: {interlock.dev/prune: never}\n"), 5, "prune: never means nothing"),
        (config(rest="  namespace: kube-system\n"), 5, "the namespace 'kube-system' is not this environment's"),
        (config(rest="  namespace: null\n"), 5, "the namespace None is not this environment's"),
        (config(rest="  namespace: [shop]\n"), 5, "the namespace ['shop'] is not this environment's"),
        ("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: kube-system\n", 4, "is not this environment's"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, namespace: shop}\n", 3, "is in no namespace"),
        (
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: a, namespace: shop}\n",
            2,
            "belongs to no namespace",
        ),
        ("apiVersion: v1\nkind: Node\nmetadata: {name: a}\n", 2, "belongs to no namespace"),
        (POD + "  containers:\n  - name: a\n    image: nginx\n", 8, "the image 'nginx' is not given by its digest"),
        (POD + "  containers:\n  - {image: a.b/c:v1}\n", 7, "the image 'a.b/c:v1' is not given by its digest"),
        (POD + "  containers:\n  - {image: [a]}\n", 7, "the image ['a'] is not given by its digest"),
        (POD + "  initContainers:\n  - {image: a.b/c:v1}\n", 7, "is not given by its digest"),
        (POD + "  ephemeralContainers:\n  - {image: a.b/c:v1}\n", 7, "is not given by its digest"),
        (POD + "  volumes:\n  - image:\n      reference: a.b/c\n", 8, "the image 'a.b/c' is not given by its digest"),
        (POD + f"  containers:\n  - {{image: a.b/c:v1{DIGEST[:-1]}}}\n", 7, "is not given by its digest"),
        (
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\n" + JOB,
            5,
            "is not given by its digest",
        ),
        (config() + "---\n" + config(), 6, f"ConfigMap c is made here and at {MANIFEST}:1"),
    ],
)
def test_what_may_not_be_is_refused(text: str, line: int, complaint: str) -> None:
    """Path and line of the part that is wrong, in a plain manifest and in a template alike."""
    for path in (MANIFEST, TEMPLATE):
        with pytest.raises(RenderError, match=re.escape(complaint.replace(MANIFEST, path))) as refusal:
            rendered({path: text})
        assert (refusal.value.path, refusal.value.line) == (path, line)


def test_images_by_digest_may_have_a_tag_too() -> None:
    """A port and a tag before the digest are fine."""
    image = f"127.0.0.1:5000/shop/web:v1{DIGEST}"
    text = POD + f"  containers:\n  - {{name: a, image: '{image}'}}\n"
    assert extra(text).body["spec"]["containers"][0]["image"] == image


def test_one_object_of_two_applications_is_refused() -> None:
    """The version of an API makes no other object."""
    text = "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: shop}\n"
    with pytest.raises(RenderError, match="Deployment shop is made here and at environments/dev/extra"):
        rendered({MANIFEST: text})


@pytest.mark.parametrize("value", ["a\nb: c", "a\u2028b: c", "a\rb: c", "--- ", "{{ x }}", "1e3", "no", ""])
def test_no_value_adds_a_field(value: str) -> None:
    """A value of the service set with whatever it holds is one environment variable's text."""
    text = "port: 8080\nenv:\n  EVIL: " + json.dumps(value) + "\n"
    deployment, _ = rendered({"applications/shop/values.yaml": text}).manifests
    assert deployment.body["spec"]["template"]["spec"]["containers"][0]["env"][2] == {"name": "EVIL", "value": value}
    assert set(deployment.body) == {"apiVersion", "kind", "metadata", "spec"}


def test_a_missing_value_is_named_with_its_template_line() -> None:
    """What to do stands beside it."""
    with pytest.raises(RenderError) as refusal:
        rendered({"applications/shop/values.yaml": "health: /\n"})
    assert re.fullmatch(
        r"templates/service/deployment.yaml.j2:\d+: {{ values.port }} reads 'port', which is not given\n"
        r"  hint: give it in a values.yaml, or write `\| default\(…\)` behind it",
        str(refusal.value),
    )


def test_given_variables_replace_the_sets_own() -> None:
    """The service set names no variable twice."""
    text = "port: 8080\nenv: {PORT: '9', VERSION: x}\nuser: 1234\n"
    container = (
        rendered({"applications/shop/values.yaml": text}).manifests[0].body["spec"]["template"]["spec"]["containers"][0]
    )
    assert container["env"] == [{"name": "PORT", "value": "9"}, {"name": "VERSION", "value": "x"}]


def test_a_plain_manifest_is_strict_yaml() -> None:
    """Its errors have the file's line."""
    with pytest.raises(FormatError, match=re.escape(f"{MANIFEST}:6:1: the key 'data' stands here and in line 5")):
        rendered({MANIFEST: config(rest="data: {}\ndata: {}\n")})
