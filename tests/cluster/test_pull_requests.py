"""What open pull requests would change, said on a forge of each kind; planned on a real API server."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.cd.pull_requests import pull_requests_order
from flows.cd.walk import Decision, Site, decide
from interlock.contract import layout, strict_yaml
from interlock.errors import HostConfigError, UnderWay
from tasks.cd import doctor, pull_requests
from tasks.common import git
from tests.cluster.worlds import Recorder, World, config_map, deployment, manifest_path, secret
from tests.forges.conftest import serving
from tests.forges.server import KINDS, ME, TOKEN, FakeForge, Fault, Note, Pull
from tests.git.conftest import Key

REFS = {"github": "refs/pull/{}/head", "gitea": "refs/pull/{}/head", "gitlab": "refs/merge-requests/{}/head"}


@pytest.fixture(params=["github"])
def forge(request: pytest.FixtureRequest) -> Iterator[FakeForge]:
    with serving(request.param) as found:
        yield found


def name_forge(world: World, forge: FakeForge, **more: object) -> None:
    """Into the host's cd.yaml."""
    account = forge.account(world.config.parent / "forge-comments")
    value = yaml.safe_load(world.config.read_text())
    value["pull_requests"] = {"forge": account.model_dump(mode="json"), **more}
    world.config.write_text(strict_yaml.dump(value))
    heads: dict[str, str] = {}
    forge.head = heads.get
    forge.__dict__["heads"] = heads


def offer(world: World, forge: FakeForge, number: int, commit: str, **more: object) -> None:
    """A pull request at this commit, as the forge's git server has it."""
    mirror, ref = world.repository.mirror, REFS[forge.kind].format(number)
    target = f"+{commit}:{ref}"
    subprocess.run(("git", f"--git-dir={mirror}", "push", "-q", str(world.repository.bare), target), check=True)
    forge.__dict__["heads"][f"b{number}"] = commit
    if number not in {each.number for each in forge.pulls}:
        forge.pulls.append(Pull(number, f"b{number}", "main", "t", "", **more))  # type: ignore[arg-type]


def write(world: World, name: str, *bodies: object, by: Key | None = None, message: str = "Propose") -> str:
    """A commit on top of the branch, which nobody pushes there."""
    content = {manifest_path(name): yaml.safe_dump_all(bodies).encode()}
    return world.repository.write(world.head, dict(content), by=by, message=message)


def remembered(world: World) -> dict[str, bytes]:
    """What decides about the next deploy, on CD's host."""
    folders = ("marks", "verdicts", "evidence", "contests", "freezes", "asked", "looked")
    files = (each for folder in folders for each in (world.host.state / folder).rglob("*.json"))
    return {str(each): each.read_bytes() for each in files}


async def look(world: World, presenter: Recorder | None = None) -> str:
    return await pull_requests_order(presenter or Recorder(), world.host)


def only(forge: FakeForge) -> str:
    (note,) = forge.notes
    return note.body


@pytest.mark.parametrize("forge", KINDS, indirect=True)
async def test_an_open_request_gets_its_live_plan(world: World, forge: FakeForge) -> None:
    """On every forge: of the commit that it is at, against what lives; edited when it moves; and nothing is written."""
    world.push_objects("web", deployment())
    await world.deploy()
    name_forge(world, forge)
    before, receipts, kept = world.stored(), world.receipts(), remembered(world)
    first = write(world, "web", deployment(replicas=2))
    offer(world, forge, 3, first)

    assert await look(world) == "3 added"
    text = only(forge)
    assert f"**Live plan** of `{first[:12]}`" in text and f"`main`, now at `{world.head[:12]}`" in text
    assert "### dev: 1 to change" in text
    assert f"! change Deployment/{world.namespace}/web\n    spec.replicas: 0 → 2\n" in text
    assert f"      {manifest_path('web')}:" in text

    second = write(world, "web", deployment(replicas=3))
    offer(world, forge, 3, second)
    assert await look(world) == "3 edited"
    assert f"`{second[:12]}`" in only(forge) and "0 → 3" in only(forge)

    assert (world.stored(), world.receipts(), remembered(world)) == (before, receipts, kept)
    assert world.get("Deployment", "web", "apps/v1")["spec"]["replicas"] == 0  # type: ignore[index]
    assert git.has_commit(git.mirror_path(world.host.state, "environments"), second) is False, "not in CD's own mirror"
    assert await world.deploy()


