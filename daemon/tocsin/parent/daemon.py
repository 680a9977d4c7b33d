"""The parent's decisions: which children live, and what each message means for the others.

Waiting is `loop.py`'s, one child's life `lifecycle.py`'s, the log and the exporter `news.py`'s.
"""

import gc
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from tocsin import linux, log
from tocsin.channel import Channel, ChannelClosed, ChannelGarbage
from tocsin.config import Config, Job
from tocsin.faults import ConfigError
from tocsin.instants import rfc3339
from tocsin.messages import (
    Ask,
    Beginning,
    Committed,
    ConfigLoaded,
    Deny,
    Enroll,
    Enrolled,
    Finished,
    Grant,
    LedgerReady,
    LedgerState,
    LedgerTrouble,
    LedgerUnusable,
    Message,
    Past,
    Pause,
    ProcessUp,
    Release,
    Skipped,
    Sleeping,
    Started,
)
from tocsin.parent import lifecycle
from tocsin.parent.children import Children
from tocsin.parent.lifecycle import Child, Slot
from tocsin.parent.loop import Loop
from tocsin.parent.news import News
from tocsin.parent.outbox import Outbox
from tocsin.parent.process import Process

HEARTBEAT = 5.0  # seconds between signs of life to the exporter, which waits for three of them
CROWD = 50  # jobs from which on those that have sent give way to those that have not: fewer take milliseconds
SHOWN_AFTER = 0.5  # seconds from which on a run counts as running for who watches: most are over by then
FINISH = 8.0  # seconds after the drain for the ledger to commit the last results
LEDGER, EXPORTER = "ledger", "exporter"
RESTART_KEYS = ("state_dir", "ledger", "node", "keep")  # of [daemon]: what a reload cannot change


@dataclass(frozen=True)
class Programs:
    """What runs in the children. The parent knows no more of it than this."""

    job: Callable[[Job], Callable[[Channel, Beginning], None]]  # called in the parent: what it builds is shared
    ledger: Callable[[Channel, Config, str], None]
    exporter: Callable[[Channel, Config], None]
    rehearse: Callable[[Config], None]  # done once in the parent, so that no child does it for the first time


@dataclass
class Seat:
    """The place of one job: it outlives the job's processes."""

    accounted: int | None = None  # slots up to this instant have a fate; None until the ledger has told
    why_missed: str = "the daemon was not running"
    process: Process | None = None
    forked_as: Job | None = None  # the definition under which the process was forked
    owner: str = ""  # which life of the process holds a slot
    again: Ask | None = None  # a lost run that the next process is to deliver once more

    def account(self, until: float) -> None:
        if self.accounted is not None:
            self.accounted = max(self.accounted, int(until))


