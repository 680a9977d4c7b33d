"""The one place where the parent waits: for descriptors, moments and signals, in a single thread."""

import heapq
import itertools
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from typing import Protocol

Callback = Callable[[], object]


class Clock(Protocol):
    """The two clocks. Code that makes decisions gets them as an argument, so that tests need not wait."""

    def now(self) -> float: ...
    def wall(self) -> float: ...


class Timer(Clock, Protocol):
    """A clock that calls back."""

    def at(self, moment: float, callback: Callback) -> None: ...


class Loop:
    """Calls back when a descriptor is ready, a moment has come, or a signal has arrived. Moments are monotonic
    seconds."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[Callback, Callback | None]] = {}
        self._moments: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.done = False

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def wall(self) -> float:
        """Return Unix time."""
        return time.time()

    def watch(self, descriptor: int, on_readable: Callback, on_writable: Callback | None = None) -> None:
        """Call back while the descriptor is readable, and, if `await_room` asked for it, while it is writable."""
        self._watched[descriptor] = on_readable, on_writable
        self._epoll.register(descriptor, select.EPOLLIN)

    def await_room(self, descriptor: int, wanted: bool) -> None:
        """Set whether to call back while the descriptor is writable. Ignores a descriptor that is not watched."""
        if descriptor in self._watched:
            self._epoll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def forget(self, descriptor: int) -> None:
        if self._watched.pop(descriptor, None):
            self._epoll.unregister(descriptor)

    def rest(self, descriptor: int, seconds: float) -> None:
        """Do not call back for some seconds, though the descriptor stays readable: it cannot be served now."""
        watched = self._watched[descriptor]

        def again() -> None:
            if self._watched.get(descriptor) is watched:
                self._epoll.modify(descriptor, select.EPOLLIN)

        self._epoll.modify(descriptor, 0)
        self.at(self.now() + seconds, again)

    def at(self, moment: float, callback: Callback) -> None:
        """Call back once at this moment. It cannot be cancelled: the callback must check whether it still applies."""
        heapq.heappush(self._moments, (moment, next(self._order), callback))

    def on_signals(self, numbers: Iterable[int], callback: Callable[[int], None]) -> None:
        """Handle these signals in the loop. The signal handler itself only wakes it."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)

        def on_wake() -> None:
            for number in set(os.read(self._wake_read, 4096)):
                callback(number)

        self.watch(self._wake_read, on_wake)

    def run(self, work: Callable[[], bool]) -> None:
        """Run until `done`. `work` does one slice of the waiting work and returns whether more is left."""
        more = True
        while not self.done:
            timeout = 0.0 if more else self._until_next()
            ready = [(self._watched[one], events) for one, events in self._epoll.poll(timeout)]
            for (on_readable, on_writable), events in ready:
                if events & select.EPOLLOUT and on_writable:
                    on_writable()
                if events & ~select.EPOLLOUT:  # also an error or a hang-up: reading tells which
                    on_readable()
            while self._moments and self._moments[0][0] <= self.now():
                heapq.heappop(self._moments)[2]()
            more = work()

    def _until_next(self) -> float | None:
        return max(0.0, self._moments[0][0] - self.now()) if self._moments else None
