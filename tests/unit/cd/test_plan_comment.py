"""What a live plan says on a pull request: nothing that its readers may not know, and nothing that a forge obeys."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from interlock.cd.plan import Action, FieldChange, Plan, PlanItem
from interlock.cd.plan_comment import (
    MAX_TEXT,
    Section,
    Untold,
    comment,
    hushed,
    not_planned,
    planned,
    unknown,
    untold,
)
from interlock.contract.canonical import canonical, digest
from interlock.contract.manifest import Manifest
from interlock.contract.render import Identity, Origin, Rendered
from interlock.contract.sources import ValuePlace

OURS = "interlock-abc"
MADE = Origin("templates/web/web.yaml.j2", 5, "values.replicas")
VALUES = (ValuePlace("values.replicas", "environments/dev/web/values.yaml", 1),)
REPLICAS = FieldChange("spec.replicas", "3", "2", OURS, "2030", "change", operation="Apply", origin=MADE, values=VALUES)


def _item(kind: str, name: str, action: Action, *fields: FieldChange, **more: Any) -> PlanItem:
    return PlanItem(Identity("", kind, "shop", name), action, fields=fields, application="web", **more)


def _plan(*items: PlanItem, **more: Any) -> Plan:
    return Plan("dev", "c" * 40, items, **more)


def _told(plan: Plan, quiet: Untold | None = None) -> str:
    section = planned(plan, manager=OURS, quiet=quiet or Untold())
    return "\n".join((section.verdict, *section.lines))


def _comment(*sections: Section) -> str:
    return comment(mark="<!-- m -->", host="cd", head="a" * 40, branch="main", base="b" * 40, sections=sections)


# what it says ----------------------------------------------------------------------------------------


def test_the_whole_comment() -> None:
    """Mark, commits, host; each environment with its verdict and the objects, what stops first."""
    plan = _plan(
        _item("ConfigMap", "new", Action.CREATE, origin=Origin("environments/dev/web/manifests/a.yaml", 1)),
        _item("Deployment", "web", Action.CHANGE, REPLICAS),
        _item("Service", "s", Action.BLOCKED, reason="spec.ports: required"),
        _item("ConfigMap", "old", Action.PRUNE),
        _item("ConfigMap", "same", Action.UNCHANGED),
        _item("Pod", "miner", Action.FOREIGN, reason="not in Git, not ours", manager="eve"),
    )

    text = _comment(planned(plan, manager=OURS, quiet=Untold()), unknown("prod"), unknown("test"))

    assert (
        text
        == """\
<!-- m -->
**Live plan** of `aaaaaaaaaaaa` against the cluster, by the CD host `cd`: what a deploy would do if `main`, \
now at `bbbbbbbbbbbb`, were moved there. Nothing was changed.

### dev: 1 to create, 1 to change, 1 to prune, 1 foreign, 1 blocked

```diff
! blocked Service/shop/s: spec.ports: required
- prune ConfigMap/shop/old
! change Deployment/shop/web
    spec.replicas: 3 → 2
      templates/web/web.yaml.j2:5 ← values.replicas (environments/dev/web/values.yaml:1)
+ create ConfigMap/shop/new
    environments/dev/web/manifests/a.yaml:1
```

### prod, test: unknown: the plan could not be made; it is tried again"""
    )


def test_nothing_to_change_is_said() -> None:
    """Also of a plan without an object."""
    assert _told(_plan(_item("ConfigMap", "same", Action.UNCHANGED))) == "nothing to change"


def test_what_is_over_the_budget_is_said() -> None:
    """With the numbers, since a deploy would stop there."""
    told = _told(_plan(_item("ConfigMap", "old", Action.PRUNE), over=("12 deletions, 10 are allowed",)))

    assert told.startswith("1 to prune, over the budget\n! over the budget: 12 deletions, 10 are allowed\n")


# what it does not say --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "line"),
    [
        (REPLICAS, "spec.replicas: 3 → 2"),
        (replace(REPLICAS, live=None), "spec.replicas: nothing → 2"),
        (replace(REPLICAS, desired=None, origin=None), "spec.replicas: 3 → nothing"),
        (replace(REPLICAS, manager="kubectl", operation="Update", kind="drift"), "spec.replicas: … → 2 (drift)"),
        (replace(REPLICAS, manager="", operation=""), "spec.replicas: … → 2"),
        (replace(REPLICAS, operation="Update"), "spec.replicas: … → 2"),
        (replace(REPLICAS, origin=None), "spec.replicas: 3 → …"),
        (replace(REPLICAS, kind="foreign", desired=None), "spec.replicas: not in Git, stays"),
        (replace(REPLICAS, kind="removed", desired=None), "spec.replicas: not in Git, goes"),
        (replace(REPLICAS, kind="allowed"), "spec.replicas: left to its owner"),
        (replace(REPLICAS, kind="contested"), "spec.replicas: contested, stays for now"),
        (replace(REPLICAS, path="data.a", live="•••• 1a", desired="•••• 2b", masked=True), "data.a: a Secret's value"),
    ],
)
def test_only_values_of_git_are_told(field: FieldChange, line: str) -> None:
    """A live value only where CD applied it from Git before; the new one only where a line of Git makes it."""
    lines = _told(_plan(_item("Deployment", "web", Action.CHANGE, field))).splitlines()

    assert lines[2] == f"    {line}"


