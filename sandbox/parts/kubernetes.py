"""The control plane: real etcd, kube-apiserver, kube-controller-manager and kube-scheduler."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.authority import Authority, Pair, private_pem, write_private
from sandbox.golang import provide_binaries
from sandbox.part import Daemon, Report, wait_until
from sandbox.place import Place

MASTERS = "system:masters"


class Kubernetes:
    """Answers at 127.0.0.1 and at the node's link. etcd listens on a socket in a folder that only root enters."""

    name = "kubernetes"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.needs: Sequence[str] = ()
        self.log = place.logs / "kube-apiserver.log"
        self._etcd = Daemon("etcd", place.logs / "etcd.log")
        self._apiserver = Daemon("kube-apiserver", self.log)
        self._clients = [
            Daemon("kube-controller-manager", place.logs / "kube-controller-manager.log"),
            Daemon("kube-scheduler", place.logs / "kube-scheduler.log"),
        ]
        self._settled = False

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.place.apiserver_port}"

    def provide(self, report: Report) -> None:
        provide_binaries("kubernetes", report=report)

    def start(self) -> None:
        """Start all four at once: each waits for the one before it by itself, though not for long."""
        self._settled = False
        programs = provide_binaries("kubernetes", report=_silent)
        folder = _folder(self.place)
        for private in (folder, _etcd_folder(self.place)):
            private.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_keys(self.place)
        self._etcd.start(_etcd_command(programs, self.place), cwd=_etcd_folder(self.place))
        self._apiserver.start(_apiserver_command(programs, self.place), cwd=folder)
        for daemon in self._clients:
            self._start_client(daemon)

    def _start_client(self, daemon: Daemon) -> None:
        programs, folder = provide_binaries("kubernetes", report=_silent), _folder(self.place)
        kubeconfig = folder / f"{daemon.name}.kubeconfig"
        extra = _controller_manager_flags(self.place) if daemon.name == "kube-controller-manager" else []
        daemon.start([programs / daemon.name, *_client_flags(kubeconfig), *extra], cwd=folder)

    def wait(self, seconds: float) -> None:
        """Until the API server is ready and the controllers have made the default service account."""
        servers = [self._etcd, self._apiserver]
        for path, daemons in (
            ("/readyz", servers),
            ("/api/v1/namespaces/default/serviceaccounts/default", [*servers, *self._clients]),
        ):
            answers = partial(self._answers, path, daemons)
            wait_until(answers, subject=f"kube-apiserver {path}", seconds=seconds, log=self.log)
            if not self._settled:
                self._revive_clients()
        self._settled = True

    def _revive_clients(self) -> None:
        """On a busy machine they lose patience before the API server knows their rights, and end."""
        for daemon in self._clients:
            if daemon.process is not None and daemon.process.poll() is not None:
                self._start_client(daemon)

    def _answers(self, path: str, daemons: Sequence[Daemon]) -> bool:
        for daemon in daemons:
            daemon.check()
        return api_get(self.place, path) is not None

    def stop(self) -> None:
        for daemon in (*self._clients, self._apiserver, self._etcd):
            daemon.stop(seconds=3)

    def sweep(self) -> None:
        """Nothing of this part outlives its processes but its folder."""


def client_kubeconfig(place: Place, *, user: str, groups: Sequence[str] = (), path: Path, owner_uid: int) -> None:
    """Write a kubeconfig that makes its bearer `user` in `groups`, readable by `owner_uid` alone.

    It holds its certificate and key itself, and reaches the API server at 127.0.0.1. What the user may do is
    for RBAC to say. The sandbox's authority must exist: call it after `Kubernetes.start`.
    """
    server = f"https://127.0.0.1:{place.apiserver_port}"
    _write_kubeconfig(place, authority(place).client(user, groups=groups), server=server, path=path, owner=owner_uid)


def node_kubeconfig(place: Place, *, user: str, groups: Sequence[str] = (), path: Path) -> None:
    """As `client_kubeconfig`, for root, and for a program inside the node's network."""
    server = f"https://{place.host_address}:{place.apiserver_port}"
    _write_kubeconfig(place, authority(place).client(user, groups=groups), server=server, path=path, owner=0)


def authority(place: Place) -> Authority:
    """The one that signs who may talk to this sandbox's API server and kubelet."""
    return Authority.at(_keys(place) / "cluster")


def authority_certificate(place: Place) -> Path:
    return _keys(place) / "cluster.crt"


