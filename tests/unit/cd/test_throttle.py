"""How hard a server is asked."""

from __future__ import annotations

import threading
import time

import pytest

from tasks.cd.throttle import LEAST_PAUSE, LONGEST_RETRY_AFTER, Throttle, pauses, retry_after


def test_a_refusal_halves_the_slots_once_for_all_that_were_in_flight() -> None:
    """Eight requests that are sent away together are one sign of a busy server, not eight."""
    throttle = Throttle(8)
    started = time.monotonic()
    for _ in range(8):
        throttle.slow_down(started, 0)
    assert throttle.slots == 4
    throttle.slow_down(time.monotonic(), 0)
    assert throttle.slots == 2


def test_slots_come_back_one_for_each_round_of_answers_and_never_beyond_the_most() -> None:
    """Additive increase: as many answers as there are slots give one more."""
    throttle = Throttle(4)
    throttle.slow_down(time.monotonic(), 0)
    for _ in range(3):
        throttle.bore()
    assert throttle.slots == 3
    for _ in range(100):
        throttle.bore()
    assert throttle.slots == 4


def test_there_is_always_one_slot() -> None:
    """However often a server sends us away, one request at a time goes on."""
    throttle = Throttle(4)
    for _ in range(10):
        throttle.slow_down(time.monotonic(), 0)
    with throttle:
        assert throttle.slots == 1


def test_nobody_sends_before_the_named_time_is_over() -> None:
    """Retry-After holds for every request, not only for the one that was sent away."""
    throttle = Throttle(4)
    throttle.slow_down(time.monotonic(), 0.2)
    before = time.monotonic()
    with throttle as started:
        assert started - before >= 0.19


def test_never_more_in_flight_than_slots() -> None:
    """With many threads the number at work stays within the slots."""
    throttle, guard = Throttle(3), threading.Lock()
    active, most = 0, 0

    def work() -> None:
        nonlocal active, most
        for _ in range(20):
            with throttle:
                with guard:
                    active += 1
                    most = max(most, active)
                time.sleep(0.0005)
                with guard:
                    active -= 1

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 3
    assert throttle.drained(0)


def test_drained_says_whether_nothing_is_in_flight() -> None:
    """While a request is at work it is not drained."""
    throttle = Throttle(3)
    with throttle:
        assert not throttle.drained(0.01)
    assert throttle.drained(0.01)


def test_pauses_grow_and_end() -> None:
    """Each try waits longer at most, with jitter, until the patience is over."""
    found = []
    for pause, longest in zip(pauses(1000), (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0), strict=False):
        assert longest / 2 <= pause <= longest
        found.append(pause)
    assert len(found) == 8
    assert list(pauses(0)) == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), (None, 1.0), ("soon", 1.0), ("-5", LEAST_PAUSE), ("0", LEAST_PAUSE), ("999999", LONGEST_RETRY_AFTER)],
)
def test_retry_after_is_bounded(header: str | None, seconds: float) -> None:
    """Whatever a server writes there, we wait at least a moment and never for long."""
    assert retry_after(header) == seconds
