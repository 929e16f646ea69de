"""The release order from end to end on real git, Docker, registry and Trivy."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from flows.ci.release import ReleaseOutcome, release_order
from interlock.ci.build_key import build_key, labels
from interlock.ci.host import BuildKit as Settings
from interlock.contract import commit as commits
from interlock.contract import evidence, layout, oci, repository, strict_yaml, trailers
from interlock.contract.models import ApplicationRepositoryFile, ReleasedComponent
from interlock.errors import Blocked, CredentialFound, InputError, Refused, Superseded
from sandbox.parts.buildkit import BuildKit
from tasks.ci import scanner
from tasks.ci.images import RUN_LABEL, daemon, digest_inputs, push_image
from tasks.ci.referrers import fetch_sbom
from tasks.common import git, registry
from tasks.common.environment_repository import fetch_verified
from tests.docker import killed, service
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder
from tests.killed import exit_code

TOKEN = "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789"
WAIVED = """\
format: 1
waivers:
  - finding: CVE-2018-18074
    component: web
    reason: never follows redirects
    owner: ada
    ends: "2099-01-01"
"""


async def release(walk: Walk, recorder: Recorder | None = None, *, hint: str | None = None) -> ReleaseOutcome:
    return await release_order(recorder or Recorder(), walk.host, "shop", hint)


def entry(walk: Walk, environment: str = "dev") -> ReleasedComponent | None:
    """What is released, read as CD reads it."""
    found = repository.read(walk.environments.read()).environments[environment].applications["shop"].release
    return found.components.get("web") if found else None


def tags(walk: Walk) -> list[str]:
    """The tags of the image's repository."""
    login = registry.read_login(walk.host.registry.auth)
    assert login is not None
    path = walk.image.partition("/")[2]
    answer = httpx.get(f"http://{walk.host.registry.host}/v2/{path}/tags/list", auth=(login.user, login.password))
    return sorted(answer.json().get("tags") or []) if answer.is_success else []


def image_tags(walk: Walk) -> list[str]:
    return [tag for tag in tags(walk) if tag.startswith("il-")]


# what goes well --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """A finished release, for the tests that only look at it, and the run that came while it was made."""

    walk: Walk
    recorder: Recorder
    outcome: ReleaseOutcome
    entry: ReleasedComponent
    other: Recorder


@pytest.fixture(scope="module")
def done(shared_walk: Walk) -> Done:
    both = Recorder(), Recorder()

    async def together() -> list[ReleaseOutcome]:
        return await asyncio.gather(*(release(shared_walk, recorder, hint="f" * 40) for recorder in both))

    outcomes = asyncio.run(together())
    found = entry(shared_walk)
    assert found is not None
    first = 0 if "build image" in both[0].steps else 1
    return Done(shared_walk, both[first], outcomes[first], found, both[1 - first])


def test_a_commit_becomes_an_image_and_one_signed_release_commit(done: Done) -> None:
    """The environment repository names image and source; the run's page tells what happened."""
    head = done.walk.application.head or ""

    assert done.entry.image.startswith(f"{done.walk.image}@sha256:")
    assert done.entry.source.commit == head
    assert done.outcome.components[0].image == done.entry.image
    assert str(done.outcome) == f"released shop {head[:12]}: web to dev"
    assert done.recorder.names == [f"release shop {head[:12]}"]
    assert {"repository:shop", "component:web", "environment:dev"} <= set(done.recorder.tags)
    assert [report.key for report in done.recorder.reports] == ["build", "scan", "tests", "gate", "release", "times"]
    assert "passed for dev" in done.recorder.report("gate").title
    assert "1 passed, 0 failed" in done.recorder.report("tests").title


def test_the_release_commit_says_where_it_comes_from(done: Done) -> None:
    """Signed by CI's key, accepted by the rules, with trailers and evidence about this very image."""
    walk = done.walk

    head = fetch_verified.fn(walk.host.environment_repository, state=walk.host.state, since=None)
    message = commits.parse(git.read_commit(git.mirror_path(walk.host.state, "environments"), head.commit).data).message
    said = trailers.parse(message)
    path = layout.evidence("dev", "shop", "web", done.entry.image.partition("@")[2])
    proof = evidence.read_envelope(head.tree.files[path], path=path)

    assert head.commit == done.outcome.components[0].commit
    assert head.new_commits[-1].signer == "ci-shop"
    assert said is not None
    assert (said.source_commit, said.evidence_digest) == (walk.application.head, done.entry.evidence)
    assert proof.image == done.entry.image
    assert [predicate["passedTests"] for predicate in proof.predicates(evidence.TEST_RESULT)] == [
        ["tests.test_price.Price.test_price"]
    ]
    assert len(proof.predicates(evidence.VULNERABILITIES)) == 3
    (verdict,) = proof.predicates(evidence.GATE_VERDICT)
    assert verdict["result"] == "PASSED"
    assert any("token" in each for each in verdict["checks"]["clusterCredentials"]["checked"])


