"""The wait for an instant, with a real timer, a real channel, and a real step of the clock."""

import os
import threading
import time

import pytest

from harness import Ends
from tocsin.ipc import channel as channels
from tocsin.ipc.job import Stop
from tocsin.job.clock import Clock


@pytest.fixture(params=["timerfd", "slices"])
def clock(request: pytest.FixtureRequest) -> Clock:
    made = Clock()
    if request.param == "slices":  # as on a kernel without timerfd
        made._timer = None
    return made


def test_due_is_never_early(clock: Clock, ends: Ends) -> None:
    for wait in (0.0, 0.001, 0.05, 1.2):
        until = clock.now() + wait
        assert clock.wait(until, ends[1]) == "due"
        assert clock.now() >= until


def test_an_instant_that_has_passed_is_due_at_once(clock: Clock, ends: Ends) -> None:
    assert clock.wait(clock.now() - 3600, ends[1]) == "due"
    assert clock.wait(0, ends[1]) == "due"


def test_a_clock_that_is_set_back_in_that_moment_changes_nothing(
    clock: Clock, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1000.0, 1000.0, 500.0, 500.0])
    monkeypatch.setattr(time, "time", lambda: next(times))
    assert clock.wait(999.0, ends[1]) == "due"


def test_a_message_ends_the_wait(clock: Clock, ends: Ends) -> None:
    ends[0].send(Stop())
    assert clock.wait(clock.now() + 3600, ends[1]) == "message"
    assert clock.wait(clock.now() - 1, ends[1]) == "message"  # a job that is always late must hear Stop
    assert ends[1].receive() == Stop()


def test_the_death_of_the_parent_ends_the_wait(clock: Clock, ends: Ends) -> None:
    ends[0].close()
    assert clock.wait(clock.now() + 3600, ends[1]) == "message"
    with pytest.raises(channels.ChannelClosed):
        ends[1].receive()


def test_a_set_clock_is_noticed_at_once(ends: Ends) -> None:
    """Setting the clock to what it shows is a step for the kernel (timerfd_create(2)), and harmless."""
    if os.geteuid() != 0:
        pytest.skip("only root may set the clock")
    clock = Clock()
    done = threading.Event()

    def set_clock_until_noticed() -> None:
        while not done.wait(0.01):
            time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))

    thread = threading.Thread(target=set_clock_until_noticed)
    thread.start()
    try:
        assert clock.wait(clock.now() + 3600, ends[1]) == "stepped"
    finally:
        done.set()
        thread.join()


def test_a_clock_set_between_two_waits_is_noticed_by_the_second(ends: Ends) -> None:
    """The kernel then refuses to set the timer, once (timerfd_create(2))."""
    if os.geteuid() != 0:
        pytest.skip("only root may set the clock")
    clock = Clock()
    ends[0].send(Stop())
    assert clock.wait(clock.now() + 3600, ends[1]) == "message"
    assert ends[1].receive() == Stop()
    time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))
    assert clock.wait(clock.now() + 1800, ends[1]) == "stepped"
    assert clock.wait(clock.now() + 0.05, ends[1]) == "due"
