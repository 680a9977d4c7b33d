"""Messages that wait for the exporter, or for the notifier.

Of a state only the newest value matters, so a mark waits in its place, and the value is looked up when the reader
accepts it. Events that are counted wait one by one, in order. When such an event follows a mark, the mark keeps the
state from before the event, because the exporter applies the event to that state.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tocsin.ipc.exporter import ToExporter
from tocsin.ipc.types import Message

KEPT = 50_000  # counted events (about 50 MB) kept for an exporter that does not read; more are dropped

Key = str | type[Message]  # the name of a job, or the type of a message of which only the newest counts
States = tuple[ToExporter, ...]
M = TypeVar("M", bound=Message)


@dataclass(slots=True, eq=False)
class Mark(Generic[M]):
    """A state to send: the newest of `key`, or `was` if a counted event followed the mark."""

    key: Key
    was: tuple[M, ...] | None = None


class Untold(Generic[M]):
    """`newest` returns the state of a key as messages. To send these twice does no harm."""

    def __init__(self, newest: Callable[[Key], tuple[M, ...]], kept: int = KEPT) -> None:
        self._newest = newest
        self._kept = kept
        self._queue: deque[Mark[M] | M] = deque()
        self._open: dict[Key, Mark[M]] = {}  # marks that no counted event has followed: at most one for each key
        self._events = 0

    def __len__(self) -> int:
        return len(self._queue)

    def mark(self, key: Key) -> None:
        """The state of `key` changed."""
        if key not in self._open:
            self._open[key] = mark = Mark[M](key)
            self._queue.append(mark)

    def add(self, event: M, key: Key, before: tuple[M, ...]) -> bool:
        """Queue a counted event; `before` is the state of its key before it. Returns False if there is no room:
        then the event is dropped, and only the state after it is sent."""
        if self._events >= self._kept:
            self.mark(key)
            return False
        if mark := self._open.pop(key, None):
            mark.was = before
        self._events += 1
        self._queue.append(event)
        return True

    def tell(self, take: Callable[[M], bool]) -> None:
        """Send messages until `take` accepts no more."""
        while self._queue:
            first = self._queue[0]
            if not isinstance(first, Mark):
                if not take(first):
                    return
                self._events -= 1
            else:
                if not all(map(take, self._newest(first.key) if first.was is None else first.was)):
                    return
                if first.was is None:
                    del self._open[first.key]
            self._queue.popleft()

    def forget(self) -> None:
        """Drop all messages."""
        self._queue.clear()
        self._open.clear()
        self._events = 0