class Daemon:
    """`kept` are descriptors that every child keeps: the lock, the log."""

    def __init__(self, config: Config, loop: Loop, programs: Programs, kept: Iterable[int]) -> None:
        self.config = config
        self.stopping = False
        self.exit_code = 0
        self.on_run_over: Callable[[Finished | Skipped | Deny], None] = lambda _: None
        self.on_job_exit: Callable[[str], None] = lambda _: None
        self.news = News(self._to_exporter)
        self._loop = loop
        self._programs = programs
        self._session = uuid.uuid4().hex
        self._children = Children(loop, kept, self)
        self._services = {name: Process(Child(name)) for name in (LEDGER, EXPORTER)}
        self._seats: dict[str, Seat] = {}
        self._outbox = Outbox()
        self._ledger = LedgerState(False, 0)
        self._ledger_lost = False  # for good
        self._lives = 0
        self._roster = 0
        self._may_yield = linux.may_yield()

    # ---- beginning and end

    def start(self) -> None:
        """Fork the ledger and the exporter; the jobs follow as the ledger tells their past."""
        for service in self._services.values():
            self._children.begin(service)
        self._take_over({}, self.config)
        self._heartbeat()

    def work(self) -> bool:
        return self._children.fork_some()

    def stop(self, why: str, exit_code: int = 0) -> None:
        """Start no more runs, let calls finish for `drain` seconds, then end. A second call hurries."""
        self.exit_code = max(self.exit_code, exit_code)
        jobs = [seat.process for seat in self._seats.values() if seat.process]
        if self.stopping:
            log.warning("stopping at once", why=why)
            for process in jobs:
                self._children.hurry(process)
            return
        self.stopping = True
        running = sum(1 for one in jobs if one.child.slot and one.child.slot.granted)
        log.info("stopping", why=why, running_calls=running, drain=self.config.drain)
        for process in jobs:
            self._children.stop(process, self.config.drain)
        self._loop.at(self._loop.now() + self.config.drain + FINISH, self._end_services)
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        idle = not any(seat.process for seat in self._seats.values())
        if self.stopping and idle and (self._ledger_lost or not len(self._outbox)):
            self._end_services()

    def _end_services(self) -> None:
        for process in list(self._services.values()):
            self._children.stop(process, lifecycle.CANCEL_GRACE)
        self._loop.done = not self._services

    def _heartbeat(self) -> None:
        self.news.heartbeat(self._outbox.dropped)
        self._tell_ledger()
        self._loop.at(self._loop.now() + HEARTBEAT, self._heartbeat)

    # ---- configuration

    def reload(self, load: Callable[[], Config]) -> str:
        """Take over what `load` returns; "" or why everything stays as it was. Jobs that did not change keep
        their process and their running call; changed and removed ones finish theirs first."""
        if self.stopping:
            return "the daemon is stopping"
        try:
            new = load()
        except ConfigError as error:
            for fault in error.faults:
                log.error("reload refused, the old jobs go on", why=str(fault))
            self.news.tell(ConfigLoaded(self.config.hash, time.time(), error=str(error)[:1000]))
            return str(error)
        for key in RESTART_KEYS:
            if getattr(new, key) != getattr(self.config, key):
                log.warning(f"a change of {key} takes effect at the next start")
        old, self.config = self.config, new
        if (new.listen, new.access) != (old.listen, old.access):
            self._children.stop(self._services[EXPORTER], lifecycle.CANCEL_GRACE)
        self._take_over(old.jobs, new)
        return ""

    def _take_over(self, old: Mapping[str, Job], new: Config) -> None:
        """The ledger is told of the jobs that changed; of all, as a new roster, where it has to forget one."""
        forget = not old or any(job.enabled and not self._is_enabled(name) for name, job in old.items())
        if forget:
            self._roster = max(self._roster + 1, time.time_ns() // 1_000_000)
        for name in old.keys() - new.jobs.keys():
            self.news.remove(name)
            self._retire(name)
        for name, job in new.jobs.items():
            before = old.get(name)
            if before != job:
                self.news.define(job)
                seat = self._seats.setdefault(name, Seat())
                if before and before.schedule != job.schedule and seat.accounted is not None:
                    seat.accounted = int(time.time())  # the old slots mean nothing to the new schedule
                if before:
                    seat.why_missed = "the job was being reloaded"
                self._retire(name)
            if job.enabled and (forget or before != job or self._seats[name].accounted is None):
                expression = f"{job.schedule.expression} {job.schedule.timezone}"
                self._outbox.put(Enroll(name, expression, self._roster, time.time()))
        if forget:
            self._outbox.put(Enrolled(self._roster))
        self._pump()
        self.news.tell(ConfigLoaded(new.hash, time.time()))
        gc.collect()
        gc.freeze()  # what stands now is shared with the children; collecting would copy its pages

    def _retire(self, name: str) -> None:
        """End the process of a job that changed, or was removed or disabled, after its running call."""
        seat = self._seats[name]
        if not self._is_enabled(name):
            seat.accounted = None  # its slots are not due any more
        if seat.process:
            self._children.stop(seat.process, None)

    def _is_enabled(self, name: str) -> bool:
        return name in self.config.jobs and self.config.jobs[name].enabled

    def _begin(self, name: str) -> None:
        """Give the job a process, unless it has one that must go first, or its past is not known yet."""
        seat = self._seats[name]
        if self._is_enabled(name) and seat.process is None and seat.accounted is not None and not self.stopping:
            seat.process = Process(Child("job", name))
            self._children.begin(seat.process)

    # ---- children (what `Children` asks its boss)

    def main_of(self, child: Child) -> Callable[[Channel], None]:
        config, programs = self.config, self._programs
        if child.process == LEDGER:
            return lambda channel: programs.ledger(channel, config, self._session)
        if child.process == EXPORTER:
            return lambda channel: programs.exporter(channel, config)
        seat, job = self._seats[child.job], config.jobs[child.job]
        assert seat.accounted is not None
        self._lives += 1
        seat.forked_as, seat.owner = job, f"{self._session}/{self._lives}"
        again, seat.again = seat.again, None
        if again and time.time() > again.due + job.grace:
            log.warning(f"{job.name}: too late to run the lost slot again", due=rfc3339(again.due))
            again = None
        paused, crowded = self.news.statuses[job.name].paused, len(config.enabled_jobs) >= CROWD
        beginning = Beginning(seat.accounted, paused, seat.why_missed, again, crowded and self._may_yield)
        seat.why_missed = "the job's process was not running"
        job.schedule.next_due(beginning.last)  # remembered in the child
        main = programs.job(job)
        return lambda channel: main(channel, beginning)

    def forked(self, process: Process) -> None:
        child = process.child
        assert process.pid is not None
        self.news.tell(ProcessUp(child.process, child.job, process.pid, time.time()))
        if child.process == LEDGER:
            self._outbox.rewind()
            self._pump()
        elif child.process == EXPORTER:
            self.news.repeat()

    def exited(self, process: Process) -> None:
        if process.child.process == LEDGER:
            self._ledger = LedgerState(False, 0, "its process died")
            self._tell_ledger()
        elif process.child.process == "job":
            self.on_job_exit(process.child.job)

    def gone(self, process: Process) -> None:
        child = process.child
        if child.process == "job":
            self._seats[child.job].process = None
            if child.job not in self.config.jobs:
                del self._seats[child.job]
            else:
                self._begin(child.job)
            self._end_if_idle()
        elif self.stopping:
            del self._services[child.process]
            self._loop.done = not self._services
        else:
            self._services[child.process] = Process(Child(child.process))
            self._children.begin(self._services[child.process])

    def tell(self, event: Message) -> None:
        self.news.tell(event)

    def writable(self, process: Process) -> None:
        if process.child.process == LEDGER:
            self._pump()

    # ---- messages in

    def heard(self, process: Process, message: Message) -> None:
        match process.child.process:
            case "ledger":
                self._from_ledger(message)
            case "job":
                self._from_job(process, message)
            case _:
                raise ChannelGarbage(f"{type(message).__name__} from the exporter, which only listens")

    def _from_job(self, process: Process, message: Message) -> None:
        name = process.child.job
        if getattr(message, "job", None) != name:
            raise ChannelGarbage(f"{type(message).__name__} that is not about {name}")
        match message:
            case Sleeping():
                self.news.tell(message)
            case Ask():
                owned = replace(message, owner=self._seats[name].owner)
                self._children.step(process, lifecycle.asked(process.child, owned))
            case Finished():
                self._children.step(process, lifecycle.finished(process.child, message))
            case Skipped():
                self._children.step(process, lifecycle.skipped(process.child, message))
            case Release():
                self._children.step(process, lifecycle.released(process.child, message))
            case _:
                raise ChannelGarbage(f"{type(message).__name__} from a job")

    def _from_ledger(self, message: Message) -> None:
        match message:
            case Grant() | Deny():
                self._answered(message)
            case Committed(seq=seq):
                self._outbox.committed(seq)
                self.news.tell(message)
                self._pump()
                self._end_if_idle()
            case Past():
                self._past(message)
            case Finished():  # cut off by the death of an earlier daemon; the ledger has it already
                self._over(message)
            case LedgerReady(before=before):
                if before:
                    for seat in self._seats.values():
                        seat.why_missed = before
                self._ledger = LedgerState(True, 0)
                self._tell_ledger()
            case LedgerTrouble(detail=detail):
                self._ledger = LedgerState(not detail, 0, detail)
                self._tell_ledger()
                if detail:
                    log.error("the ledger cannot write: no job runs until it can", why=detail)
                else:
                    log.info("the ledger can write again")
            case LedgerUnusable(detail=detail):
                log.error("the ledger cannot be used", why=detail)
                self._ledger_lost = True
                self.stop("the ledger cannot be used", exit_code=1)
            case _:
                raise ChannelGarbage(f"{type(message).__name__} from the ledger")

    def _answered(self, answer: Grant | Deny) -> None:
        seat = self._seats.get(answer.job)
        if seat is None or seat.process is None or seat.forked_as is None:
            return
        process, before = seat.process, seat.process.child.slot
        wait, longest = max(0.0, answer.due - time.time()), seat.forked_as.longest_run
        self._children.step(process, lifecycle.answered(process.child, answer, self._loop.now(), wait, longest))
        if process.child.slot is before:
            return
        if isinstance(answer, Grant):
            begins, slot = max(answer.due, time.time()), process.child.slot
            self._loop.at(self._loop.now() + wait + SHOWN_AFTER, lambda: self._still_running(process, slot, begins))
        else:
            self.on_run_over(answer)

    def _still_running(self, process: Process, slot: Slot | None, begins: float) -> None:
        if process.child.slot is slot:
            self.news.tell(Started(process.child.job, begins))

    def _past(self, past: Past) -> None:
        """What the ledger knows of a job. It says so whenever one is enrolled; what the parent saw itself is newer."""
        seat = self._seats.get(past.job)
        if seat and seat.accounted is None and self._is_enabled(past.job):
            seat.accounted = int(past.last_due)
            self.news.tell(past)
        if seat:
            self._begin(past.job)

    # ---- messages out

    def record(self, body: Ask | Finished | Skipped | Release) -> None:
        """For the ledger first, then for everyone who counts."""
        self._outbox.put(body)
        self._pump()
        seat = self._seats[body.job]
        match body:
            case Ask(due=due, trigger=trigger) if trigger != "manual":
                seat.account(due)
            case Release(due=due) if seat.accounted is not None:
                seat.accounted = min(seat.accounted, int(due) - 1)
            case Finished():
                self._over(body)
            case Skipped(last=last):
                if last == int(last):  # a manual run says nothing about the schedule's slots before it
                    seat.account(last)
                self._over(body)

    def _over(self, event: Finished | Skipped) -> None:
        self.news.tell(event)
        self.on_run_over(event)
        job = self.config.jobs.get(event.job)
        if job and job.delivery == "at-least-once" and isinstance(event, Finished) and event.outcome == "lost":
            again = Ask(event.job, event.due, event.run_id, event.trigger, event.attempt + 1)
            self._seats[event.job].again = again

    def _pump(self) -> None:
        ledger = self._services.get(LEDGER)
        if ledger and ledger.channel:
            try:
                self._outbox.pump(ledger.channel)
            except ChannelClosed:
                return  # its exit follows, and its successor gets it all
            self._children.await_room(ledger)

    def _to_exporter(self, message: Message) -> bool:
        """Whether it was taken; while there is no exporter nothing is lost, since its successor hears all anew."""
        exporter = self._services.get(EXPORTER)
        return exporter is None or exporter.channel is None or self._children.send(exporter, message)

    def _tell_ledger(self) -> None:
        self.news.tell(replace(self._ledger, backlog=len(self._outbox)))

    # ---- what operators ask for

    def send_to_job(self, name: str, message: Message) -> bool:
        """Whether the job has a process that takes it."""
        process = self._seats[name].process
        return process is not None and process.child.state == "up" and self._children.send(process, message)

    def is_running(self, name: str) -> bool:
        """Whether the job is in the middle of a run; a slot may be held some seconds before its instant."""
        process = self._seats[name].process
        slot = process.child.slot if process else None
        return slot is not None and slot.ask.due <= time.time()

    def pause(self, name: str, paused: bool) -> None:
        event = Pause(name, paused)
        self._outbox.put(event)
        self._pump()
        self.send_to_job(name, event)
        self.news.tell(event)
        log.info(f"{name}: {'paused' if paused else 'resumed'}")
