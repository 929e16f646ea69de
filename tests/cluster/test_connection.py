"""How CD reaches a cluster: from a kubeconfig's fields, and nothing in it is run or switched off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cd.poll import poll_order
from interlock.errors import ClusterError, HostConfigError
from sandbox.place import Place
from sandbox.supervisor import Sandbox
from tasks.cd.cluster import connect
from tests.cluster.worlds import Recorder, World, secret

Edit = Callable[[dict[str, Any], dict[str, Any]], object]


def _edited(place: Place, folder: Path, edit: Edit) -> Path:
    config = yaml.safe_load(place.kubeconfig.read_text())
    edit(config["clusters"][0]["cluster"], config["users"][0]["user"])
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda _, user: user.update(exec={"command": "touch", "args": ["/tmp/run"]}), "exec"),
        (lambda _, user: user.update({"auth-provider": {"name": "gcp"}}), "auth-provider"),
        (lambda cluster, _: cluster.update({"insecure-skip-tls-verify": True}), "insecure-skip-tls-verify"),
        (lambda cluster, _: cluster.update({"proxy-url": "http://127.0.0.1:1"}), "proxy-url"),
        (lambda cluster, _: cluster.update({"server": "http://127.0.0.1:1"}), "https"),
        (lambda _, user: user.update({"client-key-data": "bm8="}), "cannot be read"),
    ],
)
def test_a_kubeconfig_that_runs_or_weakens_something_is_refused(
    cluster: object, sandbox: Sandbox, tmp_path: Path, edit: Edit, named: str
) -> None:
    """Programs, proxies, unverified servers: the error names the field."""
    with pytest.raises(HostConfigError, match=named):
        connect(_edited(sandbox.place, tmp_path, edit))


def test_another_authority_is_not_trusted(cluster: object, sandbox: Sandbox, tmp_path: Path) -> None:
    """Without the cluster's own authority the server is nobody's."""
    path = _edited(sandbox.place, tmp_path, lambda cluster, _: cluster.pop("certificate-authority-data"))
    with pytest.raises(ClusterError, match="authority vouches for") as error, connect(path) as stranger:
        stranger.request("GET", "/version")
    assert not error.value.transient


def test_a_list_of_many_pages_is_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are followed to the end."""
    monkeypatch.setattr("tasks.cd.cluster.PAGE", 2)
    for n in range(5):
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s{n}", "namespace": world.namespace}}
        world.admin.create(body, manager="test")
    found = world.admin.list(world.admin.resource("v1", "Secret"), world.namespace)
    assert {body["metadata"]["name"] for body in found} >= {f"s{n}" for n in range(5)}


async def test_a_refused_secret_is_not_quoted(world: World) -> None:
    """The API server's complaint about a Secret may quote it; ours never does."""
    body = secret("s", {"bad key with hunter2": "x"})
    body["metadata"]["namespace"] = world.namespace
    with pytest.raises(ClusterError) as error:
        world.admin.apply(body, manager="test")
    assert (error.value.status, "hunter2" in str(error.value)) == (422, False)


async def test_the_branch_is_behind_only_until_it_was_deployed(world: World) -> None:
    """Polling starts what has not seen the head, and nothing after the deploy."""

    class Starter(Recorder):
        async def step(self, effect: Any, /, *args: Any, **kwargs: Any) -> Any:
            if effect.name == "start run":
                self.notes.append(str(args))
                return "run"
            return await super().step(effect, *args, **kwargs)

    first, second = Starter(), Starter()
    assert await poll_order(first, world.host) == ("dev",)
    parameters = {"environment": "dev", "revision": world.head}
    assert first.notes == [str(("deploy/sandbox", parameters, f"deploy dev {world.head}"))]
    await world.deploy()
    assert await poll_order(second, world.host) == ()