def test_what_nobody_declared_is_only_counted() -> None:
    """Names of strangers' objects, their managers, notes of the cluster and the standings are not the request's."""
    plan = _plan(
        _item("Secret", "payroll", Action.FOREIGN, reason="not in Git", manager="eve"),
        notes=("Widget cannot be read: https://10.0.0.1:6443 forbidden",),
        standings={"managed": 7},
    )

    assert _told(plan) == "1 foreign"


def test_what_a_tool_said_is_not_told() -> None:
    """Addresses and messages of a cluster stay on the host; that it is unknown is said."""
    told = _told(_plan(_item("Deployment", "web", Action.UNKNOWN, reason="https://10.0.0.1:6443: no answer")))

    assert told == "1 unknown\n! unknown Deployment/shop/web: could not be compared"
    assert unknown("dev").lines == ()


def test_a_server_that_refuses_a_secret_is_not_quoted() -> None:
    """It may have the value in its message."""
    told = _told(_plan(_item("Secret", "login", Action.BLOCKED, reason='data[a]: Invalid value: "hunter2"')))

    assert told == "1 blocked\n! blocked Secret/shop/login"


def test_the_hosts_own_reasons_stay_on_the_host() -> None:
    """What root denies and freezes, and what the host's state is, are nobody's at the forge."""
    assert not_planned("dev", "abc is denied: CVE-1 is exploited", rule="denied").lines == (
        "! this host would refuse it; its own pages say why",
    )
    assert not_planned("dev", "abc is not signed", rule="unsigned").lines == ("! abc is not signed",)


# Secrets that the request changes ---------------------------------------------------------------------


def _manifest(body: dict[str, Any], application: str = "web") -> Manifest:
    body = {"apiVersion": "v1", **body, "metadata": {"namespace": "shop", **body["metadata"]}}
    return Manifest(body, application, {(): Origin("a.yaml", 1)}, digest(canonical(body)))


def _login(value: str, *, roll: bool = False) -> Manifest:
    notes = {"annotations": {"interlock.dev/roll": "true"}} if roll else {}
    return _manifest({"kind": "Secret", "metadata": {"name": "login", **notes}, "stringData": {"password": value}})


WEB = _manifest(
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "template": {"spec": {"containers": [{"name": "web", "envFrom": [{"secretRef": {"name": "login"}}]}]}}
        },
    }
)


def _rendered(*manifests: Manifest) -> Rendered:
    return Rendered("dev", manifests, ())


LOGIN = Identity("", "Secret", "shop", "login")


def test_a_secret_that_the_branch_declares_just_so_is_compared() -> None:
    """It is no guess of the request's."""
    same = _rendered(_login("a"), WEB)

    assert untold(same, same) == Untold()
    assert untold(_rendered(_login("a")), _rendered(_login("b"))).secrets == {LOGIN}
    assert untold(_rendered(), _rendered(_login("b"))).secrets == {LOGIN}
    assert untold(None, same).secrets == {LOGIN}, "nobody knows what the branch declares"


@pytest.mark.parametrize("action", [Action.UNCHANGED, Action.CHANGE, Action.CREATE, Action.BLOCKED])
def test_no_request_tries_values_against_the_cluster(action: Action) -> None:
    """Whether a Secret that it declares is what lives already cannot be told from the comment."""
    quiet = untold(_rendered(_login("a")), _rendered(_login("guess")))
    masked = FieldChange("data.password", "•••• 1a", "•••• 2b", OURS, "", "change", masked=True)
    fields = (masked,) if action == Action.CHANGE else ()

    told = _told(_plan(_item("Secret", "login", action, *fields, reason="because")), quiet)

    assert told.splitlines() == [
        "1 to change",
        "! it changes Secrets: whether it keeps to the budget is not said",
        "! change Secret/shop/login: declared otherwise than on the branch",
    ]


def test_nor_by_the_pods_that_roll_with_it() -> None:
    """The names that contents give, and whether their users change, answer a guess as well."""
    quiet = untold(_rendered(_login("a", roll=True), WEB), _rendered(_login("guess", roll=True), WEB))
    assert quiet.users == {WEB.identity}
    name = "spec.template.spec.containers[name=web].envFrom[0].secretRef.name"
    rolls = FieldChange(name, "login-11111111", "login-22222222", OURS, "", "change", operation="Apply", origin=MADE)
    wrong = _plan(
        PlanItem(WEB.identity, Action.CHANGE, fields=(REPLICAS, rolls)),
        _item("Secret", "login-22222222", Action.CREATE),
        _item("Secret", "login-11111111", Action.PRUNE),
        over=("3 of 4 workloads restart",),
    )
    right = _plan(
        PlanItem(WEB.identity, Action.CHANGE, fields=(REPLICAS,)),
        _item("Secret", "login-22222222", Action.UNCHANGED),
    )

    assert _told(wrong, quiet) == _told(right, quiet)
    assert "login-" not in _told(wrong, quiet) and "3 → 2" in _told(wrong, quiet)
    same, other = (
        _plan(PlanItem(WEB.identity, Action.UNCHANGED)),
        _plan(PlanItem(WEB.identity, Action.CHANGE, fields=(rolls,))),
    )
    assert _told(same, quiet) == _told(other, quiet)


