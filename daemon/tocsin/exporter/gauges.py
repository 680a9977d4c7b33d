"""The gauges of one enabled job, which show its present state. If several nodes share the ledger, only the job's owner
has them, so that each job has one value.
"""

import contextlib
import ssl

from tocsin.exporter.families import Families
from tocsin.exporter.render import Family, Gauge
from tocsin.exporter.state import KnownJob
from tocsin.health import MEASURED, Health
from tocsin.ipc.exporter import JobStatus
from tocsin.ipc.job import Finished
from tocsin.ipc.types import OUTCOMES, Outcome
from tocsin.patience import alert_after


class JobGauges:
    def __init__(self, families: Families, job: KnownJob, began: float) -> None:
        """`began` is Unix time. If nothing else is known of the job, a success is expected from then on."""
        self._job = job
        self._name = job.status.name
        self._families = f = families
        self._made: list[tuple[Family, tuple[str, ...]]] = []
        self._last_outcome = {outcome: self._make(f.last_outcome, outcome) for outcome in OUTCOMES}
        self._last_run = self._make(f.last_run)
        self._last_success = self._make(f.last_success)
        self._next_fire = self._make(f.next_fire)
        self._success_deadline = self._make(f.success_deadline)
        self._last_lateness = self._make(f.last_lateness)
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
        self._health = {health: self._make(f.health, health) for health in MEASURED}
        self._certificate: Gauge | None = None
        self._values: dict[str, Gauge] = {}  # of reported fields
        self._shown_health: Health | None = None
        self._shown_outcome: Outcome | None = None
        self._began = began
        self._first_fire = ("", "", 0)  # schedule, zone, and the first instant after the start

    def _make(self, family: Gauge, *labels: str) -> Gauge:
        self._made.append((family, (self._name, *labels)))
        return family.labels(self._name, *labels)

    def remove(self) -> None:
        self._report(())
        for family, labels in self._made:
            family.remove(*labels)

    def show(self, now: float) -> None:
        """Update the gauges after a change of the job's definition or status."""
        status, expected = self._job.status, self._job.expected
        if self._first_fire[:2] != (status.schedule, status.timezone):
            self._first_fire = status.schedule, status.timezone, expected.next_due(status, now) or 0
        deadline = expected.deadline(status, self._began)
        if deadline is not None:
            self._success_deadline.set(deadline)
        if tuple(self._values) != status.fields:
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
        self._running.set(status.state == "running")
        self._paused.set(status.paused)
        self._paused_since.set(status.paused_since or 0.0)
        self._paused_until.set(status.paused_until or 0.0)
        self._process_up.set(status.pid is not None)
        self._process_start.set(status.process_started or 0.0)

    def _patience(self, status: JobStatus, now: float) -> int:
        last_run = status.last_run or now
        return alert_after(status.alert_after, last_run, self._job.expected.next_due(status, last_run))

    def _report(self, fields: tuple[str, ...]) -> None:
        """Have gauges for exactly these fields. Fields that stay keep their value."""
        family = self._families.reported_value
        for field in self._values.keys() - set(fields):
            family.remove(self._name, field)
            del self._values[field]
        for field in fields:
            if field not in self._values:
                self._values[field] = family.labels(self._name, field)

    def ended(self, run: Finished) -> None:
        if run.trigger == "schedule" and not run.attempt and run.lateness is not None:
            self._last_lateness.set(run.lateness)
        if run.certificate_until:
            with contextlib.suppress(ValueError):  # a date that nobody can read
                until = ssl.cert_time_to_seconds(run.certificate_until)
                self._certificate = self._certificate or self._make(self._families.certificate)
                self._certificate.set(until)

    def reported(self, field: str, value: float) -> None:
        if field in self._values:
            self._values[field].set(value)

    def measured(self, health: Health, memory: int | None) -> None:
        """Set the job's health, and the bytes of its process's memory (None if unknown)."""
        if health != self._shown_health:
            self._shown_health = health
            for word, gauge in self._health.items():
                gauge.set(word == health)
        self._process_memory.set(memory or 0)
