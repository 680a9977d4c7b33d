"""Builds the status of a job from its definition, at the start and after a reload."""

from msgspec.structs import replace

from tocsin.config import Job
from tocsin.ipc import record as records
from tocsin.ipc import status
from tocsin.ipc.exporter import JobStatus
from tocsin.schedule import same


def of(job: Job) -> JobStatus:
    """Return the status of a job to which nothing has happened yet."""
    return JobStatus(
        name=job.name,
        schedule=job.schedule.expression,
        timezone=job.schedule.timezone,
        words=job.schedule.words,
        method=job.method,
        url=job.public_url,
        host=job.host,
        enabled=job.enabled,
        description=job.description,
        labels=job.labels,
        timeout=job.timeout,
        grace=job.grace,
        fields=tuple(name for name, _ in job.totals),
        alert_after=job.alert_after,
        notify=job.notify,
        notify_after=job.notify_after,
        state="starting" if job.enabled else "disabled",
    )


def same_schedule(one: JobStatus, other: JobStatus) -> bool:
    """Whether both schedules mean the same instants, however they are written."""
    return same(f"{one.schedule} {one.timezone}", f"{other.schedule} {other.timezone}")


def carried_over(old: JobStatus, new: JobStatus, now: float) -> JobStatus:
    """Return the new definition of a job with what happened under the old one. The old process still runs."""
    kept = same_schedule(old, new)
    if old.enabled and new.enabled:
        new = replace(
            new,
            state=old.state,
            node=old.node,
            pid=old.pid,
            process_started=old.process_started,
            running_since=old.running_since,
            next_fire=old.next_fire if kept else None,
            missing=old.missing if kept else 0,
            usual_duration=old.usual_duration,
        )
    counts_on = kept and (old.enabled or not new.enabled)
    record = records.enrolled(status.record_of(old), now, same_schedule=counts_on)
    return replace(status.with_record(new, record), counts=old.counts)  # the ledger may not have sent them yet
