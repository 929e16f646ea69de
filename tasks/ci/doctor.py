"""What a CI host needs beside what every host does: sources, registry, Docker, and the scanner."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from interlock.ci.host import CiHost
from interlock.contract.doctor import Check, checked
from interlock.contract.host import Remote
from interlock.errors import ToolError
from tasks.ci import images
from tasks.ci.host import load_ci
from tasks.common import doctor, git, registry


def checks() -> Iterator[Check]:
    """Everything, one after the other."""
    host = load_ci()
    yield Check("host file", True, "ci.yaml is sound, and only root writes it")
    yield from doctor.common("ci", host, since=None, grounds=host.grounds, more=host.signings[1:])
    for name, remote in sorted(host.repositories.items()):
        yield checked(f"source {name}", lambda name=name, remote=remote: _source(host, name, remote))  # type: ignore[misc]
    yield checked("registry", lambda: _registry(host))
    yield checked("Docker", lambda: _docker(host))
    yield checked("scanner", lambda: _scanner(host))


def _source(host: CiHost, name: str, remote: Remote) -> str:
    doctor.auth(remote)
    doctor.require_own(host.state)
    return f"{remote.url}: {git.fetch(git.mirror_path(host.state, name), remote)[:12]}"


def _registry(host: CiHost) -> str:
    with registry.connected(host.registry) as http:
        answer = registry.require(http.get("/v2/"), f"{host.registry.host}")
    apart = doctor.require_clock(answer.headers.get("Date", ""), whose="the registry's")
    return f"{host.registry.host}: it takes our account; clock {apart}"


def _docker(host: CiHost) -> str:
    with images.daemon(host.docker) as client:
        return f"{host.docker}: version {client.version()['Version']}"


def _scanner(host: CiHost) -> str:
    found = shutil.which("trivy")
    if found is None:
        raise ToolError("trivy is not on this user's PATH", hint="install it: docs/scanning.md")
    if not host.trivy.cache.is_dir():
        raise ToolError(
            f"{host.trivy.cache} is not there: no database of vulnerabilities",
            hint="make the folder for the worker's user; the first scan downloads a database unless it is pinned",
        )
    return f"{found}, database {host.trivy.database} in {host.trivy.cache}"
