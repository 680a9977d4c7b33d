"""What a job's schedule expects of it: its next fire, and by when a run must have succeeded."""

from typing import Protocol

from tocsin.ipc.exporter import JobStatus
from tocsin.schedule import Schedule, ScheduleError


class Due(Protocol):
    """The part of `tocsin.schedule.Schedule` that is needed here."""

    def next_due(self, after: int) -> int: ...


def success_deadline(schedule: Due, start: float, timeout: float, grace: float) -> float:
    """By when a job must have succeeded, of which a success is expected since `start`, its last one perhaps: the second
    fire after that, plus timeout and grace. Raises ScheduleError beyond the years that the schedule knows."""
    return schedule.next_due(schedule.next_due(int(start))) + timeout + grace


class Expected:
    """What a job's schedule expects of it. It remembers: it is asked much more often than that changes."""

    def __init__(self) -> None:
        self._read: tuple[str, str] | None = None
        self._schedule: Schedule | None = None
        self._of: tuple[float, float, float] | None = None
        self._deadline: float | None = None

    def deadline(self, status: JobStatus, began: float = 0.0) -> float | None:
        """Unix time; None where nobody knows. `began` counts where nothing says from when on a success is expected."""
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
        """The next instant of the schedule after Unix time `after`; None where nobody knows."""
        try:
            return schedule.next_due(int(after)) if (schedule := self.schedule(status)) else None
        except ScheduleError:
            return None

    def schedule(self, status: JobStatus) -> Schedule | None:
        """None where the daemon has a zone that this process cannot read."""
        if self._read != (read := (status.schedule, status.timezone)):
            self._read, self._of = read, None
            try:
                self._schedule = Schedule(*read)
            except ScheduleError:
                self._schedule = None
        return self._schedule
