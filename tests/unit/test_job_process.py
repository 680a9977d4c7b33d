"""Histories of a job's process: what the world does to it, and the fate of every slot.

The world is its clock, its parent and its ledger in one. Time passes only when the process waits or calls;
events happen at their moment of *real* time, while the wall clock may be set or the machine suspended.
"""

import heapq
import itertools
import select
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin import channel as channels
from tocsin import linux
from tocsin.channel import Channel
from tocsin.config import Job
from tocsin.job.clock import Readable, Woken
from tocsin.job.main import LEADS, JobProcess, lead
from tocsin.messages import (
    Ask,
    Beginning,
    Deny,
    Finished,
    Fire,
    Grant,
    Message,
    Pause,
    Release,
    Skipped,
    Sleeping,
    Stop,
    scheduled_run_id,
)
from tocsin.schedule import Schedule

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
        self.parent = Channel(a, blocking=False)
        self.child = Channel(b, blocking=True)
        self.ledger: Literal["grant", "deny", "silent"] = "grant"
        self.answer_after = 0.0
        self.call_takes = 0.0
        self.granted: set[tuple[float, int]] = set()
        self.said: list[Message] = []
        self.armed: Ask | None = None
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
        if self.ledger == "deny" or slot in self.granted:
            answer = Deny(ask.job, ask.due, ask.attempt, "the slot is finished already")
        else:
            self.granted.add(slot)
            answer = Grant(ask.job, ask.due, ask.attempt)
        heapq.heappush(self.events, (self.real + self.answer_after, next(self._order), ("send", answer)))

    # ---- as the endpoint

    def arm(self, ask: Ask, until: float) -> None:
        assert self.armed is None
        assert until < ask.due
        self.armed = ask

    line = None

    def look(self, _ask: Ask, _until: float) -> None:
        raise AssertionError("nothing was said on the line")

    def disarm(self) -> None:
        self.armed = None

    def fire(self) -> bool:
        self.fired_at = self.wall
        return self.sends

    def call(self, ask: Ask, until: float, rest: Callable[[float], bool]) -> Finished:
        self._hear()
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
            if self.process.stopping:
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


@pytest.fixture
def world(make_job: MakeJob) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(
        *events: tuple[float, Event], last: int = T, start: float = T + 5.0, paused: bool = False, **changes: Any
    ) -> World:
        again = changes.pop("again", None)
        one = World(make_job(**changes), Beginning(last, paused, "it was away", again), start, list(events))
        made.append(one)
        return one

    yield make
    for one in made:
        one.parent.close()
        one.child.close()


Make = Callable[..., World]


def send(message: Message) -> Event:
    return "send", message


# ---- on time


def test_every_slot_runs_on_time(world: Make) -> None:
    one = world().run(T + 185)
    assert one.runs == [60, 120, 180]
    assert one.skips == []
    for ask, at in one.called:
        assert 0 <= at - ask.due <= 2 * LATENCY
        assert ask.run_id == scheduled_run_id("sla-check", ask.due)
        assert (ask.trigger, ask.attempt) == ("schedule", 0)


def test_it_says_when_it_is_due_next_once(world: Make) -> None:
    one = world((10, send(Pause("sla-check", False)))).run(T + 125)
    assert [m.due - T for m in one.said if isinstance(m, Sleeping)] == [60]
    assert [m.next_due - T for m in one.said if isinstance(m, Finished) and m.next_due] == [120, 180]


def test_it_asks_ahead_of_the_instant_and_calls_at_it(world: Make) -> None:
    one = world((0, ("answer_after", LEAD / 2))).run(T + 65)
    order = [type(message).__name__ for message in one.said]
    assert order == ["Sleeping", "Ask", "Finished"]
    assert one.runs == [60]