def test_image_and_bill_of_materials_are_in_the_registry(done: Done) -> None:
    """Under the build's key and as the image's referrers; the image says which source it is of."""
    (key,) = image_tags(done.walk)
    listed = done.entry.image.partition("@")[2].replace(":", "-")

    with daemon(done.walk.host.docker) as client:
        labels = client.images.get(f"{done.walk.image}:{key}").labels

    assert tags(done.walk) == sorted((key, listed))
    path = layout.evidence("dev", "shop", "web", done.entry.image.partition("@")[2])
    proof = evidence.read_envelope(done.walk.environments.read().files[path], path=path)
    bom = json.loads(fetch_sbom.fn(done.walk.host.registry, proof))
    assert "libc6" in {each["name"] for each in bom["components"]}
    assert json.loads(fetch_sbom.fn(done.walk.host.registry, proof, media_type=oci.SPDX))["spdxVersion"] == "SPDX-2.3"
    assert labels["org.opencontainers.image.revision"] == done.walk.application.head


def test_two_runs_of_one_commit_take_turns(done: Done) -> None:
    """The second waits, and finds everything done."""
    assert "build image" in done.recorder.steps
    assert not {"build image", "push image", "push release commit"} & set(done.other.steps)
    assert done.walk.environments.count() == 2


async def test_services_and_coverage_stand_in_the_evidence(walk: Walk) -> None:
    """A whole release whose tests ask a service and count lines: on the run's page and in the signed commit."""
    with daemon(walk.host.docker) as client:
        base = str(client.images.get("interlock.sandbox/python:3.11").id)
    name = f"{walk.image}-base"
    pushed = push_image.fn(walk.host.docker, base, repository=name, tag="3", auth=walk.host.registry.auth)
    ask = "import urllib.request\nurllib.request.urlopen('http://web-server:8000/')\n"
    cover = "<coverage><class filename='shop.py'><lines><line number='1' hits='1'/></lines></class></coverage>"
    described = f"""{service.INTERLOCK}\
      coverage: /tmp/coverage.xml
      services:
        web-server: {{image: '{name}@{pushed}', command: [python, -m, http.server], port: 8000}}
"""
    run = f"{ask}open('/tmp/coverage.xml', 'w').write({cover!r})\n{service.RUN}"
    walk.application.push({"interlock.yaml": described.encode(), "tests/run.py": run.encode()})
    recorder = Recorder()

    await release(walk, recorder)

    assert "covered 100.0 % of 1 lines" in recorder.report("tests").title
    assert f"no network but its services: {name}@{pushed}" in recorder.report("tests").markdown
    found = entry(walk)
    assert found is not None
    path = layout.evidence("dev", "shop", "web", found.image.partition("@")[2])
    proof = evidence.read_envelope(walk.environments.read().files[path], path=path)
    (made,) = proof.predicates(evidence.TEST_RESULT)
    coverage, beside = made["configuration"][1:]
    assert coverage["annotations"] == {"lines": 1, "covered": 1}
    assert beside["uri"] == f"docker://{name}@{pushed}"


async def test_buildkit_builds_what_is_released(walk: Walk, buildkit_daemon: BuildKit) -> None:
    """From a base in the registry, which the provenance has by its digest; the image has the commit's time."""
    login = walk.host.registry.auth
    with daemon(walk.host.docker) as client:
        base = str(client.images.get("interlock.sandbox/python:3.11").id)
    name = f"{walk.image}-base"
    pushed = push_image.fn(walk.host.docker, base, repository=name, tag="3", auth=login)
    dockerfile = service.DOCKERFILE.replace("interlock.sandbox/python:3.11", f"{name}:3")
    walk.application.push({"Dockerfile": dockerfile.replace("WORKDIR", "RUN <<END\nid\nEND\nWORKDIR").encode()})
    settings = Settings(buildx=buildkit_daemon.buildx, address=buildkit_daemon.address)
    walk.host = walk.host.model_copy(update={"buildkit": settings})

    await release(walk)

    found = entry(walk)
    assert found is not None
    path = layout.evidence("dev", "shop", "web", found.image.partition("@")[2])
    proof = evidence.read_envelope(walk.environments.read().files[path], path=path)
    (made,) = proof.predicates(evidence.PROVENANCE)
    dependencies = made["buildDefinition"]["resolvedDependencies"]
    assert {"uri": f"docker://{name}:3", "digest": {"sha256": pushed.removeprefix("sha256:")}} in dependencies


