"""The guard of a CD host: forges over HTTP, a real git server, and the freezes that it sets and lifts."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.cd.guard import guard_order
from flows.ci.fresh import keep_fresh
from interlock.cd.host import CdHost
from interlock.ci.host import CiHost
from interlock.contract import commit as commits
from interlock.contract import freshness as statements
from interlock.contract import layout, strict_yaml
from interlock.contract.protection import Wanted
from interlock.errors import Blocked, ForgeError
from tasks.cd import freezes
from tasks.common import freshness, git
from tasks.common.protection import doors
from tests.cluster.worlds import Recorder
from tests.examples_of_repositories import ENVIRONMENT, SOURCE_REPOSITORY
from tests.forges.guarding import Guarding, guarding
from tests.git.conftest import AUTHOR, Key, Server
from tests.git.guarded import VALUES, Guarded, cd_host, make_guarded
from tests.git.test_hostile_trees import raw_object

BRANCH = f"{statements.BRANCHES}ci-shop"


@pytest.fixture
def guarded(server: Server, tmp_path: Path) -> Guarded:
    return make_guarded(server, tmp_path)


@pytest.fixture
def forge() -> Iterator[Guarding]:
    with guarding("gitea") as made:
        yield made


@pytest.fixture
def host(guarded: Guarded, forge: Guarding, tmp_path: Path) -> CdHost:
    """CD's, with the forge of the application repository, which guards its branch as is usual."""
    account = forge.account(tmp_path / "token")
    doors.apply(account, Wanted())
    return cd_host(guarded, tmp_path, {SOURCE_REPOSITORY: account})


def policy(guarded: Guarded, path: str, **value: object) -> None:
    commit = guarded.write({path: strict_yaml.dump({"format": 1, **value}).encode()})
    code, said = guarded.push_head(commit)
    assert code == 0, said


def frozen(host: CdHost) -> list[str]:
    return [each.cause for each in freezes.read(host.state, ENVIRONMENT)]


async def test_a_weakening_freezes_until_it_is_undone(host: CdHost, forge: Guarding) -> None:
    """The environments that the repository is bound to; the alarm says rule and repository, each time."""
    assert await guard_order(Recorder(), host) == "guarded as wanted"
    assert forge.rules is not None
    forge.rules["enable_force_push"] = True

    for _ in range(2):
        presenter = Recorder()
        with pytest.raises(Blocked, match=r"dev: branch-protection, since .*: shop: force-push \(allowed\)") as blocked:
            await guard_order(presenter, host)
        assert "policy/protection.yaml" in blocked.value.hint
        assert presenter.report("branch-protection").title == "shop: 1 rule is weaker than wanted"
        assert frozen(host) == ["branch-protection"]

    forge.rules["enable_force_push"] = False
    await guard_order(Recorder(), host)
    assert frozen(host) == []


async def test_a_weakening_that_a_signed_commit_accepts_does_not_freeze(
    host: CdHost, forge: Guarding, guarded: Guarded
) -> None:
    """Only that rule, only of that repository, and only until its end; the commit need not be deployed yet."""
    assert forge.rules is not None
    forge.rules["require_signed_commits"] = False
    with pytest.raises(Blocked):
        await guard_order(Recorder(), host)

    entry = {
        "repository": "shop",
        "rule": "signed-commits",
        "reason": "the move to the new forge",
        "ends": "2999-12-31",
    }
    policy(guarded, layout.PROTECTION, accepted=[entry])
    await guard_order(Recorder(), host)
    assert frozen(host) == []

    forge.rules["apply_to_admins"] = forge.rules["block_admin_merge_override"] = False
    with pytest.raises(Blocked, match=r"shop: exempt \(administrators\)"):
        await guard_order(Recorder(), host)
    policy(guarded, layout.PROTECTION, accepted=[{**entry, "ends": "2020-12-31"}])
    with pytest.raises(Blocked, match="signed-commits"):
        await guard_order(Recorder(), host)


async def test_an_acceptance_that_nobody_may_sign_does_not_count(
    host: CdHost, forge: Guarding, guarded: Guarded
) -> None:
    """The policy of the head that was verified before counts when the branch's head is refused."""
    await guard_order(Recorder(), host)
    guarded.unguard()
    entry = {"repository": "shop", "rule": "force-push", "reason": "because I say so", "ends": "2999-12-31"}
    text = strict_yaml.dump({"format": 1, "accepted": [entry]}).encode()
    assert guarded.push_head(guarded.unsigned({layout.PROTECTION: text}))[0] == 0
    assert forge.rules is not None
    forge.rules["enable_force_push"] = True

    with pytest.raises(Blocked, match="force-push"):
        await guard_order(Recorder(), host)


async def test_other_repositories_freeze_nothing_here(host: CdHost, forge: Guarding) -> None:
    """A repository that no binding gives an environment of this host concerns none."""
    forge.rules = None
    other = host.model_copy(update={"forges": {"elsewhere": host.forges[SOURCE_REPOSITORY]}})

    assert await guard_order(Recorder(), other) == "guarded as wanted"
    own = host.model_copy(update={"forges": {"environments": host.forges[SOURCE_REPOSITORY]}})
    with pytest.raises(Blocked, match=r"environments: protected \(it is not\)"):
        await guard_order(Recorder(), own)


