"""The deadline of a call, with real alarms and signals. What is waited for is a signal, never a length of time."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from tocsin.call import deadline as module
from tocsin.call.deadline import Cancelled, DeadlinePassed, deadline
from tocsin.ipc.job import CANCEL

SOON = 0.02  # seconds
NEVER = 3600.0


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    module.listen()
    yield
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def wait_for_a_signal() -> None:
    """Longer than any test has patience; a signal ends it."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        signal.pause()


def test_the_deadline_ends_the_block() -> None:
    with pytest.raises(DeadlinePassed), deadline(SOON):
        wait_for_a_signal()


def test_no_except_exception_swallows_it() -> None:
    def call() -> None:
        with contextlib.suppress(Exception):
            wait_for_a_signal()
        pytest.fail("it was swallowed")

    with pytest.raises(DeadlinePassed), deadline(SOON):
        call()
    assert not issubclass(Cancelled, Exception)


def test_one_that_was_swallowed_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a __del__, where Python ignores every exception."""
    monkeypatch.setattr(module, "REPEAT", SOON)
    swallowed = 0

    def call() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                wait_for_a_signal()
            except DeadlinePassed:
                swallowed += 1
        wait_for_a_signal()

    with pytest.raises(DeadlinePassed), deadline(SOON):
        call()
    assert swallowed == 3


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9])
def test_no_time_at_all_is_over_at_once(seconds: float) -> None:
    for _ in range(50):  # the alarm may come before the block begins
        with pytest.raises(DeadlinePassed), deadline(seconds):
            wait_for_a_signal()
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_parent_can_cancel() -> None:
    def call() -> None:
        os.kill(os.getpid(), CANCEL)
        wait_for_a_signal()

    with pytest.raises(Cancelled), deadline(NEVER):
        call()


@pytest.mark.parametrize("number", [signal.SIGALRM, CANCEL])
def test_outside_of_a_block_both_signals_do_nothing(number: int) -> None:
    os.kill(os.getpid(), number)
    with deadline(NEVER):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    os.kill(os.getpid(), number)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_other_exceptions_pass_and_leave_nothing_behind(error: type[BaseException]) -> None:
    with pytest.raises(error), deadline(NEVER):
        raise error


def test_blocks_follow_each_other() -> None:
    for _ in range(3):
        with pytest.raises(DeadlinePassed), deadline(SOON):
            wait_for_a_signal()
        with deadline(NEVER):
            left, repeat = signal.getitimer(signal.ITIMER_REAL)
            assert 0 < left <= NEVER
            assert repeat == pytest.approx(module.REPEAT)


def test_an_alarm_at_the_door_does_not_keep_the_deadline_running() -> None:
    """Where a process is starved, the second alarm comes before the first has left the block."""
    one = deadline(NEVER)
    one.__enter__()

    def ring(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is deadline.__exit__.__code__:
            for interrupted in (frame, sys._getframe()):  # at the door, and in what a debugger runs there
                module._on_alarm(signal.SIGALRM, interrupted)
                module._on_cancel(CANCEL, interrupted)

    sys.setprofile(ring)
    try:
        one.__exit__()
    finally:
        sys.setprofile(None)
    module._on_alarm(signal.SIGALRM, None)  # does nothing any more
