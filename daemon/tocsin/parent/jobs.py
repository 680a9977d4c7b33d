"""All jobs, and the process that runs each."""

import gc
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from tocsin import linux
from tocsin.config import Config, Job
from tocsin.ipc import record as records
from tocsin.ipc.actions import Acted, Actor
from tocsin.ipc.channel import Channel
from tocsin.ipc.cluster import AwayPart, Elsewhere, GivenUp, Members, RosterPart
from tocsin.ipc.job import Ask, Beginning, Finished, Fire, FromJob, Pause, ToJob
from tocsin.ipc.ledger import JobHistory, LedgerReady
from tocsin.parent.children import Children
from tocsin.parent.ledger_client import LedgerClient
from tocsin.parent.lifecycle import Child, Slot
from tocsin.parent.loop import Timer
from tocsin.parent.ownership import Ownership
from tocsin.parent.pauses import Pauses
from tocsin.parent.process import Process
from tocsin.parent.status_feed import StatusFeed
from tocsin.parent.supervised import Program, SupervisedJob, was_forgotten

# From this many enabled jobs on, a process that has sent its request yields the processor, and jobs connect early.
# Fewer jobs are done within milliseconds.
CROWD = 50


class Jobs:
    """`program` is called in the parent for each process of a job. What it builds there is shared memory; the function
    that it returns runs in the child. `session` identifies this start of the daemon."""

    def __init__(
        self, program: Program, session: str, children: Children, ledger: LedgerClient, feed: StatusFeed, clock: Timer
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
        self._pauses = Pauses(feed.statuses, clock, self._pause_ends)
        self._owned = Ownership(self, ledger, feed, clock)
        self._lives = 0
        self._crowded = False
        self._may_yield = linux.may_yield()

    # ---- definitions

    def take_over(self, config: Config) -> None:
        """Apply a new configuration.

        Jobs that did not change keep their process and running call. The process of a changed or removed job ends after
        its running call. The ledger enrols the changed jobs, or all jobs as a new generation when it must forget one.
        """
        old, self.defined = self.defined, config.jobs
        self._crowded = len(config.enabled_jobs) >= CROWD
        forget = not old or not old.keys() <= self.defined.keys()
        to_enroll = []
        self._owned.load(config)
        for name in old.keys() - self.defined.keys():
            self._feed.remove(name)
            self._retire(name)
        for name, job in self.defined.items():
            before = old.get(name)
            changed = before is not job and before != job
            if changed or (before and before.schedule.text != job.schedule.text):  # the same, written differently
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
        self._ledger.enroll([job for job in to_enroll if self._owned.claims(job)], all_jobs=forget)
        self._owned.reckon()
        gc.collect()
        gc.freeze()  # the children share these objects; collecting garbage would copy the pages

    def is_enabled(self, name: str) -> bool:
        return name in self.defined and self.defined[name].enabled

    def _retire(self, name: str) -> None:
        """End the process of a job that was changed, removed or disabled, after its running call."""
        one = self.supervised[name]
        owned = one.record is not None
        if not self.is_enabled(name):
            one.record = None  # its slots are no longer due
        if one.process:
            self._children.stop(one.process, None)
        elif owned:
            self._owned.gone(name)

    # ---- processes

    @property
    def processes(self) -> list[Process]:
        return [one.process for one in self.supervised.values() if one.process]

    def begin(self, name: str) -> None:
        """Start a process for the job, unless an old one must end first or the ledger has not sent the job's record. It
        never does while another node owns the job."""
        one = self.supervised[name]
        if self.is_enabled(name) and one.process is None and one.record is not None and not self.stopping:
            one.process = Process(Child("job", name))
            self._children.begin(one.process)

    def main_of(self, name: str) -> Callable[[Channel[FromJob, ToJob]], None]:
        """Return the main function of the job's next process, which continues from the job's record."""
        one, job = self.supervised[name], self.defined[name]
        self._lives += 1
        if one.program is None or one.forked_as is not job:  # made once: it is not freed (tocsin.immortal)
            one.program = self._program(job)
        one.forked_as, one.owner = job, f"{self._session}/{self._lives}"
        main = one.program
        if one.guest:
            now, (fire, one.guest) = self._clock.wall(), (one.guest, None)
            guest = Beginning(int(now), (0.0, 0.0), "", guest=fire)
            return lambda channel: main(channel, guest)
        assert one.record is not None
        one.give_up_late_redelivery(job, self._clock.wall())
        gives_way = self._crowded and self._may_yield
        beginning = Beginning(
            *(one.record.accounted, one.record.pause, one.why_missed, one.redelivery, gives_way, self._crowded)
        )
        one.why_missed = "the job's process was not running"
        job.schedule.next_due(beginning.accounted)  # cached before the fork, so that the child has it
        return lambda channel: main(channel, beginning)

    def fire_as_guest(self, name: str, fire: Fire) -> bool:
        """Run a job of another node once, in a process of its own. Returns whether that is possible now."""
        one = self.supervised[name]
        if one.process is not None or one.record is not None or self.stopping or self._owned.nodes is None:
            return False
        one.guest, one.process = fire, Process(Child("job", name, once=True))
        self._children.begin(one.process)
        return True

    def gone(self, name: str) -> None:
        """The job's process has ended and is not restarted."""
        self.supervised[name].process = None
        self._owned.gone(name)
        if name in self.defined:
            self.begin(name)
        else:
            del self.supervised[name]

    def stop(self, drain: float) -> None:
        """Start no more runs. Running calls may finish within `drain` seconds."""
        self.stopping = True
        self._owned.leave()
        for process in self.processes:
            self._children.stop(process, drain)

    def hurry(self) -> None:
        """The drain time is over: cancel the running calls."""
        for process in self.processes:
            self._children.hurry(process)

    # ---- the ledger

    def ledger_ready(self, ready: LedgerReady) -> None:
        """The ledger is open, for the first time or again after its process died."""
        kept = self._ledger.ready(ready.seq)
        self._owned.ledger_ready(ready.epoch)
        if kept:
            for one in self.supervised.values():
                one.why_missed = ready.before or one.why_missed
            return
        owned = [job for job in self.defined.values() if self._owned.claims(job)]
        self._ledger.enroll(owned, all_jobs=True)
        for job in owned:
            status, now = self._feed.statuses[job.name], self._clock.wall()
            at = status.paused_since or now
            self._ledger.put(
                Pause(job.name, status.paused, at, status.paused_until, status.paused_why, status.paused_by)
            )

    def of_nodes(self, message: Members | RosterPart | GivenUp | AwayPart) -> None:
        """Take news of the nodes that share the ledger."""
        self._owned.hear(message)

    def past(self, past: JobHistory) -> None:
        """Take a job's record from the ledger, which sends it each time the job is enrolled. A record that the parent
        already has is newer and is kept."""
        one = self.supervised.get(past.job)
        held = one is not None and one.record is not None  # if it is to be yielded, then once its process has ended
        if not held and self._owned.is_unwanted(past.job):
            return
        if one and one.record is None and self.is_enabled(past.job):
            one.why_missed = past.why_missed or one.why_missed
            if past.again and self.defined[past.job].delivery == "at-least-once":
                one.redelivery = past.again
            early, one.paused_early = one.paused_early, None
            one.record = records.after(past.record, early) if early else past.record
            self._feed.tell(replace(past, record=self._owned.shown(one.record, self._feed.statuses[past.job])))
            self._pauses.watch(past.job)
            if was_forgotten(self.defined[past.job], one.record, self._clock.wall()):
                self._feed.expect_anew(past.job)
        elif past.job in self.defined and not self.is_enabled(past.job):
            self._feed.tell(past)  # the feed keeps its pause, in case the ledger loses it
            self._pauses.watch(past.job)
        if one:
            self.begin(past.job)

    def over(self, run: Finished) -> None:
        """Queue a lost run for redelivery if the job is `at-least-once`."""
        job = self.defined.get(run.job)
        owned = self._owned.claims(job) if job else False
        if job and owned and job.delivery == "at-least-once" and run.outcome == "lost":
            self.supervised[run.job].redelivery = Ask(run.job, run.due, run.run_id, run.trigger, run.attempt + 1)

    # ---- what operators ask for

    def send(self, name: str, message: ToJob) -> bool:
        """Send to the job's process. Returns whether it accepted the message."""
        process = self.supervised[name].process
        return process is not None and process.child.state == "up" and self._children.send(process, message)

    def is_running(self, name: str) -> bool:
        """Whether the job is calling now. A slot that is granted before its instant does not count."""
        slot = self.slot(name)
        return slot is not None and slot.granted and slot.ask.due <= self._clock.wall()

    def slot(self, name: str) -> Slot | None:
        """The slot that the job's process has asked for or is running."""
        process = self.supervised[name].process
        return process.child.slot if process else None

    def is_known(self, name: str) -> bool:
        """Whether the ledger has sent the job's record, which includes its pause."""
        return self.supervised[name].record is not None

    def pause(self, event: Pause, acted: Acted) -> bool:
        """Pause or resume a job. Returns whether the ledger can store that, as far as is known."""
        one = self.supervised.get(event.job)
        if one and one.record is None and self._owned.claims(self.defined[event.job]):
            one.paused_early = event
        self._ledger.put(event)
        self.follow_pause(event)
        return self.acted(acted)

    def follow_pause(self, event: Pause) -> None:
        """A job was paused or resumed, here or on another node."""
        if one := self.supervised.get(event.job):
            one.follow(event)
            self.send(event.job, event)
        self._feed.tell(event)
        self._pauses.watch(event.job)

    @property
    def ledger_writes(self) -> bool:
        """Whether new entries will soon be committed, as far as is known."""
        return self._ledger.writes

    def acted(self, acted: Acted) -> bool:
        """Log and record an action. Returns whether the ledger can store that, as far as is known."""
        self._ledger.put(acted)
        self._feed.tell(acted)
        return self._ledger.writes

    def yield_(self, name: str) -> None:
        """Give the job to another node as soon as its process has ended."""
        one = self.supervised[name]
        one.yields = True
        if one.process:
            self._children.stop(one.process, None)
        else:
            self._owned.gone(name)

    def disown(self, name: str) -> None:
        """Another node owns the job, or will soon. A running call is not interrupted."""
        one = self.supervised[name]
        one.record, one.redelivery, one.yields = None, None, False
        if one.process:
            self._children.stop(one.process, None)
        self._feed.tell(Elsewhere(name))

    def _pause_ends(self, name: str, until: float) -> None:
        if name in self.defined and not self._owned.claims(self.defined[name]):
            return  # its owner ends the pause
        acted = Acted(until, "resume", name, Actor("Tocsin", "daemon"), "the end of the pause has come")
        self.pause(Pause(name, False, until), acted)
