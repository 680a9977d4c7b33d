"""The series of one enabled job: set to zero when it is defined, updated by its events, and removed with it."""

from collections.abc import Mapping
from typing import TypeVar

from tocsin.exporter.families import Families
from tocsin.exporter.render import Counter, Family, Gauge, Histogram
from tocsin.exporter.state import KnownJob
from tocsin.health import HEALTHS, Health
from tocsin.ipc.exporter import JobStatus
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
    Outcome,
)
from tocsin.patience import alert_after

_F = TypeVar("_F", Counter, Gauge, Histogram)


class JobSeries:
    def __init__(self, families: Families, job: KnownJob, now: float) -> None:
        """`now` is Unix time. If nothing else is known of the job, a success is expected from then on."""
        self._job = job
        self._name = job.status.name
        self._families = f = families
        self._made: list[tuple[Family, tuple[str, ...]]] = []
        self._last_outcome = {outcome: self._make(f.last_outcome, outcome) for outcome in OUTCOMES}
        self._responses = {status: self._make(f.responses, status) for status in STATUS_CLASSES}
        self._errors = {kind: self._make(f.connection_errors, kind) for kind in ERROR_KINDS}
        self._retries = self._make(f.retries)
        self._duration = self._make(f.duration)
        self._reported_errors = {reason: self._make(f.reported_errors, reason) for reason in REPORTED_ERRORS}
        self._last_run = self._make(f.last_run)
        self._last_success = self._make(f.last_success)
        self._next_fire = self._make(f.next_fire)
        self._success_deadline = self._make(f.success_deadline)
        self._failures = self._make(f.failures)
        self._alert_after = self._make(f.alert_after)
        self._unreachable = self._make(f.unreachable)
        self._missed = self._make(f.missed)
        self._running = self._make(f.running)
        self._paused = self._make(f.paused)
        self._paused_since = self._make(f.paused_since)
        self._paused_until = self._make(f.paused_until)
        self._process_up = self._make(f.process_up)
        self._process_memory = self._make(f.process_memory)
        self._process_start = self._make(f.process_start)
        self._exits = {reason: self._make(f.process_exits, reason) for reason in EXIT_REASONS}
        self._reported: dict[str, tuple[Counter, Gauge]] = {}
        self._health = {health: self._make(f.health, health) for health in HEALTHS if health != "disabled"}
        self._shown_health: Health | None = None
        self._fates: dict[Fate, Counter] = {}  # none until the counts are known: from 0 they would seem to jump
        self._shown_outcome: Outcome | None = None
        self._began = now
        self._first_fire = ("", "", 0)  # schedule, zone, and the first instant after the start
        self.show(now)

    def _make(self, family: _F, *labels: str) -> _F:
        self._made.append((family, (self._name, *labels)))
        return family.labels(self._name, *labels)

    def remove(self) -> None:
        self._report(())
        for family, labels in self._made:
            family.remove(*labels)

    # ---- what happens

    def show(self, now: float) -> None:
        """Update the series after a change of the job's definition or status."""
        status, expected = self._job.status, self._job.expected
        if self._first_fire[:2] != (status.schedule, status.timezone):
            self._first_fire = status.schedule, status.timezone, expected.next_due(status, now) or 0
        deadline = expected.deadline(status, self._began)
        if deadline is not None:
            self._success_deadline.set(deadline)
        if tuple(self._reported) != status.fields:
            self._report(status.fields)
        if status.last_outcome != self._shown_outcome:
            self._shown_outcome = status.last_outcome
            for outcome, gauge in self._last_outcome.items():
                gauge.set(outcome == status.last_outcome)
        self._last_run.set(status.last_run or 0.0)
        self._last_success.set(status.last_success or 0.0)
        # Until the job's process reports its next instant, use the schedule's. So a job whose process never
        # starts is seen to stall.
        self._next_fire.set(status.next_fire or self._first_fire[2])
        self._failures.set(status.consecutive_failures)
        self._alert_after.set(self._patience(status, now))
        self._unreachable.set(status.unreachable)
        self._missed.set(status.missed_at or 0.0)
        self._count(status.counts)
        self._running.set(status.state == "running")
        self._paused.set(status.paused)
        self._paused_since.set(status.paused_since or 0.0)
        self._paused_until.set(status.paused_until or 0.0)
        self._process_up.set(status.pid is not None)
        self._process_start.set(status.process_started or 0.0)

    def _patience(self, status: JobStatus, now: float) -> int:
        last_run = status.last_run or now
        return alert_after(status.alert_after, last_run, self._job.expected.next_due(status, last_run))

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
            f.reported_value.remove(self._name, field)
            del self._reported[field]
        for field in fields:
            if field not in self._reported:
                labels = (self._name, field)
                self._reported[field] = f.reported.labels(*labels), f.reported_value.labels(*labels)

    def finished(self, run: Finished) -> None:
        for status in run.responses:
            self._responses[status].inc()
        for kind in run.connection_errors:
            self._errors[kind].inc()
        if run.retries:
            self._retries.inc(run.retries)
        if run.duration is not None:
            self._duration.observe(run.duration)
        for field, value in run.reported.items():
            if field in self._reported and addable(value):
                total, last = self._reported[field]
                total.inc(value)
                last.set(value)
        for reason in run.reported_errors.values():
            self._reported_errors[reason].inc()

    def exited(self, reason: ExitReason) -> None:
        self._exits[reason].inc()

    def measured(self, health: Health, memory: int | None) -> None:
        """Set the job's health, and the bytes of its process's memory (None if unknown)."""
        if health != self._shown_health:
            self._shown_health = health
            for word, gauge in self._health.items():
                gauge.set(word == health)
        self._process_memory.set(memory or 0)
