"""Which jobs there are, what of each has a fate already, and which process works on it."""

import gc
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from tocsin import linux, log
from tocsin.config import Config, Job
from tocsin.ipc import record as records
from tocsin.ipc.channel import Channel
from tocsin.ipc.job import Ask, Beginning, Finished, FromJob, Pause, Release, Skipped, ToJob
from tocsin.ipc.ledger import JobHistory, LedgerReady
from tocsin.ipc.record import JobRecord
from tocsin.parent.children import Children
from tocsin.parent.ledger_client import LedgerClient
from tocsin.parent.lifecycle import Child, Slot
from tocsin.parent.loop import Clock
from tocsin.parent.process import Process
from tocsin.parent.status_feed import StatusFeed
from tocsin.schedule.expected import success_deadline
from tocsin.timestamps import rfc3339

# Jobs from which on those that have sent give way to those that have not, and connect early: fewer take milliseconds.
CROWD = 50

Program = Callable[[Job], Callable[[Channel[FromJob, ToJob], Beginning], None]]


@dataclass
class SupervisedJob:
    """One job as the parent knows it: this outlives the job's processes."""

    record: JobRecord | None = None  # None until the ledger has told, and while the job's slots are not due
    why_missed: str = "the daemon was not running"
    process: Process | None = None
    forked_as: Job | None = None  # the definition under which the process was forked
    owner: str = ""  # which life of the process holds a slot
    redelivery: Ask | None = None  # a lost run that is to be delivered once more, until that has a fate
    paused_early: Pause | None = None  # what was asked for before the ledger told of the job

    def follow(self, event: Ask | Finished | Skipped | Release | Pause) -> None:
        if self.redelivery and _is_fate_of(self.redelivery, event):
            self.redelivery = None
        if self.record:
            self.record = records.after(self.record, event)


def _is_fate_of(redelivery: Ask, event: Ask | Finished | Skipped | Release | Pause) -> bool:
    match event:
        case Finished(due=due, attempt=attempt):
            return (redelivery.due, redelivery.attempt) == (due, attempt)
        case Skipped(first=first):
            return redelivery.due == first
    return False


