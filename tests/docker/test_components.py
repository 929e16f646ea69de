"""Several components of one commit, side by side, on real git, Docker, registry and Trivy."""

from __future__ import annotations

import asyncio
import signal
import stat
import time
from pathlib import Path

import pytest

from flows.ci.release import ReleaseOutcome, release_order
from interlock.ci.host import CiHost
from interlock.errors import Blocked, InterlockError
from tasks.ci import scanner
from tasks.ci.images import RUN_LABEL, daemon
from tests.docker import components, killed, service
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder
from tests.killed import exit_code

BAD_PRICE = "def price(count):\n    return 9 * count\n"
SLOW = "RUN sleep 120\nUSER 10001\n"
SLOW_TEST = service.TEST.replace(
    "def test_price(self):\n", "def test_price(self):\n        __import__('time').sleep(6)\n"
)


async def release(walk: Walk, recorder: Recorder | None = None, host: CiHost | None = None) -> ReleaseOutcome:
    return await release_order(recorder or Recorder(), host or walk.host, "shop", None)


@pytest.fixture
def three(walk: Walk) -> Walk:
    components.bind(walk)
    return walk


async def test_components_are_released_side_by_side(three: Walk) -> None:
    """The sources are scanned once, each component has its own release commit, and builds overlap within the limit."""
    recorder = Recorder()

    outcome = await release(three, recorder)

    assert components.released(three).keys() == {*components.NAMES}
    assert {each.component for each in outcome.written} == {*components.NAMES}
    assert {each.source.commit for each in components.released(three).values()} == {three.application.head}
    assert (recorder.steps.count("scan folder"), recorder.steps.count("scan manifests")) == (1, 1)
    assert recorder.steps.count("build image") == 3
    assert recorder.most_at_once("build image", "scan image", "run tests") > 1
    assert recorder.most_at_once("build image") <= three.host.components_at_once


async def test_one_at_a_time_is_one_at_a_time(three: Walk) -> None:
    """`components_at_once: 1` keeps a small host from building two."""
    recorder = Recorder()

    await release(three, recorder, three.host.model_copy(update={"components_at_once": 1}))

    assert recorder.most_at_once("build image", "run tests") == 1
    assert components.released(three).keys() == {*components.NAMES}


async def test_a_blocked_component_does_not_hold_up_the_others(three: Walk) -> None:
    """One fails its tests, one does not build: the third is released, and the end says what became of each."""
    broken = components.files({"api/shop/__init__.py": BAD_PRICE, "job/Dockerfile": service.DOCKERFILE + "RUN false\n"})
    three.application.push(broken)
    recorder = Recorder()

    with pytest.raises(InterlockError) as caught:
        await release(three, recorder)

    assert components.released(three).keys() == {"web"}
    message = caught.value.message
    assert f"api {(three.application.head or '')[:12]} is not released to dev" in message
    assert "tests: tests.test_price.Price.test_price failed: 18 != 20" in message
    assert "failed in Step" in message
    assert message.splitlines()[-1] == "web is released to dev"
    table, *_ = recorder.report("release").tables
    kept_out = {row[0]: (row[1], row[2]) for row in table.rows}
    assert kept_out == {"api": ("nowhere", "dev"), "job": ("nowhere", "dev"), "web": ("dev", "none")}


async def test_a_failed_scan_of_the_sources_stops_builds(
    three: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be released without it: a build that would take minutes ends at once, and nothing is left of it."""
    real = scanner._binary()
    program = tmp_path / "trivy"
    program.write_text(f'#!/bin/sh\nif [ "$1" = fs ]; then sleep 8; echo panic >&2; exit 2; fi\nexec {real} "$@"\n')
    program.chmod(stat.S_IRWXU)
    monkeypatch.setattr(scanner, "_binary", lambda: program)
    slow = service.DOCKERFILE.replace("USER 10001\n", SLOW)
    three.application.push(components.files({f"{name}/Dockerfile": slow for name in components.NAMES}))
    recorder = Recorder()
    began = time.monotonic()

    with pytest.raises(Blocked, match="is not released") as caught:
        await release(three, recorder)

    assert time.monotonic() - began < 60
    assert caught.value.reasons[0].startswith("source: not scanned: ")
    assert "run tests" not in recorder.steps
    assert recorder.steps.count("build image") == three.host.components_at_once
    assert running(three) == []


def running(walk: Walk) -> list[str]:
    """Containers that still build or test something."""
    with daemon(walk.host.docker) as client:
        tested = client.containers.list(all=True, filters={"label": RUN_LABEL})
        built = [each for each in client.containers.list() if "sleep" in str(each.attrs["Config"]["Cmd"])]
        return [str(each.name) for each in (*tested, *built)]


async def test_a_killed_run_is_finished_component_by_component(three: Walk, tmp_path: Path) -> None:
    """Killed while two are tested, then after the first release: the next run releases just the others, and nothing of
    the killed ones is left.
    """
    slow = {f"{name}/tests/test_price.py": SLOW_TEST for name in components.NAMES}
    three.application.push(components.files(dict(slow)))
    host, count = tmp_path / "host.json", three.environments.count()
    host.write_text(three.host.model_dump_json())

    assert exit_code(killed.run, str(host), "during", "run tests", seconds=240) == -signal.SIGKILL
    assert running(three) != []
    assert exit_code(killed.run, str(host), "after", "push release commit", seconds=240) == -signal.SIGKILL
    first = components.released(three)
    assert len(first) == 1
    recorder = Recorder()
    await release(three, recorder)

    after = components.released(three)
    assert after.keys() == {*components.NAMES}
    assert [after[name] for name in first] == [*first.values()]
    assert three.environments.count() == count + 3
    assert recorder.steps.count("push release commit") == 2
    assert list((three.host.state / "runs").iterdir()) == [three.host.state / "runs" / ".guard"]
    assert running(three) == []


async def test_a_cancelled_run_leaves_nothing(three: Walk) -> None:
    """Two builds that would take minutes end with it, and so do its folder and its containers."""
    slow = service.DOCKERFILE.replace("USER 10001\n", SLOW)
    three.application.push(components.files({f"{name}/Dockerfile": slow for name in components.NAMES}))
    walking = asyncio.create_task(release(three))
    until = time.monotonic() + 120
    while not running(three) and time.monotonic() < until:  # noqa: ASYNC110 - the daemon is waited for
        await asyncio.sleep(0.5)
    assert running(three) != []
    began = time.monotonic()

    walking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walking

    while running(three) and time.monotonic() < began + 60:  # noqa: ASYNC110 - the daemon is waited for
        await asyncio.sleep(0.5)
    assert running(three) == []
    assert time.monotonic() - began < 60
    assert list((three.host.state / "runs").iterdir()) == [three.host.state / "runs" / ".guard"]
    assert components.released(three) == {}