def test_a_slow_ledger_makes_the_call_late_not_lost(world: Make) -> None:
    one = world((0, ("answer_after", 7.0))).run(T + 100)
    assert one.runs == [60]
    assert one.called[0][1] - T == pytest.approx(60 + 7 - LEAD, abs=0.01)


# ---- late


def test_after_downtime_the_latest_within_grace_runs(world: Make) -> None:
    one = world(last=T - 600).run(T + 65)
    assert one.skips == [(-540, -60, 9, "missed")]
    assert one.why == ["it was away"]
    assert one.runs == [0, 60]
    assert [ask.trigger for ask in one.asks] == ["catch-up", "schedule"]


def test_after_downtime_none(world: Make) -> None:
    one = world(last=T - 600, catch_up="none").run(T + 65)
    assert one.skips == [(-540, 0, 10, "missed")]
    assert one.runs == [60]


def test_none_means_downtime_alone(world: Make) -> None:
    """A slot that a suspension of the machine has made late may still run within grace."""
    one = world((50, ("suspend", 30)), catch_up="none").run(T + 125)
    assert one.runs == [60, 120]


def test_after_downtime_all_within_grace_in_turn(world: Make) -> None:
    one = world(last=T - 600, catch_up="all", grace=300.0).run(T + 65)
    assert one.skips == [(-540, -300, 5, "missed")]
    assert one.runs == [-240, -180, -120, -60, 0, 60]
    assert [ask.trigger for ask in one.asks] == [*["catch-up"] * 5, "schedule"]


def test_all_that_are_caught_up_with_slowly_leave_nothing_out(world: Make) -> None:
    one = world((0, ("call_takes", 45.0)), last=T - 600, catch_up="all", grace=300.0).run(T + 600)
    fates(one)
    assert one.runs[:3] == [-240, -180, -120]


def test_beyond_grace_after_downtime(world: Make) -> None:
    one = world(start=T + 95, grace=30.0).run(T + 125)
    assert one.skips == [(60, 60, 1, "missed")]
    assert one.runs == [120]


def test_a_suspension_within_grace(world: Make) -> None:
    one = world((50, ("suspend", 40))).run(T + 125)
    assert one.runs == [60, 120]
    assert one.called[0][1] == pytest.approx(T + 95, abs=0.01)


def test_a_suspension_beyond_grace(world: Make) -> None:
    one = world((50, ("suspend", 3600))).run(T + 3740)
    fates(one)
    assert one.runs == [3600, 3660, 3720]
    assert sum(count for *_, count, reason in one.skips if reason == "missed") == 59


def test_a_suspension_between_ask_and_grant_does_not_call_late(world: Make) -> None:
    for last, start in ((T, T + 5.0), (T - 600, T + 5.0)):  # a slot on time, and one caught up with
        one = world(last=last, start=start)
        one.answer_after = 0.1
        moment = (60 - LEAD - 5 if last == T else 0) + 0.05
        heapq.heappush(one.events, (moment, -1, ("suspend", 3600)))
        one.run(T + 3900)
        fates(one)
        assert all(at - ask.due <= one.job.grace + LEAD for ask, at in one.called)


# ---- the clock is set


