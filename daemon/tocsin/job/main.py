"""The job's process: it plans, sleeps, asks, calls, reports, and starts over. It has one channel, to the parent."""

import gc
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from tocsin import linux, log
from tocsin.call.request import NotSent
from tocsin.config import Job
from tocsin.ipc.channel import Channel, Readable
from tocsin.ipc.job import (
    Ask,
    Beginning,
    Deny,
    Finished,
    FromJob,
    Grant,
    Release,
    Skipped,
    Sleeping,
    ToJob,
    scheduled_run_id,
)
from tocsin.ipc.types import NotRunReason, Trigger
from tocsin.job.clock import Clock
from tocsin.job.lead import ARMED_BY, ARMED_BY_IN_A_CROWD, LEADS, lead
from tocsin.job.orders import Orders
from tocsin.job.plan import passed_between, passed_in_pause, plan
from tocsin.timestamps import boottime, rfc3339

OVERSLEPT = 1.0  # seconds: a process that wakes later plans again; slots are at least a second apart
SHORTEST_WAIT = 1.0  # seconds for the ledger to answer, even if grace is shorter
TOO_LATE = "later than its grace (was the machine suspended or overloaded?)"
NOT_OURS = "the ledger did not confirm in time that this node still owns the job"
GARBAGE = 5_000  # new objects since the last garbage collection before the next one, which is never before a call


class Calls(Protocol):
    """What a job's process needs of its endpoint. `tocsin.call.attempts.Endpoint` is the real one."""

    @property
    def line(self) -> Readable | None: ...
    @property
    def lead(self) -> float: ...
    def prepare(self, until: float) -> None: ...
    def arm(self, ask: Ask, until: float) -> None: ...
    def look(self, ask: Ask, until: float) -> None: ...
    def disarm(self) -> None: ...
    def fire(self) -> bool: ...
    def call(self, ask: Ask, until: float, rest: Callable[[float], bool], may: Callable[[], bool]) -> Finished: ...