async def test_a_forge_that_does_not_answer_freezes_after_a_day(host: CdHost, forge: Guarding) -> None:
    """Until then the run fails and what holds stays; one that never answered is not taken for guarded."""
    await guard_order(Recorder(), host)
    forge.administers = False
    with pytest.raises(ForgeError):
        await guard_order(Recorder(), host)
    assert frozen(host) == []

    long_ago = time.time() - 25 * 3600
    os.utime(host.state / "asked" / f"forge%2F{SOURCE_REPOSITORY}", (long_ago, long_ago))
    with pytest.raises(Blocked, match="could not be asked for more than 24 hours"):
        await guard_order(Recorder(), host)
    forge.administers = True
    await guard_order(Recorder(), host)
    assert frozen(host) == []


# freshness -------------------------------------------------------------------------------------------


def state(guarded: Guarded, head: str, *, by: Key, hours_ago: float = 0.0) -> None:
    """A statement as `interlock protect freshness` makes it, at any time."""
    mirror, remote = guarded.repository.mirror, guarded.repository.remote
    own = remote.model_copy(update={"branch": BRANCH})
    message = statements.message("main", head)
    seconds = int(time.time() - hours_ago * 3600)
    commit = git.write_commit(mirror, None, {}, message=message, key=by.path, author=AUTHOR, seconds=seconds)
    git.push(mirror, commit, own, expected=git.head_of(guarded.repository.bare, BRANCH), rewrite=True)


async def test_freshness_warns_and_then_freezes(host: CdHost, guarded: Guarded) -> None:
    """By the age of the newest statement that counts; a new one thaws."""
    policy(guarded, layout.FRESHNESS, signers=["ci-shop"], warn_hours=2, freeze_hours=5)
    with pytest.raises(Blocked, match="statement of freshness that counts is younger than 5 hours"):
        await guard_order(Recorder(), host)

    state(guarded, guarded.at, by=guarded.ci, hours_ago=1)
    assert "of ci-shop, is 1.0 hours old" in await guard_order(Recorder(), host)
    assert frozen(host) == []

    state(guarded, guarded.at, by=guarded.ci, hours_ago=3)
    presenter = Recorder()
    assert "it freezes in 2.0 hours" in await guard_order(presenter, host)
    assert presenter.report("freshness").data and frozen(host) == []

    state(guarded, guarded.at, by=guarded.ci, hours_ago=6)
    with pytest.raises(Blocked, match=r"dev: freshness, since .* is younger than 5 hours") as blocked:
        await guard_order(Recorder(), host)
    assert "interlock protect freshness" in blocked.value.hint and frozen(host) == ["freshness"]

    guarded.state_freshness(guarded.at)
    await guard_order(Recorder(), host)
    assert frozen(host) == []


@pytest.mark.parametrize("attack", ["stranger", "not named", "other branch", "future", "ordinary commit"])
async def test_statements_that_do_not_count(host: CdHost, guarded: Guarded, attack: str, tmp_path: Path) -> None:
    """Of nobody, of a signer who is not asked, about another branch, from the future, and what is no statement."""
    policy(guarded, layout.FRESHNESS, signers=["ci-shop"])
    mirror, remote = guarded.repository.mirror, guarded.repository.remote
    if attack == "stranger":
        state(guarded, guarded.at, by=Key.make(tmp_path / "eve"))
    elif attack == "not named":
        state(guarded, guarded.at, by=guarded.ada)
    elif attack == "future":
        state(guarded, guarded.at, by=guarded.ci, hours_ago=-1)
    elif attack == "ordinary commit":
        assert guarded.push(f"{guarded.write({VALUES: b'replicas: 2'})}:refs/heads/{BRANCH}")[0] == 0
    else:
        freshness.state.fn(remote, mirror, head=guarded.at, signer="ci-shop", key=guarded.ci.path)
        other = remote.model_copy(update={"branch": "side"})
        freshness.state.fn(other, mirror, head=guarded.at, signer="ci-shop", key=guarded.ci.path)

    with pytest.raises(Blocked, match="no signed statement of freshness that counts"):
        await guard_order(Recorder(), host)


async def test_a_commit_that_one_signer_saw_is_not_forgotten_for_anothers_sake(host: CdHost, guarded: Guarded) -> None:
    """Each signer has a branch: what CI states meanwhile does not take the place of what a person knows."""
    policy(guarded, layout.FRESHNESS, signers=["ci-shop", "ada"])
    remote, mirror = guarded.repository.remote, guarded.repository.mirror
    unseen = guarded.write({VALUES: b"replicas: 9\n"})
    freshness.state.fn(remote, mirror, head=unseen, signer="ada", key=guarded.ada.path)
    freshness.state.fn(remote, mirror, head=guarded.at, signer="ci-shop", key=guarded.ci.path)

    with pytest.raises(Blocked, match=f"ada saw {unseen[:12]} at the head"):
        await guard_order(Recorder(), host)

    assert guarded.push_head(unseen)[0] == 0
    assert "hours old" in await guard_order(Recorder(), host)