@pytest.mark.parametrize("seconds", [3600, 86400, 366 * 86400])
def test_forward(world: Make, seconds: int) -> None:
    one = world((30, ("step", seconds))).run(T + seconds + 130)
    assert one.runs == [seconds, seconds + 60, seconds + 120]
    assert one.skips == [(60, seconds - 60, seconds // 60 - 1, "missed")]
    assert one.why == ["the clock was set forward"]


def test_forward_within_grace(world: Make) -> None:
    one = world((50, ("step", 20))).run(T + 125)
    assert one.runs == [60, 120]
    assert one.called[0][1] == pytest.approx(T + 75, abs=0.01)


@pytest.mark.parametrize("seconds", [1, 90, 3600, 10_000])
def test_backward_never_fires_an_instant_twice(world: Make, seconds: int) -> None:
    one = world((130, ("step", -seconds))).run(T + 250)
    fates(one)
    assert one.runs == [60, 120, 180, 240]


def test_so_far_back_that_it_must_have_been_wrong(world: Make) -> None:
    """Then it goes on from now; what ran before is denied by the ledger."""
    one = world((0, ("step", 86400)), (100, ("step", -86400))).run(T + 250)
    assert len(one.runs) == len(set(one.runs))
    assert [due for due in one.runs if due < 1000] == [120, 180, 240]
    assert [due for due in one.runs if due > 1000] == [86400, 86460]


def test_backward_while_paused_so_far_that_it_must_have_been_wrong(world: Make) -> None:
    one = world((0, ("step", 86400)), (100, ("step", -86400)), paused=True).run(T + 250)
    assert one.runs == []
    assert (120, 120, 1, "paused") in one.skips
    assert (240, 240, 1, "paused") in one.skips


def test_between_ask_and_due(world: Make) -> None:
    """Set back by a minute with the grant in hand: the slot is missed, since its deadline runs by another clock."""
    one = world((54.9, ("step", -60))).run(T + 125)
    fates(one)
    assert one.runs == [120]
    assert one.skips == [(60, 60, 1, "missed")]


# ---- overlap


def test_slots_that_come_due_while_the_call_runs_are_skipped(world: Make) -> None:
    one = world((0, ("call_takes", 150.0)), (70, ("call_takes", 0.0))).run(T + 305)
    assert one.runs[:1] == [60]
    assert one.skips[:1] == [(120, 180, 2, "overlap")]
    assert one.runs[1] == 240
    fates(one)


def test_a_call_that_ends_in_time_skips_nothing(world: Make) -> None:
    one = world((0, ("call_takes", 59.0))).run(T + 190)
    assert one.skips == []
    assert one.runs == [60, 120, 180]


def test_a_manual_run_overlaps_too(world: Make) -> None:
    fire = Fire(T + 50.123, "manual-run")
    one = world((45, send(fire)), (45, ("call_takes", 30.0)), (56, ("call_takes", 0.0))).run(T + 125)
    assert one.runs == [50.123, 120]
    assert one.skips == [(60, 60, 1, "overlap")]
    assert (one.asks[0].trigger, one.asks[0].run_id) == ("manual", "manual-run")
    fates(one)


# ---- pause, fire, deny, silence


def test_pause_and_resume(world: Make) -> None:
    one = world((30, send(Pause("sla-check", True))), (130, send(Pause("sla-check", False)))).run(T + 185)
    assert one.skips == [(60, 60, 1, "paused"), (120, 120, 1, "paused")]
    assert one.runs == [180]


def test_paused_from_the_start(world: Make) -> None:
    one = world(paused=True, last=T - 120).run(T + 65)
    assert one.runs == []
    fates(one)


def test_a_pause_a_moment_before_the_slot_counts(world: Make) -> None:
    one = world((54.74, send(Pause("sla-check", True))), (54.99, send(Pause("sla-check", False)))).run(T + 65)
    assert one.runs == [60]
    fates(one)


def test_a_manual_run_also_while_paused(world: Make) -> None:
    one = world((20, send(Fire(T + 25.123, "r"))), paused=True).run(T + 65)
    assert one.runs == [25.123]
    assert one.skips == [(60, 60, 1, "paused")]


def test_a_manual_run_leaves_the_schedule_alone(world: Make) -> None:
    one = world((20, send(Fire(T + 25.123, "r")))).run(T + 125)
    assert one.runs == [25.123, 60, 120]


def test_a_manual_run_that_was_not_called_leaves_the_slots_before_it(world: Make) -> None:
    """Slots still to be caught up with must not pass for accounted for."""
    one = world((0, ("call_takes", 3.0)), last=T - 600, catch_up="all", grace=300.0)
    heapq.heappush(one.events, (2.0, -3, send(Fire(T + 7.123, "r"))))
    heapq.heappush(one.events, (2.5, -2, ("ledger", "silent")))
    heapq.heappush(one.events, (20.0, -1, ("ledger", "grant")))
    one.run(T + 100)
    assert (7.123, 7.123, 1, "missed") in [(round(first, 3), round(last, 3), *rest) for first, last, *rest in one.skips]
    fates(one)


def test_a_denied_slot_is_not_called_and_not_reported(world: Make) -> None:
    one = world((0, ("ledger", "deny")), (70, ("ledger", "grant"))).run(T + 125)
    assert [ask.due - T for ask in one.asks] == [60, 120]
    assert one.runs == [120]
    assert one.skips == []


def test_a_silent_ledger_makes_slots_missed_until_it_speaks(world: Make) -> None:
    one = world((0, ("ledger", "silent")), (130, ("ledger", "grant"))).run(T + 245)
    fates(one)
    assert one.skips[:1] == [(60, 60, 1, "missed")]
    assert one.why[0] == "the ledger did not answer in time"
    assert one.runs[-1] == 240


def test_a_late_answer_to_an_old_question_is_none_to_a_new_one(world: Make) -> None:
    one = world((0, ("ledger", "silent")), (116, send(Grant("sla-check", T + 60.0)))).run(T + 150)
    assert one.runs == []
    assert one.called == []


def test_a_short_grace_still_gives_the_ledger_a_moment(world: Make) -> None:
    one = world((0, ("answer_after", 0.3)), grace=0.5).run(T + 65)
    assert one.runs == [60]


def test_an_unexpected_message_is_passed_over(world: Make) -> None:
    one = world((10, send(Sleeping("sla-check", 1.0))), (11, send(Grant("sla-check", T + 60.0)))).run(T + 65)
    assert one.runs == [60]


# ---- stop


def test_stop_while_asleep(world: Make) -> None:
    one = world().run(T + 30)
    assert one.runs == []
    assert one.skips == []
    assert one.asks == []


def test_stop_between_ask_and_grant(world: Make) -> None:
    one = world((0, ("ledger", "silent"))).run(T + 60 - LEAD / 2)
    assert one.said[-1] == Release("sla-check", T + 60, 0, "")
    assert (one.skips, one.called, one.armed) == ([], [], None)


def test_stop_between_grant_and_due(world: Make) -> None:
    one = world().run(T + 60 - LEAD / 2)
    assert one.granted
    assert one.said[-1] == Release("sla-check", T + 60, 0, "")
    assert (one.skips, one.called, one.armed) == ([], [], None)


def test_stop_while_the_call_runs(world: Make) -> None:
    """It finishes the call, reports it, and starts nothing more."""
    one = world((0, ("call_takes", 30.0))).run(T + 65)
    assert one.runs == [60]
    assert len(one.asks) == 1


def test_stop_in_a_rest_between_attempts(world: Make) -> None:
    one = world()
    one.rests = [1.0, 2.0, 60.0]
    one.run(T + 70)
    assert one.rested == [True, True, False]
    assert one.runs == [60]


def test_a_rest_is_as_long_as_it_should_be(world: Make) -> None:
    one = world((56, send(Pause("sla-check", False))))
    one.rests = [10.0]
    one.run(T + 75)
    assert one.rested == [True]
    assert one.wall >= T + 70


# ---- once more


def test_a_lost_run_is_delivered_again_before_anything_else(world: Make) -> None:
    again = Ask("sla-check", T + 0.0, scheduled_run_id("sla-check", T), "schedule", 1)
    one = world(again=again).run(T + 65)
    first = one.asks[0]
    assert (first.due - T, first.attempt, first.run_id) == (0, 1, again.run_id)
    assert one.runs == [0, 60]


# ---- every slot has one fate


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


gaps = st.floats(0, 200)
kinds: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.just("step"), st.sampled_from([0.5, 30.0, 61.0, 3600.0, 40_000.0])),
    st.tuples(st.just("step"), st.sampled_from([-0.5, -30.0, -61.0, -900.0])),
    st.tuples(st.just("suspend"), st.sampled_from([0.1, 30.0, 90.0, 3600.0])),
    st.tuples(st.just("ledger"), st.sampled_from(["grant", "grant", "deny", "silent"])),
    st.tuples(st.just("answer_after"), st.sampled_from([0.0, 0.1, 0.3, 5.0, 70.0])),
    st.tuples(st.just("call_takes"), st.sampled_from([0.0, 0.1, 30.0, 100.0])),
    st.tuples(st.just("send"), st.builds(Pause, st.just("sla-check"), st.booleans())),
    st.tuples(st.just("fire"), st.none()),
)


