"""A release and a rescan on real git, Docker, registry and Trivy, beside a forge that answers over HTTP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.ci.release import ReleaseOutcome, release_order
from flows.ci.rescan import rescan_order
from interlock.contract import layout, repository
from interlock.errors import Blocked
from tasks.common import git
from tests import examples_of_repositories as example
from tests.docker import killed, service
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder
from tests.forges.conftest import serving
from tests.forges.server import FakeForge
from tests.killed import exit_code

BRANCH = "interlock/shop/web/prod"


@pytest.fixture
def forges() -> Iterator[dict[str, FakeForge]]:
    """One for the application repository, one for the environment repository."""
    with serving("github") as application, serving("gitlab") as environments:
        yield {"shop": application, "environments": environments}


@pytest.fixture
def walk(walk: Walk, forges: dict[str, FakeForge]) -> Walk:
    """`dev` is released to directly, `prod` by people."""
    files = walk.environments.read().files
    prod = files[layout.environment("dev")].decode().replace(example.ENVIRONMENT_ID, "e0e1e2e3e4e5")
    walk.environments.push(
        {
            layout.environment("prod"): f"{prod.replace('[shop]', '[shop-prod]')}promotion: pull-request\n".encode(),
            layout.values("prod", "shop"): files[layout.values("dev", "shop")],
            layout.BINDINGS: files[layout.BINDINGS].replace(b"[dev]", b"[dev, prod]"),
            layout.SIGNERS: files[layout.SIGNERS].replace(b"environments/dev/", b"environments/*/"),
        },
        "Add prod",
    )
    forges["environments"].head = lambda branch: (
        walk.environments.on_server("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}") or None
    )
    accounts = {name: each.account(walk.host.state.parent / f"token-{name}") for name, each in forges.items()}
    walk.host = walk.host.model_copy(update={"forges": accounts, "prefect_ui": "https://prefect.example"})
    return walk


def release(walk: Walk, recorder: Recorder | None = None) -> ReleaseOutcome:
    return asyncio.run(release_order(recorder or Recorder(), walk.host, "shop", None))


def where(walk: Walk) -> dict[str, str]:
    """The source commits that are released, by environment, as CD reads them."""
    found = repository.read(walk.environments.read()).environments
    entries = {name: each.applications["shop"].release for name, each in found.items()}
    return {name: each.components["web"].source.commit for name, each in entries.items() if each}


def test_one_push_is_released_and_proposed(walk: Walk, forges: dict[str, FakeForge]) -> None:
    """A commit for the one, a pull request for the other, a status at the source commit; merged, it is released too."""
    commit = walk.application.head
    assert commit is not None
    recorder = Recorder()
    outcome = release(walk, recorder)

    assert where(walk) == {"dev": commit}
    (pull,) = forges["environments"].pulls
    assert (pull.branch, pull.title) == (BRANCH, f"Release web {commit[:12]} to prod")
    assert "1 passed, 0 failed" in pull.body and "Nothing stops this release." in pull.body
    assert "+++ Deployment.apps shop-prod/shop" in pull.body and outcome.components[0].image in pull.body
    assert str(outcome).endswith("web to dev; web is proposed to prod")
    (last,) = [each for each in forges["shop"].statuses if each["state"] != "pending"]
    assert (last["sha"], last["state"]) == (commit, "success") and last["description"] in str(outcome)
    assert last["target_url"].startswith("https://prefect.example/runs/flow-run/")
    assert recorder.report("release").tables[1].rows[0][:2] == ("web", "prod")

    tip = walk.environments.on_server("rev-parse", f"refs/heads/{BRANCH}")
    walk.environments.rewind(tip)  # forward, as it happens
    pull.state = "merged"
    assert where(walk) == {"dev": commit, "prod": commit}
    again = release(walk)
    assert "released already" in str(again) and len(forges["environments"].pulls) == 1


def test_killed_between_branch_and_pull_request(walk: Walk, forges: dict[str, FakeForge], tmp_path: Path) -> None:
    """The next run finds both commits, makes neither anew, and opens the pull request."""
    host = tmp_path / "host.json"
    host.write_text(walk.host.model_dump_json())
    assert exit_code(killed.run, str(host), "after", "push release branch") == -signal.SIGKILL
    tip = walk.environments.on_server("rev-parse", f"refs/heads/{BRANCH}")
    count = walk.environments.count()
    assert forges["environments"].pulls == []

    release(walk)

    assert walk.environments.on_server("rev-parse", f"refs/heads/{BRANCH}") == tip
    assert walk.environments.count() == count and len(forges["environments"].pulls) == 1


def test_a_blocked_commit_is_told_at_the_commit(walk: Walk, forges: dict[str, FakeForge]) -> None:
    """And nothing is proposed."""
    walk.application.push(service.files({"tests/test_price.py": service.TEST.replace("20", "21")}), "Break")

    with pytest.raises(Blocked):
        release(walk)

    last = forges["shop"].statuses[-1]
    assert last["state"] == "failure" and "is not released to dev, prod" in last["description"]
    assert forges["environments"].pulls == []


def test_a_rescan_without_news_opens_no_issue(walk: Walk, forges: dict[str, FakeForge]) -> None:
    """Whoever has nothing to say only reads."""
    release(walk)
    asyncio.run(rescan_order(Recorder(), walk.host))
    assert forges["environments"].issues == []


def test_git_alone_counts(walk: Walk, forges: dict[str, FakeForge], monkeypatch: pytest.MonkeyPatch) -> None:
    """With both forges down the same is released and proposed."""
    monkeypatch.setattr("tasks.common.forges.time.sleep", lambda _: None)
    accounts = {name: each.model_copy(update={"url": "http://127.0.0.1:1"}) for name, each in walk.host.forges.items()}
    walk.host = walk.host.model_copy(update={"forges": accounts})
    recorder = Recorder()

    release(walk, recorder)

    assert where(walk).keys() == {"dev"}
    assert walk.environments.on_server("rev-parse", f"refs/heads/{BRANCH}")
    assert recorder.report("pull-request").title.startswith("No pull request")
    assert recorder.report("forge").title.endswith("is success")
    assert git.fetch_or_empty(walk.environments.mirror, walk.environments.remote) is not None
