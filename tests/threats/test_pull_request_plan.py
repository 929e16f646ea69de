"""A pull request is opened to have CD render it unread, try passwords against the cluster, or speak in CD's name.

Defence: nothing of a request is read as files before each of its commits has passed as it would on the branch
(tasks/cd/pull_requests.py); forks are not even fetched, and what is fetched stays in a mirror of its own. Of a Secret
that a request declares otherwise than the branch, nothing is said of how it compares (interlock/cd/plan_comment.py),
and no mask shows which text of the request is a sealed value of any environment (tasks/common/redaction.py).
What comes from elsewhere stands in one fence, printable; the account may only comment, and only its own comments with
the host's mark are edited.
Not defended: who may sign changes of an environment sees what they would change there before anybody has agreed, and
has the API server asked about it in dry runs, which admission webhooks see. An administrator of the forge can change
what stands in CD's comment until the next plan; what CD deploys does not hang on it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from interlock.cd import plan_comment, plan_report
from interlock.cd.host import CdHost
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.cd.plan_comment import Untold
from interlock.cd.pull_requests import Account
from interlock.contract import layout
from interlock.contract.host import ForgeAccount
from interlock.contract.manifest import Identity
from interlock.errors import Refused
from tasks.cd import pull_requests
from tasks.common import git, redaction
from tasks.common.environment_repository import read_verified
from tasks.common.render import render_environment
from tests.examples_of_repositories import ENVIRONMENT, environment_tree
from tests.git.conftest import Key, Repository
from tests.prefect import hosts

LOGIN = Identity("", "Secret", "shop", "login")
GUESSED = Plan("dev", "c" * 40, (PlanItem(LOGIN, Action.UNCHANGED),))
WRONG = Plan("dev", "c" * 40, (PlanItem(LOGIN, Action.CHANGE),))
CALL = "https://evil.example @everybody"


def _host(repository: Repository, root: str, state: Path) -> CdHost:
    value = hosts.cd("http://127.0.0.1:9/api", state)
    reader = repository.as_role("cd")
    remote = {"name": "environments", "url": reader.url, "auth": str(reader.auth)}
    root_pin = {"commit": root, "keys": [repository.key.public]}
    return CdHost.model_validate({**value, "environment_repository": {**remote, "root": root_pin}}, strict=False)


@pytest.fixture
def proposed(repository: Repository, tmp_path: Path) -> tuple[CdHost, str, str]:
    """The host, the branch's commit, and a stranger's on top of it, which is fetched already."""
    files = environment_tree(person_key=repository.key.public).files
    root = repository.push(None, dict(files), message="Begin")
    stranger = Key.make(tmp_path / "stranger")
    values = {layout.values(ENVIRONMENT, "shop"): b"replicas: 7\n"}
    head = repository.write(root, dict(values), by=stranger)
    target = f"{head}:refs/pull/3/head"
    subprocess.run(("git", f"--git-dir={repository.mirror}", "push", "-q", str(repository.bare), target), check=True)
    host = _host(repository, root, tmp_path / "state")
    assert pull_requests.fetch.fn(host, "github", 3) == head
    return host, root, head


def test_a_strangers_commit_succeeds_in_being_rendered_where_nobody_verifies(
    proposed: tuple[CdHost, str, str],
) -> None:
    """Without verification its templates and values are read like everybody's."""
    host, _, head = proposed
    state = host.state / "pull-requests"

    found = read_verified.fn(host.environment_repository, state=state, commit=head)

    assert render_environment.fn(found.repository, ENVIRONMENT).manifests


def test_a_strangers_commit_is_refused_before_it_is_read(
    proposed: tuple[CdHost, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of its tree is read; and its objects are not in the mirror that deploys read."""
    host, base, head = proposed
    read: list[str] = []
    monkeypatch.setattr(git, "read_tree", lambda mirror, commit, **_: read.append(commit))

    with pytest.raises(Refused) as caught:
        pull_requests.verify.fn(host, head, base=base, since=None)

    assert caught.value.rule == "unknown-key" and read == []
    assert not git.mirror_path(host.state, "environments").exists()


def test_a_guess_succeeds_where_a_plan_is_shown_as_it_is() -> None:
    """Whether the Secret would change says whether the guess was right."""
    assert plan_report.summary(GUESSED) != plan_report.summary(WRONG)


def test_a_guess_is_answered_with_the_same_words() -> None:
    """Right or wrong, the comment is the same."""
    quiet = Untold(frozenset({LOGIN}))
    right, wrong = (plan_comment.planned(each, manager="interlock-1", quiet=quiet) for each in (GUESSED, WRONG))

    assert right == wrong


@pytest.fixture
def opened() -> Iterator[str]:
    """A value that CD has opened, of any environment, to plan a request."""
    redaction.know("correct-horse", sealed=True)
    yield "correct-horse"
    redaction.forget()


def _commented(monkeypatch: pytest.MonkeyPatch, body: str) -> str:
    said = list[str]()
    forge = SimpleNamespace(comments=lambda _: (), add=lambda _, text: said.append(text))
    monkeypatch.setattr(pull_requests, "_asked", lambda _, call: call(forge))
    pull_requests.comment.fn(cast("ForgeAccount", None), 3, own=Account(1, "cd", pushes=False), mark="-", body=body)
    return said[0]


def test_a_guess_succeeds_where_what_is_sealed_is_masked(opened: str) -> None:
    """Of all texts that somebody wrote into a ConfigMap, the mask shows the right one."""
    assert "•" in redaction.redacted(f"+ a: {opened}") and "•" not in redaction.redacted("+ b: wrong-horse")


def test_a_guess_in_the_open_is_told_as_it_was_written(opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right one, too."""
    assert _commented(monkeypatch, f"+ a: {opened}") == f"+ a: {opened}"


def test_a_call_succeeds_from_a_plans_own_page() -> None:
    """Escaped as it is there, an address is still a link, and a name still calls people, on a forge."""
    plan = replace(WRONG, items=(PlanItem(LOGIN._replace(kind="ConfigMap"), Action.BLOCKED, reason=CALL),))

    assert f"| {CALL} |" in plan_report.report(plan).body


def test_a_call_stays_in_its_fence() -> None:
    """There no forge reads it."""
    plan = replace(WRONG, items=(PlanItem(LOGIN._replace(kind="ConfigMap"), Action.BLOCKED, reason=CALL),))
    section = plan_comment.planned(plan, manager="interlock-1", quiet=Untold())

    text = plan_comment.comment(
        mark="<!-- m -->", host="cd", head="a" * 40, branch="main", base="b" * 40, sections=(section,)
    )

    before, _, fenced = text.partition("```diff\n")
    assert CALL not in before and CALL in fenced and fenced.count("```") == 1
