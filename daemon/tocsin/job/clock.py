"""The only place where a job waits: for an instant of the wall clock, a message, or the parent's death."""

import errno
import os
import select
import time
from typing import Literal

from tocsin import linux
from tocsin.ipc.channel import Readable

POLLS = 8  # poll objects kept, one for each set of descriptors
SLICE = 1.0  # seconds of one wait without timerfd: a step of the clock is noticed within this time

Woken = Literal["due", "message", "line", "stepped"]


class Clock:
    """An absolute CLOCK_REALTIME timer. A step of the clock cancels it, and so is noticed at once."""

    def __init__(self) -> None:
        self._polls: dict[tuple[int, int], select.poll] = {}  # kept, because descriptors repeat with each slot
        self._armed: float | None = None
        self._timer: int | None
        try:
            self._timer = linux.timerfd()
        except OSError:
            self._timer = None

    def close(self) -> None:
        """Release the timer. A job's process never does that."""
        if self._timer is not None:
            os.close(self._timer)

    def now(self) -> float:
        """Return Unix time."""
        return time.time()

    def wait(self, until: float, channel: Readable, line: Readable | None = None) -> Woken:
        """Sleep until Unix time `until`. Returns earlier for a message or the end of the channel, for data on `line`,
        and for a step of the clock, in this order of precedence."""
        timer = self._timer
        if timer is None:
            return self._wait_in_slices(until, channel, line)
        heard, seen = channel.fileno(), -1 if line is None else line.fileno()
        poll = self._polls.get((heard, seen)) or self._new_poll(timer, heard, seen)
        passed = until <= time.time()
        if passed:  # still check for messages: a job that is always late must receive Stop
            ready = poll.poll(0)
        else:
            if until != self._armed:
                try:
                    linux.arm_timerfd(timer, until)
                except OSError as error:  # the clock was set meanwhile, which has not been read yet
                    if error.errno != errno.ECANCELED:
                        raise
                    self._armed = None
                    return "stepped"
                self._armed = until
            ready = poll.poll()  # without a timeout, which would be rounded
        line_ready = False
        for descriptor, _ in ready:
            if descriptor == heard:
                return "message"
            line_ready |= descriptor == seen
        if line_ready:
            return "line"
        self._armed = None
        if passed or time.time() >= until:
            return "due"
        try:
            os.read(timer, 8)
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            return "stepped"
        return "due"

    def _new_poll(self, timer: int, *others: int) -> select.poll:
        if len(self._polls) > POLLS:
            self._polls.clear()
        poll = self._polls[others] = select.poll()  # type: ignore[index]
        for descriptor in (timer, *others):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        return poll

    def _wait_in_slices(self, until: float, channel: Readable, line: Readable | None) -> Woken:
        heard, seen = channel.fileno(), -1 if line is None else line.fileno()
        poll = self._polls.get((heard, seen)) or self._new_poll(-1, heard, seen)
        while True:
            left = until - self.now()
            started = time.monotonic()
            ready = [descriptor for descriptor, _ in poll.poll(max(0.0, min(left, SLICE)) * 1000)]
            if ready:
                return "message" if heard in ready else "line"
            if left <= SLICE:
                return "due"
            slept = time.monotonic() - started
            if abs((until - self.now()) - (left - slept)) > SLICE:
                return "stepped"