def test_a_second_run_does_nothing(done: Done) -> None:
    """No build, no push, no commit: it says that it is released already."""
    recorder = Recorder()

    outcome = asyncio.run(release(done.walk, recorder))

    assert str(outcome).endswith("is released already; nothing to do")
    assert done.walk.environments.count() == 2
    assert not {"build image", "push image", "push release commit"} & set(recorder.steps)


def test_a_hint_is_only_a_hint(done: Done) -> None:
    """The branch's head is built; a commit that is not on the branch is ignored with a note."""
    assert done.outcome.commit == done.walk.application.head
    assert any("ffffffffffff was asked for, but is not on main" in line for line in done.recorder.said)


async def test_the_next_commit_replaces_the_release_and_its_evidence(done: Done) -> None:
    """One evidence file stays, two images are in the registry; an older or another commit does not come after it."""
    walk, first = done.walk, done.walk.application.head
    assert first is not None
    second = walk.application.push(service.files({"shop/new.py": "NEW = 1\n"}))

    await release(walk)

    released = entry(walk)
    assert released is not None
    assert released.source.commit == second
    assert len(walk.environments.read().under("environments/dev/shop/evidence")) == 1
    assert len(image_tags(walk)) == 2
    walk.application.rewind(first)
    await _is_superseded(walk)
    walk.application.push(service.files({"shop/other.py": "OTHER = 1\n"}))
    await _has_another_history(walk)


async def _is_superseded(walk: Walk) -> None:
    """What is released is newer than the branch, which was put back; nothing is built."""
    recorder = Recorder()
    with pytest.raises(Superseded, match="is newer; nothing to do"):
        await release(walk, recorder)
    assert "build image" not in recorder.steps


async def _has_another_history(walk: Walk) -> None:
    """The released commit is not part of the branch any more."""
    with pytest.raises(Refused) as caught:
        await release(walk)
    assert caught.value.rule == "diverged"
    # A host that never saw the commit knows as much.
    shutil.rmtree(git.mirror_path(walk.host.state, "shop"))
    with pytest.raises(Refused) as caught:
        await release(walk)
    assert caught.value.rule == "diverged"


# what is stopped -------------------------------------------------------------------------------------


async def test_the_gate_names_all_that_stops_a_release(walk: Walk) -> None:
    """A credential with file and line, a dependency with its fixed version, a failing test with its message.

    Neither the registry nor the environment repository changes.
    """
    changed = {
        "shop/settings.py": f'URL = "x"\nTOKEN = "{TOKEN}"\n',
        "shop/__init__.py": "def price(count):\n    return 9 * count\n",
        "requirements.txt": "requests==2.19.0\n",
    }
    walk.application.push(service.files(dict(changed)))
    recorder = Recorder()

    with pytest.raises(Blocked) as caught:
        await release(walk, recorder)

    assert "source: secret github-pat in shop/settings.py:2: GitHub Personal Access Token" in caught.value.reasons
    assert (
        "source: HIGH CVE-2018-18074 in requests 2.19.0 (fixed in 2.20.0), requirements.txt:1" in caught.value.reasons
    )
    assert "tests: tests.test_price.Price.test_price failed: 18 != 20" in caught.value.reasons
    assert TOKEN not in str(caught.value)
    assert all(TOKEN not in report.body for report in recorder.reports)
    assert (walk.environments.count(), tags(walk)) == (1, [])
    gate = recorder.report("gate")
    assert gate.title.endswith("BLOCKED for dev")
    assert "revoke the credential" in gate.markdown


async def test_a_secret_that_a_later_commit_removes_stops_it(walk: Walk) -> None:
    """It is published all the same; a waiver names it with its commit, and once released it is known."""
    walk.application.push(service.files())
    with_key = walk.application.push({"shop/key.py": f'TOKEN = "{TOKEN}"\n'.encode()})
    walk.application.push({"shop/key.py": None})
    place = f"shop/key.py@{with_key[:12]}"

    with pytest.raises(Blocked) as caught:
        await release(walk)

    assert caught.value.reasons == (f"source: secret github-pat in {place}:1: GitHub Personal Access Token",)
    walk.environments.push({layout.WAIVERS: WAIVED.replace("CVE-2018-18074", f"github-pat@{place}").encode()})
    await release(walk)
    walk.environments.push({layout.WAIVERS: b"format: 1\n"})
    walk.application.push({"shop/new.py": b"NEW = 1\n"})
    await release(walk)