class Jobs:
    """`program` is called in the parent for each process of a job: what it builds there is shared; what it returns
    runs in the process. `session` names this life of the daemon."""

    def __init__(
        self, program: Program, session: str, children: Children, ledger: LedgerClient, feed: StatusFeed, clock: Clock
    ) -> None:
        self.supervised: dict[str, SupervisedJob] = {}
        self.defined: Mapping[str, Job] = {}
        self.stopping = False
        self._program = program
        self._session = session
        self._children = children
        self._ledger = ledger
        self._feed = feed
        self._clock = clock
        self._lives = 0
        self._crowded = False
        self._may_yield = linux.may_yield()

    # ---- definitions

    def take_over(self, config: Config) -> None:
        """Jobs that did not change keep their process and their running call; changed and removed ones finish theirs
        first. The ledger is told of the jobs that changed; of all, as a new generation, where it has to forget one."""
        old, self.defined = self.defined, config.jobs
        self._crowded = len(config.enabled_jobs) >= CROWD
        forget = not old or not old.keys() <= self.defined.keys()
        to_enroll = []
        for name in old.keys() - self.defined.keys():
            self._feed.remove(name)
            self._retire(name)
        for name, job in self.defined.items():
            before = old.get(name)
            changed = before is not job and before != job
            if changed or (before and before.schedule.text != job.schedule.text):  # the same, spelled otherwise
                self._feed.define(job)
            if changed:
                one = self.supervised.setdefault(name, SupervisedJob())
                if before and one.record:
                    kept = before.schedule == job.schedule
                    one.record = records.enrolled(one.record, self._clock.wall(), same_schedule=kept)
                if before:
                    one.why_missed = "the job was being reloaded"
                self._retire(name)
            if forget or changed or (job.enabled and self.supervised[name].record is None):
                to_enroll.append(job)
        self._ledger.enroll(to_enroll, anew=forget)
        gc.collect()
        gc.freeze()  # what stands now is shared with the children; collecting would copy its pages

    def is_enabled(self, name: str) -> bool:
        return name in self.defined and self.defined[name].enabled

    def _retire(self, name: str) -> None:
        """End the process of a job that changed, or was removed or disabled, after its running call."""
        one = self.supervised[name]
        if not self.is_enabled(name):
            one.record = None  # its slots are not due any more
        if one.process:
            self._children.stop(one.process, None)

    # ---- processes

    @property
    def processes(self) -> list[Process]:
        return [one.process for one in self.supervised.values() if one.process]

    def begin(self, name: str) -> None:
        """Give the job a process, unless it has one that must go first, or its past is not known yet."""
        one = self.supervised[name]
        if self.is_enabled(name) and one.process is None and one.record is not None and not self.stopping:
            one.process = Process(Child("job", name))
            self._children.begin(one.process)

    def main_of(self, name: str) -> Callable[[Channel[FromJob, ToJob]], None]:
        """What the job's next process does, from here on."""
        one, job = self.supervised[name], self.defined[name]
        assert one.record is not None
        self._lives += 1
        one.forked_as, one.owner = job, f"{self._session}/{self._lives}"
        if one.redelivery and self._clock.wall() > one.redelivery.due + job.grace:
            due = rfc3339(one.redelivery.due)
            words = f"{job.name}: too late to run the lost slot again"
            log.log(logging.WARNING, words, {"job": job.name, "due": due}, due=due)
            one.redelivery = None
        paused, gives_way = self._feed.statuses[name].paused, self._crowded and self._may_yield
        beginning = Beginning(one.record.accounted, paused, one.why_missed, one.redelivery, gives_way, self._crowded)
        one.why_missed = "the job's process was not running"
        job.schedule.next_due(beginning.last)  # remembered in the child
        main = self._program(job)
        return lambda channel: main(channel, beginning)

    def gone(self, name: str) -> None:
        """Its process has ended for good."""
        self.supervised[name].process = None
        if name in self.defined:
            self.begin(name)
        else:
            del self.supervised[name]

    def stop(self, drain: float) -> None:
        """Start no more runs; calls may finish within `drain` seconds."""
        self.stopping = True
        for process in self.processes:
            self._children.stop(process, drain)

    def hurry(self) -> None:
        """The time to drain is over."""
        for process in self.processes:
            self._children.hurry(process)

    # ---- the ledger

    def ledger_ready(self, ready: LedgerReady) -> None:
        """It is open: for the first time in this daemon's life, or again after its process died."""
        if self._ledger.ready(ready.seq):
            for one in self.supervised.values():
                one.why_missed = ready.before or one.why_missed
            return
        self._ledger.enroll(self.defined.values(), anew=True)
        for name in self.defined:
            self._ledger.put(Pause(name, self._feed.statuses[name].paused, self._clock.wall()))

    def past(self, past: JobHistory) -> None:
        """What the ledger knows of a job. It says so whenever one is enrolled; what the parent saw itself is newer."""
        one = self.supervised.get(past.job)
        if one and one.record is None and self.is_enabled(past.job):
            early, one.paused_early = one.paused_early, None
            one.record = records.after(past.record, early) if early else past.record
            self._feed.tell(replace(past, record=one.record))
            if was_forgotten(self.defined[past.job], past.record, self._clock.wall()):
                self._feed.expect_anew(past.job)
        elif past.job in self.defined and not self.is_enabled(past.job):
            self._feed.tell(past)  # for its pause, which is to outlive the ledger as well
        if one:
            self.begin(past.job)

    def over(self, run: Finished) -> None:
        """A run that was lost is for the next process to deliver again, where the job wants that."""
        job = self.defined.get(run.job)
        if job and job.delivery == "at-least-once" and run.outcome == "lost":
            self.supervised[run.job].redelivery = Ask(run.job, run.due, run.run_id, run.trigger, run.attempt + 1)

    # ---- what operators ask for

    def send(self, name: str, message: ToJob) -> bool:
        """Whether the job has a process that takes it."""
        process = self.supervised[name].process
        return process is not None and process.child.state == "up" and self._children.send(process, message)

    def is_running(self, name: str) -> bool:
        """Whether the job is in the middle of a run; a slot may be held some seconds before its instant."""
        slot = self.slot(name)
        return slot is not None and slot.granted and slot.ask.due <= self._clock.wall()

    def slot(self, name: str) -> Slot | None:
        """What its process has asked to run, or is running."""
        process = self.supervised[name].process
        return process.child.slot if process else None

    def is_known(self, name: str) -> bool:
        """Whether the ledger has told of the job's past, its pause included."""
        return self.supervised[name].record is not None

    def pause(self, name: str, paused: bool) -> bool:
        """Whether the ledger can keep it, for all that is known."""
        event = Pause(name, paused, self._clock.wall())
        one = self.supervised[name]
        if one.record is None:
            one.paused_early = event
        one.follow(event)
        self._ledger.put(event)
        self.send(name, event)
        self._feed.tell(event)
        log.log(logging.INFO, f"{name}: {'paused' if paused else 'resumed'}", {"job": name, "paused": paused})
        return self._ledger.writes


def was_forgotten(job: Job, record: JobRecord, now: float) -> bool:
    """Whether the second fire since a success was expected has passed, with timeout and grace, and nobody ran the job:
    its last run was none that failed, or was cut off with the daemon."""
    start = max(record.last_success or 0.0, record.since)
    if record.consecutive_failures > (record.last_outcome == "lost") or now - start < job.timeout + job.grace:
        return False
    return success_deadline(job.schedule, start, job.timeout, job.grace) < now