@settings(max_examples=250)
@given(
    st.lists(st.tuples(gaps, kinds), max_size=10),
    st.sampled_from(["* * * * *", "*/20 * * * * *", "@every 7s", "0 * * * *"]),
    st.sampled_from([0.0, 0.5, 20.0, 60.0, 4000.0]),
    st.sampled_from(["last", "all", "none"]),
    st.integers(0, 4000),
    st.booleans(),
)
def test_any_history_gives_every_slot_one_fate(
    make_job: MakeJob,
    drawn: list[tuple[float, Event]],
    expression: str,
    grace: float,
    catch_up: Literal["last", "all", "none"],
    down: int,
    paused: bool,
) -> None:
    """Steps back add up to less than three hours: beyond, the clock counts as wrong, and only runs are unique."""
    events: list[tuple[float, Event]] = []
    at = 0.0
    for number, (gap, (kind, value)) in enumerate(drawn):
        at += gap
        if kind == "fire":
            kind, value = "send", Fire(T + round(at, 0) + 0.001 * (number + 1), f"manual-{number}")
        events.append((at, (kind, value)))
    job = make_job(schedule=Schedule(expression), grace=grace, catch_up=catch_up)
    last = job.schedule.next_due(T - down) - 1
    one = World(job, Beginning(last, paused, "it was away"), T + 5.0, events)
    try:
        heapq.heappush(one.events, (at + 300, 10_000, ("send", Stop())))
        for _ in range(GIVE_UP):
            if one.process.stopping:
                break
            one.process.step()
        one._hear()
        assert one.process.stopping
        fates(one)
        runs = [ask.due for ask, _ in one.called]
        assert len(runs) == len(set(runs)), "never an instant twice"
        for ask, called_at in one.called:
            if ask.trigger != "manual":
                assert ask.due <= called_at <= ask.due + grace + LEAD + LATENCY
                assert job.schedule.next_due(int(ask.due) - 1) == ask.due
    finally:
        one.parent.close()
        one.child.close()


@given(st.text(min_size=1))
def test_every_job_has_its_lead_and_always_the_same(name: str) -> None:
    assert lead(name) in LEADS
    assert lead(name) == lead(name)


def test_a_thousand_jobs_do_not_ask_all_at_once() -> None:
    leads = [lead(f"job-{number}") for number in range(1000)]
    assert all(200 < leads.count(one) < 300 for one in LEADS)
    assert all(one % 1 for one in LEADS), "on a whole second other jobs fire"


@pytest.mark.parametrize("sends", [True, False])
def test_only_who_has_sent_gives_way_to_who_has_not(world: Make, monkeypatch: pytest.MonkeyPatch, sends: bool) -> None:
    ways: list[bool] = []
    monkeypatch.setattr(linux, "give_way", ways.append)
    one = world()
    one.process.gives_way, one.sends = True, sends
    while not one.called:
        one.process.step()
    assert ways == ([False, True] if sends else [False])
    one.process.step()
    assert ways == ([False, True, False, True] if sends else [False, False])  # no longer, before it sleeps again