def api_get(place: Place, path: str) -> Any:
    """What the API server says to the administrator at `path`; None when it does not answer, or not with 200."""
    context = ssl.create_default_context(cafile=str(authority_certificate(place)))
    context.load_cert_chain(_keys(place) / "admin.crt", _keys(place) / "admin.key")
    connection = http.client.HTTPSConnection("127.0.0.1", place.apiserver_port, timeout=5, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except OSError:
        return None
    finally:
        connection.close()
    if answer.status != 200:
        return None
    return json.loads(body) if body.startswith(b"{") else body.decode()


def _silent(part: str, message: str) -> None:
    """Where reports go when there is nothing left to provide."""


def _folder(place: Place) -> Path:
    return place.kubeconfig.parent


def _keys(place: Place) -> Path:
    return _folder(place) / "keys"


def _write_keys(place: Place) -> None:
    """Make what is missing. A restart keeps the authority, so that kubeconfigs that were handed out stay good."""
    keys = _keys(place)
    keys.mkdir(exist_ok=True, mode=0o700)
    signer = authority(place)
    hosts = ["127.0.0.1", "localhost", place.host_address, place.first_service_address]
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    signer.server("kube-apiserver", hosts=[*hosts, *names]).write(keys / "apiserver")
    signer.client("kube-apiserver-kubelet-client", groups=[MASTERS]).write(keys / "kubelet-client")
    signer.client("interlock-admin", groups=[MASTERS]).write(keys / "admin")
    if not (keys / "service-accounts.key").exists():
        _write_service_account_keys(keys / "service-accounts")
    client_kubeconfig(place, user="interlock-admin", groups=[MASTERS], path=place.kubeconfig, owner_uid=0)
    for user in ("kube-controller-manager", "kube-scheduler"):
        path = _folder(place) / f"{user}.kubeconfig"
        client_kubeconfig(place, user=f"system:{user}", path=path, owner_uid=0)


def _write_service_account_keys(stem: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    stem.with_suffix(".pub").write_bytes(public)
    write_private(stem.with_suffix(".key"), private_pem(key))


def _etcd_command(programs: Path, place: Place) -> list[str | Path]:
    """Without fsync: a sandbox's state does not outlive its machine anyway."""
    folder = _etcd_folder(place)
    clients, peers = _etcd_address(place), "unix://peers.sock:0"  # etcd takes no folder for its peers' socket
    return [
        programs / "etcd",
        f"--data-dir={folder}/data",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _etcd_address(place: Place) -> str:
    return f"unix://{_etcd_folder(place)}/clients.sock:0"


def _etcd_folder(place: Place) -> Path:
    return _folder(place) / "etcd"


def _apiserver_command(programs: Path, place: Place) -> list[str | Path]:
    """Bound to every address, because the node's link may not exist yet; nobody gets in without a certificate."""
    keys = _keys(place)
    return [
        programs / "kube-apiserver",
        f"--etcd-servers={_etcd_address(place)}",
        "--bind-address=0.0.0.0",
        f"--secure-port={place.apiserver_port}",
        f"--advertise-address={place.host_address}",
        f"--service-cluster-ip-range={place.service_cidr}",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
        f"--client-ca-file={authority_certificate(place)}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        f"--kubelet-client-certificate={keys}/kubelet-client.crt",
        f"--kubelet-client-key={keys}/kubelet-client.key",
        f"--kubelet-certificate-authority={authority_certificate(place)}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={keys}/service-accounts.pub",
        f"--service-account-signing-key-file={keys}/service-accounts.key",
        "--profiling=false",
    ]


def _client_flags(kubeconfig: Path) -> list[str]:
    return [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0", "--profiling=false"]


def _controller_manager_flags(place: Place) -> list[str]:
    return [
        f"--root-ca-file={authority_certificate(place)}",
        f"--service-account-private-key-file={_keys(place)}/service-accounts.key",
        f"--service-cluster-ip-range={place.service_cidr}",
        "--use-service-account-credentials=true",
        "--kube-api-qps=100",
        "--kube-api-burst=200",
    ]


def _write_kubeconfig(place: Place, pair: Pair, *, server: str, path: Path, owner: int) -> None:
    cluster = {"server": server, "certificate-authority-data": _base64(authority_certificate(place).read_bytes())}
    user = {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": cluster}],
        "users": [{"name": "sandbox", "user": user}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
        "current-context": "sandbox",
    }
    write_private(path, yaml.safe_dump(config).encode(), owner=owner)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
