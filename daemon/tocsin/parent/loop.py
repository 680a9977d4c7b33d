"""The one place where the parent waits: descriptors, moments and signals, in a single thread."""

import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable

Callback = Callable[[], object]


class Loop:
    """Calls back when a descriptor is ready, a moment has come, or a signal has arrived."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._moments: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.done = False

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def watch(self, descriptor: int, on_readable: Callback, on_writable: Callback | None = None) -> None:
        """Call back while the descriptor is readable (and writable, where asked for); replaces what was set."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if on_writable else 0)
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, events, (on_readable, on_writable))
        else:
            self._selector.register(descriptor, events, (on_readable, on_writable))

    def forget(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def at(self, moment: float, callback: Callback) -> None:
        """Call back once at this moment of `now`. What became pointless meanwhile the callback must see."""
        heapq.heappush(self._moments, (moment, next(self._order), callback))

    def on_signals(self, numbers: Iterable[int], callback: Callable[[int], None]) -> None:
        """Have signals handled in the loop: the handler itself only wakes it."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)

        def on_wake() -> None:
            for number in set(os.read(self._wake_read, 4096)):
                callback(number)

        self.watch(self._wake_read, on_wake)

    def run(self, work: Callable[[], bool]) -> None:
        """Until `done`. `work` does a slice of what waits to be done and says whether more is left."""
        more = True
        while not self.done:
            timeout = 0.0 if more else self._until_next()
            for key, events in self._selector.select(timeout):
                on_readable, on_writable = key.data
                if events & selectors.EVENT_WRITE and on_writable:
                    on_writable()
                if events & selectors.EVENT_READ:
                    on_readable()
            while self._moments and self._moments[0][0] <= self.now():
                heapq.heappop(self._moments)[2]()
            more = work()

    def _until_next(self) -> float | None:
        return max(0.0, self._moments[0][0] - self.now()) if self._moments else None
