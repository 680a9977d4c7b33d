"""The life of a child, whatever happens in whatever order."""

import signal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from child_events import ASK, CRASH, DUE, GRANT, JOB, KILLED, LONGEST, NOW, OK, WALL, asked, granted, start, told
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Release, Skipped
from tocsin.parent import lifecycle
from tocsin.parent.lifecycle import BACKOFF, KILL_GRACE, Child, ExitStatus, Fork, Gone, Kill, Record, Send, Step

pytestmark = pytest.mark.slow


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
