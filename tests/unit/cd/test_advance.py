"""What a broken object stops, what goes on all the same, and how the run ends then."""

from __future__ import annotations

from typing import Literal

from interlock.cd.advance import Advance, begun, refusals
from interlock.cd.plan import Action, Plan, PlanItem
from interlock.contract.models import EnvironmentFile
from interlock.contract.render import Identity
from interlock.contract.repository import Application, Environment
from interlock.errors import Blocked, ClusterError, InterlockError, Unhealthy


def item(application: str, action: Action = Action.CHANGE, *, kind: str = "ConfigMap", namespace: str = "") -> PlanItem:
    identity = Identity("", kind, namespace, application)
    return PlanItem(identity, action, "no" if action == Action.BLOCKED else "", application=application)


def application(name: str, *, awaiting: bool = False) -> Application:
    return Application(name, None, {}, None, {}, (), ("web",) if awaiting else ())


def environment(
    names: str,
    *,
    on_error: Literal["application", "environment"] = "application",
    awaiting: str = "",
    **after: tuple[str, ...],
) -> Environment:
    applications = {name: application(name, awaiting=name in awaiting.split()) for name in names.split()}
    return Environment(
        name="dev",
        id="0123456789ab",
        cluster="c",
        namespaces=("shop",),
        drift="undo",
        health_seconds=1,
        no_progress_seconds=None,
        on_error=on_error,
        cluster_kinds=(),
        applications=applications,
        after=after,
        file=EnvironmentFile(format=1, id="0123456789ab", cluster="c", namespaces=("shop",)),
    )


def advance(items: list[PlanItem], given: Environment) -> Advance:
    return begun(Plan("dev", "c" * 40, tuple(items)), given)


def done(found: Advance) -> list[str]:
    return [each.application for each in found.possible().items]


def test_a_broken_object_stops_its_application_and_those_after_it() -> None:
    """Not its neighbours; the reasons name the object, and whom the others wait for."""
    given = environment("db api web other", api=("db",), web=("api",))
    found = advance([item("db", Action.BLOCKED), item("api"), item("web"), item("other")], given)

    assert found.blocked == {
        "api": "waits for db",
        "db": "ConfigMap/db: blocked: no",
        "web": "waits for api",
    }
    assert done(found) == ["other"]


def test_all_or_nothing_by_policy() -> None:
    """With `on_error: environment` one broken object leaves everything as it is."""
    given = environment("db other", on_error="environment")
    assert done(advance([item("db", Action.BLOCKED), item("other")], given)) == []
    assert advance([item("db"), item("other")], given).through


def test_an_awaited_first_release_is_not_ready() -> None:
    """Who waits for an application that renders nothing yet is stopped, and told why."""
    given = environment("db web", awaiting="db", web=("db",))
    assert advance([item("web")], given).blocked == {"web": "waits for db, which awaits its first release"}
    assert advance([], given).through


def test_a_definition_stops_all_that_use_it_and_comes_for_all_that_go_on() -> None:
    """A broken Namespace stops who lies in it; a sound one of a stopped application is made for the others."""
    broken = item("base", Action.BLOCKED, kind="Namespace")
    inside = item("web", namespace="base")
    found = advance([broken, inside, item("other", namespace="shop")], environment("base web other"))
    assert done(found) == ["other"]
    assert found.blocked["web"] == "Namespace/base: blocked: no"

    sound = item("base", kind="Namespace")
    wrong = item("base", Action.BLOCKED, namespace="base")
    found = advance([sound, wrong, inside], environment("base web"))
    assert [each.identity.kind for each in found.possible().items] == ["Namespace", "ConfigMap"]


def test_nothing_is_pruned_that_somebody_who_stopped_may_need() -> None:
    """Not his own, not of whom he waits for, and not of applications that left Git meanwhile."""
    items = [item(name, Action.PRUNE) for name in ("db", "web", "other", "gone")]
    given = environment("db web other", web=("db",))
    whole = advance(items, given)
    assert done(whole) == ["db", "web", "other", "gone"]
    assert done(whole.without({"web": Unhealthy("x")})) == ["other"]


def test_who_fails_stops_those_after_it() -> None:
    """Failures come one after the other; who failed is not also called blocked."""
    given = environment("db api web", api=("db",), web=("api",))
    items = [item("db"), item("api"), item("web")]
    found = advance(items, given).without({"api": Unhealthy("sick")}).without({"db": Unhealthy("sick too")})
    assert (sorted(found.failed), found.blocked) == (["api", "db"], {"web": "waits for api"})


def test_the_end_names_every_reason() -> None:
    """Blocked when the plan stopped somebody; one failure alone as it is; several as one."""
    given = environment("db api web", api=("db",))
    blocked = advance([item("db", Action.BLOCKED), item("api"), item("web")], given)
    assert _told(blocked.without({"web": Unhealthy("sick")})) == (
        Blocked,
        ["ConfigMap/db: blocked: no", "web: sick", "api: waits for db"],
    )
    one = ClusterError("refused", status=403)
    sound = advance([item("db"), item("api"), item("web")], given)
    assert sound.without({"web": one}).error(written=True) is one
    assert _told(sound.without({"db": one})) == (ClusterError, ["db: refused", "api: waits for db"])
    assert _told(sound.without({"db": one, "web": Unhealthy("sick")}))[0] is Unhealthy


def _told(found: Advance) -> tuple[type[InterlockError], list[str]]:
    error = found.error(written=True)
    return type(error), [line.removeprefix("  - ") for line in error.message.splitlines()[1:]]


def test_what_the_server_refused_is_told_to_all_that_it_stops() -> None:
    """Several refusals of one application are one error; a definition's is also its users'."""
    items = [item("base", kind="Namespace"), item("web", namespace="base"), item("other")]
    found = refusals({items[0].identity: ClusterError("a"), items[2].identity: ClusterError("b")}, items)
    assert {name: error.message for name, error in found.items()} == {"base": "a", "web": "a", "other": "b"}
