"""What the exporter is still to be told.

Of a state the newest is enough, so a state that waits is only a mark: what it says is asked for when the exporter takes
it. What is counted is kept, one by one and in order. A state that was marked before something counted is told as it was
before that, because the exporter reckons on from there.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tocsin.ipc.exporter import ToExporter
from tocsin.ipc.types import Message

KEPT = 50_000  # counted events (about 50 MB) kept for an exporter that does not listen; beyond it they are dropped

Key = str | type[Message]  # the name of a job, or the kind of a message of which there is one newest
States = tuple[ToExporter, ...]


@dataclass(slots=True, eq=False)
class Mark:
    """A state to tell: that of `key` when its turn comes, or as it was when something counted followed it."""

    key: Key
    was: States | None = None


class Untold:
    """`newest` says the state of a key as messages, which may be told twice without harm."""

    def __init__(self, newest: Callable[[Key], States], kept: int = KEPT) -> None:
        self._newest = newest
        self._kept = kept
        self._queue: deque[Mark | ToExporter] = deque()
        self._open: dict[Key, Mark] = {}  # marks that nothing counted has followed: at most one for each key
        self._events = 0

    def __len__(self) -> int:
        return len(self._queue)

    def mark(self, key: Key) -> None:
        """The state of `key` is another one."""
        if key not in self._open:
            self._open[key] = mark = Mark(key)
            self._queue.append(mark)

    def add(self, event: ToExporter, key: Key, before: States) -> bool:
        """Something counted, and the state of its key before it. False where there is no room: it is not kept, but the
        state that follows from it will be told."""
        if self._events >= self._kept:
            self.mark(key)
            return False
        if mark := self._open.pop(key, None):
            mark.was = before
        self._events += 1
        self._queue.append(event)
        return True

    def tell(self, take: Callable[[ToExporter], bool]) -> None:
        """Hand over as many messages as are taken."""
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
        """Nobody is left to be told."""
        self._queue.clear()
        self._open.clear()
        self._events = 0
