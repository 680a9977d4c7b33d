"""The status of a job after an event. The parent and the exporter both call this."""

from typing import Any

from msgspec import structs
from msgspec.structs import replace

from tocsin.ipc import record as records
from tocsin.ipc.cluster import Away, Elsewhere
from tocsin.ipc.exporter import JobStatus, ProcessExited, ProcessUp, Started
from tocsin.ipc.job import Finished, Pause, Skipped, Sleeping
from tocsin.ipc.ledger import JobHistory
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import JobState, Message
from tocsin.timestamps import rfc3339

NEWEST = 0.25  # weight of the last successful run in the usual duration: a change shows after a few runs
_INSTANTS = (
    *("process_started", "next_fire", "running_since", "last_run", "last_success"),
    *("since", "paused_since", "paused_until", "missed_at"),
)


def as_json(status: JobStatus) -> dict[str, Any]:
    """Return the status for JSON: instants in RFC 3339, null for a missing value."""
    shown = {**structs.asdict(status), "labels": dict(status.labels)}
    return shown | {key: rfc3339(shown[key], milliseconds=True) for key in _INSTANTS if shown[key] is not None}


def after(status: JobStatus, event: Message) -> JobStatus:
    """Return the status after an event of this job. If the event changes nothing, returns the same object. A disabled
    job may still finish its last call."""
    after = _after(status, event)
    if after is not status and not status.enabled:
        after = replace(after, state="disabled", next_fire=None, running_since=None)
    return after


def _after(status: JobStatus, event: Message) -> JobStatus:
    match event:
        case ProcessUp(pid=pid, now=now):
            return replace(status, state="starting", pid=pid, process_started=now)
        case ProcessExited(reason=reason):  # it was told to stop
            state: JobState = "stopped" if reason == "clean" else "backing off"
            return replace(status, state=state, pid=None, process_started=None, running_since=None)
        case Sleeping(due=due):
            return replace(status, state="sleeping", next_fire=due, running_since=None)
        case Started(now=now):
            return replace(status, state="running", running_since=now)
        case Pause():
            return _recorded(status, event)
        case JobHistory(record=record):
            owned = replace(status, state="starting") if status.state == "elsewhere" else status
            return with_record(owned, record)
        case Elsewhere():
            return replace(
                status,
                state="elsewhere",
                node="",
                pid=None,
                process_started=None,
                running_since=None,
                next_fire=None,
                missing=0,
                counts=status.counts or {},
            )
        case Away() if status.state == "elsewhere":
            after = replace(
                status,
                node=event.node,
                last_outcome=event.last_outcome,
                last_detail=event.last_detail,
                last_run=event.last_run,
                last_success=event.last_success,
                consecutive_failures=event.consecutive_failures,
            )
            return status if after == status else after
        case Skipped():
            if event.reason != "paused" and event.trigger != "manual":
                status = replace(status, missing=status.missing + event.count)
            return _recorded(status, event)
        case Finished():
            status = replace(
                status,
                state="sleeping" if status.state in ("starting", "running") else status.state,
                running_since=None,
                next_fire=event.next_due or status.next_fire,
                missing=0,
                usual_duration=_usual(status.usual_duration, event),
            )
            return _recorded(status, event)
    return status


def _usual(before: float | None, run: Finished) -> float | None:
    if run.outcome != "success" or run.duration is None:
        return before
    return run.duration if before is None else before + NEWEST * (run.duration - before)


def _recorded(status: JobStatus, event: Finished | Skipped | Pause) -> JobStatus:
    after = with_record(status, records.after(record_of(status), event))
    return after if status.counts is not None else replace(after, counts=None)  # the earlier counts are not known yet


def record_of(status: JobStatus) -> JobRecord:
    """Return the record that the status shows. It does not know which slots are accounted for."""
    return JobRecord(
        accounted=0,
        since=status.since or 0.0,
        paused=status.paused,
        last_outcome=status.last_outcome,
        last_detail=status.last_detail,
        last_run=status.last_run,
        last_success=status.last_success,
        consecutive_failures=status.consecutive_failures,
        unreachable=status.unreachable,
        paused_since=status.paused_since,
        paused_until=status.paused_until,
        paused_why=status.paused_why,
        paused_by=status.paused_by,
        missed_at=status.missed_at,
        counts=status.counts or {},
        totals=status.totals,
    )


def with_record(status: JobStatus, record: JobRecord) -> JobStatus:
    return replace(
        status,
        since=record.since or None,
        paused=record.paused,
        last_outcome=record.last_outcome,
        last_detail=record.last_detail,
        last_run=record.last_run,
        last_success=record.last_success,
        consecutive_failures=record.consecutive_failures,
        unreachable=record.unreachable,
        paused_since=record.paused_since if record.paused else None,
        paused_until=record.paused_until if record.paused else None,
        paused_why=record.paused_why,
        paused_by=record.paused_by,
        missed_at=record.missed_at,
        counts=record.counts,
        totals=record.totals,
    )