async def test_a_scanner_that_crashes_stops_it(walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image is not scanned, and that blocks."""
    real = scanner._binary()
    program = tmp_path / "trivy"
    program.write_text(f'#!/bin/sh\nif [ "$1" = image ]; then echo panic >&2; exit 2; fi\nexec {real} "$@"\n')
    program.chmod(stat.S_IRWXU)
    monkeypatch.setattr(scanner, "_binary", lambda: program)

    with pytest.raises(Blocked) as caught:
        await release(walk)

    assert caught.value.reasons == ("image: not scanned: trivy image ended with exit code 2: panic",)
    assert tags(walk) == []
    assert walk.environments.count() == 1


async def test_a_cluster_credential_stops_it_before_anything(walk: Walk) -> None:
    """Nothing is fetched, and what it says names the file."""
    kubeconfig = Path(os.environ["HOME"]) / "admin.conf"
    kubeconfig.write_text(
        json.dumps({"clusters": [{"name": "c"}], "users": [{"name": "admin", "user": {"token": "s3cret"}}]})
    )
    recorder = Recorder()

    with pytest.raises(CredentialFound) as caught:
        await release(walk, recorder)

    assert str(kubeconfig) in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert recorder.steps == ["look for cluster credentials"]


async def test_policy_of_an_unsigned_commit_is_not_read(walk: Walk) -> None:
    """CI verifies the environment repository with CD's rules."""
    head = walk.environments.head
    assert head is not None
    tree = walk.environments.on_server("rev-parse", f"{head}^{{tree}}")
    unsigned = walk.environments.on_server("commit-tree", tree, "-p", head, "-m", "Loosen")
    walk.environments.rewind(unsigned)

    with pytest.raises(Refused) as caught:
        await release(walk)

    assert caught.value.rule == "unsigned"


async def test_a_release_that_the_rules_would_refuse_is_not_pushed(walk: Walk) -> None:
    """CI's key may not write there: better no release than one that nobody can deploy past."""
    signers = walk.environments.read().text(layout.SIGNERS).replace("dev/shop/evidence", "dev/shop/proofs")
    walk.environments.push({layout.SIGNERS: signers.encode()})

    with pytest.raises(Refused) as caught:
        await release(walk)

    assert caught.value.rule == "path-scope"
    assert walk.environments.count() == 2


async def test_a_broken_interlock_yaml_is_told_with_its_line(walk: Walk) -> None:
    """Before anything is built."""
    walk.application.push(service.files({"interlock.yaml": service.INTERLOCK + "environment: prod\n"}))

    with pytest.raises(InputError, match=r"interlock\.yaml:7:1: .*environment"):
        await release(walk)


async def test_an_environment_that_is_stricter_is_left_out(walk: Walk) -> None:
    """Released to the one, blocked for the other; the run says both."""
    head = repository.read(walk.environments.read())
    bindings = head.tree.text(layout.BINDINGS).replace("[dev]", "[dev, prod]")
    signers = head.tree.text(layout.SIGNERS).replace("environments/dev/", "environments/*/")
    rules = "format: 1\nrules: {vulnerabilities: [CRITICAL]}\nenvironments:\n  prod: {vulnerabilities: [HIGH]}\n"
    environment = "format: 1\nid: e0e1e2e3e4e5\ncluster: sandbox\nnamespaces: [shop-prod]\n"
    changed = {
        layout.BINDINGS: bindings,
        layout.SIGNERS: signers,
        layout.GATE: rules,
        layout.environment("prod"): environment,
        layout.values("prod", "shop"): "replicas: 2\n",
    }
    walk.environments.push({path: text.encode() for path, text in changed.items()})
    walk.application.push(service.files({"requirements.txt": "requests==2.19.0\n"}))

    with pytest.raises(Blocked, match="web is not released to prod"):
        await release(walk)

    assert entry(walk) is not None
    assert entry(walk, "prod") is None


# races and faults ------------------------------------------------------------------------------------


async def test_a_race_is_judged_again_by_the_new_policy(walk: Walk) -> None:
    """Somebody pushes a waiver just before our push: fetch, verify, gate again, one release commit on top."""
    walk.application.push(service.files({"requirements.txt": "requests==2.19.0\n"}))
    walk.environments.push({layout.WAIVERS: WAIVED.encode()})
    stricter = WAIVED.replace("CVE-2018-18074", "CVE-2000-1")

    recorder = Recorder(
        before={"push release commit": lambda: walk.environments.push({layout.GATE: b"format: 1\n# 2\n"})}
    )
    await release(walk, recorder)

    assert recorder.steps.count("push release commit") == 2
    assert recorder.steps.count("push image") == 1
    assert walk.environments.count() == 4
    walk.application.push(service.files({"requirements.txt": "requests==2.19.0\n", "shop/new.py": "NEW = 1\n"}))
    closing = Recorder(
        before={"push release commit": lambda: walk.environments.push({layout.WAIVERS: stricter.encode()})}
    )
    with pytest.raises(Blocked, match="CVE-2018-18074"):
        await release(walk, closing)
    assert walk.environments.count() == 5


SLOW = service.TEST.replace("def test_price(self):\n", "def test_price(self):\n        __import__('time').sleep(4)\n")


async def test_a_killed_release_is_finished_by_the_next(walk: Walk, tmp_path: Path) -> None:
    """Killed in its tests, after the image push, after the release push: one image, one commit, nothing left over."""
    walk.application.push(service.files({"tests/test_price.py": SLOW}))
    host = tmp_path / "host.json"
    host.write_text(walk.host.model_dump_json())

    assert exit_code(killed.run, str(host), "during", "run tests") == -signal.SIGKILL
    assert len(containers(walk)) == 1
    assert tags(walk) == []
    assert exit_code(killed.run, str(host), "after", "push image") == -signal.SIGKILL
    assert containers(walk) == []
    assert len(image_tags(walk)) == 1
    assert walk.environments.count() == 1
    assert exit_code(killed.run, str(host), "after", "push release commit") == -signal.SIGKILL
    recorder = Recorder()
    await release(walk, recorder)

    assert "build image" not in recorder.steps
    assert len(image_tags(walk)) == 1
    assert walk.environments.count() == 2
    assert entry(walk) is not None
    assert list((walk.host.state / "runs").iterdir()) == [walk.host.state / "runs" / ".guard"]
    assert containers(walk) == []


def containers(walk: Walk) -> list[object]:
    with daemon(walk.host.docker) as client:
        return list(client.containers.list(all=True, filters={"label": RUN_LABEL}))


def tag_of_inputs(walk: Walk, tree: Path) -> str:
    """What this commit's image is found by. The commit's files are in `tree` then."""
    assert walk.application.head is not None
    git.export(walk.application.mirror, walk.application.head, tree)
    recipe = strict_yaml.parse(service.INTERLOCK, ApplicationRepositoryFile, path="interlock.yaml").components["web"]
    inputs = digest_inputs.fn(walk.host.docker, tree, recipe, say=print)
    return build_key(repository="shop", component="web", recipe=recipe, inputs=inputs)


def plant(walk: Walk, image: str, tag: str) -> None:
    """Whoever may push to the registry writes any tag."""
    login = registry.read_login(walk.host.registry.auth)
    assert login is not None
    with daemon(walk.host.docker) as client:
        client.images.get(image).tag(walk.image, tag)
        client.images.push(walk.image, tag, auth_config={"username": login.user, "password": login.password})


async def test_an_image_that_says_it_is_ours_is_not_taken_for_it(walk: Walk, tmp_path: Path) -> None:
    """Whatever its labels are: what neither this host built nor evidence tells of is built, and provenance is true."""
    assert walk.application.head is not None
    tag = tag_of_inputs(walk, tmp_path / "tree")
    (tmp_path / "tree/shop/planted.py").write_text("PLANTED = 1\n")
    said = labels(repository="shop", commit=walk.application.head, component="web")
    with daemon(walk.host.docker) as client:
        planted, _ = client.images.build(path=str(tmp_path / "tree"), labels=said, network_mode="none")
    plant(walk, str(planted.id), tag)
    recorder = Recorder()

    await release(walk, recorder)

    assert "build image" in recorder.steps
    assert any("is none that this host built" in line for line in recorder.said)
    found = entry(walk)
    assert found is not None
    with daemon(walk.host.docker) as client:
        assert client.images.get(found.image).id != planted.id


async def test_a_foreign_image_under_the_tag_is_refused(walk: Walk, tmp_path: Path) -> None:
    """Somebody pushed another image where this commit's would be found."""
    plant(walk, "interlock.sandbox/python:3.11", tag_of_inputs(walk, tmp_path / "tree"))

    with pytest.raises(Refused) as caught:
        await release(walk)

    assert caught.value.rule == "foreign-image"
