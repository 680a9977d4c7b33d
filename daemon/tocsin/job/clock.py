"""The only place where a job waits: for an instant of the wall clock, a message, or the parent's death."""

import errno
import os
import select
import time
from typing import Literal, Protocol

from tocsin import linux

SLICE = 1.0  # seconds of one wait where there is no timerfd: a stepped clock is seen after at most that

Woken = Literal["due", "message", "line", "stepped"]


class Readable(Protocol):
    """Something that select(2) can wait for."""

    def fileno(self) -> int: ...


class Clock:
    """An absolute CLOCK_REALTIME timer that a step of the clock cancels, so that it is noticed at once."""

    def __init__(self) -> None:
        linux.sharpest_timers()
        self._poll, self._polled = select.poll(), (-1, -1)
        self._timer: int | None
        try:
            self._timer = linux.timerfd()
        except OSError:
            self._timer = None

    def now(self) -> float:
        """Unix time."""
        return time.time()

    def wait(self, until: float, channel: Readable, line: Readable | None = None) -> Woken:
        """Sleep until Unix time `until`. A message (or the end of the channel) ends it early, and so do something
        to read on `line` and a step of the clock; what is told first stands first here."""
        if self._timer is None:
            return self._wait_in_slices(until, channel, line)
        poll = self._poll_for(channel.fileno(), -1 if line is None else line.fileno())
        if until <= self.now():  # still look for a message: a job that is always late must hear Stop
            return self._told(poll.poll(0)) or "due"
        linux.arm_timerfd(self._timer, until)
        told = self._told(poll.poll())  # without a timeout: those are rounded
        if told or self.now() >= until:
            return told or "due"
        try:
            os.read(self._timer, 8)
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            return "stepped"
        return "due"

    def _poll_for(self, channel: int, line: int) -> select.poll:
        """With these descriptors registered: between the kernel's word and ours every call counts."""
        if self._polled != (channel, line):
            self._poll, self._polled = select.poll(), (channel, line)
            for descriptor in (channel, line, self._timer or -1):
                if descriptor >= 0:
                    self._poll.register(descriptor, select.POLLIN)
        return self._poll

    def _told(self, ready: list[tuple[int, int]]) -> Woken | None:
        channel, line = self._polled
        told: Woken | None = None
        for descriptor, _ in ready:
            if descriptor == channel:
                return "message"
            if descriptor == line:
                told = "line"
        return told

    def _wait_in_slices(self, until: float, channel: Readable, line: Readable | None) -> Woken:
        watched = [channel] if line is None else [channel, line]
        while True:
            left = until - self.now()
            started = time.monotonic()
            ready = select.select(watched, [], [], max(0.0, min(left, SLICE)))[0]
            if ready:
                return "message" if channel in ready else "line"
            if left <= SLICE:
                return "due"
            slept = time.monotonic() - started
            if abs((until - self.now()) - (left - slept)) > SLICE:
                return "stepped"
