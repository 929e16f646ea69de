"""The nginx that docs/production.md puts between people and CD's Prefect server, as the page has it."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bcrypt
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.authority import Authority, Pair
from sandbox.parts.nginx import Nginx
from tests.prefect.conftest import Server, end, free_port, start_worker, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from prefect.client.orchestration import SyncPrefectClient

PAGE = (Path(__file__).parents[2] / "docs" / "production.md").read_text()
ACCOUNT = "cd:7d793037a0760186"
SHOWN = base64.b64encode(ACCOUNT.encode()).decode()
SITE = "https://cd.prefect.example"
CERTIFICATES = """\
    ssl_client_certificate /etc/nginx/people-ca.crt;    # mTLS: a certificate for each person
    ssl_verify_client on;
"""
# Beside all that is read by GET: what people may send.
POSTS = {
    *(f"/api/{kind}/filter" for kind in ("artifacts", "automations", "block_documents", "block_schemas")),
    *(f"/api/{kind}/filter" for kind in ("block_types", "concurrency_limits", "deployments", "events", "flow_runs")),
    *(f"/api/{kind}/filter" for kind in ("flows", "logs", "saved_searches", "task_runs", "task_workers")),
    *(f"/api/{kind}/filter" for kind in ("v2/concurrency_limits", "variables", "work_pools", "work_queues")),
    *("/api/artifacts/latest/filter", "/api/flow_runs/{id}/input/filter"),
    *(f"/api/work_pools/{{work_pool_name}}/{kind}/filter" for kind in ("queues", "workers")),
    *(f"/api/{kind}/count" for kind in ("artifacts", "artifacts/latest", "automations", "block_documents")),
    *(f"/api/{kind}/count" for kind in ("deployments", "flow_runs", "flows", "task_runs", "variables", "work_pools")),
    *(f"/api/{kind}/paginate" for kind in ("deployments", "flow_runs", "flows", "task_runs")),
    *(f"/api/{kind}/history" for kind in ("flow_runs", "task_runs")),
    *("/api/flow_runs/lateness", "/api/events/count-by/{countable}"),
    *(f"/api/ui/flow_runs/{what}" for what in ("count-task-runs", "history")),
    *(f"/api/ui/flows/{what}" for what in ("count-deployments", "next-runs")),
    *(f"/api/ui/task_runs/{what}" for what in ("count", "dashboard/counts")),
    "/api/ui/schemas/validate",
    "/api/deployments/{id}/create_flow_run",
    *(f"/api/flow_runs/{{id}}/{what}" for what in ("set_state", "resume")),
}


def written(language: str) -> str:
    """The page's block of this language below the heading of the proxy."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.partition("## People in front of it")[2], re.DOTALL)
    assert found
    return found[1]


@dataclass(frozen=True)
class Front:
    """The recipe at work on this machine."""

    server: Server
    port: int
    folder: Path
    people: Authority

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def person(self, pair: Pair | None = None, **settings: Any) -> httpx.Client:
        """Somebody who trusts the server, with a certificate or none."""
        return httpx.Client(base_url=self.url, verify=self.trust(pair), trust_env=False, timeout=60, **settings)

    def trust(self, pair: Pair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "server-ca.crt"))
        if pair:
            pair.write(self.folder / "shown")
            context.load_cert_chain(self.folder / "shown.crt", self.folder / "shown.key")
        return context

    def log(self) -> str:
        return (self.folder / "cd-people.log").read_text()


def placed(text: str, server: Server, port: int, folder: Path) -> str:
    """What the page says, at this machine's places."""
    places = {
        "/etc/nginx/": f"{folder}/",
        "/var/log/nginx/": f"{folder}/",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        SITE: f"https://localhost:{port}",
        "http://127.0.0.1:4200": server.api.removesuffix("/api"),
    }
    for there, here in places.items():
        assert there in text, f"docs/production.md has no {there}"
        text = text.replace(there, here)
    return text


def laid_out(nginx: Nginx, name: str, server: Server, port: int) -> Front:
    """The files that the recipe names."""
    folder = nginx.folder(name)
    authority, people = Authority.at(folder / "server-ca"), Authority.at(folder / "people-ca")
    authority.server("cd", hosts=("localhost",)).write(folder / "cd")
    account = folder / "cd-prefect-account"
    account.write_text(f'proxy_set_header Authorization "Basic {SHOWN}";\n')
    account.chmod(0o600)
    return Front(server, port, folder, people)