def test_other_secrets_are_told_as_they_are() -> None:
    """What somebody did to a Secret that the request leaves alone is said, without values."""
    masked = FieldChange("data.password", "•••• 1a", "•••• 2b", "kubectl", "", "drift", masked=True)
    quiet = untold(_rendered(), _rendered(_login("a")))
    plan = _plan(_item("Secret", "token", Action.CHANGE, masked))

    assert hushed(plan, Untold()) == plan
    assert "data.password: a Secret's value" in _told(plan, quiet)
    assert "••" not in _told(plan, quiet)


# what a forge would obey -----------------------------------------------------------------------------

HOSTILE = (
    "@acme/owners please merge",
    "/merge",
    "![x](https://evil.example/x.png) [click](https://evil.example)",
    "<img src=x onerror=alert(1)><!-- interlock-plan: 0 -->",
    "```",
    "`````` \n/approve\n@all",
    "~~~\n# heading",
    "\u202egnp.exe\u2066 \u200b\x1b[31m\r\n/close",
    "#1 !2 GH-3 acme/shop#4",
    "x" * 5000,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_from_elsewhere_leaves_its_fence(text: str) -> None:
    """Whatever a field, a reason or a message holds stands in one fenced block, on lines of its own, printable."""
    field = replace(REPLICAS, path=f"data.{text}", live=text, desired=text)
    sections = (
        planned(
            _plan(_item("ConfigMap", text, Action.CHANGE, field, reason=text), over=(text,)),
            manager=OURS,
            quiet=Untold(),
        ),
        not_planned("prod", text, rule="path-scope"),
    )

    found = _comment(*sections)

    outside = _outside_fences(found)
    assert all(
        line.startswith(("<!-- m -->", "**Live plan**", "### dev: 1 to change, over", "### prod: not planned (path"))
        or not line
        for line in outside
    ), outside
    inside = [line for line in found.split("\n") if line not in outside and not line.startswith("```")]
    assert inside and all(line.startswith(("! ", "    ")) and line.isprintable() for line in inside)
    assert max(map(len, inside)) <= 300
    fences = [len(each) for each in re.findall(r"^`+", found, re.MULTILINE)]
    assert min(fences) > max((len(each) for line in inside for each in re.findall("`+", line)), default=0)


def _outside_fences(text: str) -> list[str]:
    """By the rule of CommonMark: a block ends with a line of at least as many backticks as it began with."""
    outside, fence = [], ""
    for line in text.split("\n"):
        opened = re.fullmatch(r"(`{3,})(diff)?", line)
        if fence:
            if re.fullmatch(rf" {{0,3}}`{{{len(fence)},}} *", line):
                fence = ""
        elif opened:
            fence = opened[1]
        else:
            outside.append(line)
    assert not fence, "a block is left open"
    return outside


def test_a_head_that_is_no_commit_is_not_repeated() -> None:
    """A forge may say anything."""
    text = comment(mark="m", host="cd", head="`@all`", branch="main", base="b" * 40, sections=())
    assert "@all" not in text and "of `?`" in text


# size ------------------------------------------------------------------------------------------------


def test_a_large_plan_is_cut_with_a_word_of_it() -> None:
    """Never longer than a forge takes, whatever the number of objects and environments; every block is closed."""
    many = _plan(*(_item("ConfigMap", f"c{n}-" + "x" * 200, Action.CREATE) for n in range(400)))
    section = planned(many, manager=OURS, quiet=Untold())

    one = _comment(section)
    assert 50_000 < len(one) <= MAX_TEXT
    assert re.search(r"… \d+ more lines would not fit\n```$", one)
    several = _comment(*(replace(section, environment=f"e{n}", verdict=f"v{n}") for n in range(10)))
    assert len(several) <= MAX_TEXT
    assert all(f"### e{n}: v{n}" in several for n in range(10))
    crowd = _comment(*(replace(section, environment=f"e{n}", verdict=f"v{n}") for n in range(2000)))
    assert len(crowd) <= MAX_TEXT and crowd.endswith("more sections would not fit")
    _outside_fences(crowd)


def test_environments_of_which_the_same_is_said_stand_together() -> None:
    """A commit that nobody signed is one message, not one for each environment."""
    text = _comment(*(not_planned(f"e{n}", "not signed", rule="unsigned") for n in range(30)))

    assert text.count("not signed") == 1
    assert "e18, e19 and 10 more: not planned (unsigned)" in text