class JobProcess:
    """`clock` and `endpoint` are parameters so that tests need not wait."""

    def __init__(
        self,
        job: Job,
        channel: Channel[FromJob, ToJob],
        beginning: Beginning,
        clock: Clock,
        endpoint: Calls,
    ) -> None:
        self.job = job
        self.channel = channel
        self.clock = clock
        self.endpoint = endpoint
        self.gives_way = beginning.gives_way
        self.crowded = beginning.crowded
        self.armed_by = ARMED_BY_IN_A_CROWD if beginning.crowded else ARMED_BY
        self.lead = lead(job.name)
        self.accounted = beginning.accounted
        self.why_missed = beginning.why_missed
        self.redelivery = beginning.redelivery
        self.guest = beginning.guest
        self.catch_up = job.catch_up
        self.behind_until = clock.now()  # slots up to here are caught up, and do not count as overlap
        self.orders = Orders(channel, clock, beginning.pause)
        self.told: float | None = None

    def run(self) -> None:
        """Run until told to stop, or only the one run that a guest is for. Raises ChannelClosed when the parent is
        gone."""
        if self.guest:
            self.ask_and_run(Ask(self.job.name, self.guest.due, self.guest.run_id, "manual"))
            return
        while not self.orders.stopping:
            self.step()

    def step(self) -> None:
        """Do one round: account for slots that passed, then sleep and run the next slot, or handle a message."""
        if self.orders.fire:
            fire, self.orders.fire = self.orders.fire, None
            self.ask_and_run(Ask(self.job.name, fire.due, fire.run_id, "manual"))
            return
        if self.redelivery:
            ask, self.redelivery = self.redelivery, None
            self.ask_and_run(ask)
            return
        due, late = self.next_slot()
        self.tell(due)
        if self.gives_way:
            linux.give_way(False)
        passes = self.orders.lets_pass(due)
        woken = self.clock.wait(due - (0 if passes else self.lead), self.channel)
        if woken == "message":
            self.orders.hear()
        elif woken == "stepped":
            log.info("the clock was set: computing the next fire again", job=self.job.name)
            self.why_missed = "the clock was set forward"
        elif not late and self.clock.now() > due + OVERSLEPT:
            pass  # perhaps the machine was suspended: plan again, a later slot may be due by now
        elif passes:
            self.skip(due, due, 1, "paused", "")
        else:
            trigger: Trigger = "catch-up" if due <= self.behind_until else "schedule"
            self.accounted = due
            self.ask_and_run(Ask(self.job.name, due, scheduled_run_id(self.job.name, due), trigger))

    def next_slot(self) -> tuple[int, bool]:
        """Return the next slot's instant and whether it has passed. Reports the slots before it as missed."""
        now = self.clock.now()
        if self.orders.pause[1] > self.accounted + 1:
            self.account_for_pause(now)
        if self.accounted <= now < (due := self.job.schedule.next_due(self.accounted)):
            late = False  # the usual case: no slot has passed
        else:
            planned = plan(self.job.schedule, self.accounted, now, self.job.grace, self.catch_up)
            if passed := planned.passed:
                made_up = planned.late and now - passed.first <= self.job.grace
                self.skip(passed.first, passed.last, passed.count, "missed", self.why_missed, made_up=made_up)
            due, late = planned.due, planned.late
        self.why_missed = TOO_LATE
        self.catch_up = "last" if self.job.catch_up == "none" else self.job.catch_up
        return due, late

    def account_for_pause(self, now: float) -> None:
        """Report the slots of the pause that passed while no process was there to skip them one by one."""
        for passed in passed_in_pause(self.job.schedule, self.accounted, now, self.orders.pause):
            why = self.why_missed if passed.reason == "missed" else ""
            self.skip(passed.first, passed.last, passed.count, passed.reason, why)

    # ---- one slot

    def ask_and_run(self, ask: Ask) -> None:
        self.ask(ask)
        log.debug("asked", job=ask.job, due=ask.due, run_id=ask.run_id)
        # All that can be done before the instant is done here, while the ledger commits.
        next_due = self.job.schedule.next_due(max(self.accounted, int(ask.due), int(self.clock.now())))
        if not self.crowded:
            self.endpoint.prepare(ask.due - self.armed_by)
        why_not = self.wait_for_due(ask, next_due)
        if why_not is None:
            if self.endpoint.fire() and self.gives_way:  # until the next plan, jobs that have not sent go first
                linux.give_way(True)
            try:
                finished = self.endpoint.call(ask, next_due, self.rest, lambda: self.may_send(ask))
            except NotSent:
                why_not = self.withdrawn(ask) if self.orders.stopping else self.unrun(ask, "missed", NOT_OURS)
                self.not_called(ask, why_not)
                return
            if self.guest:
                self.channel.send(finished)
                return
            self.told = self.job.schedule.next_due(max(self.accounted, int(self.clock.now())))
            self.channel.send(replace(finished, next_due=self.told))
            if self.told != self.job.schedule.next_due(self.accounted):
                self.account_for_overlap()
            if gc.get_count()[0] > GARBAGE:
                gc.collect()
            return
        self.endpoint.disarm()
        self.not_called(ask, why_not)

    def ask(self, ask: Ask) -> None:
        self.orders.answer = None
        self.channel.send(ask)

    def not_called(self, ask: Ask, why: Deny | Release | Skipped) -> None:
        if isinstance(why, Skipped) and ask.trigger != "manual":
            self.accounted = max(self.accounted, int(ask.due))
        if not isinstance(why, Deny):
            self.channel.send(why)

    def wait_for_due(self, ask: Ask, next_due: float) -> Deny | Release | Skipped | None:
        """Wait until the slot is granted and its instant has come. Returns None, or why there is no call."""
        now = self.clock.now()
        give_up = min(max(ask.due, now) + self.job.grace, next_due)  # the next slot is worth more than this one
        give_up = max(give_up, now + SHORTEST_WAIT)
        arm_by = ask.due - self.armed_by
        lead = 0.0 if self.crowded else self.endpoint.lead
        arm_at = max(now, arm_by - lead) if lead else now
        is_armed = False
        until = arm_at
        while True:
            if not is_armed and self.clock.now() >= arm_at:
                is_armed, until = True, ask.due
                self.endpoint.arm(ask, arm_by)
            woken = self.clock.wait(until, self.channel, self.endpoint.line)
            if woken == "message":
                self.orders.hear(ask)
            elif woken == "line":
                self.endpoint.look(ask, arm_by)
            answer = self.orders.answer
            if self.orders.stopping:
                return self.withdrawn(ask)
            if isinstance(answer, Deny) and answer.reason and ask.trigger != "manual":
                return self.unrun(ask, answer.reason, answer.why)
            if isinstance(answer, Deny):
                log.warning("slot denied", job=ask.job, due=rfc3339(ask.due), why=answer.why)
                return answer
            if ask.due - self.clock.now() > LEADS[-1] + OVERSLEPT:
                return self.unrun(ask, "missed", "the clock was set back before the call")
            if not is_armed:
                continue
            if woken == "due" and answer and self.holds(answer):
                break
            if woken == "due" and answer:  # later another node may own the job
                self.ask(ask)
                answer = None
            if woken == "due" and until == give_up:
                return self.unrun(ask, "missed", "the ledger did not answer in time")
            until = ask.due if answer or woken != "due" else give_up
        if ask.trigger == "manual":
            return None
        if self.orders.lets_pass(ask.due):
            return self.unrun(ask, "paused", "")
        if self.clock.now() - ask.due > self.job.grace + SHORTEST_WAIT:
            return self.unrun(ask, "missed", TOO_LATE)
        return None

    def unrun(self, ask: Ask, reason: NotRunReason, detail: str) -> Skipped:
        return Skipped(self.job.name, ask.due, ask.due, 1, reason, detail, ask.trigger, self.clock.now())

    def withdrawn(self, ask: Ask) -> Release | Skipped:
        """The process was told to stop before the call. The next process may run the slot within its grace, but a
        manual run is missed."""
        if ask.trigger == "manual":
            return self.unrun(ask, "missed", "its process was told to stop before the call")
        return Release(self.job.name, ask.due, ask.attempt, ask.owner)

    def holds(self, grant: Grant) -> bool:
        """Whether this node owns the job for sure."""
        return grant.until is None or boottime() < grant.until

    def may_send(self, ask: Ask) -> bool:
        """Whether a request of this granted slot may go out now: where its grant has ended, another one is asked for.
        The call's deadline ends the wait."""
        if isinstance(self.orders.answer, Grant) and self.holds(self.orders.answer):
            return True
        again = replace(ask, retry=True)
        self.ask(again)
        while self.orders.answer is None and not self.orders.stopping:
            if self.clock.wait(self.clock.now() + SHORTEST_WAIT, self.channel) == "message":
                self.orders.hear(again)
        return isinstance(self.orders.answer, Grant) and self.holds(self.orders.answer)

    def account_for_overlap(self) -> None:
        """Skip the slots that came due while the call ran. Slots from before this process began are left to be caught
        up."""
        schedule, accounted = self.job.schedule, self.accounted
        if schedule.latest(accounted, int(self.behind_until)) is not None:
            return
        if passed := passed_between(schedule, accounted, int(self.clock.now()), "overlap"):
            self.skip(passed.first, passed.last, passed.count, "overlap", "the previous run was still running")

    def rest(self, seconds: float) -> bool:
        """Wait before a retry. Returns False if told to stop."""
        until = self.clock.now() + seconds
        while self.clock.wait(until, self.channel) != "due":
            self.orders.hear()
            if self.orders.stopping:
                return False
        return True

    # ---- reports

    def tell(self, due: float) -> None:
        if due != self.told:
            self.told = due
            self.channel.send(Sleeping(self.job.name, due))

    def skip(
        self, first: float, last: float, count: int, reason: NotRunReason, detail: str, *, made_up: bool = False
    ) -> None:
        self.accounted = max(self.accounted, int(last))
        now = self.clock.now()
        self.channel.send(Skipped(self.job.name, first, last, count, reason, detail, at=now, made_up=made_up))
