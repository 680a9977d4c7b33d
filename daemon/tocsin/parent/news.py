"""What everyone is told: the log, the status of each job, and the exporter, which hears it all."""

import time
from collections.abc import Callable

from msgspec.structs import replace

from tocsin import log, status
from tocsin.config import Job
from tocsin.messages import (
    ConfigLoaded,
    EventsDropped,
    Finished,
    Heartbeat,
    JobRemoved,
    JobStatus,
    LedgerState,
    LogLinesDropped,
    Message,
    Past,
    Pause,
    ProcessExited,
    ProcessUp,
    Skipped,
)
from tocsin.parent import journal


class News:
    """`to_exporter` passes a message on and says whether it was taken."""

    def __init__(self, to_exporter: Callable[[Message], bool]) -> None:
        self.statuses: dict[str, JobStatus] = {}
        self._to_exporter = to_exporter
        self._config: ConfigLoaded | None = None
        self._ledger = LedgerState(False, 0)
        self._processes: dict[tuple[str, str], ProcessUp] = {}
        self._dropped = 0

    def tell(self, event: Message) -> None:
        """Something happened."""
        match event:
            case Finished():
                journal.finished(event)
            case Skipped():
                journal.skipped(event)
            case ProcessUp():
                journal.up(event)
                self._processes[event.process, event.job] = event
            case ProcessExited():
                journal.exited(event)
                self._processes.pop((event.process, event.job), None)
            case ConfigLoaded():
                self._config = event
            case LedgerState():
                self._ledger = event
        name = getattr(event, "job", "")
        if before := self.statuses.get(name):
            after = status.after(before, event)
            if before.paused and not after.paused:
                after = replace(after, since=time.time())  # what it let pass is not held against it
            self.statuses[name] = after
            if isinstance(event, Pause | Past):
                event = after  # the exporter takes it whole
        self._pass_on(event)

    def define(self, job: Job) -> None:
        """The job is new or defined anew; what happened to it before still counts."""
        before, fresh = self.statuses.get(job.name), status.of(job)
        self.statuses[job.name] = status.carried_over(before, fresh, time.time()) if before else fresh
        self._pass_on(self.statuses[job.name])

    def remove(self, name: str) -> None:
        self.statuses.pop(name, None)
        self._pass_on(JobRemoved(name))

    def repeat(self) -> None:
        """A new exporter knows nothing yet."""
        if self._config:
            self._pass_on(self._config)
        for job in self.statuses.values():
            self._pass_on(job)
        for process in self._processes.values():
            self._pass_on(process)
        for job in self.statuses.values():  # again: a ProcessUp means "starting" to whoever follows the events
            self._pass_on(job)
        self._pass_on(self._ledger)

    def heartbeat(self, lost_entries: int) -> None:
        self._pass_on(Heartbeat(time.time()))
        self._pass_on(LogLinesDropped(log.lines_dropped()))
        if dropped := self._dropped + lost_entries:
            self._pass_on(EventsDropped(dropped))

    def _pass_on(self, message: Message) -> None:
        if not self._to_exporter(message):
            self._dropped += 1
