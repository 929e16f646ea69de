"""Running a component's tests in a container of its own image: no Docker, no network but that of its services."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import requests.exceptions

from interlock.ci.coverage import Coverage, read_coverage
from interlock.ci.junit import TestReport, TestRun, joined, read_report
from interlock.ci.untrusted_xml import MOST_BYTES
from interlock.contract.models import TestCommand, Tests
from interlock.errors import TestsFailed
from tasks.ci.images import RUN_LABEL, Client, Missing, Ulimit, daemon
from tasks.ci.kept_log import Keep, LogPlace, keeping
from tasks.ci.services import NO_RESOLVER, bounded_log, running
from tasks.common.effect import effect

_MEMORY = 2 << 30
_PROCESSES = 512
_FILE_BYTES = 256 << 20
_CPUS = 2
_LOG_LINES = 100
_LINE = 500
_LOG_BYTES = 8 << 20
_MANY_BYTES = 1 << 16
_STOP_SECONDS = 2


@effect(name="run tests")
def run_tests(url: str, image_id: str, tests: Tests, *, run: str, log: LogPlace | None = None) -> TestRun:
    """Run the command as the image's user and read the report that it leaves.

    Failing tests, a missing report and a timeout are results, not errors. The container is always removed; one that a
    killed run left carries its label for the next sweep. `log` is where all that the tests print is kept.
    """
    started = time.monotonic()
    longest = max(each.timeout_seconds for each in (tests, *tests.more.values()))
    with keeping(log) as keep, daemon(url, timeout=longest + 60) as client, contextlib.ExitStack() as stack:
        network = None
        if tests.services:
            try:
                network = stack.enter_context(running(client, tests.services, run=run))
            except TestsFailed as error:
                return TestRun(exit_code=None, trouble=error.message, seconds=time.monotonic() - started)
        asked = _Asked(run, network, log.most_bytes if log else _LOG_BYTES, keep)
        found = _run(client, image_id, tests, asked)
        more = {}
        for name, command in tests.more.items():
            keep(f"== {name}")
            more[name] = _run(client, image_id, _alone(command), asked)
        found = joined(found, more)
    images = tuple(each.image for each in tests.services.values())
    return replace(found, seconds=time.monotonic() - started, services=images)


@dataclass(frozen=True)
class _Asked:
    """What is the same for every command of a component's tests."""

    run: str
    network: str | None
    log_bytes: int
    keep: Keep


def _alone(command: TestCommand) -> Tests:
    return Tests(command=command.command, report=command.report, timeout_seconds=command.timeout_seconds)


def _run(client: Client, image_id: str, tests: Tests, asked: _Asked) -> TestRun:
    container = _create(client, image_id, tests, asked)
    try:
        code = _start_and_wait(client, container, tests.timeout_seconds)
        log = _log(client, container, asked.keep)
        report, coverage, trouble = _reports(client, container, tests, code)
    finally:
        with contextlib.suppress(Missing):
            client.api.remove_container(container, force=True, v=True)
    return TestRun(exit_code=code, report=report, trouble=trouble, log=log, coverage=coverage)


def _create(client: Client, image_id: str, tests: Tests, asked: _Asked) -> str:
    """Without a network, or on the services' own."""
    folders = {path.rpartition("/")[0] for path in (tests.report, tests.coverage or tests.report)} - {""}
    limits = client.api.create_host_config(
        network_mode=asked.network or "none",
        dns=list(NO_RESOLVER) if asked.network else None,
        log_config=bounded_log(asked.log_bytes),
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=_MEMORY,
        memswap_limit=_MEMORY,
        nano_cpus=_CPUS * 10**9,
        pids_limit=_PROCESSES,
        ulimits=[Ulimit(name="fsize", soft=_FILE_BYTES, hard=_FILE_BYTES)],
        tmpfs={} if "/tmp" in folders else {"/tmp": "size=268435456"},  # noqa: S108 - in the container
        init=True,
    )
    created = client.api.create_container(
        image_id,
        entrypoint=list(tests.command),
        command=[],
        labels={RUN_LABEL: asked.run},
        # A tmpfs is gone when the container ends; this volume keeps the report until it was copied out.
        volumes=sorted(folders),
        host_config=limits,
        environment={"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},  # noqa: S108 - in the container
        network_disabled=asked.network is None,
    )
    return str(created["Id"])


def _start_and_wait(client: Client, container: str, seconds: int) -> int | None:
    """The exit code; None when the time was up and the container was killed."""
    client.api.start(container)
    ends = time.monotonic() + seconds
    try:
        return int(client.api.wait(container, timeout=seconds)["StatusCode"])
    except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
        if time.monotonic() < ends:  # the daemon went away, which says nothing about the tests
            raise
        client.api.kill(container)
        client.api.wait(container, timeout=_STOP_SECONDS * 10)
        return None


def _log(client: Client, container: str, keep: Keep) -> tuple[str, ...]:
    """All of it is kept, in the order in which it was printed; its last lines are for the page."""
    last: deque[str] = deque(maxlen=_LOG_LINES)
    rest = b""
    for chunk in client.api.logs(container, stream=True):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in (each.decode(errors="replace").rstrip("\r") for each in whole):
            keep(line)
            last.extend([line[:_LINE]] if line.strip() else [])
        rest = rest[:_MANY_BYTES]
    if rest.strip():
        keep(rest.decode(errors="replace"))
        last.append(rest.decode(errors="replace")[:_LINE])
    return tuple(last)


def _reports(
    client: Client, container: str, tests: Tests, code: int | None
) -> tuple[TestReport | None, Coverage | None, str]:
    """Both reports, or why one is not there. A report of tests that were stopped is none."""
    if code is None:
        return None, None, f"stopped after {tests.timeout_seconds} s, as interlock.yaml asks"
    report: TestReport | None = None
    try:
        report = read_report(_copy_out(client, container, tests.report))
        coverage = read_coverage(_copy_out(client, container, tests.coverage)) if tests.coverage else None
    except TestsFailed as error:
        return report, None, f"{error.message} (the test command ended with exit code {code})"
    return report, coverage, ""


def _copy_out(client: Client, container: str, path: str) -> bytes:
    """One regular file of a bounded size; TestsFailed when it is missing or anything else."""
    try:
        stream, _ = client.api.get_archive(container, path)
    except Missing:
        raise TestsFailed(f"the tests left no report at {path}") from None
    archive = io.BytesIO(b"".join(_bounded(stream, path)))
    with contextlib.closing(archive), tarfile.open(fileobj=archive) as tar:
        member = tar.next()
        content = tar.extractfile(member) if member is not None and member.isreg() else None
        if content is None:
            raise TestsFailed(f"the report at {path} is not a regular file")
        return content.read()


def _bounded(stream: Iterable[bytes], path: str) -> Iterator[bytes]:
    size = 0
    for chunk in stream:
        size += len(chunk)
        if size > MOST_BYTES + 64 * 1024:
            raise TestsFailed(f"the report at {path} is larger than {MOST_BYTES} bytes")
        yield chunk
