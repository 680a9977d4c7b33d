"""The life of a child, as histories and as any sequence of events at all."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tocsin.messages import CANCEL, Ask, Deny, Finished, Grant, ProcessExited, Release, Skipped, Stop
from tocsin.parent import lifecycle
from tocsin.parent.lifecycle import (
    BACKOFF,
    CANCEL_GRACE,
    KILL_GRACE,
    STEADY,
    Action,
    Child,
    ExitStatus,
    Fork,
    Gone,
    Kill,
    Record,
    Send,
    Slot,
    Step,
    Tell,
)

NOW = 1000.0
WALL = 1_800_000_000.0
DUE = 1_800_000_000.0
LONGEST = 300.0
ASK = Ask("a", DUE, "run", owner="session/1")
MANUAL = Ask("a", DUE + 0.5, "manual-run", "manual", owner="session/1")
GRANT = Grant("a", DUE)
RUN = Finished("a", DUE, "run", "schedule", 0, "success")
MISSED = Skipped("a", DUE, DUE, 1, "missed", "why")
OK, CRASH, KILLED = ExitStatus(code=0), ExitStatus(code=70), ExitStatus(signal=signal.SIGKILL)

Happening = Callable[[Child], Step]


def told(child: Child, *happenings: Happening) -> tuple[Child, list[Action]]:
    """The child after all of it, and what the last of it asked for."""
    actions: list[Action] = []
    for happening in happenings:
        child, actions = happening(child)
    return child, actions


def start(child: Child) -> Step:
    return lifecycle.start(child, NOW)


def asked(child: Child) -> Step:
    return lifecycle.asked(child, ASK)


def granted(child: Child) -> Step:
    return lifecycle.answered(child, GRANT, NOW + 1, 0.0, LONGEST)


def denied(child: Child) -> Step:
    return lifecycle.answered(child, Deny("a", DUE, 0, "taken"), NOW + 1, 0.0, LONGEST)


def finished(child: Child) -> Step:
    return lifecycle.finished(child, RUN)


def skipped(child: Child) -> Step:
    return lifecycle.skipped(child, MISSED)


def exited(status: ExitStatus, after: float = 10.0) -> Happening:
    return lambda child: lifecycle.exited(child, status, NOW + after, WALL)


def stop(drain: float | None) -> Happening:
    return lambda child: lifecycle.stop(child, NOW + 5, drain)


def timer(child: Child) -> Step:
    return lifecycle.timer(child, NOW + 500)


def hurry(child: Child) -> Step:
    return lifecycle.hurry(child, NOW + 6)


JOB = Child("job", "a")


def test_a_run_from_beginning_to_end() -> None:
    child, actions = told(JOB, start)
    assert (child.state, child.started, actions) == ("up", NOW, [Fork()])
    child, actions = told(child, asked)
    assert (child.slot, actions) == (Slot(ASK), [Record(ASK)])
    child, actions = told(child, granted)
    assert (child.slot, actions) == (Slot(ASK, granted=True, calls=NOW + 1), [Send(GRANT)])
    assert child.wake == NOW + 1 + LONGEST + KILL_GRACE
    child, actions = told(child, finished)
    assert (child.state, child.slot, child.wake, actions) == ("up", None, None, [Record(RUN)])


def test_a_denied_slot() -> None:
    child, actions = told(JOB, start, asked, denied)
    assert (child.slot, child.wake, actions) == (None, None, [Send(Deny("a", DUE, 0, "taken"))])


@pytest.mark.parametrize("before", [[start, asked], [start, asked, granted]])
def test_a_slot_that_the_job_lets_pass(before: list[Happening]) -> None:
    child, actions = told(JOB, *before, skipped)
    assert (child.slot, child.wake, actions) == (None, None, [Record(MISSED)])


def test_other_slots_that_pass_leave_the_one_it_holds() -> None:
    other = Skipped("a", DUE - 120, DUE - 60, 2, "overlap")
    child, actions = told(JOB, start, asked, lambda one: lifecycle.skipped(one, other))
    assert (child.slot, actions) == (Slot(ASK), [Record(other)])


ANSWERS: list[tuple[list[Happening], Grant]] = [
    ([start], GRANT),
    ([start, asked, granted], GRANT),
    ([start, asked], Grant("a", DUE, 1)),
    ([start, asked], Grant("a", DUE + 60)),
    ([start, asked, skipped], GRANT),
    ([start, asked, exited(CRASH)], GRANT),
]


@pytest.mark.parametrize(("before", "answer"), ANSWERS)
def test_an_answer_that_nobody_waits_for_needs_nothing(before: list[Happening], answer: Grant) -> None:
    child, _ = told(JOB, *before)
    assert lifecycle.answered(child, answer, NOW, 0.0, LONGEST) == (child, [])


OUT_OF_STEP: list[tuple[list[Happening], Happening]] = [
    ([start, asked], asked),
    ([start, asked, granted], asked),
    ([start], finished),
    ([start, asked], finished),
    ([start, lambda one: lifecycle.asked(one, MANUAL), granted], finished),
]


@pytest.mark.parametrize(("before", "happening"), OUT_OF_STEP)
def test_a_child_that_is_out_of_step_is_killed(before: list[Happening], happening: Happening) -> None:
    child, _ = told(JOB, *before)
    assert happening(child) == (child, [Kill(signal.SIGKILL)])


# ---- death


def records(actions: list[Action]) -> list[Any]:
    return [action.body for action in actions if isinstance(action, Record)]


def reason(actions: list[Action]) -> str:
    (event,) = [action.event for action in actions if isinstance(action, Tell)]
    assert isinstance(event, ProcessExited)
    return event.reason


def test_death_between_grant_and_report_is_a_lost_run() -> None:
    child, actions = told(JOB, start, asked, granted, exited(KILLED))
    (run,) = records(actions)
    assert run == Finished("a", DUE, "run", "schedule", 0, "lost", run.detail, finished=WALL)
    assert "killed by SIGKILL" in run.detail
    assert (child.state, child.slot, reason(actions)) == ("backing_off", None, "signal")


def test_death_between_ask_and_grant_frees_the_slot() -> None:
    child, actions = told(JOB, start, asked, exited(CRASH))
    assert records(actions) == [Release("a", DUE, 0, "session/1")]
    assert (child.slot, reason(actions)) == (None, "error")


def test_death_before_a_manual_call_ends_it() -> None:
    _, actions = told(JOB, start, lambda one: lifecycle.asked(one, MANUAL), exited(CRASH))
    (ended,) = records(actions)
    assert (ended.first, ended.last, ended.count, ended.reason) == (MANUAL.due, MANUAL.due, 1, "missed")


def test_death_while_idle_records_nothing() -> None:
    _, actions = told(JOB, start, exited(OK))
    assert records(actions) == []
    assert reason(actions) == "clean"


def test_a_call_that_overstays_its_deadline_is_killed_and_timed_out() -> None:
    child, actions = told(JOB, start, asked, granted, timer)
    assert (child.overdue, actions) == (True, [Kill(signal.SIGKILL)])
    _, actions = told(child, exited(KILLED))
    (run,) = records(actions)
    assert (run.outcome, reason(actions)) == ("timeout", "deadline")


def test_a_report_in_the_last_moment_counts() -> None:
    child, actions = told(JOB, start, asked, granted, timer, finished)
    assert records(actions) == [RUN]
    _, actions = told(child, exited(KILLED))
    assert records(actions) == []


def test_the_next_process_does_not_inherit_the_deadline() -> None:
    child, _ = told(JOB, start, asked, granted, timer, exited(KILLED), timer)
    assert (child.state, child.overdue, child.wake) == ("up", False, None)
    _, actions = told(child, exited(KILLED))
    assert reason(actions) == "signal"


def test_exit_status_in_words() -> None:
    assert [str(status) for status in (OK, CRASH, KILLED)] == ["exit code 0", "exit code 70", "killed by SIGKILL"]


# ---- backoff


def test_the_backoff_grows_to_its_bound() -> None:
    waits = []
    child = JOB
    now = NOW
    for _ in range(30):
        child, _ = lifecycle.start(child, now)
        child, _ = lifecycle.exited(child, CRASH, now, WALL)
        assert child.wake is not None
        waits.append(child.wake - now)
        now = child.wake
        child, actions = lifecycle.timer(child, now)
        assert actions == [Fork()]
    assert waits[:3] == pytest.approx([0.1, 0.4, 1.6])
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(BACKOFF[1])


@pytest.mark.parametrize(("up", "failures"), [(STEADY - 0.1, 4), (STEADY, 1)])
def test_a_steady_process_makes_up_for_earlier_deaths(up: float, failures: int) -> None:
    child = Child("job", "a", failures=3)
    child, _ = told(child, start, exited(CRASH, after=up))
    assert child.failures == failures


# ---- stop


@pytest.mark.parametrize("before", [[], [start, exited(CRASH)]])
def test_what_does_not_live_is_gone_at_once(before: list[Happening]) -> None:
    child, _ = told(JOB, *before)
    child, actions = told(child, stop(30.0))
    assert (child.state, child.wake, actions) == ("stopped", None, [Gone()])
    assert told(child, start) == (child, []), "and does not come back"
    assert told(child, timer) == (child, [])


def test_an_idle_child_is_told_and_goes() -> None:
    child, actions = told(JOB, start, stop(30.0))
    assert (child.state, child.wake, actions) == ("stopping", NOW + 35, [Send(Stop())])
    child, actions = told(child, exited(OK))
    assert (child.state, child.wake, actions[-1]) == ("stopped", None, Gone())
    assert reason(actions) == "clean"


@pytest.mark.parametrize(
    ("before", "drain", "wake"),
    [
        ([start, asked, granted], 30.0, NOW + 35),
        ([start, asked, granted], 3000.0, NOW + 1 + LONGEST + KILL_GRACE),
        ([start, asked, granted], None, NOW + 1 + LONGEST + KILL_GRACE),
        ([start, asked], None, None),
        ([start], None, None),
    ],
)
def test_a_running_call_may_finish(before: list[Happening], drain: float | None, wake: float | None) -> None:
    child, actions = told(JOB, *before, stop(drain))
    assert (child.state, child.wake, actions) == ("stopping", wake, [Send(Stop())])


def test_a_grant_that_comes_after_stop_has_a_deadline_too() -> None:
    child, _ = told(JOB, start, asked, stop(None), granted)
    assert child.wake == NOW + 1 + LONGEST + KILL_GRACE
    child, _ = told(JOB, start, asked, stop(30.0), granted)
    assert child.wake == NOW + 35


def test_a_call_that_overstays_while_its_job_is_replaced_is_a_timeout() -> None:
    child, actions = told(JOB, start, asked, granted, stop(None))
    assert child.wake is not None
    over = child.wake
    child, actions = told(child, lambda child: lifecycle.timer(child, over))
    assert actions == [Kill(signal.SIGKILL)]
    child, actions = told(child, exited(KILLED))
    (run,) = records(actions)
    assert (run.outcome, reason(actions), actions[-1]) == ("timeout", "deadline", Gone())


def test_after_the_drain_cancel_then_kill() -> None:
    child, actions = told(JOB, start, asked, granted, stop(30.0), lambda child: lifecycle.timer(child, NOW + 35))
    assert (child.signalled, actions) == (CANCEL, [Kill(CANCEL)])
    assert child.wake == NOW + 35 + CANCEL_GRACE
    child, actions = told(child, lambda child: lifecycle.timer(child, NOW + 35 + CANCEL_GRACE))
    assert (child.wake, actions) == (None, [Kill(signal.SIGKILL)])
    child, actions = told(child, exited(KILLED))
    (run,) = records(actions)
    assert (run.outcome, reason(actions), actions[-1]) == ("cancelled", "clean", Gone())


def test_a_second_stop_shortens_the_drain_and_never_prolongs_it() -> None:
    child, _ = told(JOB, start, stop(30.0))
    assert told(child, stop(10.0))[0].wake == NOW + 15
    assert told(child, stop(60.0)) == (child, [])
    assert told(child, stop(None)) == (child, [])
    child, _ = told(JOB, start, stop(None))
    assert told(child, stop(10.0))[0].wake == NOW + 15


def test_hurrying_is_for_those_who_stop() -> None:
    child, _ = told(JOB, start)
    assert told(child, hurry) == (child, [])
    child, actions = told(child, stop(30.0), hurry)
    assert actions == [Kill(CANCEL)]
    child, actions = told(child, hurry)
    assert (child.wake, actions) == (None, [Kill(signal.SIGKILL)])
    assert told(child, hurry) == (child, [])


# ---- any sequence of events


class Life(RuleBasedStateMachine):
    """A child, and beside it what must be true of its world: is there a process, which grants are open."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.child = JOB
        self.alive = False  # there is a process
        self.gone = False
        self.due = DUE
        self.asks: list[Ask] = []
        self.open: dict[str, str] = {}  # run id -> asked, granted
        self.ended: dict[str, int] = {}
        self.deaths = 0

    @initialize(failures=st.integers(0, 20))
    def begin(self, failures: int) -> None:
        self.child = Child("job", "a", failures=failures)

    def do(self, step: Step) -> None:
        self.child, actions = step
        for action in actions:
            match action:
                case Fork():
                    assert not self.alive, "no second process beside the first"
                    assert not self.gone
                    self.alive = True
                case Send() | Kill():
                    assert self.alive, "nothing is sent to nobody"
                    if isinstance(action, Send) and isinstance(action.message, Grant):
                        self.open[self.asks[-1].run_id] = "granted"
                    if isinstance(action, Send) and isinstance(action.message, Deny):
                        self.end(self.asks[-1])
                case Record(Ask() as ask):
                    self.asks.append(ask)
                    self.open[ask.run_id] = "asked"
                case Record(Finished() as run):
                    assert self.open[run.run_id] == "granted", "no run without a grant"
                    self.end(run)
                case Record(Release() as free):
                    (ask,) = [one for one in self.asks if one.due == free.due]
                    assert self.open[ask.run_id] == "asked", "what may have been called is not free again"
                    self.end(ask)
                case Record(Skipped() as passed):
                    for ask in self.asks:
                        if passed.first <= ask.due <= passed.last and ask.run_id in self.open:
                            self.end(ask)
                case Gone():
                    assert not self.gone, "once"
                    self.gone = True

    def end(self, run: Ask | Finished) -> None:
        del self.open[run.run_id]
        self.ended[run.run_id] = self.ended.get(run.run_id, 0) + 1

    # what happens

    @rule()
    def turn(self) -> None:
        self.do(lifecycle.start(self.child, self.now))

    @rule(seconds=st.sampled_from([0.01, 1.0, 30.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """The loop calls `timer` at its moment, never before."""
        end = self.now + seconds
        while self.child.wake is not None and self.child.wake <= end:
            wake = self.child.wake
            self.now = max(self.now, wake)
            self.do(lifecycle.timer(self.child, self.now))
            assert self.child.wake is None or self.child.wake > wake, "a timer moves on"
        self.now = end

    @precondition(lambda self: self.alive)
    @rule(trigger=st.sampled_from(["schedule", "catch-up", "manual"]))
    def ask(self, trigger: Any) -> None:
        self.due += 60
        due = self.due + 0.5 if trigger == "manual" else self.due
        self.do(lifecycle.asked(self.child, Ask("a", due, f"run-{self.due}", trigger, owner="s/1")))

    @precondition(lambda self: self.asks)
    @rule(old=st.booleans(), yes=st.booleans())
    def ledger_answers(self, old: bool, yes: bool) -> None:
        ask = self.asks[0 if old else -1]
        answer = Grant("a", ask.due, ask.attempt) if yes else Deny("a", ask.due, ask.attempt, "taken")
        if self.child.slot is None or self.child.slot.ask.due != ask.due or self.child.slot.granted:
            assert lifecycle.answered(self.child, answer, self.now, 0.0, LONGEST) == (self.child, [])
        else:
            self.do(lifecycle.answered(self.child, answer, self.now, 0.0, LONGEST))

    @precondition(lambda self: self.alive and self.asks)
    @rule(old=st.booleans())
    def finish(self, old: bool) -> None:
        ask = self.asks[0 if old else -1]
        self.do(lifecycle.finished(self.child, Finished("a", ask.due, ask.run_id, ask.trigger, 0, "success")))

    @precondition(lambda self: self.alive)
    @rule(back=st.integers(0, 3), reason=st.sampled_from(["missed", "overlap", "paused"]))
    def skip(self, back: int, reason: Any) -> None:
        first = self.due - 60 * back
        self.do(lifecycle.skipped(self.child, Skipped("a", first, self.due, back + 1, reason)))

    @precondition(lambda self: self.alive)
    @rule(status=st.sampled_from([OK, CRASH, KILLED]))
    def exit(self, status: ExitStatus) -> None:
        self.alive = False
        self.do(lifecycle.exited(self.child, status, self.now, WALL))
        assert not self.open, "death ends what it held"
        if self.child.state == "backing_off":
            assert self.child.wake is not None
            assert BACKOFF[0] <= self.child.wake - self.now + 1e-6
            assert self.child.wake - self.now <= BACKOFF[1] + 1e-6

    @rule(drain=st.sampled_from([None, 0.0, 5.0, 30.0]))
    def stop(self, drain: float | None) -> None:
        self.do(lifecycle.stop(self.child, self.now, drain))

    @rule()
    def hurry(self) -> None:
        self.do(lifecycle.hurry(self.child, self.now))

    # what holds

    @invariant()
    def a_process_is_owned(self) -> None:
        assert self.alive == (self.child.state in ("up", "stopping"))
        assert self.gone == (self.child.state == "stopped")

    @invariant()
    def a_timer_is_for_the_living(self) -> None:
        if self.child.state in ("waiting", "stopped"):
            assert self.child.wake is None
        if self.child.state == "backing_off":
            assert self.child.wake is not None, "it would never come back"

    @invariant()
    def a_granted_call_has_an_end(self) -> None:
        slot = self.child.slot
        if slot and slot.granted:
            killed = self.child.overdue or self.child.signalled == signal.SIGKILL
            assert killed or self.child.wake is not None
            assert self.child.wake is None or self.child.wake <= self.now + LONGEST + KILL_GRACE

    @invariant()
    def it_holds_what_is_open(self) -> None:
        slot = self.child.slot
        held = {} if slot is None else {slot.ask.run_id: "granted" if slot.granted else "asked"}
        assert held == self.open
        assert all(times == 1 for times in self.ended.values())

    def teardown(self) -> None:
        """From wherever it stands, stop and time bring it to its end."""
        self.do(lifecycle.stop(self.child, self.now, 1.0))
        self.time_passes(1000.0)
        if self.alive:
            assert self.child.signalled == signal.SIGKILL
            self.exit(KILLED)
        assert self.child.state == "stopped"
        assert {ask.run_id for ask in self.asks} == set(self.ended)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40)


def test_a_child_that_dies_before_the_instant_gives_its_granted_slot_back() -> None:
    child, _ = told(JOB, start, asked)
    child, _ = lifecycle.answered(child, GRANT, NOW + 1, 2.0, LONGEST)
    child, actions = lifecycle.exited(child, KILLED, NOW + 2, DUE - 1.0)
    assert actions[0] == Record(Release(ASK.job, ASK.due, ASK.attempt, ASK.owner))


def test_a_clock_that_was_set_back_gives_no_slot_back() -> None:
    child, _ = told(JOB, start, asked)
    child, _ = lifecycle.answered(child, GRANT, NOW + 1, 2.0, LONGEST)
    child, actions = lifecycle.exited(child, KILLED, NOW + 3, DUE - 1.0)
    assert isinstance(actions[0], Record)
    assert isinstance(actions[0].body, Finished)
    assert actions[0].body.outcome == "lost"


def test_a_slot_that_the_job_hands_back_is_free_again() -> None:
    release = Release(ASK.job, ASK.due, ASK.attempt, "")
    for granted_too in (False, True):
        child, _ = told(JOB, start, asked, *[granted] * granted_too)
        child, actions = lifecycle.released(child, release)
        assert (child.slot, actions) == (None, [Record(Release(ASK.job, ASK.due, ASK.attempt, ASK.owner))])


def test_a_job_must_not_hand_back_what_it_does_not_hold() -> None:
    child, _ = told(JOB, start)
    assert lifecycle.released(child, Release(ASK.job, ASK.due, 0, ""))[1] == [Kill(signal.SIGKILL)]
