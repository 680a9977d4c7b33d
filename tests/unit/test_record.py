"""What an event means for a job: the one rule, and that ledger, parent and exporter follow it to the same record."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_rig import Ledger, T, ask, finished
from tocsin.config import Job
from tocsin.ipc import record as records
from tocsin.ipc import status
from tocsin.ipc.job import Ask, Finished, Pause, Release, Skipped
from tocsin.ipc.ledger import Body, Enroll, JobHistory
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import OUTCOMES, Outcome
from tocsin.parent import statuses
from tocsin.parent.jobs import SupervisedJob

DAY = 86400
NEW = JobRecord(T, T)


@pytest.mark.parametrize(
    ("event", "accounted"),
    [
        (ask(T + 60), T + 60),
        (ask(T - 60), T),
        (ask(T + 60.5, trigger="manual"), T),
        (ask(T + 60, trigger="catch-up"), T + 60),
        (Skipped("a", T + 60, T + 180, 3, "missed"), T + 180),
        (Skipped("a", T - 60, T - 60, 1, "overlap"), T),
        (Skipped("a", T + 60.5, T + 60.5, 1, "missed", "", "manual"), T),
        (Release("a", T, 0, "s1/1"), T - 1),
        (Release("a", T + 60, 0, "s1/1"), T),
        (Release("a", T, 1, "s1/1"), T),
        (finished(T + 60), T),
    ],
)
def test_up_to_where_slots_have_a_fate(event: Ask | Finished | Skipped | Release, accounted: int) -> None:
    assert records.after(NEW, event).accounted == accounted


def test_a_clock_that_stood_ahead_is_followed_back() -> None:
    ahead = JobRecord(T + DAY, T)
    for says_nothing in (ask(T, attempt=1), ask(T + DAY - 3 * 3600)):  # a redelivery; daylight saving time ends
        assert records.after(ahead, says_nothing) == ahead
    assert records.after(ahead, ask(T)).accounted == T


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_run_counts(outcome: Outcome) -> None:
    before = JobRecord(T, T, last_success=T - 60.0, consecutive_failures=2)
    after = records.after(before, finished(T, outcome))
    assert (after.last_outcome, after.last_detail, after.last_run) == (outcome, f"it was {outcome}", T + 1)
    assert after.last_success == (T + 1 if outcome == "success" else T - 60)
    assert after.consecutive_failures == {"success": 0, "cancelled": 2}.get(outcome, 3)


def test_a_pause_counts_from_its_end() -> None:
    paused = records.after(NEW, Pause("a", True, T + 60.0))
    assert paused == JobRecord(T, T, paused=True)
    assert records.after(paused, Pause("a", True, T + 120.0)) == paused
    resumed = records.after(paused, Pause("a", False, T + 180.0))
    assert resumed == JobRecord(T, T + 180.0)
    assert records.after(resumed, Pause("a", False, T + 240.0)) == resumed


def test_a_job_that_is_named_again() -> None:
    assert records.enrolled(None, T + 0.9, same_schedule=False) == NEW
    assert records.enrolled(NEW, T + 60.5, same_schedule=True) is NEW
    assert records.enrolled(JobRecord(T, T + DAY), T + 60.5, same_schedule=True) == JobRecord(T, T + 60)
    assert records.enrolled(NEW, T + 60.5, same_schedule=False) == JobRecord(T + 60, T + 60)


# ---- any history of a job

STEPS = ("run", "manual", "not called", "released", "withdrawn", "passed", "pause", "resume", "lost twice", "set back")


def told(steps: list[tuple[str, Outcome]]) -> Iterator[list[Body]]:
    """What the parent puts for each step: an asked slot is one that nobody has, and is granted."""
    due = T
    for number, (step, outcome) in enumerate(steps):
        due += 60
        match step:
            case "run":
                yield [ask(due), finished(due, outcome, at=due + 1.5)]
            case "manual":
                run = Finished("a", due + 0.5, "r", "manual", 0, outcome, finished=due + 2.5)
                yield [ask(due + 0.5, trigger="manual"), run]
            case "not called":
                yield [
                    ask(due + 0.5, trigger="manual"),
                    Skipped("a", due + 0.5, due + 0.5, 1, "missed", "", "manual"),
                ]
            case "released":
                yield [ask(due), Release("a", due, 0, "s1/1")]
            case "withdrawn":
                yield [ask(due), Skipped("a", due, due, 1, "paused")]
            case "passed":
                yield [Skipped("a", due, due + 120, 3, "missed", "why")]
                due += 120
            case "pause" | "resume":
                yield [Pause("a", step == "pause", due + 0.25)]
            case "lost twice":
                yield [
                    ask(due),
                    finished(due, "lost", at=due + 1),
                    ask(due, attempt=1),
                    finished(due, outcome, attempt=1, at=due + 2),
                ]
            case "set back":
                due = T - DAY * (number + 1)  # further than anything before


steps = st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(OUTCOMES)), min_size=1, max_size=15)


@settings(max_examples=40)
@given(steps, st.integers(1, 7))
def test_all_that_follow_a_job_agree(
    make_job: Callable[..., Job], history: list[tuple[str, Outcome]], at_once: int
) -> None:
    """The ledger's row, written in transactions of `at_once` entries and read by new processes; what the parent
    keeps; what the status shows to the parent and to the exporter."""
    enroll = Enroll("a", "* * * * * UTC", 1, T + 0.5)
    expected = records.enrolled(None, enroll.now, same_schedule=False)
    parent = SupervisedJob(expected)
    shown = status.after(statuses.of(make_job(name="a")), JobHistory("a", expected))
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        ledger.put(enroll)
        bodies = [body for step in told(history) for body in step]
        for number in itertools.count(0, at_once):
            if number >= len(bodies):
                break
            ledger.put(*bodies[number : number + at_once])
            if number % 2:
                ledger.close()
                ledger = ledger.opened_again()
        for body in bodies:
            assert isinstance(body, Ask | Finished | Skipped | Release | Pause)
            expected = records.after(expected, body)
            parent.follow(body)
            shown = status.after(shown, body)
        now = T + DAY + 0.5
        stored = ledger.past(generation=2, now=now)
        ledger.close()
    assert stored == records.enrolled(expected, now, same_schedule=True)
    assert parent.record == expected
    assert shown == status.with_record(shown, expected)
