"""What a component's tests need beside them: each service a container, on a network that leads nowhere else."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from interlock.contract.models import Service
from interlock.errors import DockerError, TestsFailed
from tasks.ci.images import RUN_LABEL, APIError, Client, LogConfig, Missing

_MEMORY = 1 << 30
_PROCESSES = 256
_CPUS = 1
_POLL_SECONDS = 0.3
_LOG_LINES = 20
_LINE = 300
_KEPT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
"""With which a server gives its data to a user of its own, and becomes it. None of them reaches a network."""
NO_RESOLVER = ("127.0.0.1",)
"""Names of the network's own are resolved by the daemon. Any other it would pass on, and so out of the network."""
_LOG_BYTES = 4 << 20
_LISTENING = "0A"


def bounded_log(most_bytes: int) -> LogConfig:
    """The daemon keeps it as JSON, in which text grows; of more it forgets what came first."""
    return LogConfig(type=LogConfig.types.JSON, config={"max-size": str(2 * most_bytes), "max-file": "1"})


@contextlib.contextmanager
def running(client: Client, services: Mapping[str, Service], *, run: str) -> Iterator[str]:
    """The network on which the services answer by their names, ready; all of it is gone afterwards.

    TestsFailed when one cannot be had, ends, or is not ready in time.
    """
    name = f"interlock-{uuid4().hex[:20]}"
    network = _network(client, name, run)
    containers: dict[str, str] = {}
    try:
        for each, service in services.items():
            containers[each] = _start(client, each, service, network=name, run=run)
        for each, service in services.items():
            _wait(client, each, service, containers[each])
        yield name
    finally:
        for container in containers.values():
            with contextlib.suppress(Missing):
                client.api.remove_container(container, force=True, v=True)
        with contextlib.suppress(Missing):
            client.api.remove_network(network)


def _network(client: Client, name: str, run: str) -> str:
    """The host has no address on it, so nothing that listens on the host can be reached from it."""
    made = client.api.create_network(
        name,
        driver="bridge",
        internal=True,
        labels={RUN_LABEL: run},
        options={"com.docker.network.bridge.inhibit_ipv4": "true"},
    )
    return str(made["Id"])


def _start(client: Client, name: str, service: Service, *, network: str, run: str) -> str:
    _require_image(client, name, service)
    limits = client.api.create_host_config(
        network_mode=network,
        cap_drop=["ALL"],
        cap_add=list(_KEPT_CAPABILITIES),
        security_opt=["no-new-privileges"],
        mem_limit=_MEMORY,
        memswap_limit=_MEMORY,
        nano_cpus=_CPUS * 10**9,
        pids_limit=_PROCESSES,
        dns=list(NO_RESOLVER),
        log_config=bounded_log(_LOG_BYTES),
        init=True,
    )
    created = client.api.create_container(
        service.image,
        command=list(service.command) if service.command else None,
        environment=dict(service.variables),
        hostname=name,
        labels={RUN_LABEL: run},
        host_config=limits,
        networking_config=client.api.create_networking_config(
            {network: client.api.create_endpoint_config(aliases=[name])}  # type: ignore[arg-type]
        ),
    )
    client.api.start(created["Id"])
    return str(created["Id"])


def _require_image(client: Client, name: str, service: Service) -> None:
    try:
        try:
            client.images.get(service.image)
        except Missing:
            client.images.pull(service.image)
    except APIError as error:
        told = f"the image of the service {name} cannot be had: {service.image}: {error.explanation or error}"
        if error.is_server_error():
            raise DockerError(told, transient=True) from error
        raise TestsFailed(told) from error


def _wait(client: Client, name: str, service: Service, container: str) -> None:
    ends = time.monotonic() + service.ready_seconds
    while not _is_ready(client, service, container):
        state = client.api.inspect_container(container)["State"]
        if not state["Running"]:
            raise TestsFailed(f"the service {name} ended with exit code {state['ExitCode']}{_said(client, container)}")
        if time.monotonic() > ends:
            late = f"not ready in {service.ready_seconds} s"
            raise TestsFailed(f"the service {name} was {late}{_said(client, container)}")
        time.sleep(_POLL_SECONDS)


def _is_ready(client: Client, service: Service, container: str) -> bool:
    if service.ready:
        return _execute(client, container, service.ready)[0] == 0
    code, listed = _execute(client, container, ("cat", "/proc/net/tcp", "/proc/net/tcp6"))
    if code in (126, 127):
        raise TestsFailed("a service whose image has no `cat` cannot be asked for its port: name a `ready` command")
    return service.port in _ports(listed)


def _execute(client: Client, container: str, command: tuple[str, ...]) -> tuple[int | None, str]:
    """Exit code and output; the code is None when the container does not run."""
    try:
        made = client.api.exec_create(container, list(command))
        output = client.api.exec_start(made["Id"])
        found: Mapping[str, Any] = client.api.exec_inspect(made["Id"])
    except APIError:
        return None, ""
    return found["ExitCode"], output.decode(errors="replace")


def _ports(listed: str) -> set[int]:
    """Those on which something listens, of the kernel's tables."""
    rows = re.findall(r"^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) ", listed, re.MULTILINE)
    return {int(port, 16) for port, state in rows if state == _LISTENING}


def _said(client: Client, container: str) -> str:
    """The last lines of its log, on lines of their own."""
    text = client.api.logs(container, tail=_LOG_LINES).decode(errors="replace")
    lines = [line[:_LINE] for line in text.splitlines() if line.strip()]
    return ": " + " | ".join(lines) if lines else ""
