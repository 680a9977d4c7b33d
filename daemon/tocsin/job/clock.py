"""The only place where a job waits: for an instant of the wall clock, a message, or the parent's death."""

import errno
import os
import select
import time
from typing import Literal, Protocol

from tocsin import linux

SLICE = 1.0  # seconds of one wait where there is no timerfd: a stepped clock is seen after at most that

Woken = Literal["due", "message", "stepped"]


class Readable(Protocol):
    """Something that select(2) can wait for."""

    def fileno(self) -> int: ...


class Clock:
    """An absolute CLOCK_REALTIME timer that a step of the clock cancels, so that it is noticed at once."""

    def __init__(self) -> None:
        linux.sharpest_timers()
        self._poll, self._polled = select.poll(), -1
        self._timer: int | None
        try:
            self._timer = linux.timerfd()
        except OSError:
            self._timer = None

    def now(self) -> float:
        """Unix time."""
        return time.time()

    def wait(self, until: float, channel: Readable) -> Woken:
        """Sleep until Unix time `until`. A message (or the end of the channel) ends it early, so does a
        step of the clock; when both are there, the message is told first."""
        if self._timer is None:
            return self._wait_in_slices(until, channel)
        if until <= self.now():  # still look for a message: a job that is always late must hear Stop
            return "message" if select.select([channel], [], [], 0)[0] else "due"
        linux.arm_timerfd(self._timer, until)
        for descriptor, _ in self._poll_for(channel.fileno()).poll():  # without a timeout: those are rounded
            if descriptor != self._timer:
                return "message"
        if self.now() >= until:
            return "due"
        try:
            os.read(self._timer, 8)
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            return "stepped"
        return "due"

    def _poll_for(self, descriptor: int) -> select.poll:
        """The timer and this channel, registered once: between the kernel's word and ours every call counts."""
        if descriptor != self._polled:
            self._poll, self._polled = select.poll(), descriptor
            self._poll.register(descriptor, select.POLLIN)
            self._poll.register(self._timer or 0, select.POLLIN)
        return self._poll

    def _wait_in_slices(self, until: float, channel: Readable) -> Woken:
        while True:
            left = until - self.now()
            started = time.monotonic()
            if select.select([channel], [], [], max(0.0, min(left, SLICE)))[0]:
                return "message"
            if left <= SLICE:
                return "due"
            slept = time.monotonic() - started
            if abs((until - self.now()) - (left - slept)) > SLICE:
                return "stepped"