def spoil(guarded: Guarded, *signers: str) -> None:
    """Branches of statements with a commit that git's own check does not accept."""
    bad = raw_object(guarded.repository, "commit", b"tree %s\n\n" % commits.EMPTY_TREE.encode())
    for name in signers:
        ref = f"refs/heads/{statements.BRANCHES}{name}"
        subprocess.run(("git", f"--git-dir={guarded.repository.bare}", "update-ref", ref, bad), check=True)


async def test_branches_of_others_hinder_nobody(host: CdHost, guarded: Guarded) -> None:
    """However many there are, and whatever is on them; a bad one of a signer spoils only its own statement."""
    policy(guarded, layout.FRESHNESS, signers=["ada", "ci-shop"])
    spoil(guarded, *(f"a{number:02}" for number in range(25)), "ada")
    guarded.state_freshness(guarded.at)

    assert "of ci-shop, is 0.0 hours old" in await guard_order(Recorder(), host)


async def test_an_old_statement_that_is_shown_again_withholds_nothing(host: CdHost, guarded: Guarded) -> None:
    """It is of a head that was taken back since; while it is young it is believed."""
    policy(guarded, layout.FRESHNESS, signers=["ada", "ci-shop"], warn_hours=2, freeze_hours=5)
    remote, mirror = guarded.repository.remote, guarded.repository.mirror
    freshness.state.fn(remote, mirror, head=guarded.at, signer="ada", key=guarded.ada.path)
    taken_back = guarded.write({VALUES: b"replicas: 9\n"})

    state(guarded, taken_back, by=guarded.ci, hours_ago=4)
    with pytest.raises(Blocked, match=f"ci-shop saw {taken_back[:12]} at the head"):
        await guard_order(Recorder(), host)
    state(guarded, taken_back, by=guarded.ci, hours_ago=6)
    assert "of ada, is 0.0 hours old" in await guard_order(Recorder(), host)


async def test_a_statement_counts_on_its_signers_branch_alone(host: CdHost, guarded: Guarded) -> None:
    """Whoever may push cannot move it to where another signer's stood."""
    policy(guarded, layout.FRESHNESS, signers=["ada", "ci-shop"])
    state(guarded, guarded.at, by=guarded.ada)

    with pytest.raises(Blocked, match="no signed statement of freshness that counts"):
        await guard_order(Recorder(), host)


async def test_a_signers_last_day_ends_their_statements(host: CdHost, guarded: Guarded) -> None:
    """Who may sign commits no longer states nothing either."""
    policy(guarded, layout.FRESHNESS, signers=["ci-shop"])
    guarded.state_freshness(guarded.at)
    assert "hours old" in await guard_order(Recorder(), host)

    text = git.read_blobs(guarded.repository.mirror, [f"{guarded.at}:{layout.SIGNERS}"])
    signers = yaml.safe_load(next(iter(text.values())))
    next(each for each in signers["signers"] if each["name"] == "ci-shop")["until"] = "2020-01-01"
    commit = guarded.write({layout.SIGNERS: strict_yaml.dump(signers).encode()})
    assert guarded.push_head(commit)[0] == 0
    with pytest.raises(Blocked, match="no signed statement of freshness that counts"):
        await guard_order(Recorder(), host)


async def test_ci_states_freshness_where_it_is_named(host: CdHost, guarded: Guarded, tmp_path: Path) -> None:
    """By its polls, every quarter of an hour; not at all where the policy does not name it."""
    ci = CiHost.model_validate(
        {
            "format": 1,
            "prefect": "http://127.0.0.1:4200/api",
            "state": tmp_path / "ci-state",
            "environment_repository": {
                **host.environment_repository.model_dump(mode="python"),
                "auth": guarded.repository.server.auth("ci"),
            },
            "signing": {"signer": "ci-shop", "key": guarded.ci.path},
            "registry": {"host": "registry.example"},
            "trivy": {"cache": tmp_path / "trivy"},
        }
    )
    assert not await keep_fresh(Recorder(), ci)
    policy(guarded, layout.FRESHNESS, signers=["ci-shop"])
    assert not await keep_fresh(Recorder(), ci)
    os.utime(ci.state / "freshness", (0, 0))

    assert await keep_fresh(Recorder(), ci)
    assert "of ci-shop, is 0.0 hours old" in await guard_order(Recorder(), host)
    assert not await keep_fresh(Recorder(), ci)


async def test_without_the_policy_freshness_is_not_asked_for(host: CdHost, guarded: Guarded) -> None:
    """A statement of anybody's is looked at by nobody then."""
    state(guarded, guarded.at, by=guarded.ada, hours_ago=1000)

    assert await guard_order(Recorder(), host) == "guarded as wanted"
