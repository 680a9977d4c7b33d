"""The job's process: plan, sleep, ask, call, report, again. Everything it knows of the world is one channel."""

import resource
from collections.abc import Callable

from tocsin import log
from tocsin.channel import Channel
from tocsin.config import Job
from tocsin.instants import rfc3339
from tocsin.job.clock import Clock
from tocsin.job.request import Caller
from tocsin.job.run import perform
from tocsin.job.slots import passed_between, plan
from tocsin.messages import (
    Ask,
    Beginning,
    Deny,
    Finished,
    Fire,
    Grant,
    NotRunReason,
    Pause,
    Skipped,
    Sleeping,
    Stop,
    scheduled_run_id,
)

LEAD = 0.25  # seconds before the instant at which the slot is asked for: time for a commit to disk
OVERSLEPT = 1.0  # seconds: who wakes later than that looks at the schedule again; slots are a second apart at least
SHORTEST_WAIT = 1.0  # seconds for the ledger to answer, also where grace is shorter
TOO_LATE = "later than its grace (was the machine suspended, or overloaded?)"
MESSAGES_AT_ONCE = 64  # read from the channel before looking at the clock again


class JobProcess:
    """`clock` and `call` are parameters so that histories can be told without waiting."""

    def __init__(
        self,
        job: Job,
        channel: Channel,
        beginning: Beginning,
        clock: Clock,
        call: Callable[[Ask, float, Callable[[float], bool]], Finished],
    ) -> None:
        self.job = job
        self.channel = channel
        self.clock = clock
        self.call = call
        self.last = beginning.last
        self.paused = beginning.paused
        self.why_missed = beginning.why_missed
        self.again = beginning.again
        self.catch_up = job.catch_up
        self.behind_until = clock.now()  # slots up to here are caught up with, not overlapped
        self.stopping = False
        self.fire: Fire | None = None
        self.answer: Grant | Deny | None = None
        self.told: float | None = None

    def run(self) -> None:
        """Until told to stop. Raises ChannelClosed when the parent is gone."""
        while not self.stopping:
            self.step()

    def step(self) -> None:
        """One round: account for what passed, then sleep and run the next slot, or react to what came up."""
        if self.fire:
            fire, self.fire = self.fire, None
            self.ask_and_run(Ask(self.job.name, fire.due, fire.run_id, "manual"))
            return
        if self.again:
            again, self.again = self.again, None
            self.ask_and_run(again)
            return
        now = self.clock.now()
        planned = plan(self.job.schedule, self.last, now, self.job.grace, self.catch_up)
        if planned.passed:
            passed = planned.passed
            self.skip(passed.first, passed.last, passed.count, "missed", self.why_missed)
        self.why_missed = TOO_LATE
        self.catch_up = "last" if self.job.catch_up == "none" else self.job.catch_up
        self.tell(planned.due)
        woken = self.clock.wait(planned.due - (0 if self.paused else LEAD), self.channel)
        if woken == "due" and not planned.late and self.clock.now() > planned.due + OVERSLEPT:
            pass  # the machine was suspended, say: plan anew, there may be a later slot by now
        elif woken == "due" and self.paused:
            self.skip(planned.due, planned.due, 1, "paused", "")
        elif woken == "due":
            late = planned.due <= self.behind_until
            self.last = planned.due
            run_id = scheduled_run_id(self.job.name, planned.due)
            self.ask_and_run(Ask(self.job.name, planned.due, run_id, "catch-up" if late else "schedule"))
        elif woken == "stepped":
            log.info("the clock was set: computing the next fire time anew", job=self.job.name)
            self.why_missed = "the clock was set forward"
        self.hear()

    # ---- one slot

    def ask_and_run(self, ask: Ask) -> None:
        self.answer = None
        self.channel.send(ask)
        log.debug("asked", job=ask.job, due=rfc3339(ask.due), run_id=ask.run_id)
        why = self.wait_for_grant(ask)
        if why is None:
            why = self.wait_for_due(ask)
        if why is not None:
            if why:
                self.skip(ask.due, ask.due, 1, "missed", why)
            return
        log.debug("calling", job=ask.job, method=self.job.method, url=self.job.public_url, run_id=ask.run_id)
        next_due = self.job.schedule.next_due(max(self.last, int(self.clock.now())))
        self.channel.send(self.call(ask, next_due, self.rest))
        self.account_for_overlap()

    def wait_for_grant(self, ask: Ask) -> str | None:
        """None when granted, "" when denied, else why the slot is missed."""
        now = self.clock.now()
        give_up = max(ask.due, now) + self.job.grace
        next_due = self.job.schedule.next_due(max(self.last, int(ask.due)))
        if next_due > now:  # a newer slot is worth more than this one
            give_up = min(give_up, next_due)
        give_up = max(give_up, now + SHORTEST_WAIT)
        while True:
            if self.stopping:
                return "the daemon stopped before the call"
            if isinstance(self.answer, Grant):
                return None
            if isinstance(self.answer, Deny):
                log.warning("slot denied", job=ask.job, due=rfc3339(ask.due), why=self.answer.why)
                return ""
            if self.clock.wait(give_up, self.channel) == "due":
                return "the ledger did not answer in time"
            self.hear(ask)

    def wait_for_due(self, ask: Ask) -> str | None:
        """None when it is time to call, else why the slot is missed."""
        while self.clock.wait(ask.due, self.channel) != "due":
            self.hear(ask)
            if self.stopping:
                return "the daemon stopped before the call"
            if ask.due - self.clock.now() > LEAD + OVERSLEPT:
                return "the clock was set back before the call"
        if self.clock.now() - ask.due > self.job.grace + LEAD and ask.trigger != "manual":
            return TOO_LATE
        return None

    def account_for_overlap(self) -> None:
        """Slots that came due while the call ran are skipped; what is left from before this process began is
        still to be planned."""
        schedule, last = self.job.schedule, self.last
        if schedule.latest(last, int(self.behind_until)) is not None:
            return
        if passed := passed_between(schedule, last, int(self.clock.now()), "overlap"):
            self.skip(passed.first, passed.last, passed.count, "overlap", "the run before was still going")

    def rest(self, seconds: float) -> bool:
        """Wait before a retry; False when told to stop."""
        until = self.clock.now() + seconds
        while self.clock.wait(until, self.channel) != "due":
            self.hear()
            if self.stopping:
                return False
        return True

    # ---- messages

    def hear(self, ask: Ask | None = None) -> bool:
        """Take in what has arrived; whether there was anything."""
        heard = False
        for message in self.channel.waiting(MESSAGES_AT_ONCE):
            heard = True
            match message:
                case Stop():
                    self.stopping = True
                case Pause(paused=paused):
                    self.paused = paused
                case Fire():
                    self.fire = message
                case Grant() | Deny():
                    if ask and (message.due, message.attempt) == (ask.due, ask.attempt):
                        self.answer = message
                case _:
                    log.warning("unexpected message", job=self.job.name, message=type(message).__name__)
        return heard

    def tell(self, due: float) -> None:
        if due != self.told:
            self.told = due
            self.channel.send(Sleeping(self.job.name, due))

    def skip(self, first: float, last: float, count: int, reason: NotRunReason, detail: str) -> None:
        if last == int(last):  # a manual run says nothing about the schedule's slots before it
            self.last = max(self.last, int(last))
        self.channel.send(Skipped(self.job.name, first, last, count, reason, detail))


def main(job: Job, channel: Channel, beginning: Beginning) -> None:
    """Runs in the forked child until the parent says Stop."""
    if job.memory_limit:
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory_limit, job.memory_limit))
    caller = Caller(job)
    JobProcess(job, channel, beginning, Clock(), lambda ask, until, rest: perform(caller, ask, until, rest)).run()