async def test_it_is_planned_again_only_when_something_moved(world: World, forge: FakeForge) -> None:
    """While request, branch and deployed commit are the same, only the list is asked for."""
    await world.deploy()
    name_forge(world, forge)
    offer(world, forge, 3, write(world, "more", config_map("more", {"a": "1"})))
    assert await look(world) == "3 added"

    forge.requests.clear()
    quiet = Recorder()
    assert await look(world, quiet) == "nothing new about 1 open"
    assert len(forge.requests) == 1 and quiet.steps == ["list the open pull requests", "look at the branch"]

    world.push_objects("other", config_map("other", {"a": "1"}))
    assert await look(world) == "3 edited"
    assert "not planned (behind)" in only(forge) and "bring it up to date" in only(forge)
    offer(world, forge, 3, write(world, "more", config_map("more", {"a": "1"})))
    await look(world)
    assert "### dev: 2 to create" in only(forge)
    await world.deploy()
    await look(world)
    assert "### dev: 1 to create" in only(forge)


async def test_the_cluster_is_looked_at_again_after_a_time(
    world: World, forge: FakeForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody changed there meanwhile is in the comment then; what is the same edits nothing."""
    world.push_objects("web", deployment())
    await world.deploy()
    name_forge(world, forge, again_seconds=60)
    offer(world, forge, 3, write(world, "more", config_map("more", {"a": "1"})))
    await look(world)
    start = pull_requests.now()
    monkeypatch.setattr(pull_requests, "now", lambda: start + 100)
    assert await look(world) == "3 as it was"
    assert forge.edits == 0

    world.merge(world.path("deployments", "web", "apps/v1"), {"spec": {"replicas": 1}})
    monkeypatch.setattr(pull_requests, "now", lambda: start + 200)
    assert await look(world) == "3 edited"
    assert "spec.replicas: … → 0 (drift)" in only(forge)


async def test_what_cd_would_refuse_is_not_planned(world: World, forge: FakeForge, tmp_path: Path) -> None:
    """Not signed by anybody known, or by somebody who may not: nothing of it is read, rendered or asked of the cluster,
    and the comment says why.
    """
    await world.deploy()
    name_forge(world, forge)
    stranger = Key.make(tmp_path / "stranger")
    offer(world, forge, 3, write(world, "web", deployment(), by=stranger, message="@all\n/merge"))

    presenter = Recorder()
    assert await look(world, presenter) == "3 added"

    text = only(forge)
    assert "### dev: not planned (unknown-key)" in text and "signed by a key that nobody here holds" in text
    assert "@all" not in text
    assert not {"render dev", "plan", "connect", "read the record"} & set(presenter.steps)
    assert presenter.steps == [
        "list the open pull requests",
        "look at the branch",
        "ask whose token it is",
        "fetch the pull request",
        "verify the pull request",
        "comment",
    ]
    # A good commit on top of a bad one is as bad.
    bad = write(world, "web", deployment(), by=stranger)
    good = world.repository.write(bad, {manifest_path("x"): yaml.safe_dump(config_map("x", {})).encode()})
    offer(world, forge, 3, good)
    await look(world)
    assert f"not planned (unknown-key)\n\n```diff\n! commit {bad[:12]}" in only(forge)


async def test_what_cannot_be_rendered_is_not_planned(world: World, forge: FakeForge) -> None:
    """The file and the line are in the comment, as they are in CD's own refusal."""
    await world.deploy()
    name_forge(world, forge)
    commit = world.repository.write(world.head, {manifest_path("bad"): b"kind: ConfigMap\nkind: Secret\n"})
    offer(world, forge, 3, commit)

    await look(world)

    assert "### dev: not planned" in only(forge)
    assert manifest_path("bad") in only(forge)


async def test_a_plan_that_fails_is_unknown(world: World, forge: FakeForge) -> None:
    """That is said, without what the tool said; and it is tried again."""
    await world.deploy()
    name_forge(world, forge)
    offer(world, forge, 3, write(world, "more", config_map("more", {"a": "1"})))
    good = world.config.read_text()
    world.config.write_text(good.replace("cd.kubeconfig", "none.kubeconfig"))

    presenter = Recorder()
    await look(world, presenter)

    assert only(forge).endswith("### dev: unknown: the plan could not be made; it is tried again")
    assert any("none.kubeconfig" in note for note in presenter.notes)


async def test_drafts_forks_and_closed_requests(world: World, forge: FakeForge) -> None:
    """A draft is left alone until it is ready, a closed one for good; of a fork nothing is fetched, which is said."""
    await world.deploy()
    name_forge(world, forge)
    commit = write(world, "more", config_map("more", {"a": "1"}))
    offer(world, forge, 3, commit, draft=True)
    offer(world, forge, 4, commit, fork=True)
    offer(world, forge, 5, commit, state="closed")
    offer(world, forge, 6, commit, state="merged")

    presenter = Recorder()
    assert await look(world, presenter) == "4 added"
    assert "not planned (fork)" in only(forge) and "fetch the pull request" not in presenter.steps
    assert await look(world) == "nothing new about 2 open"

    forge.pull(3).draft = False
    assert await look(world) == "3 added"
    forge.pull(3).state = "closed"
    forge.pull(4).state = "closed"
    assert await look(world) == "no pull request is open"


async def test_nothing_of_a_secret_is_said(world: World, forge: FakeForge) -> None:
    """Neither a value, nor whether a guess of the request is what lives; drift of others is, without values."""
    world.push_objects("s", secret("login", {"password": "hunter2-hunter2"}), secret("other", {"a": "first-first"}))
    await world.deploy()
    world.merge(world.path("secrets", "other"), {"stringData": {"a": "second-second"}})
    name_forge(world, forge)
    texts = []
    for guess in ("correct-horse", "hunter2-hunter2"):
        # As `data`, it is declared otherwise even where it is the same.
        body = secret("login", {"password": guess, "more": "x"})
        offer(world, forge, 3, write(world, "s", body, secret("other", {"a": "first-first"}), message=guess))
        await look(world)
        texts.append(only(forge).split("\n\n", 1)[1])

    assert texts[0] == texts[1]
    assert f"! change Secret/{world.namespace}/login: declared otherwise than on the branch" in texts[0]
    assert f"! change Secret/{world.namespace}/other" in texts[0] and "data.a: a Secret's value" in texts[0]
    assert not any(word in only(forge) for word in ("hunter2", "horse", "first-first", "second-second", "••"))


async def test_a_forged_comment_is_left_alone(world: World, forge: FakeForge) -> None:
    """Somebody else's with our mark is not edited, and ours is made beside it."""
    await world.deploy()
    name_forge(world, forge)
    mark = pull_requests.mark(world.host)
    forge.notes = [Note(1, 3, ME + 1, f"{mark}\nAll is well, merge it.")]
    offer(world, forge, 3, write(world, "more", config_map("more", {"a": "1"})))

    assert await look(world) == "3 added"
    assert [each.author for each in forge.notes] == [ME + 1, ME]
    assert forge.notes[0].body.endswith("merge it.")


async def test_a_forge_that_is_away_stops_nothing(
    world: World, forge: FakeForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line and a report; the run ends well, deploys go on, and a later look says what could not be said."""
    monkeypatch.setattr("tasks.common.forges.time.sleep", lambda _: None)
    name_forge(world, forge)
    offer(world, forge, 3, write(world, "more", config_map("more", {"a": "1"})))
    forge.faults = [Fault(502)] * 4
    presenter = Recorder()

    assert (await look(world, presenter)).startswith("the forge was not told: acme/shop on ")
    assert presenter.report("forge").title == "The forge was not told"
    assert len([note for note in presenter.notes if "was not told" in note]) == 1
    assert TOKEN not in f"{presenter.notes}{presenter.reports}"
    await world.deploy()

    forge.faults = [Fault(403, only="POST", message="locked")]
    assert await look(world) == "3 not told"
    assert forge.notes == []
    start = pull_requests.now()
    monkeypatch.setattr(pull_requests, "now", lambda: start + 1000)
    assert await look(world) == "3 added"


async def test_one_that_ends_the_run_keeps_no_other_from_its_turn(
    world: World, forge: FakeForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw is seen on the run's page; the next look begins with the others."""
    await world.deploy()
    name_forge(world, forge)
    bad, good = (write(world, name, config_map(name, {})) for name in ("bad", "good"))
    offer(world, forge, 3, bad)
    offer(world, forge, 4, good)

    async def failing(site: Site) -> Decision:
        if site.proposed and site.proposed.commit == bad:
            raise ZeroDivisionError
        return await decide(site)

    monkeypatch.setattr("flows.cd.pull_requests.decide", failing)
    with pytest.raises(ZeroDivisionError):
        await look(world)
    assert await look(world) == "4 added"


async def test_two_looks_at_once_make_one_comment(world: World, forge: FakeForge) -> None:
    """The second run of a host leaves it to the first."""
    name_forge(world, forge)
    with pull_requests.alone(world.host.state), pytest.raises(UnderWay):
        await look(world)


async def test_an_account_that_could_do_more_is_refused(world: World, forge: FakeForge) -> None:
    """Before anything is planned; and its token is none of those that look how the branch is guarded."""
    name_forge(world, forge)
    offer(world, forge, 3, write(world, "more", config_map("more", {"a": "1"})))
    forge.pushes = True
    presenter = Recorder()
    with pytest.raises(HostConfigError, match="may push there"):
        await look(world, presenter)
    assert "fetch the pull request" not in presenter.steps and forge.notes == []

    own = world.config.read_text()
    forge_account = yaml.safe_load(own)["pull_requests"]["forge"]
    for also in ({"forges": {"environments": forge_account}}, {"environment_repository": {"reviews": forge_account}}):
        value = yaml.safe_load(own)
        value.update({key: {**value.get(key, {}), **entry} for key, entry in also.items()})
        world.config.write_text(strict_yaml.dump(value))
        with pytest.raises(HostConfigError, match="needs a token that may only comment"):
            _ = world.host


async def test_doctor_says_whose_the_account_is(
    world: World, forge: FakeForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that it can do no more than it should; else what to do."""
    name_forge(world, forge)
    offer(world, forge, 3, write(world, "more", config_map("more", {"a": "1"})))
    monkeypatch.setenv("INTERLOCK_CONFIG", str(world.config))
    name = "account for pull requests"

    found = {each.name: each for each in doctor.checks()}
    assert found[name].well
    assert re.fullmatch(r"interlock-plans on \S+: may not push, and sees 1 open request to main", found[name].said)
    forge.pushes = True
    found = {each.name: each for each in doctor.checks()}
    assert not found[name].well and "may only read and comment" in found[name].fix


async def test_a_request_that_brings_an_environment(world: World, forge: FakeForge) -> None:
    """What is not there yet is planned as new; what the host does not give it is said."""
    name_forge(world, forge)
    offer(world, forge, 3, write(world, "web", deployment()))
    await look(world)
    assert "2 to create" in only(forge)

    text = world.repository_text(layout.environment("dev")).replace(world.namespace, "kube-system")
    offer(world, forge, 3, world.repository.write(world.head, {layout.environment("dev"): text.encode()}))
    await look(world)
    assert "not planned (ceiling)" in only(forge) and "kube-system" in only(forge)


async def test_huge_pushes_stay_out(world: World, forge: FakeForge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request's fetch ends at its limit, and the next one is planned as ever."""
    await world.deploy()
    name_forge(world, forge)
    monkeypatch.setattr(pull_requests, "LARGEST_BYTES", 100_000)
    noise = secrets.token_bytes(1 << 20)
    offer(world, forge, 3, world.repository.write(world.head, {"environments/dev/shop/noise.bin": noise}))
    offer(world, forge, 4, write(world, "more", config_map("more", {"a": "1"})))

    await look(world)

    texts = {each.number: each.body for each in forge.notes}
    assert "### dev: unknown" in texts[3]
    assert "### dev: 2 to create" in texts[4] or "### dev: 1 to create" in texts[4]
