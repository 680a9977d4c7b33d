"""Starts and stops the notifier, and sends it the newest state of everything and the runs of jobs that ping.

Without [notify] in the job file there is no notifier, and nothing here does anything.
"""

from typing import Any

from tocsin.config import Config
from tocsin.ipc.cluster import Members
from tocsin.ipc.exporter import ConfigLoaded, DaemonStops, Heartbeat, LedgerState, NotifierState
from tocsin.ipc.job import Finished
from tocsin.ipc.notifier import RunBegan, RunOver, ToNotifier
from tocsin.parent.lifecycle import Slot
from tocsin.parent.loop import Loop
from tocsin.parent.process import Process
from tocsin.parent.programs import NOTIFIER
from tocsin.parent.services import Services
from tocsin.parent.status_feed import StatusFeed
from tocsin.parent.untold import Key, Untold

RUNS_KEPT = 2000  # starts and ends of runs that wait while the notifier does not read; further ones are dropped
_KINDS: tuple[Key, ...] = (
    ConfigLoaded,
    LedgerState,
    Members,
    DaemonStops,
    Heartbeat,
)  # the states that are not a job's


class Notifying:
    def __init__(self, feed: StatusFeed, services: Services) -> None:
        self._feed = feed
        self._services = services
        self._settings: object = None
        self._pings: dict[str, str] = {}  # job -> URL
        self._begun: dict[str, str] = {}  # job -> the run whose beginning was reported last
        self._untold: Untold[Any] = Untold(feed.newest, RUNS_KEPT)

    @property
    def wanted(self) -> bool:
        return self._settings is not None

    def take_over(self, config: Config) -> None:
        """Start or stop the notifier, or restart it with the new settings."""
        pings = {name: job.ping_url for name, job in config.enabled_jobs.items() if job.ping_url}
        before, self._pings = (self._settings, self._pings), pings
        self._settings = config.notify
        self._feed.on_change = self._changed if self.wanted else lambda _: None
        if before == (self._settings, self._pings):
            return
        if self._services.get(NOTIFIER) is None:
            self._services.begin(NOTIFIER)
        else:
            self._services.stop(NOTIFIER)
        if not self.wanted:
            self._untold.forget()
            self._feed.tell(NotifierState())

    def pings(self, job: str) -> bool:
        """Whether the job's runs are reported to a service."""
        return job in self._pings

    def granted(self, process: Process, wait: float, loop: Loop) -> None:
        """The process holds a slot, whose instant comes in `wait` seconds."""
        if (slot := process.child.slot) and self.pings(slot.ask.job):
            loop.at(loop.now() + wait, lambda: self._begins(process, slot))

    def _begins(self, process: Process, slot: Slot) -> None:
        """The instant has come, unless the process gave the slot back."""
        if process.child.slot is slot:
            self._began(slot.ask.job, slot.ask.run_id)

    def over(self, run: Finished) -> None:
        if self.pings(run.job):
            cut_off = run.outcome in ("lost", "cancelled")  # perhaps of an earlier daemon
            if not cut_off and self._begun.get(run.job) != run.run_id:  # it was over within a moment
                self._began(run.job, run.run_id)
            self._run(RunOver(run.job, run.run_id, run.outcome, run.detail, run.duration))

    def _began(self, job: str, run_id: str) -> None:
        self._begun[job] = run_id
        self._run(RunBegan(job, run_id))

    def _run(self, message: RunBegan | RunOver) -> None:
        self._untold.add(message, type(message), ())
        self.pump()

    def _changed(self, key: Key) -> None:
        if isinstance(key, str) or key in _KINDS:
            self._untold.mark(key)
            self.pump()

    def repeat(self) -> None:
        """Send the whole state to a new notifier. The configuration comes last: then it knows every job."""
        self._untold.forget()
        keys: list[Key] = [DaemonStops, LedgerState, Members, *self._feed.statuses, ConfigLoaded]
        for key in keys:
            self._untold.mark(key)
        self.pump()

    def pump(self) -> None:
        self._untold.tell(self._send)

    def _send(self, message: ToNotifier) -> bool:
        return self._services.send(NOTIFIER, message)
