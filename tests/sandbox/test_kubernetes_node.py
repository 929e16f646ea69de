"""The cluster of the sandbox: who gets in, that the node really runs what the registry holds, and what it leaves."""

from __future__ import annotations

import base64
import os
import ssl
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sandbox.golang import find_go
from sandbox.image import MANIFEST_TYPE, Image, blob_digest, program_image
from sandbox.machine import cgroup_mounts
from sandbox.parts.kubernetes import Kubernetes, authority_certificate, client_kubeconfig
from sandbox.parts.node import Node
from sandbox.parts.registry import Registry, credentials
from sandbox.place import Place
from sandbox.supervisor import Sandbox

NAMESPACE = "walking"
SERVER = """\
package main

import (
	"fmt"
	"net"
)

func main() {
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		panic(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		connection.Read(make([]byte, 4096))
		fmt.Fprint(connection, "HTTP/1.0 200 OK\\r\\n\\r\\nit runs")
		connection.Close()
	}
}
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A web server of one static program."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "go.mod").write_text("module example.org/server\n\ngo 1.26\n")
    (folder / "main.go").write_text(SERVER)
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
    subprocess.run([find_go(folder), "build", "-o", "server", "."], cwd=folder, env=env, check=True)
    return program_image((folder / "server").read_bytes())


def _push(image: Image, *, place: Place, name: str) -> str:
    """The reference by digest that pulls it."""
    account, _, password = credentials(place, "ci").read_text().partition(":")
    with httpx.Client(base_url=f"http://{place.registry}/v2/{name}", auth=(account, password)) as registry:
        for blob in (image.layer, image.config):
            upload = registry.post("/blobs/uploads/").raise_for_status().headers["location"]
            registry.put(
                httpx.URL(upload).copy_merge_params({"digest": blob_digest(blob)}), content=blob
            ).raise_for_status()
        registry.put("/manifests/1", content=image.manifest, headers={"content-type": MANIFEST_TYPE}).raise_for_status()
    return f"{place.registry}/{name}@{image.digest}"


def _api(kubeconfig: Path, folder: Path) -> httpx.Client:
    """A client that is who the kubeconfig says."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    names = {"client-certificate-data": "client.crt", "client-key-data": "client.key"}
    for field, name in names.items():
        (folder / name).write_bytes(base64.b64decode(user[field]))
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    context.load_cert_chain(folder / "client.crt", folder / "client.key")
    return httpx.Client(base_url=cluster["server"], verify=context)


@pytest.fixture
def admin(cluster: Kubernetes, tmp_path: Path) -> httpx.Client:
    return _api(cluster.place.kubeconfig, tmp_path)


def _apply(api: httpx.Client, path: str, content: dict[str, Any]) -> None:
    headers = {"content-type": "application/apply-patch+yaml"}
    named = {"metadata": {"name": path.rpartition("/")[2]}} | content
    api.patch(path, params={"fieldManager": "test"}, json=named, headers=headers).raise_for_status()


def _soon(ask: Callable[[], str | None], *, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.1)
    return answer


def _web(url: str) -> str | None:
    try:
        return httpx.get(url, timeout=2).text
    except httpx.TransportError:
        return None


def test_nobody_gets_in_without_a_certificate(cluster: Kubernetes) -> None:
    """The API server listens on every address, so an unknown visitor learns nothing, not even its health."""
    trust = ssl.create_default_context(cafile=str(authority_certificate(cluster.place)))
    for path in ("/readyz", "/version", "/api"):
        assert httpx.get(f"{cluster.address}{path}", verify=trust).status_code == 401


def test_only_root_reaches_the_keys_and_etcd(cluster: Kubernetes) -> None:
    """etcd asks for no certificate, so its sockets and the keys lie in a folder that no worker's user may enter."""
    folder = cluster.place.kubeconfig.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(cluster.place.kubeconfig.stat().st_mode) == 0o600
    listening = subprocess.run(["ss", "-xlH"], capture_output=True, text=True, check=True).stdout
    assert f"{folder}/etcd/clients.sock:0" in listening
    assert subprocess.run(["ss", "-tlnpH"], capture_output=True, text=True, check=True).stdout.count('"etcd"') == 0


def test_a_signed_identity_is_who_it_says_and_may_nothing(cluster: Kubernetes, tmp_path: Path) -> None:
    """A worker's kubeconfig is readable by its user alone, names it with its groups, and opens nothing by itself."""
    path = tmp_path / "worker.kubeconfig"
    client_kubeconfig(cluster.place, user="interlock-cd", groups=["deployers"], path=path, owner_uid=12345)
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (12345, 0o600)
    api = _api(path, tmp_path)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    said = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review).raise_for_status().json()
    assert said["status"]["userInfo"]["username"] == "interlock-cd"
    assert "deployers" in said["status"]["userInfo"]["groups"]
    assert api.get("/api/v1/namespaces/kube-system/secrets").status_code == 403


def test_the_node_runs_what_the_registry_holds(
    sandbox: Sandbox, node: Node, registry: Registry, admin: httpx.Client, image: Image
) -> None:
    """An image pushed with CI's account is pulled by digest and answers at its Service; also after the node's crash."""
    reference = _push(image, place=node.place, name="walking/server")
    _apply(admin, f"/api/v1/namespaces/{NAMESPACE}", {"apiVersion": "v1", "kind": "Namespace"})
    _apply(admin, f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/server", _deployment(reference))
    _apply(admin, f"/api/v1/namespaces/{NAMESPACE}/services/server", _service())
    service = admin.get(f"/api/v1/namespaces/{NAMESPACE}/services/server").json()["spec"]["clusterIP"]
    assert _soon(lambda: _web(f"http://{service}/")) == "it runs"
    (pod,) = admin.get(f"/api/v1/namespaces/{NAMESPACE}/pods").json()["items"]
    assert pod["status"]["containerStatuses"][0]["imageID"] == reference
    assert _web(f"http://{pod['status']['podIP']}:8080/") == "it runs"

    sandbox.kill("node")
    assert _left(node.place) == []
    assert "node" in _silent_parts(sandbox)
    assert _web(f"http://{service}/") != "it runs"
    sandbox.revive("node")
    assert _silent_parts(sandbox) == []
    assert _soon(lambda: _web(f"http://{service}/")) == "it runs"
    admin.delete(f"/api/v1/namespaces/{NAMESPACE}").raise_for_status()


def _silent_parts(sandbox: Sandbox) -> list[str]:
    return [answer.part for answer in sandbox.status() if not answer.answers]


def _left(place: Place) -> list[Path]:
    """What a stopped node must have taken off the machine."""
    places = [Path("/sys/class/net", place.link), *(mount / place.cgroup for _, mount in cgroup_mounts())]
    return [path for path in places if path.exists()]


def _deployment(image: str) -> dict[str, Any]:
    labels = {"app": "server"}
    security = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "server", "image": image, "securityContext": security}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}


def _service() -> dict[str, Any]:
    spec = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "spec": spec}
