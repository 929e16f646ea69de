"""A git server goes on giving CD an older commit, so that what was mended or revoked since is never deployed.

Defence: signed statements of what the newest commit is, at most so many hours old (policy/freshness.yaml,
interlock/contract/freshness.py): CD freezes and alarms when none is young enough, and at once when one names a commit
that the server does not give (flows/cd/guard.py).
Not defended: a server that withholds a commit from everybody who states freshness too; whoever pushed it can name it
with `interlock protect freshness --commit`. The commits that are withheld are not deployed, and until the hours are
over nobody is told.
"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from pathlib import Path

import pytest

from flows.cd.guard import guard_order
from interlock.cd.host import CdHost
from interlock.contract import layout, strict_yaml
from interlock.errors import Blocked
from tasks.cd import freezes
from tests.cluster.worlds import Recorder
from tests.examples_of_repositories import ENVIRONMENT
from tests.git.conftest import Server
from tests.git.guarded import VALUES, Guarded, cd_host, make_guarded


@pytest.fixture
def guarded(server: Server, tmp_path: Path) -> Guarded:
    return make_guarded(server, tmp_path)


def withhold(guarded: Guarded, folder: Path) -> CdHost:
    """CD's host, whose git server answers as it did at this moment whatever is pushed later."""
    old = guarded.repository.bare.with_name(f"old-{guarded.repository.bare.name}")
    shutil.copytree(guarded.repository.bare, old)
    server = guarded.repository.server
    for role in ("developer", "ci", "cd"):
        server.rights[role][old.name.removesuffix(".git")] = "read"
    server.create(f"{folder.name.replace('_', '-').lower()}-rights")  # writes the rights
    host = cd_host(guarded, folder)
    url = host.environment_repository.url.replace("/r", "/old-r")
    return host.model_copy(
        update={"environment_repository": host.environment_repository.model_copy(update={"url": url})}
    )


def give_statement(guarded: Guarded) -> None:
    """The server shows CD the newest statement, and still no newer commit."""
    bare = guarded.repository.bare
    command = ("git", f"--git-dir={bare.with_name(f'old-{bare.name}')}", "fetch", "--quiet", str(bare))
    subprocess.run((*command, "+refs/heads/interlock/*:refs/heads/interlock/*"), check=True)


def mend(guarded: Guarded) -> str:
    commit = guarded.write({VALUES: b"replicas: 3\n"})
    assert guarded.push_head(commit)[0] == 0
    return commit


def ask_for_freshness(guarded: Guarded, hours: int = 24) -> None:
    file = {"format": 1, "signers": ["ci-shop"], "warn_hours": 1, "freeze_hours": hours}
    assert guarded.push_head(guarded.write({layout.FRESHNESS: strict_yaml.dump(file).encode()}))[0] == 0


async def test_withholding_succeeds_where_freshness_is_not_asked_for(guarded: Guarded, tmp_path: Path) -> None:
    """CD takes the old head for the newest, and nobody is told."""
    host = withhold(guarded, tmp_path)
    mend(guarded)

    assert await guard_order(Recorder(), host) == "guarded as wanted"
    assert not freezes.read(host.state, ENVIRONMENT)


async def test_a_server_that_withholds_statements_too_freezes_when_the_hours_are_over(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it can give are old statements, and they age."""
    ask_for_freshness(guarded)
    guarded.state_freshness(guarded.at)
    host = withhold(guarded, tmp_path)
    newest = mend(guarded)
    guarded.state_freshness(newest)
    await guard_order(Recorder(), host)
    assert not freezes.read(host.state, ENVIRONMENT)

    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=25)
    monkeypatch.setattr("flows.cd.guard.clock.now", lambda state: later)
    with pytest.raises(Blocked, match="is younger than 24 hours"):
        await guard_order(Recorder(), host)
    assert [each.cause for each in freezes.read(host.state, ENVIRONMENT)] == ["freshness"]


async def test_a_server_that_gives_statements_and_withholds_commits_freezes_at_once(
    guarded: Guarded, tmp_path: Path
) -> None:
    """A statement names the commit that the branch must have."""
    ask_for_freshness(guarded)
    host = withhold(guarded, tmp_path)
    newest = mend(guarded)
    guarded.state_freshness(newest)
    give_statement(guarded)

    with pytest.raises(Blocked, match=f"ci-shop saw {newest[:12]} at the head of the branch"):
        await guard_order(Recorder(), host)
