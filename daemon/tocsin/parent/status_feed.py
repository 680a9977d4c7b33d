"""Passes each event on: to the log, to the status of each job, and to the exporter."""

import time
from collections.abc import Callable

from msgspec.structs import replace

from tocsin import log
from tocsin.config import Job
from tocsin.ipc import status
from tocsin.ipc.actions import Acted
from tocsin.ipc.cluster import Away, Elsewhere, Members
from tocsin.ipc.exporter import (
    ConfigLoaded,
    DaemonStops,
    EventsDropped,
    Heartbeat,
    JobRemoved,
    JobStatus,
    LedgerState,
    LogLinesDropped,
    NotifierState,
    ProcessExited,
    ProcessUp,
    ToExporter,
)
from tocsin.ipc.job import Finished, Pause, Skipped
from tocsin.ipc.ledger import Committed, JobHistory, LedgerRoom
from tocsin.parent import run_log, statuses
from tocsin.parent.untold import Key, States, Untold

Counted = Finished | Skipped | ProcessExited | Committed | Acted  # the exporter must get each of these, once


class StatusFeed:
    """`to_exporter` sends a message and returns whether it was accepted. If not, call `pump` when there is room again.
    Messages wait here and not in the channel."""

    def __init__(self, to_exporter: Callable[[ToExporter], bool], wall: Callable[[], float] = time.time) -> None:
        self.statuses: dict[str, JobStatus] = {}
        self.on_change: Callable[[Key], None] = lambda _: None  # the state of a key is another one
        self._to_exporter = to_exporter
        self._wall = wall
        self._untold: Untold[ToExporter] = Untold(self.newest)
        self._config: ConfigLoaded | None = None  # the one in use
        self._refused: ConfigLoaded | None = None  # the last reload, if it was refused
        self._ledger = LedgerState(False, 0)
        self._members: Members | None = None
        self._notifier: NotifierState | None = None
        self._room: LedgerRoom | None = None
        self._stops: DaemonStops | None = None
        self._services: dict[str, ProcessUp] = {}  # those that are up
        self._dropped = 0  # events that the exporter never got
        self._lost_entries = 0  # entries that the ledger never got
        self._behind = False  # whether it was logged that events are dropped

    def tell(self, event: ToExporter | Pause | JobHistory | Elsewhere | Away) -> None:
        """Pass on an event."""
        name = getattr(event, "job", "")
        key: Key = name or type(event)
        if isinstance(event, ProcessUp | ProcessExited) and not name:
            key = ProcessUp
        before = self.newest(key) if isinstance(event, Counted) else ()
        match event:
            case Finished():
                run_log.finished(event)
                if event.reply or event.attempts:  # only the ledger gets them
                    event = replace(event, reply="", attempts=())
            case Skipped():
                run_log.skipped(event)
            case Acted():
                run_log.acted(event)
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
            case Members():
                self._members = event
            case LedgerRoom():
                self._room = event
            case DaemonStops():
                self._stops = event
            case NotifierState():
                self._notifier = event
        if old := self.statuses.get(name):
            new = status.after(old, event)
            self.statuses[name] = new
            if isinstance(event, Away) and new is old:
                return  # the ledger's process reports every job again and again
            if isinstance(event, JobHistory) and self._members:
                self.statuses[name] = new = replace(new, node=self._members.name)
            if isinstance(event, Pause | JobHistory | Elsewhere | Away):
                event = new  # the exporter gets the whole status
        if isinstance(event, Counted):
            self._count(event, key, before)
        elif not isinstance(event, Pause | JobHistory | Elsewhere | Away):  # else the job was removed meanwhile
            self._show(key, event)
        self.on_change(key)

    def expect_anew(self, name: str) -> None:
        """Expect a success of the job from now on, whatever happened before."""
        self.statuses[name] = replace(self.statuses[name], since=self._wall())
        self._show(name)
        self.on_change(name)

    def define(self, job: Job) -> None:
        """The job is new or was changed. Its counts and last run are kept."""
        before, fresh = self.statuses.get(job.name), statuses.of(job)
        self.statuses[job.name] = statuses.carried_over(before, fresh, self._wall()) if before else fresh
        self._show(job.name)
        self.on_change(job.name)

    def remove(self, name: str) -> None:
        self.statuses.pop(name, None)
        self._show(name)
        self.on_change(name)

    def repeat(self) -> None:
        """Send the whole state to a new exporter. The configuration comes last: then the exporter knows every job."""
        self._untold.forget()
        once: list[Key] = [LogLinesDropped, EventsDropped, DaemonStops, LedgerState, LedgerRoom, Members]
        once += [NotifierState, ProcessUp]
        keys = [*once, *self.statuses, ConfigLoaded]
        for key in keys:
            self._untold.mark(key)
        self.pump()

    def of_the_daemon(self) -> list[ConfigLoaded | LedgerState | DaemonStops | NotifierState]:
        """The messages that decide the daemon's health."""
        newest = self._refused or self._config
        return [one for one in (newest, self._ledger, self._stops, self._notifier) if one]

    def heartbeat(self, lost_entries: int) -> None:
        self._lost_entries = lost_entries
        for kind in (Heartbeat, LogLinesDropped, EventsDropped):
            self._show(kind)
            self.on_change(kind)

    # ---- the exporter

    def pump(self) -> None:
        """Send as many messages as the exporter accepts now."""
        self._untold.tell(self._to_exporter)
        if self._behind and not self._untold:
            self._behind = False
            log.info("the exporter keeps up again", events_not_counted=self._dropped)

    def _show(self, key: Key, event: ToExporter | None = None) -> None:
        """The state of `key` changed. An exporter that has got everything before needs only `event`."""
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

    def newest(self, key: Key) -> States:
        if isinstance(key, str):
            return (self.statuses.get(key) or JobRemoved(key),)
        if key is ConfigLoaded:
            return tuple(filter(None, (self._config, self._refused)))
        if key is ProcessUp:
            return tuple(self._services.values())
        if key is LedgerState:
            return (self._ledger,)
        if key is Members:
            return (self._members,) if self._members else ()
        if key is NotifierState:
            return (self._notifier,) if self._notifier else ()
        if key is LedgerRoom:
            return (self._room,) if self._room else ()
        if key is DaemonStops:
            return (self._stops,) if self._stops else ()
        if key is Heartbeat:
            return (Heartbeat(self._wall()),)
        if key is LogLinesDropped:
            return (LogLinesDropped(log.lines_dropped()),)
        if key is EventsDropped:
            return (EventsDropped(self._dropped + self._lost_entries),)
        return ()