@pytest.fixture(scope="module")
def front(nginx_program: Nginx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """nginx with the recipe, before a server with its account."""
    port = free_port()
    unit = dict(
        re.findall(r"^(PREFECT_\w+)=(\S+)$", written("sh").replace(SITE, f"https://localhost:{port}"), re.MULTILINE)
    )
    server = Server(tmp_path_factory.mktemp("cd"), free_port(), account=ACCOUNT, variables=unit)
    server.start()
    front = laid_out(nginx_program, "certificates", server, port)
    daemon = nginx_program.serve(placed(written("nginx"), server, port, front.folder), front.folder)
    until("nginx", lambda: answers(front))
    yield front
    daemon.stop()
    server.stop()


def answers(front: Front) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", front.port)) == 0


@pytest.fixture(scope="module")
def anna(front: Front) -> Pair:
    return front.people.client("anna")


@pytest.mark.parametrize("path", ["/", "/ui-settings", "/api/health", "/api/admin/version", "/docs", "/openapi.json"])
def test_nothing_is_reached_without_a_certificate(front: Front, path: str) -> None:
    """Nobody without a certificate, or with one of another authority, gets a word of Prefect's."""
    stranger = Authority.at(front.folder / "strangers-ca").client("anna")
    for shown in (None, stranger):
        with front.person(shown) as somebody:
            answer = somebody.get(path, headers={"Authorization": f"Basic {SHOWN}"})
            assert (answer.status_code, answer.headers["server"].startswith("nginx")) == (400, True), answer.text
            assert "SSL certificate" in answer.text


@pytest.mark.parametrize("pages", ["", "/v2"], ids=["old", "new"])
def test_a_person_sees_the_pages(front: Front, anna: Pair, browser: Browser, pages: str) -> None:
    """A browser with a certificate shows the runs; nobody is asked for Prefect's account, and no request fails."""
    anna.write(front.folder / "anna")
    context = browser.new_context(
        ignore_https_errors=True,
        client_certificates=[
            {"origin": front.url, "certPath": front.folder / "anna.crt", "keyPath": front.folder / "anna.key"}
        ],
    )
    page = context.new_page()
    asked: list[tuple[str, int]] = []
    page.on("response", lambda answer: asked.append((answer.url, answer.status)))
    sockets: list[str] = []
    page.on("websocket", lambda opened: sockets.append(opened.url))
    for path, words in (("/runs", "Runs"), ("/deployments", "Deployments"), ("/work-pools", "Work Pools")):
        page.goto(f"{front.url}{pages}{path}")
        page.get_by_text(words, exact=True).last.wait_for(timeout=60_000)
        page.wait_for_load_state("networkidle")
        assert "/login" not in page.url
    context.close()

    here = re.compile(r"https?://(localhost|127\.0\.0\.1)[:/]")
    own = [(url, status) for url, status in asked if here.match(url)]
    assert any(url.startswith(f"{front.url}/api/") for url, _ in own)
    assert [(url, status) for url, status in own if status >= 400 or not url.startswith(front.url)] == []
    assert sockets == []


def test_a_person_starts_a_run_and_the_worker_does_it(front: Front, anna: Pair, tmp_path: Path) -> None:
    """Prefect's own client starts a run through the proxy; the worker, which goes past it, does it; the log has who."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    worker = start_worker("cd", tmp_path / "cd", front.server, account=ACCOUNT)
    try:
        with prefect_client(front, anna) as client:
            plans = FlowFilter(name=FlowFilterName(any_=["plan"]))
            (plan,) = until("declaration", lambda: client.read_deployments(flow_filter=plans))
            run = client.create_flow_run_from_deployment(plan.id, parameters={"environment": "dev"})
            until("run", worker.runs)
            until("end", lambda: (state := client.read_flow_run(run.id).state) and state.is_completed())
    finally:
        end(worker.process)

    assert f'"CN=anna" "-" POST /api/deployments/{plan.id}/create_flow_run 201' in front.log()


def prefect_client(front: Front, pair: Pair) -> SyncPrefectClient:
    from prefect.client.orchestration import SyncPrefectClient

    return SyncPrefectClient(f"{front.url}/api", httpx_settings={"verify": front.trust(pair)})


def test_just_reading_and_runs_pass(front: Front, anna: Pair) -> None:
    """Of every request that Prefect's API knows, only those reach it that read, or start, resume and set runs."""
    with front.person(anna) as somebody:
        api = somebody.get("/api/openapi.json").json()["paths"]
        passed = set()
        for path, methods in api.items():
            at = "/api" + re.sub(r"\{\w+\}", "00000000-0000-4000-8000-000000000000", path)
            for method in methods:
                if somebody.request(method, at, json={}).status_code != 403:
                    passed.add((method, f"/api{path}"))

    read = {("get", f"/api{path}") for path, methods in api.items() if "get" in methods}
    assert passed == read | {("post", path) for path in POSTS}


@pytest.mark.parametrize(
    "path",
    [
        "/api/flows/bulk_delete",
        "/api/flows/filter/../bulk_delete",
        "/api/flows/bulk_delete/../filter",
        "/api/flows/bulk%5Fdelete",
        "/api//flows/bulk_delete",
        "/api/flows/bulk_delete?/filter",
        "/api/flows/bulk_delete%3f/filter",
        "/api/flows/bulk_delete#/filter",
        "/api/flows/bulk_delete%0a/filter",
        "/api/flows/bulk_delete/..%2ffilter",
    ],
)
def test_no_spelling_of_a_path_gets_past(front: Front, anna: Pair, path: str) -> None:
    """A flow that Prefect has is still there, however the request to delete it is spelled."""
    name = f"kept-{time.monotonic_ns()}"
    user, _, password = ACCOUNT.partition(":")
    account = httpx.BasicAuth(user, password)
    made = httpx.post(f"{front.server.api}/flows/", json={"name": name}, auth=account, trust_env=False).json()
    body = f'{{"flows": {{"id": {{"any_": ["{made["id"]}"]}}}}}}'
    request = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    plain = socket.create_connection(("127.0.0.1", front.port))
    with front.trust(anna).wrap_socket(plain, server_hostname="localhost") as secured:
        secured.sendall(request.encode())
        status = secured.recv(4096).split()[1]

    assert status in {b"400", b"403", b"404", b"405"}
    kept = httpx.get(f"{front.server.api}/flows/{made['id']}", auth=account, trust_env=False)
    assert kept.json()["name"] == name


def test_prefects_account_stays_behind_the_proxy(front: Front, anna: Pair) -> None:
    """No header from outside takes the account's place, and no answer holds it."""
    with front.person(anna) as somebody:
        for header in ("Basic d3Jvbmc6d3Jvbmc=", "Bearer nothing", ""):
            answer = somebody.post("/api/flows/filter", json={}, headers={"Authorization": header})
            assert answer.status_code == 200, answer.text
        told = [somebody.get(path) for path in ("/ui-settings", "/api/admin/settings", "/api/admin/version", "/docs")]
        told += [somebody.post("/api/flows/bulk_delete"), somebody.get("/api/nothing")]
    for answer in told:
        for secret in (ACCOUNT, ACCOUNT.partition(":")[2], SHOWN):
            assert secret not in answer.text + str(answer.headers)
    assert httpx.post(f"{front.server.api}/flows/filter", json={}, trust_env=False).status_code == 401


def test_another_sites_page_starts_nothing(front: Front, anna: Pair) -> None:
    """What a browser sends for a page of elsewhere, with the person's certificate, is refused."""
    with front.person(anna) as somebody:
        for origin, status in (("https://elsewhere.example", 403), ("null", 403), (front.url, 200)):
            answer = somebody.post("/api/flows/filter", json={}, headers={"Origin": origin})
            assert answer.status_code == status


@pytest.mark.parametrize("path", ["/api/events/in", "/api/events/out", "/api/logs/out"])
def test_no_websocket_is_opened(front: Front, anna: Pair, path: str) -> None:
    """Prefect does not hear that somebody asked for one."""
    asked = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
        "Sec-WebSocket-Protocol": "prefect",
    }
    with front.person(anna) as somebody:
        assert somebody.get(path, headers=asked).status_code == 404


