"""The world of a job's process: its clock, its parent and its ledger in one.

Time passes only when the process waits or calls; events happen at their moment of *real* time, while the wall clock
may be set or the machine suspended.
"""

import heapq
import itertools
import select
from collections.abc import Callable
from typing import Any, Literal

import pytest

from tocsin.call.request import NotSent
from tocsin.config import Job
from tocsin.ipc import channel as channels
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
    Stop,
    ToJob,
    decode_from_job,
    decode_to_job,
)
from tocsin.ipc.types import Message, NotRunReason
from tocsin.job.clock import Woken
from tocsin.job.lead import lead
from tocsin.job.main import JobProcess

MakeJob = Callable[..., Job]
Event = tuple[str, Any]

T = 1_800_000_000  # a whole minute
LEAD = lead("sla-check")
LATENCY = 0.0001  # seconds that a timer is late
GIVE_UP = 5000  # rounds after which a history is endless


class World:
    """Plays the wall clock, the parent and the ledger; keeps what it is told."""

    def __init__(self, job: Job, beginning: Beginning, start: float, events: list[tuple[float, Event]]) -> None:
        self.job = job
        self.wall = start  # what the clock shows
        self.real = 0.0  # seconds that have really passed
        self.events = [(at, order, event) for order, (at, event) in enumerate(events)]
        heapq.heapify(self.events)
        self._order = itertools.count(len(events))
        a, b = channels.pair()
        self.parent: Channel[ToJob, FromJob] = Channel(a, decode_from_job, blocking=False)
        self.child: Channel[FromJob, ToJob] = Channel(b, decode_to_job, blocking=True)
        self.ledger: Literal["grant", "deny", "silent"] = "grant"
        self.lease: float | None = None  # seconds from a grant to its end; None: it has none
        self.reason: NotRunReason | None = None  # of a denial
        self.answer_after = 0.0
        self.call_takes = 0.0
        self.connect_takes = 0.0  # between the instant and the send
        self.granted: set[tuple[float, int]] = set()
        self.said: list[Message] = []
        self.armed: Ask | None = None
        self.armed_at = 0.0
        self.fired_at = 0.0
        self.sends = True  # what is armed, at the instant
        self.called: list[tuple[Ask, float]] = []  # and the wall clock at the call
        self.rested: list[bool] = []
        self.rests: list[float] = []
        self.process = JobProcess(job, self.child, beginning, self, self)  # type: ignore[arg-type]

    # ---- as the clock

    def now(self) -> float:
        return self.wall

    def wait(self, until: float, _channel: Readable, _line: Readable | None = None) -> Woken:
        while True:
            self._hear()
            while self.events and self.events[0][0] <= self.real:  # when both are there, the message is told first
                if self._next_event() == "step":
                    return "stepped"
            if self.parent_spoke():
                return "message"
            if until <= self.wall:
                return "due"
            if self.events and self.events[0][0] <= self.real + (until - self.wall):
                if self._next_event() == "step":
                    return "stepped"
            else:
                self._pass(until - self.wall + LATENCY)
                return "due"

    def parent_spoke(self) -> bool:
        return bool(select.select([self.child], [], [], 0)[0])

    def _pass(self, seconds: float) -> None:
        self.real += seconds
        self.wall += seconds

    def _next_event(self) -> str:
        at, _, (kind, value) = heapq.heappop(self.events)
        self._pass(max(0.0, at - self.real))
        match kind:
            case "step":
                self.wall += value
            case "suspend":  # timers stand still, and find out when the machine wakes
                self._pass(value)
            case "send":
                self.parent.send(value)
            case _:
                setattr(self, kind, value)
        return kind

    # ---- as parent and ledger

    def _hear(self) -> None:
        for message in self.parent.waiting(10_000):
            self.said.append(message)
            if isinstance(message, Ask) and self.ledger != "silent":
                self._answer(message)

    def _answer(self, ask: Ask) -> None:
        slot = (ask.due, ask.attempt)
        answer: Grant | Deny
        if self.ledger == "deny" or (slot in self.granted and self.lease is None):
            answer = Deny(ask.job, ask.due, ask.attempt, "the slot is already finished", self.reason)
        else:
            self.granted.add(slot)
            until = None if self.lease is None else self.real + self.lease
            answer = Grant(ask.job, ask.due, ask.attempt, until)
        heapq.heappush(self.events, (self.real + self.answer_after, next(self._order), ("send", answer)))

    # ---- as the endpoint

    lead = 0.05

    def prepare(self, _until: float) -> None:
        assert self.armed is None

    def arm(self, ask: Ask, until: float) -> None:
        assert self.armed is None
        assert until < ask.due
        self.armed, self.armed_at = ask, self.wall

    line = None

    def look(self, _ask: Ask, _until: float) -> None:
        raise AssertionError("nothing was said on the line")

    def disarm(self) -> None:
        self.armed = None

    def fire(self) -> bool:
        self.fired_at = self.wall
        return self.sends

    def call(self, ask: Ask, until: float, rest: Callable[[float], bool], may: Callable[[], bool]) -> Finished:
        self._hear()
        self._pass(self.connect_takes)
        if not may():
            raise NotSent
        assert (ask.due, ask.attempt) in self.granted, "no committed start, no call"
        assert self.armed == ask
        self.armed = None
        self.called.append((ask, self.fired_at))
        started = self.wall
        assert until > ask.due
        for seconds in self.rests:
            self.rested.append(rest(seconds))
        end = self.real + self.call_takes
        while self.events and self.events[0][0] <= end:
            self._next_event()
        self._pass(max(0.0, end - self.real))
        return Finished(
            ask.job, ask.due, ask.run_id, ask.trigger, ask.attempt, "success", started=started, finished=self.wall
        )

    # ---- the history

    def run(self, until: float) -> "World":
        """Until the wall clock shows it, then Stop."""
        stop_at = self.real + (until - self.wall) - sum(e[1] for _, _, e in self.events if e[0] == "step")
        heapq.heappush(self.events, (stop_at, next(self._order), ("send", Stop())))
        for _ in range(GIVE_UP):
            if self.process.orders.stopping:
                break
            self.process.step()
        else:
            pytest.fail("an endless history")
        self._hear()
        return self

    @property
    def runs(self) -> list[float]:
        return [round(one.due - T, 3) for one in self.said if isinstance(one, Finished)]

    @property
    def skips(self) -> list[tuple[float, float, int, str]]:
        return [(one.first - T, one.last - T, one.count, one.reason) for one in self.said if isinstance(one, Skipped)]

    @property
    def why(self) -> list[str]:
        return [one.detail for one in self.said if isinstance(one, Skipped)]

    @property
    def asks(self) -> list[Ask]:
        return [one for one in self.said if isinstance(one, Ask)]


