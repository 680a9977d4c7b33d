"""Applies the parent's messages to the metrics."""

import os
import platform
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from tocsin import __version__
from tocsin.exporter import accept as accepts
from tocsin.exporter.families import INFO_LABELS, Families
from tocsin.exporter.pieces import Work, pieces
from tocsin.exporter.refusals import REFUSALS, Refusal
from tocsin.exporter.render import render
from tocsin.exporter.series import JobSeries
from tocsin.exporter.state import KnownJob
from tocsin.health import Judged
from tocsin.ipc.cluster import Member, Members
from tocsin.ipc.exporter import (
    ConfigLoaded,
    EventsDropped,
    JobRemoved,
    JobStatus,
    LedgerState,
    LogLinesDropped,
    NotifierState,
    ProcessExited,
    ProcessUp,
    ToExporter,
)
from tocsin.ipc.job import Finished
from tocsin.ipc.ledger import Committed, LedgerRoom
from tocsin.ipc.types import EXIT_REASONS

OPENMETRICS = openmetrics.CONTENT_TYPE_LATEST
TEXT = "text/plain; version=0.0.4; charset=utf-8"
JOB_STATES = ("enabled", "disabled", "paused")


class Metrics:
    def __init__(self) -> None:
        self.families = f = Families()
        self.registry = f.registry
        self._series: dict[str, JobSeries] = {}
        self._info: dict[str, tuple[str, ...]] = {}
        self._labels: list[str] = []  # labels of tocsin_job_info from the job file
        self._ledger_pid: int | None = None
        self._nodes: set[str] = set()  # of which there are series
        self._drops: dict[type, int] = {}  # the parent's last sums, which count from its own start
        self._processes = CollectorRegistry()
        ProcessCollector(registry=self._processes)
        ProcessCollector("tocsin_parent", os.getppid, registry=self._processes)
        ProcessCollector("tocsin_ledger", lambda: self._ledger_pid or "none", registry=self._processes)
        f.build.labels(__version__, platform.python_version()).set(1)
        for state in JOB_STATES:
            f.jobs.labels(state)
        for reason in EXIT_REASONS:
            f.ledger_exits.labels(reason)
        for refusal in REFUSALS:
            f.refused.labels(refusal)

    def hear(self, message: ToExporter, job: KnownJob | None, now: float) -> None:
        """Apply a message. `job` is its job after the message, if it has one. `now` is Unix time."""
        f = self.families
        match message:
            case JobStatus() if job:
                self._define(job, now)
            case JobRemoved(name=name):
                self._forget(name)
            case ConfigLoaded():
                self._config_loaded(message)
            case LedgerState(up=up, backlog=backlog):
                f.ledger_up.set(up)
                f.ledger_backlog.set(backlog)
            case LedgerRoom(store=store, size=size, free=free):
                f.ledger_size.labels(store).set(size)
                if free is not None:
                    f.ledger_free.labels(store).set(free)
            case Members(nodes=nodes):
                self._nodes_known(nodes)
            case Committed(seconds=seconds):
                f.ledger_commit.observe(seconds)
            case EventsDropped() | LogLinesDropped():
                counter = f.events_dropped if isinstance(message, EventsDropped) else f.log_lines_dropped
                counter.inc(max(0, message.count - self._drops.get(type(message), message.count)))
                self._drops[type(message)] = message.count
            case NotifierState():
                self._notified(message)
            case ProcessUp(process="ledger", pid=pid):
                self._ledger_pid = pid
            case ProcessExited(process="ledger", reason=reason):
                self._ledger_pid = None
                f.ledger_exits.labels(reason).inc()
            case Finished(trigger="schedule", attempt=0, lateness=float(lateness)):
                f.lateness.observe(lateness)
        series = self._series.get(job.status.name) if job else None
        if series:
            match message:
                case Finished():
                    series.finished(message)
                case ProcessExited(reason=reason):
                    series.exited(reason)
            series.show(now)

    def _nodes_known(self, nodes: Sequence[Member]) -> None:
        f = self.families
        for gone in self._nodes - {one.node for one in nodes}:
            f.node_up.remove(gone)
            f.clock_offset.remove(gone)
        self._nodes = {one.node for one in nodes}
        for one in nodes:
            f.node_up.labels(one.node).set(one.state != "dead")
            f.clock_offset.labels(one.node).set(one.clock_off)
        f.job_files.set(len({one.roster for one in nodes if one.state == "live" and one.roster}))

    def _notified(self, state: NotifierState) -> None:
        """It counts from its first message on, over its own restarts."""
        f = self.families
        for outcome, number in (("sent", state.sent), ("failed", state.failed), ("given_up", state.given_up)):
            f.notifications.labels(outcome).reach(number)
        f.notifications_waiting.set(state.waiting)
        for outcome, number in (("taken", state.pinged), ("failed", state.pings_failed)):
            f.pings.labels(outcome).reach(number)

    def refused(self, reason: Refusal) -> None:
        self.families.refused.labels(reason).inc()

    def _define(self, job: KnownJob, now: float) -> None:
        """Define the series of a job. A disabled job has only `tocsin_job_info`: it can neither stall nor fail."""
        status = job.status
        self._show_info(status)
        if not status.enabled:
            if series := self._series.pop(status.name, None):
                series.remove()
        elif status.name not in self._series:
            self._series[status.name] = JobSeries(self.families, job, now)

    def _show_info(self, status: JobStatus) -> None:
        """Show the job's info. Every job gets the labels of all jobs: Prometheus treats an empty label as none."""
        labels = dict(status.labels)
        if new := labels.keys() - set(self._labels):
            self._relabel([*self._labels, *sorted(new)])
        own = (status.name, status.schedule, status.timezone, status.method, status.host)
        values = (*own, *(labels.get(name, "") for name in self._labels))
        known = self._info.get(status.name)
        if known != values:
            if known:
                self.families.info.remove(*known)
            self.families.info.labels(*values).set(1)
            self._info[status.name] = values

    def _relabel(self, names: list[str]) -> None:
        """Change the labels from the job file, and keep the known values."""
        info, fixed = self.families.info, len(INFO_LABELS)
        before, self._labels = self._labels, names
        info.relabel(*INFO_LABELS, *names)
        for job, values in self._info.items():
            held = dict(zip(before, values[fixed:], strict=True))
            self._info[job] = (*values[:fixed], *(held.get(name, "") for name in names))
            info.labels(*self._info[job]).set(1)

    def _forget(self, name: str) -> None:
        if series := self._series.pop(name, None):
            series.remove()
        if info := self._info.pop(name, None):
            self.families.info.remove(*info)

    def _config_loaded(self, load: ConfigLoaded) -> None:
        self.families.reload_successful.set(load.error is None)
        if load.error is None:
            self.families.reload_success_time.set(load.now)
            self.families.config.clear()
            self.families.config.labels(load.hash).set(1)
            rows = [values[len(INFO_LABELS) :] for values in self._info.values()]
            used = [name for at, name in enumerate(self._labels) if any(row[at] for row in rows)]
            if used != self._labels:
                self._relabel(used)

    def measure(self, jobs: Iterable[tuple[KnownJob, Judged]]) -> Work[None]:
        """Update what no message reports: the jobs' health, the memory of their processes, and the number of jobs."""
        number, unowned = dict.fromkeys(JOB_STATES, 0), 0
        for some in pieces(jobs):
            for job, judged in some:
                status = job.status
                number["disabled" if not status.enabled else "paused" if status.paused else "enabled"] += 1
                if series := self._series.get(status.name):
                    series.measured(judged.health, job.memory)
                unowned += status.state == "elsewhere" and not status.node
            yield
        self.families.unowned.set(unowned)
        for state, count in number.items():
            self.families.jobs.labels(state).set(count)

    def settle(self) -> None:
        """Do some of the next scrape's work, in proportion to the messages since the last call."""
        for memory in self.families.memories:
            memory.settle()

    def text(self) -> Work[tuple[bytes, ...]]:
        families = yield from render(self.families.memories, openmetrics=False)
        return *families, generate_latest(self._processes)

    def openmetrics(self) -> Work[tuple[bytes, ...]]:
        families = yield from render(self.families.memories, openmetrics=True)
        return *families, openmetrics.generate_latest(self._processes)  # type: ignore[no-untyped-call]


def format_for(accept: str) -> str | None:
    """Return the content type of the answer, or None if the header refuses both. OpenMetrics needs a header that names
    it and prefers nothing else. A header that mentions neither is ignored (RFC 9110, 12.5.1)."""
    text = accepts.match(accept, "text/plain", accepts.TEXT_VERSIONS)
    open_ = accepts.match(accept, "application/openmetrics-text", accepts.OPENMETRICS_VERSIONS)
    weight = text.weight if text else 0
    if open_ and open_.weight > 0 and (open_.weight > weight or (open_.weight == weight and open_.named)):
        return OPENMETRICS
    return TEXT if weight or not text else None
