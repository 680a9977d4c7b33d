"""What everyone is told: the log, the status of each job, and the exporter, which hears it all."""

import time
from collections.abc import Callable

from msgspec.structs import replace

from tocsin import log
from tocsin.config import Job
from tocsin.ipc import status
from tocsin.ipc.exporter import (
    ConfigLoaded,
    DaemonStops,
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
from tocsin.ipc.ledger import Committed, JobHistory
from tocsin.parent import run_log, statuses
from tocsin.parent.untold import Key, States, Untold

Counted = Finished | Skipped | ProcessExited | Committed  # of these the exporter must hear each, once


class StatusFeed:
    """`to_exporter` passes a message on and says whether it was taken. Where it was not, `pump` is to be called once
    there is room again. It never has to hold much: what waits, waits here."""

    def __init__(self, to_exporter: Callable[[ToExporter], bool], wall: Callable[[], float] = time.time) -> None:
        self.statuses: dict[str, JobStatus] = {}
        self._to_exporter = to_exporter
        self._wall = wall
        self._untold = Untold(self._newest)
        self._config: ConfigLoaded | None = None  # what is in use
        self._refused: ConfigLoaded | None = None  # since then
        self._ledger = LedgerState(False, 0)
        self._stops: DaemonStops | None = None
        self._services: dict[str, ProcessUp] = {}  # those that live
        self._dropped = 0  # events for the exporter
        self._lost_entries = 0  # those for the ledger, as told last
        self._behind = False  # whether it was said that events are dropped

    def tell(self, event: ToExporter | Pause | JobHistory) -> None:
        """Something happened."""
        name = getattr(event, "job", "")
        key: Key = name or type(event)
        if isinstance(event, ProcessUp | ProcessExited) and not name:
            key = ProcessUp
        before = self._newest(key) if isinstance(event, Counted) else ()
        match event:
            case Finished():
                run_log.finished(event)
                event = replace(event, reply="") if event.reply else event  # which is for the ledger alone
            case Skipped():
                run_log.skipped(event)
            case ProcessUp():
                run_log.up(event)
                if not name:
                    self._services[event.process] = event
            case ProcessExited():
                run_log.exited(event)
                if not name:
                    self._services.pop(event.process, None)
            case ConfigLoaded():
                self._config, self._refused = (self._config, event) if event.error is not None else (event, None)
            case LedgerState():
                self._ledger = event
            case DaemonStops():
                self._stops = event
        if old := self.statuses.get(name):
            new = status.after(old, event)
            self.statuses[name] = new
            if isinstance(event, Pause | JobHistory):
                event = new  # the exporter takes it whole
        if isinstance(event, Counted):
            self._count(event, key, before)
        elif not isinstance(event, Pause | JobHistory):  # of a job that was removed meanwhile
            self._show(key, event)

    def expect_anew(self, name: str) -> None:
        """From now on a success of the job is expected, whatever was before."""
        self.statuses[name] = replace(self.statuses[name], since=self._wall())
        self._show(name)

    def define(self, job: Job) -> None:
        """The job is new or defined anew; what happened to it before still counts."""
        before, fresh = self.statuses.get(job.name), statuses.of(job)
        self.statuses[job.name] = statuses.carried_over(before, fresh, self._wall()) if before else fresh
        self._show(job.name)

    def remove(self, name: str) -> None:
        self.statuses.pop(name, None)
        self._show(name)

    def repeat(self) -> None:
        """A new exporter knows nothing yet. The configuration comes last: by then it knows every job."""
        self._untold.forget()
        once: list[Key] = [LogLinesDropped, EventsDropped, DaemonStops, LedgerState, ProcessUp]
        keys = [*once, *self.statuses, ConfigLoaded]
        for key in keys:
            self._untold.mark(key)
        self.pump()

    def of_the_daemon(self) -> list[ConfigLoaded | LedgerState | DaemonStops]:
        """What decides on the health of the whole."""
        newest = self._refused or self._config
        return [one for one in (newest, self._ledger, self._stops) if one]

    def heartbeat(self, lost_entries: int) -> None:
        self._lost_entries = lost_entries
        for kind in (Heartbeat, LogLinesDropped, EventsDropped):
            self._show(kind)

    # ---- the exporter

    def pump(self) -> None:
        """Tell what the exporter takes now."""
        self._untold.tell(self._to_exporter)
        if self._behind and not self._untold:
            self._behind = False
            log.info("the exporter keeps up again", events_not_counted=self._dropped)

    def _show(self, key: Key, event: ToExporter | None = None) -> None:
        """The state of `key` changed; `event` alone says how, to an exporter that has heard all before it."""
        if event is None or self._untold or not self._to_exporter(event):
            self._untold.mark(key)
            self.pump()

    def _count(self, event: Counted, key: Key, before: States) -> None:
        if not self._untold.add(event, key, before):
            self._dropped += 1
            if not self._behind:
                self._behind = True
                log.warning("the exporter does not read its messages: until it does, its metrics count no events")
        self.pump()

    def _newest(self, key: Key) -> States:
        if isinstance(key, str):
            return (self.statuses.get(key) or JobRemoved(key),)
        if key is ConfigLoaded:
            return tuple(filter(None, (self._config, self._refused)))
        if key is ProcessUp:
            return tuple(self._services.values())
        if key is LedgerState:
            return (self._ledger,)
        if key is DaemonStops:
            return (self._stops,) if self._stops else ()
        if key is Heartbeat:
            return (Heartbeat(self._wall()),)
        if key is LogLinesDropped:
            return (LogLinesDropped(log.lines_dropped()),)
        if key is EventsDropped:
            return (EventsDropped(self._dropped + self._lost_entries),)
        return ()