Make = Callable[..., World]


def send(message: Message) -> Event:
    return "send", message


def fates(world: World) -> None:
    """Every due slot that has passed ended in exactly one of run, skipped, missed (or was another's)."""
    schedule = world.job.schedule
    found: dict[int, list[str]] = {}
    ended: set[float] = set()
    denied = {ask.due for ask in world.asks} - {due for due, _ in world.granted}
    for message in world.said:
        match message:
            case Finished(due=due, trigger=trigger):
                ended.add(due)
                if trigger != "manual":
                    found.setdefault(int(due), []).append("run")
            case Skipped(first=first, last=last, count=count, reason=reason):
                if first != int(first):
                    assert (first, count) == (last, 1), "a manual run"
                    ended.add(first)
                    continue
                due = schedule.next_due(int(first) - 1)
                slots = 0
                while due <= last:
                    found.setdefault(int(due), []).append(reason)
                    ended.add(float(due))
                    slots += 1
                    due = schedule.next_due(int(due))
                assert slots == count, message
                assert first in found
                assert last in found
            case Release(due=due):
                assert message is world.said[-1], "it hands a slot back when it stops"
                assert due not in ended
                ended.add(due)
                denied.add(due)
    for ask in world.asks:
        assert ask.due in ended or ask.due in denied, f"asked and never ended: {ask}"
    slots_with_fate = sorted({*found, *(int(due) for due in denied if due == int(due) and due not in ended)})
    assert all(len(fate) == 1 for fate in found.values()), {
        due - T: fate for due, fate in found.items() if len(fate) > 1
    }
    if slots_with_fate:
        due = slots_with_fate[0]
        walked = []
        while due <= slots_with_fate[-1]:
            walked.append(due)
            due = schedule.next_due(due)
        assert walked == slots_with_fate, "no slot between them is without a fate"