def test_a_certificate_can_be_taken_back(front: Front, nginx_program: Nginx) -> None:
    """With the recipe's list of revoked certificates, one on it opens nothing; another one still does."""
    other = laid_out(nginx_program, "revoked", front.server, free_port())
    gone, here = other.people.client("gone"), other.people.client("here")
    (other.folder / "people.crl").write_bytes(revoked(other.people, gone))
    site = placed(written("nginx"), other.server, other.port, other.folder)
    daemon = nginx_program.serve(site.replace("# ssl_crl", "ssl_crl"), other.folder)
    try:
        until("nginx", lambda: answers(other))
        for pair, status in ((gone, 400), (here, 200)):
            with other.person(pair) as somebody:
                assert somebody.get("/api/admin/version").status_code == status
    finally:
        daemon.stop()


def revoked(authority: Authority, pair: Pair) -> bytes:
    """The authority's list with this one certificate."""
    issuer = x509.load_pem_x509_certificate(authority.pair.certificate)
    key = serialization.load_pem_private_key(authority.pair.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    entry = x509.RevokedCertificateBuilder(x509.load_pem_x509_certificate(pair.certificate).serial_number, now)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - timedelta(minutes=5))
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(entry.build())
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def test_people_may_come_by_password(front: Front, nginx_program: Nginx) -> None:
    """With the recipe's other lines, a person's password opens, and none or Prefect's own account does not."""
    other = laid_out(nginx_program, "passwords", front.server, free_port())
    word = bcrypt.hashpw(b"of-anna-alone", bcrypt.gensalt(5)).decode()
    (other.folder / "cd.htpasswd").write_text(f"anna:{word}\n")
    assert CERTIFICATES in written("nginx")
    site = written("nginx").replace(CERTIFICATES, "").replace("# auth_basic", "auth_basic")
    daemon = nginx_program.serve(placed(site, other.server, other.port, other.folder), other.folder)
    try:
        until("nginx", lambda: answers(other))
        for account, status in (
            (("anna", "of-anna-alone"), 200),
            (("anna", "wrong"), 401),
            (tuple(ACCOUNT.split(":")), 401),
            (None, 401),
        ):
            with other.person(auth=account) as somebody:
                assert somebody.get("/api/admin/version").status_code == status
                assert somebody.post("/api/flows/filter", json={}).status_code == status
        assert '"-" "anna" POST /api/flows/filter 200' in other.log()
    finally:
        daemon.stop()
