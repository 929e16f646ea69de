"""`interlock plan` as a person runs it, on a real API server."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import yaml

from tests.cluster.worlds import World, deployment, manifest_path, secret
from tests.unit.cli.commands import Done, program

TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ application.name }}"}
data:
  greeting: {{ values.greeting }}
"""


def _plan(world: World, folder: Path, *words: str) -> Done:
    return program("plan", "dev", *words, folder=folder, env={"INTERLOCK_CONFIG": str(world.config), "COLUMNS": "80"})


def _templated(world: World, greeting: str) -> None:
    world.push(
        {
            "templates/words/words.yaml.j2": TEMPLATE,
            "applications/words/application.yaml": "format: 1\ntemplate: words\n",
            "environments/dev/words/values.yaml": f"# What it says.\ngreeting: {greeting}\n",
        }
    )


async def test_the_exit_codes_are_those_of_kubectl_diff(world: World, tmp_path: Path) -> None:
    """0 when all is as Git says, 1 when something differs, more when that cannot be told."""
    world.push_objects("web", deployment())
    assert _plan(world, tmp_path).returncode == 1
    await world.deploy()
    same = _plan(world, tmp_path)
    assert (same.returncode, same.stderr.count("error")) == (0, 0)
    world.merge(world.path("deployments", "web", "apps/v1"), {"spec": {"replicas": 3}})
    assert _plan(world, tmp_path).returncode == 1
    # An empty render is no plan at all.
    world.push({manifest_path("web"): None, manifest_path("base"): None})
    empty = _plan(world, tmp_path)
    assert empty.returncode > 1
    assert "renders no object" in empty.stderr
    world.push_objects("web", deployment())
    world.config.write_text(world.config.read_text().replace("cd.kubeconfig", "none.kubeconfig"))
    assert _plan(world, tmp_path).returncode > 1


async def test_a_foreign_object_is_a_difference_that_says_so(world: World, tmp_path: Path) -> None:
    """Exit code 1 with the reason, though no sync would touch it; 0 once environment.yaml allows it."""
    world.push_objects("web", deployment())
    await world.deploy()
    named = {"name": "stranger", "namespace": world.namespace}
    world.admin.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named}, manager="mallory")
    done = _plan(world, tmp_path)
    assert done.returncode == 1
    assert "a sync would change no object, but 1 is not as Git says (1 foreign): exit code 1" in done.stderr
    world.decide(allowed_objects=[{"kind": "ConfigMap", "name": "stranger", "reason": "everybody knows it"}])
    assert (allowed := _plan(world, tmp_path)).returncode == 0, allowed.stderr


async def test_a_field_names_the_value_that_made_it(world: World, tmp_path: Path) -> None:
    """From the cluster's field through the template to the line of the values file, in a tree of 80 columns."""
    _templated(world, "hello")
    await world.deploy()
    _templated(world, "good morning")

    told = _plan(world, tmp_path).stdout

    assert f"  ~ change ConfigMap/{world.namespace}/words" in told
    assert "    data.greeting: hello → good morning" in told
    assert "      templates/words/words.yaml.j2:5 ← values.greeting (environments/dev/words/values.yaml:2)\n" in told
    assert f"      by {world.manager} (Apply, " in told
    assert "unchanged" not in told


async def test_a_real_plan_fits_its_published_schema(world: World, tmp_path: Path) -> None:
    """As the command writes both; and the file holds nothing of a Secret."""
    world.push_objects("s", secret("s", {"password": "hunter2"}), deployment())
    await world.deploy()
    world.push_objects("s", secret("s", {"password": "correct-horse"}), deployment(replicas=1))
    world.merge(world.path("secrets", "s"), {"stringData": {"more": "hunter2"}})
    schema = program("schema", "plan", folder=tmp_path)

    document = _plan(world, tmp_path, "--output", "json").stdout

    jsonschema_rs.validator_for(json.loads(schema.stdout)).validate(json.loads(document))
    (plan,) = [each["data"] for each in json.loads(document) if each["report"] == "plan"]
    fields = {field["path"]: field for item in plan["items"] for field in item["fields"]}
    assert fields.keys() == {"data.password", "data.more", "spec.replicas"}
    assert fields["data.more"]["live"] == fields["data.password"]["live"] != fields["data.password"]["desired"]
    assert fields["spec.replicas"]["origin"]["path"] == manifest_path("s")
    assert not any(word in document for word in ("hunter2", "correct-horse", "aHVudGVyMg", "Y29ycmVjdC1ob3JzZQ"))


async def test_a_plan_for_a_pull_request_is_markdown(world: World, tmp_path: Path) -> None:
    """A heading with the verdict, then tables; what others wrote into the cluster makes no markup."""
    body = yaml.safe_load("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '1'}}")
    world.push_objects("c", body)
    await world.deploy()
    world.merge(world.path("configmaps", "c"), {"data": {"a": "| <img src=x> |"}})

    told = _plan(world, tmp_path, "--output", "markdown").stdout

    assert told.startswith("# Plan for dev at ")
    assert "| Object | Field | Live | In Git | Kind | Owner | Made by |" in told
    assert r"\| \<img src=x\> \|" in told
