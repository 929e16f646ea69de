"""In what order parts go, and how their progress is shown."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from sandbox import catalog
from sandbox.part import SandboxError
from sandbox.parts.worker import CiWorker
from sandbox.place import Place
from sandbox.terminal import Terminal

PLACE = Place(name="never-opened", slot=59)


def test_what_a_part_needs_comes_before_it() -> None:
    """Asking for a part brings all that it needs, each need before its part."""
    assert list(catalog.with_needs(["worker-ci"], PLACE)) == ["prefect", "docker", "worker-ci"]
    assert list(catalog.with_needs(["node"], PLACE)) == ["kubernetes", "registry", "node"]


@pytest.mark.parametrize("name", catalog.CLASSES)
def test_every_part_answers_to_its_name(name: str) -> None:
    """The catalog's name of a part is the part's own, and its log lies among the sandbox's logs."""
    part = catalog.create(name, PLACE)
    assert (part.name, part.log.parent) == (name, PLACE.logs)


def test_independent_parts_go_side_by_side() -> None:
    """Two actions that wait for each other end, because both run at once."""
    both = threading.Barrier(2, timeout=10)

    def meet(name: str) -> None:
        both.wait()

    catalog.in_order({"a": (), "b": ()}, meet)


def test_an_action_waits_for_all_that_it_comes_after() -> None:
    """The order of the needs holds, however quick the threads are."""
    done: list[str] = []
    catalog.in_order({"c": ("a", "b"), "b": ("a",), "a": ("not asked for",)}, done.append)
    assert done == ["a", "b", "c"]


def test_after_a_failure_nothing_new_begins() -> None:
    """What comes after a failed action is left out, and the failure is told."""
    done: list[str] = []

    def act(name: str) -> None:
        if name == "a":
            raise SandboxError("a: broken")
        done.append(name)

    with pytest.raises(SandboxError, match="a: broken"):
        catalog.in_order({"a": (), "b": ("a",), "c": ("b",)}, act)
    assert done == []


def test_a_worker_without_host_config_says_which_file_is_missing() -> None:
    """Starting a worker before its host config is written names the file to write."""
    with pytest.raises(SandboxError, match=r"worker-ci: no host config at .*/never-opened/ci/ci.yaml"):
        CiWorker(PLACE).provide(lambda part, message: None)


def test_without_a_terminal_every_message_is_a_plain_line() -> None:
    """In a log file the progress is one line per message, without control characters or markup."""
    terminal = Terminal(Console(file=io.StringIO(), force_terminal=False))
    with terminal.live():
        terminal("git", "starting [1/2]")
        terminal("git", "answers after 0.1 s")
    assert isinstance(terminal.console.file, io.StringIO)
    assert terminal.console.file.getvalue() == "git: starting [1/2]\ngit: answers after 0.1 s\n"


def test_on_a_terminal_each_part_keeps_one_line() -> None:
    """A live line per part shows its last message and a mark once it has ended."""
    terminal = Terminal(Console(file=io.StringIO(), force_terminal=True, width=60))
    with terminal.live():
        terminal("git", "starting")
        terminal("registry", "starting")
        terminal("git", "answers after 0.1 s")
    assert isinstance(terminal.console.file, io.StringIO)
    last = terminal.console.file.getvalue().rsplit("✓", 1)[1]
    assert "git" in last
    assert "answers after 0.1 s" in last
    assert "registry" in last


def test_two_places_share_nothing() -> None:
    """The ports and addresses of two slots are disjoint, and below the range of outgoing connections."""
    first, second = Place(name="a", slot=0), Place(name="b", slot=1)
    ports = [{place.port(offset) for offset in range(50)} for place in (first, second, Place(name="c", slot=59))]
    assert not ports[0] & ports[1]
    assert max(ports[2]) < 30000, "node ports begin there, outgoing connections at 32768"
    assert {first.host_address, first.pod_cidr, first.link}.isdisjoint(
        {second.host_address, second.pod_cidr, second.link}
    )
