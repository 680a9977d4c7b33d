"""What everyone is told: the log, the status of each job, and the exporter, which hears it all."""

import time
from collections.abc import Callable

from msgspec.structs import replace

from tocsin import log
from tocsin.config import Job
from tocsin.ipc import status
from tocsin.ipc.exporter import (
    ConfigLoaded,
    EventsDropped,
    Heartbeat,
    JobRemoved,
    JobStatus,
    LedgerState,
    LogLinesDropped,
    ProcessExited,
    ProcessUp,
    ToExporter,
)
from tocsin.ipc.job import Finished, Pause, Skipped
from tocsin.ipc.ledger import JobHistory
from tocsin.parent import run_log, statuses


class StatusFeed:
    """`to_exporter` passes a message on and says whether it was taken."""

    def __init__(self, to_exporter: Callable[[ToExporter], bool]) -> None:
        self.statuses: dict[str, JobStatus] = {}
        self._to_exporter = to_exporter
        self._config: ConfigLoaded | None = None  # what is in use
        self._refused: ConfigLoaded | None = None  # since then
        self._ledger = LedgerState(False, 0)
        self._processes: dict[tuple[str, str], ProcessUp] = {}
        self._dropped = 0  # events for the exporter
        self._lost_entries = 0  # those for the ledger, as told last
        self._behind = False  # whether the exporter missed something since it was told everything
        self._gone: set[str] = set()  # jobs of whose end it did not hear

    def tell(self, event: ToExporter | Pause | JobHistory) -> None:
        """Something happened."""
        match event:
            case Finished():
                run_log.finished(event)
            case Skipped():
                run_log.skipped(event)
            case ProcessUp():
                run_log.up(event)
                self._processes[event.process, event.job] = event
            case ProcessExited():
                run_log.exited(event)
                self._processes.pop((event.process, event.job), None)
            case ConfigLoaded():
                self._config, self._refused = (self._config, event) if event.error else (event, None)
            case LedgerState():
                self._ledger = event
        name = getattr(event, "job", "")
        if before := self.statuses.get(name):
            after = status.after(before, event)
            if before.paused and not after.paused:
                after = replace(after, since=time.time())  # what it let pass is not held against it
            self.statuses[name] = after
            if isinstance(event, Pause | JobHistory):
                event = after  # the exporter takes it whole
        if not isinstance(event, Pause | JobHistory):  # of a job that was removed meanwhile
            self._pass_on(event)

    def expect_anew(self, name: str) -> None:
        """From now on a success of the job is expected, whatever was before."""
        self.statuses[name] = replace(self.statuses[name], since=time.time())
        self._pass_on(self.statuses[name])

    def define(self, job: Job) -> None:
        """The job is new or defined anew; what happened to it before still counts."""
        before, fresh = self.statuses.get(job.name), statuses.of(job)
        self.statuses[job.name] = statuses.carried_over(before, fresh, time.time()) if before else fresh
        self._pass_on(self.statuses[job.name])

    def remove(self, name: str) -> None:
        self.statuses.pop(name, None)
        self._pass_on(JobRemoved(name))

    def repeat(self) -> None:
        """A new exporter knows nothing yet."""
        for load in filter(None, (self._config, self._refused)):
            self._pass_on(load)
        for job in self.statuses.values():
            self._pass_on(job)
        for process in self._processes.values():
            self._pass_on(process)
        for job in self.statuses.values():  # again: a ProcessUp means "starting" to whoever follows the events
            self._pass_on(job)
        self._pass_on(self._ledger)
        self._tell_drops()

    def heartbeat(self, lost_entries: int) -> None:
        self._lost_entries = lost_entries
        if self._pass_on(Heartbeat(time.time())) and self._behind:
            log.warning("the exporter was behind: it is told the state of all jobs, what it missed is not counted")
            gone, self._gone, self._behind = self._gone - self.statuses.keys(), set(), False
            for name in gone:
                self._pass_on(JobRemoved(name))
            self.repeat()
        else:
            self._tell_drops()

    def _tell_drops(self) -> None:
        self._pass_on(LogLinesDropped(log.lines_dropped()))
        self._pass_on(EventsDropped(self._dropped + self._lost_entries))

    def _pass_on(self, message: ToExporter) -> bool:
        if self._to_exporter(message):
            return True
        self._dropped += 1
        self._behind = True
        if isinstance(message, JobRemoved):
            self._gone.add(message.name)
        return False
