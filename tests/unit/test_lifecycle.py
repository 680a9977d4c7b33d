"""The life of a child, as histories."""

import signal
from typing import Any

import pytest

from child_events import (
    AGAIN,
    ASK,
    CRASH,
    DUE,
    GRANT,
    JOB,
    KILLED,
    LONGEST,
    MANUAL,
    MISSED,
    NOW,
    OK,
    RUN,
    WALL,
    Happening,
    asked,
    denied,
    exited,
    finished,
    granted,
    hurry,
    skipped,
    start,
    stop,
    timer,
    told,
)
from tocsin.ipc.exporter import ProcessExited
from tocsin.ipc.job import CANCEL, Deny, Finished, Grant, Release, Skipped, Stop
from tocsin.parent import lifecycle
from tocsin.parent.lifecycle import (
    BACKOFF,
    CANCEL_GRACE,
    KILL_GRACE,
    STEADY,
    Action,
    Child,
    Fork,
    Gone,
    Kill,
    Record,
    Send,
    Slot,
    Tell,
)

# ---- a run


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
    ([start, asked, granted], lambda one: lifecycle.asked(one, MANUAL)),
    ([start], lambda one: lifecycle.asked(one, AGAIN)),
    ([start, asked], lambda one: lifecycle.asked(one, AGAIN)),
    ([start], finished),
    ([start, asked], finished),
    ([start, lambda one: lifecycle.asked(one, MANUAL), granted], finished),
]


@pytest.mark.parametrize(("before", "happening"), OUT_OF_STEP)
def test_a_child_that_is_out_of_step_is_killed(before: list[Happening], happening: Happening) -> None:
    child, _ = told(JOB, *before)
    assert happening(child) == (child, [Kill(signal.SIGKILL)])


def test_a_grant_that_has_ended_is_asked_for_again() -> None:
    child, actions = told(JOB, start, asked, granted, asked)
    assert child.slot == Slot(ASK)
    assert actions == [Record(ASK)]
    _, actions = told(child, exited(CRASH))
    assert isinstance(actions[0], Record)
    assert isinstance(actions[0].body, Release), "it was not called"
    child, actions = told(child, granted)
    assert child.slot
    assert child.slot.granted
    assert actions == [Send(GRANT)]


@pytest.mark.parametrize("answer", [granted, denied])
def test_a_request_that_went_out_is_asked_for_again(answer: Happening) -> None:
    """Whatever the answer, its run ends in what the job reports."""
    child, actions = told(JOB, start, asked, granted, lambda one: lifecycle.asked(one, AGAIN))
    assert actions == [Record(AGAIN)]
    _, died = told(child, exited(CRASH))
    assert isinstance(died[0], Record)
    assert isinstance(died[0].body, Finished), "it may have been called"
    child, actions = told(child, answer)
    assert len(actions) == 1
    assert told(child, finished)[1] == [Record(RUN)]


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
