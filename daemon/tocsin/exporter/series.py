"""The series of one enabled job: set to zero when it is defined, updated by its events, and removed with it."""

from collections.abc import Mapping
from typing import TypeVar

from tocsin.exporter.families import Families
from tocsin.exporter.gauges import JobGauges
from tocsin.exporter.render import Counter, Family, Gauge, Histogram
from tocsin.exporter.state import KnownJob
from tocsin.health import Health
from tocsin.ipc.fates import Fate
from tocsin.ipc.job import Finished
from tocsin.ipc.record import addable
from tocsin.ipc.types import (
    ERROR_KINDS,
    EXIT_REASONS,
    NOT_RUN_REASONS,
    OUTCOMES,
    REPORTED_ERRORS,
    STATUS_CLASSES,
    ExitReason,
)

_F = TypeVar("_F", Counter, Gauge, Histogram)


class JobSeries:
    def __init__(self, families: Families, job: KnownJob, now: float) -> None:
        """`now` is Unix time. If nothing else is known of the job, a success is expected from then on."""
        self._job = job
        self._name = job.status.name
        self._families = f = families
        self._made: list[tuple[Family, tuple[str, ...]]] = []
        self._responses = {status: self._make(f.responses, status) for status in STATUS_CLASSES}
        self._errors = {kind: self._make(f.connection_errors, kind) for kind in ERROR_KINDS}
        self._retries = self._make(f.retries)
        self._duration = self._make(f.duration)
        self._reported_errors = {reason: self._make(f.reported_errors, reason) for reason in REPORTED_ERRORS}
        self._exits = {reason: self._make(f.process_exits, reason) for reason in EXIT_REASONS}
        self._reported: dict[str, Counter] = {}
        self._fates: dict[Fate, Counter] = {}  # none until the counts are known: from 0 they would seem to jump
        self._gauges: JobGauges | None = None  # none where another node owns the job
        self._began = now
        self.show(now)

    def _make(self, family: _F, *labels: str) -> _F:
        self._made.append((family, (self._name, *labels)))
        return family.labels(self._name, *labels)

    def remove(self) -> None:
        self._drop_gauges()
        self._report(())
        for family, labels in self._made:
            family.remove(*labels)

    # ---- what happens

    def show(self, now: float) -> None:
        """Update the series after a change of the job's definition or status. Only its owner has the job's gauges."""
        status = self._job.status
        if tuple(self._reported) != status.fields:
            self._report(status.fields)
        self._count(status.counts)
        if status.state == "elsewhere":
            self._drop_gauges()
        else:
            self._gauges = self._gauges or JobGauges(self._families, self._job, self._began)
            self._gauges.show(now)

    def _drop_gauges(self) -> None:
        if self._gauges:
            self._gauges.remove()
            self._gauges = None

    def _count(self, counts: Mapping[Fate, int] | None) -> None:
        if counts is None:
            return
        if not self._fates:
            f = self._families
            self._fates.update({outcome: self._make(f.runs, outcome) for outcome in OUTCOMES})
            self._fates.update({reason: self._make(f.not_run, reason) for reason in NOT_RUN_REASONS})
        for fate, counter in self._fates.items():
            counter.reach(counts.get(fate, 0))

    def _report(self, fields: tuple[str, ...]) -> None:
        """Have series for exactly these fields. Fields that stay keep their sums."""
        f = self._families
        for field in self._reported.keys() - set(fields):
            f.reported.remove(self._name, field)
            del self._reported[field]
        for field in fields:
            if field not in self._reported:
                self._reported[field] = f.reported.labels(self._name, field)

    def finished(self, run: Finished) -> None:
        for status in run.responses:
            self._responses[status].inc()
        for kind in run.connection_errors:
            self._errors[kind].inc()
        if run.retries:
            self._retries.inc(run.retries)
        if self._gauges:
            self._gauges.ended(run)
        if run.duration is not None:
            self._duration.observe(run.duration)
        for field, value in run.reported.items():
            if field in self._reported and addable(value):
                self._reported[field].inc(value)
                if self._gauges:
                    self._gauges.reported(field, value)
        for reason in run.reported_errors.values():
            self._reported_errors[reason].inc()

    def exited(self, reason: ExitReason) -> None:
        self._exits[reason].inc()

    def measured(self, health: Health, memory: int | None) -> None:
        """Set the job's health, and the bytes of its process's memory (None if unknown)."""
        if self._gauges:
            self._gauges.measured(health, memory)
