"""What a job's schedule expects: its next fire, and by when a run must have succeeded."""

from typing import Protocol

from tocsin.ipc.exporter import JobStatus
from tocsin.schedule import Schedule, ScheduleError


class Due(Protocol):
    """The part of `tocsin.schedule.Schedule` that is used here."""

    def next_due(self, after: int) -> int: ...


def success_deadline(schedule: Due, start: float, timeout: float, grace: float) -> float:
    """Return by when a job must have succeeded: the second fire after `start`, plus timeout and grace.

    `start` is its last success, or since when one is expected. All are Unix seconds. Raises ScheduleError beyond the
    years that a schedule covers.
    """
    return schedule.next_due(schedule.next_due(int(start))) + timeout + grace


class Expected:
    """What a job's schedule expects. Caches its answers, which change much less often than they are needed."""

    def __init__(self) -> None:
        self._read: tuple[str, str] | None = None
        self._schedule: Schedule | None = None
        self._of: tuple[float, float, float] | None = None
        self._deadline: float | None = None

    def deadline(self, status: JobStatus, began: float = 0.0) -> float | None:
        """Return the success deadline in Unix time, or None if unknown. `began` is used if nothing else says since when
        a success is expected."""
        schedule = self.schedule(status)
        start = max(status.last_success or 0.0, status.since or 0.0) or began
        if schedule is None or not start:
            return None
        if self._of != (of := (start, status.timeout, status.grace)):
            self._of = of
            try:
                self._deadline = success_deadline(schedule, *of)
            except ScheduleError:
                self._deadline = None
        return self._deadline

    def next_due(self, status: JobStatus, after: float) -> int | None:
        """Return the schedule's next instant after Unix time `after`, or None if unknown."""
        try:
            return schedule.next_due(int(after)) if (schedule := self.schedule(status)) else None
        except ScheduleError:
            return None

    def schedule(self, status: JobStatus) -> Schedule | None:
        """Return None if this process cannot read the daemon's zone."""
        if self._read != (read := (status.schedule, status.timezone)):
            self._read, self._of = read, None
            try:
                self._schedule = Schedule(*read)
            except ScheduleError:
                self._schedule = None
        return self._schedule
