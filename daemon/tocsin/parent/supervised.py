"""What the parent knows of one job, whichever process runs it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from tocsin import log
from tocsin.config import Job
from tocsin.ipc import record as records
from tocsin.ipc.channel import Channel
from tocsin.ipc.job import Ask, Beginning, Finished, Fire, FromJob, Pause, Release, Skipped, ToJob
from tocsin.ipc.record import JobRecord
from tocsin.parent.process import Process
from tocsin.schedule.expected import success_deadline
from tocsin.timestamps import rfc3339

Main = Callable[[Channel[FromJob, ToJob], Beginning], None]
Program = Callable[[Job], Main]


@dataclass
class SupervisedJob:
    """One job as the parent knows it. It outlives the job's processes."""

    record: JobRecord | None = None  # None until the ledger has sent it, and while the job is disabled
    why_missed: str = "the daemon was not running"
    process: Process | None = None
    forked_as: Job | None = None  # the definition that its process runs
    program: Main | None = None  # of that definition
    owner: str = ""  # names the process that may hold a slot
    redelivery: Ask | None = None  # a lost run that must be delivered again, until that has an outcome
    paused_early: Pause | None = None  # requested before the ledger sent the job's record
    guest: Fire | None = None  # the one run for which its next process is forked, while another node owns the job
    yields: bool = False  # another node gets the job once its process has ended

    def follow(self, event: Ask | Finished | Skipped | Release | Pause) -> None:
        if self.redelivery and _is_fate_of(self.redelivery, event):
            self.redelivery = None
        if self.record:
            self.record = records.after(self.record, event)

    def give_up_late_redelivery(self, job: Job, now: float) -> None:
        """A lost slot is run again only within its grace."""
        if self.redelivery and now > self.redelivery.due + job.grace:
            due = rfc3339(self.redelivery.due)
            words = f"{job.name}: too late to run the lost slot again"
            log.log(logging.WARNING, words, {"job": job.name, "due": due}, due=due)
            self.redelivery = None


def _is_fate_of(redelivery: Ask, event: Ask | Finished | Skipped | Release | Pause) -> bool:
    match event:
        case Finished(due=due, attempt=attempt):
            return (redelivery.due, redelivery.attempt) == (due, attempt)
        case Skipped(first=first):
            return redelivery.due == first
    return False


def was_forgotten(job: Job, record: JobRecord, now: float) -> bool:
    """Whether the job should have succeeded by now and has not, but for no fault of its own.

    That is: two fires have passed since a success was expected (with timeout and grace), and its last run did not
    fail, or was lost with the daemon.
    """
    start = max(record.last_success or 0.0, record.since)
    if record.consecutive_failures > (record.last_outcome == "lost") or now - start < job.timeout + job.grace:
        return False
    return success_deadline(job.schedule, start, job.timeout, job.grace) < now
