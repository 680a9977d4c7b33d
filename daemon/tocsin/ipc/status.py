"""What is known of a job, kept up by events: parent and exporter both follow it with this one function."""

from msgspec.structs import replace

from tocsin.ipc.exporter import JobStatus, ProcessExited, ProcessUp, Started
from tocsin.ipc.job import Finished, Pause, Sleeping
from tocsin.ipc.ledger import JobHistory
from tocsin.ipc.types import Message


def after(status: JobStatus, event: Message) -> JobStatus:
    """The status after an event of this job; the same status for an event that does not change it. A disabled job
    may still finish its last call."""
    after = _after(status, event)
    if after is not status and not status.enabled:
        after = replace(after, state="disabled", next_fire=None, running_since=None)
    return after


def _after(status: JobStatus, event: Message) -> JobStatus:
    match event:
        case ProcessUp(pid=pid, now=now):
            return replace(status, state="starting", pid=pid, process_started=now)
        case ProcessExited():
            return replace(status, state="backing off", pid=None, process_started=None, running_since=None)
        case Sleeping(due=due):
            return replace(status, state="sleeping", next_fire=due, running_since=None)
        case Started(now=now):
            return replace(status, state="running", running_since=now)
        case Pause(paused=paused):
            return replace(status, paused=paused)
        case JobHistory():
            return replace(
                status,
                paused=event.paused,
                last_outcome=event.last_outcome,
                last_detail=event.last_detail,
                last_run=event.last_run,
                last_success=event.last_success,
                consecutive_failures=event.consecutive_failures,
                since=event.since,
            )
        case Finished(outcome=outcome, finished=finished):
            failures = 0 if outcome == "success" else status.consecutive_failures + (outcome != "cancelled")
            return replace(
                status,
                state="sleeping" if status.state in ("starting", "running") else status.state,
                running_since=None,
                next_fire=event.next_due or status.next_fire,
                last_outcome=outcome,
                last_detail=event.detail,
                last_run=finished,
                last_success=finished if outcome == "success" else status.last_success,
                consecutive_failures=failures,
            )
    return status
