"""The issue of what is not clean any more, on each kind of forge."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import pytest

from interlock.ci.alarm import Alarm, alarms
from interlock.ci.rescan import Rescanned, judge_again
from interlock.ci.targets import targets
from interlock.contract import layout, repository
from interlock.contract.finding import Database, Finding, Scan, not_scanned
from interlock.contract.forge import ForgeAccount
from tasks.ci.forge import settle_issues
from tests import examples_of_repositories as example
from tests.forges.server import FakeForge, Fault, Ticket

NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.UTC)
DATABASE = Database(NOW, "sha256:" + "d" * 64)


def finding(name: str) -> Finding:
    return Finding("vulnerability", name, "HIGH", "image (debian 12)", "t", package="p", installed="1", fixed="2")


def rescanned(*names: str, scan: Scan | None = None, changes: Mapping[str, str | bytes] | None = None) -> Rescanned:
    found = repository.read(example.environment_tree(changes))
    bound = targets(found, source=None, signer="ci-shop")
    scan = scan or Scan("image", findings=tuple(map(finding, names)), database=DATABASE, packages=3)
    (one,) = judge_again(found, bound, example.IMAGE, scan, now=NOW)
    return one


@pytest.fixture
def account(forge: FakeForge, tmp_path: Path) -> ForgeAccount:
    return forge.account(tmp_path / "token")


def settle(account: ForgeAccount, *names: str) -> int:
    """How many issues are open after a rescan that found these."""
    return len(settle_issues.fn(account, alarms([rescanned(*names)])))


def test_the_life_of_an_issue(forge: FakeForge, account: ForgeAccount) -> None:
    """Opened by the first finding, updated by the next, closed when all is clean; another one begins anew."""
    forge.issues = [Ticket(next(forge.numbers), "somebody's", "shop/web is slow")]
    assert settle(account) == 0
    assert settle(account, "CVE-1") == 1
    opened = forge.issues[-1]
    assert opened.title == "shop/web is no longer clean in dev"
    assert "| CVE-1 | HIGH | p 1 | 2 | image (debian 12) | dev |" in opened.body and example.IMAGE in opened.body

    assert settle(account, "CVE-1", "CVE-2") == 1
    assert len(forge.issues) == 2 and "CVE-2" in opened.body and opened.state == "open"

    assert settle(account) == 0
    assert (opened.state, opened.title) == ("closed", "shop/web is clean again")

    assert settle(account, "CVE-1") == 1
    assert len(forge.issues) == 3 and forge.issues[0].state == "open"


def test_the_same_findings_are_not_written_again(forge: FakeForge, account: ForgeAccount) -> None:
    """A rescan a day that finds nothing else only reads."""
    settle(account, "CVE-1")
    forge.requests.clear()
    settle(account, "CVE-1")
    assert {each.split()[0] for each in forge.requests} == {"GET"}


def test_people_who_close_it_are_not_asked_again(forge: FakeForge, account: ForgeAccount) -> None:
    """Until something else is found."""
    settle(account, "CVE-1")
    forge.issues[0].state = "closed"
    assert settle(account, "CVE-1") == 0 and len(forge.issues) == 1
    assert settle(account, "CVE-1", "CVE-2") == 1 and len(forge.issues) == 2


def test_a_lost_answer_opens_no_second_one(forge: FakeForge, account: ForgeAccount) -> None:
    """The forge did it, and the connection broke."""
    forge.faults = [Fault(502, done=True, only="POST")]
    assert settle(account, "CVE-1") == 1
    assert len(forge.issues) == 1


def test_what_nobody_could_judge_changes_no_issue() -> None:
    """It neither raises an alarm nor ends one."""
    assert alarms([rescanned(scan=not_scanned("image", "the scanner was stopped"))]) == ()
    assert [each.clean for each in alarms([rescanned()])] == [True]


def test_one_alarm_for_all_environments() -> None:
    """What is dirty in one of them is an alarm, whatever the others are."""
    prod = example.environment_tree().text(layout.environment("dev")).replace(example.ENVIRONMENT_ID, "e0e1e2e3e4e5")
    other: dict[str, str | bytes | None] = {
        layout.environment("prod"): prod.replace("[shop]", "[p]"),
        layout.values("prod", "shop"): "replicas: 1\n",
        layout.release("prod", "shop"): example.environment_tree().files[layout.release("dev", "shop")],
        layout.GATE: "format: 1\nenvironments:\n  prod: {vulnerabilities: [CRITICAL]}\n",
        layout.BINDINGS: example.environment_tree().text(layout.BINDINGS).replace("[dev]", "[dev, prod]"),
        **{
            path.replace("environments/dev", "environments/prod"): blob
            for path, blob in example.environment_tree().files.items()
            if "/evidence/" in path
        },
    }
    found = repository.read(example.environment_tree(other))
    bound = targets(found, source=None, signer="ci-shop")
    scan = Scan("image", findings=(finding("CVE-1"),), database=DATABASE, packages=3)
    (alarm,) = alarms(judge_again(found, bound, example.IMAGE, scan, now=NOW))

    assert isinstance(alarm, Alarm) and alarm.title == "shop/web is no longer clean in dev"
