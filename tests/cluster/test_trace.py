"""`interlock trace` on a CD host: from a pod of the cluster, through ledger and git, to the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cd.deploy import _traced, deploy_order
from interlock.contract import evidence, layout, release
from interlock.contract.canonical import digest
from interlock.contract.models import ReleasedComponent, Source
from tests.cluster.worlds import Recorder, World, config_map, deployment, manifest_path
from tests.examples_of_repositories import TIME, statements
from tests.unit.cli.commands import Done, program

SOURCE = "5" * 40


def trace(world: World, folder: Path, *words: str) -> Done:
    return program("trace", *words, folder=folder, env={"INTERLOCK_CONFIG": str(world.config)})


def release_of(image: str, source: str = SOURCE) -> dict[str, str]:
    """A release of shop/web with its evidence, and a Deployment that has its image."""
    scan = evidence.vulnerability_scan(
        image,
        scanned="image",
        scanner="pkg:github/aquasecurity/trivy",
        version="0.60.0",
        database={"uri": "ghcr.io/aquasecurity/trivy-db", "version": "2", "lastUpdate": "2030-01-01T06:00:00Z"},
        findings=[{"id": "CVE-2030-1", "severity": "LOW"}],
        builder="ci-shop",
        run="run-1",
        started=TIME,
        finished=TIME,
    )
    proof = evidence.envelope((*statements(image, source_commit=source), scan))
    entry = ReleasedComponent(image=image, source=Source(repository="shop", commit=source), evidence=digest(proof))
    return {
        layout.release("dev", "shop"): release.with_component(None, "web", entry),
        layout.evidence("dev", "shop", "web", image.partition("@")[2]): proof.decode(),
        manifest_path("web"): yaml.safe_dump(deployment(image=image)),
    }


def image_of(digits: str) -> str:
    return f"registry.example/shop/web@sha256:{digits * 32}"


@pytest.fixture
def released(world: World) -> World:
    """Two releases of shop/web, one after the other, and a pod that has the second one's image."""
    world.push(
        {
            layout.BINDINGS: yaml.safe_dump(
                {
                    "format": 1,
                    "bindings": [
                        {
                            "source": "shop",
                            "component": "web",
                            "application": "shop",
                            "environments": ["dev"],
                            "image": "registry.example/shop/web",
                            "signer": "ada",
                        }
                    ],
                }
            )
        }
    )
    return world


def pod(world: World, image: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-x2x9k", "namespace": world.namespace, "labels": {"app": "other"}},
        "spec": {"containers": [{"name": "web", "image": image}], "automountServiceAccountToken": False},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    if world.get("ServiceAccount", "default") is None:
        account["metadata"] |= {"namespace": world.namespace}  # type: ignore[operator]
        world.admin.create(account, manager="admin")
    world.admin.create(body, manager="admin")


def data(done: Done) -> Any:
    (report,) = json.loads(done.stdout)
    return report["data"]


async def test_a_pod_is_traced_to_its_source(released: World, tmp_path: Path) -> None:
    """Its image leads to the release, the evidence, the commit and its signer, the plan and the sync; and to a page."""
    world = released
    await world.deploy()
    world.push(release_of(image_of("1a")))
    await world.deploy()
    commit = world.push(release_of(image_of("2b"), "6" * 40))
    await world.deploy()
    pod(world, image_of("2b"))
    page = tmp_path / "trace.html"

    done = trace(world, tmp_path, f"{world.namespace}/web-x2x9k", "--html", str(page), "--output", "json")

    assert done.returncode == 0, done.stderr
    (chain,) = data(done)["chains"]
    steps = {name: " ".join(lines) for name, lines in chain["steps"].items()}
    assert chain["now"] and chain["image"] == image_of("2b")
    assert steps["source"] == f"shop {'6' * 12}"
    assert "1 low" in steps["scans"] and steps["gate"].startswith("passed")
    assert f"commit {commit[:12]} signed by ada" in steps["release"]
    assert f"change Deployment/{world.namespace}/web" in steps["plan"]
    assert "healthy" in steps["sync"] and commit[:12] in steps["sync"]
    assert "web-x2x9k: Pending" in steps["pods"]
    html = page.read_text()
    assert "registry.example/shop/web" in html and f"commit {commit[:12]} signed by ada" in html

    for words in (["6666666"], [commit[:9]], ["sha256:2b2b2b2b2b2b"], ["ada", "--environment", "dev"]):
        found = data(trace(world, tmp_path, *words, "--output", "json"))
        assert image_of("2b") in {each["image"] for each in found["chains"]}, words
    text = trace(world, tmp_path, "sha256:1a1a1a1a1a1a").stdout
    assert "dev: shop/web (ran)" in text and "none has it now" in text


async def test_a_deploys_page_has_the_trace(released: World) -> None:
    """What a deploy brought is traced on its page; one that changed nothing shows none."""
    world = released
    world.push(release_of(image_of("1a")))
    presenter = Recorder()

    outcome = await _traced(deploy_order(presenter, world.host, "dev"), presenter, world.host)

    assert outcome.said == "deployed"
    assert "dev: shop/web (runs now)" in [branch.text for branch in presenter.report("trace").tree]
    again = Recorder()
    await _traced(deploy_order(again, world.host, "dev"), again, world.host)
    assert "trace" not in {report.key for report in again.reports}


async def test_it_answers_without_the_cluster(released: World, tmp_path: Path) -> None:
    """With the cluster gone the chain is told up to the sync, and what could not be read is said."""
    world = released
    world.push(release_of(image_of("1a")))
    await world.deploy()
    kubeconfig = world.host.clusters["sandbox"].kubeconfig
    text = kubeconfig.read_text()
    server = yaml.safe_load(text)["clusters"][0]["cluster"]["server"]
    kubeconfig.write_text(text.replace(server, "https://127.0.0.1:9"))

    found = data(trace(world, tmp_path, "5555555", "--output", "json"))

    (chain,) = found["chains"]
    assert "healthy" in chain["steps"]["sync"][0]
    assert any("the pods of dev" in line for line in found["unread"])


async def test_markup_in_names_stays_text(released: World, tmp_path: Path) -> None:
    """What a commit brings into the ledger is text on the page."""
    world = released
    await world.deploy()
    world.push_objects("odd", config_map("odd", {}))
    refused = world.push({"policy/rules.yaml": "format: 1\n'<script>alert(1)</script>': []\n"})
    with pytest.raises(Exception, match="script"):
        await world.deploy()
    page = tmp_path / "trace.html"

    done = trace(world, tmp_path, refused, "--html", str(page))

    assert done.returncode == 0, done.stderr
    assert "<script>" not in page.read_text() and "&lt;script&gt;" in page.read_text()


def test_what_nobody_knows_is_said(world: World, tmp_path: Path) -> None:
    """Exit code 1, and how much was looked through."""
    done = trace(world, tmp_path, "1234567")

    assert done.returncode == 1
    assert "nothing is known of it in 0 receipts of 1 environment" in done.stdout
