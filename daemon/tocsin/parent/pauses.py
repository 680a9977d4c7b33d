"""Ends the pauses that have an end, when it has come: also one that came while the daemon was down."""

from collections.abc import Callable, Mapping

from tocsin.ipc.exporter import JobStatus
from tocsin.parent.loop import Timer

LOOK = 5.0  # seconds between looks at the clock: a pause ends by it, and it may be set, or the machine suspended


class Pauses:
    """`end` is called with the job's name and the instant at which its pause ended."""

    def __init__(self, statuses: Mapping[str, JobStatus], timer: Timer, end: Callable[[str, float], None]) -> None:
        self._statuses = statuses
        self._timer = timer
        self._end = end
        self._watched: set[tuple[str, float]] = set()

    def watch(self, name: str) -> None:
        """The job may be paused, and its pause may have an end."""
        status = self._statuses.get(name)
        if status and status.paused_until is not None and (name, status.paused_until) not in self._watched:
            self._watched.add((name, status.paused_until))
            self._look(name, status.paused_until)

    def _look(self, name: str, until: float) -> None:
        status, left = self._statuses.get(name), until - self._timer.wall()
        if status is None or status.paused_until != until:  # it was removed, resumed, or paused until another instant
            self._watched.discard((name, until))
        elif left > 0:
            self._timer.at(self._timer.now() + min(left, LOOK), lambda: self._look(name, until))
        else:
            self._watched.discard((name, until))
            self._end(name, until)
