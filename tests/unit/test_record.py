"""What an event means for a job: the one rule, and that ledger, parent and exporter follow it to the same record."""

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger_rig import Ledger, T, ask, finished
from tocsin.config import Job
from tocsin.ipc import record as records
from tocsin.ipc import status
from tocsin.ipc.job import Ask, Finished, Pause, Release, Skipped
from tocsin.ipc.ledger import Body, Enroll, JobHistory
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import OUTCOMES, Outcome
from tocsin.parent import statuses
from tocsin.parent.supervised import SupervisedJob

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
    assert paused == JobRecord(T, T, paused=True, paused_since=T + 60.0)
    assert paused.pause == (T + 60.0, math.inf)
    assert records.after(paused, Pause("a", True, T + 120.0)) == paused, "asked for twice, it began once"
    resumed = records.after(paused, Pause("a", False, T + 180.0))
    assert resumed == JobRecord(T, T + 180.0, paused_since=T + 60.0, paused_until=T + 180.0), "of the last one"
    assert resumed.pause == (T + 60.0, T + 180.0)
    assert records.after(resumed, Pause("a", False, T + 240.0)) == resumed


def test_a_pause_has_an_end_a_reason_and_somebody_who_asked_for_it() -> None:
    paused = records.after(NEW, Pause("a", True, T + 60.0, T + 7200.0, "deploy", "ann"))
    assert (paused.paused_until, paused.paused_why, paused.paused_by) == (T + 7200.0, "deploy", "ann")
    longer = records.after(paused, Pause("a", True, T + 90.0, T + 9000.0, "still", "bob"))
    assert longer == replace(paused, paused_until=T + 9000.0, paused_why="still", paused_by="bob"), "it goes on"
    ended = records.after(longer, Pause("a", False, T + 9000.0))
    assert (ended.paused, ended.since, ended.paused_why, ended.paused_by) == (False, T + 9000.0, "", "")
    again = records.after(ended, Pause("a", True, T + 9900.0))
    assert again.pause == (T + 9900.0, math.inf), "it begins anew"


@pytest.mark.parametrize(
    ("outcome", "http_status", "unreachable"),
    [
        ("connection_error", None, True),
        ("timeout", None, True),
        ("http_error", 502, True),
        ("http_error", 503, True),
        ("http_error", 504, True),
        ("http_error", 500, False),
        ("http_error", 404, False),
        ("success", 200, False),
        ("lost", None, False),
        ("invalid_response", 200, False),
    ],
)
def test_whether_the_app_answered(outcome: Outcome, http_status: int | None, unreachable: bool) -> None:
    run = replace(finished(T, outcome), status=http_status)
    assert records.after(NEW, run).unreachable == unreachable
    assert not records.after(records.after(NEW, run), finished(T + 60)).unreachable


def test_every_fate_is_counted_and_what_is_enrolled_anew_counts_on() -> None:
    record = NEW
    for event in (
        finished(T),
        finished(T + 60),
        finished(T + 120, "lost"),
        Skipped("a", T + 180, T + 300, 3, "missed"),
    ):
        record = records.after(record, event)
    assert record.counts == {"success": 2, "lost": 1, "missed": 3}
    assert records.enrolled(record, T + 400.0, same_schedule=False).counts == record.counts


def test_when_slots_were_found_to_be_missed() -> None:
    """Not when they were due: a daily slot that passed while nobody watched is found hours later."""
    late = records.after(NEW, Skipped("a", T + 60, T + 60, 1, "missed", at=T + 7200.0))
    assert late.missed_at == T + 7200.0
    assert records.after(late, Skipped("a", T + 120, T + 120, 1, "overlap", at=T + 7260.0)).missed_at == T + 7200.0
    assert records.after(late, finished(T + 7260)).missed_at == T + 7200.0
    for harmless in (
        Skipped("a", T + 60, T + 61, 2, "missed", at=T + 63.0, made_up=True),
        Skipped("a", T + 60.5, T + 60.5, 1, "missed", "", "manual", T + 63.0),
    ):
        assert records.after(NEW, harmless).missed_at is None


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


def test_what_replies_reported_is_summed_up_for_ever() -> None:
    record = records.enrolled(None, T, same_schedule=False)
    for reported in ({"a": 1.0, "b": 2.0}, {}, {"a": 3.0}, {"a": -1.0, "b": float("inf")}, {"b": 1e300}):
        record = records.after(record, Finished("a", T, "r", "schedule", 0, "success", reported=reported))
    assert record.totals == {"a": 4.0, "b": 2.0}
    assert records.enrolled(record, T, same_schedule=False).totals == record.totals
