"""A job's status as events tell it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from tocsin.config import Job
from tocsin.ipc import status
from tocsin.ipc.exporter import Heartbeat, JobStatus, ProcessExited, ProcessUp, Started
from tocsin.ipc.job import Finished, Pause, Skipped, Sleeping
from tocsin.ipc.ledger import Committed, JobHistory
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Message, Outcome
from tocsin.parent import statuses
from tocsin.schedule import Schedule

MakeJob = Callable[..., Job]


def run(outcome: Outcome, finished: float = 100.0, detail: str = "") -> Finished:
    return Finished("sla-check", 60.0, "run", "schedule", 0, outcome, detail, finished=finished)


UP = ProcessUp("job", "sla-check", 12, 50.0)


def told(make_job: MakeJob, *events: Message, **changes: Any) -> JobStatus:
    found = statuses.of(make_job(**changes))
    for event in events:
        found = status.after(found, event)
    return found


def test_of_a_job_of_which_nothing_happened(make_job: MakeJob) -> None:
    job = make_job(
        url="https://app.example.com:8443/x?key=value", totals=(("unassigned", "unassignedCount"), ("b", "c"))
    )
    assert statuses.of(job) == JobStatus(
        name="sla-check",
        schedule="* * * * *",
        timezone="UTC",
        words=Schedule("* * * * *").words,
        method="POST",
        url="https://app.example.com:8443/x",
        host="app.example.com:8443",
        enabled=True,
        description="",
        timeout=300.0,
        grace=60.0,
        fields=("unassigned", "b"),
        state="starting",
    )
    assert statuses.of(make_job(enabled=False)).state == "disabled"


STATES: list[tuple[Sequence[Message], str]] = [
    ([], "starting"),
    ([UP], "starting"),
    ([UP, Sleeping("sla-check", 60.0)], "sleeping"),
    ([UP, Started("sla-check", 60.1)], "running"),
    ([UP, Started("sla-check", 60.1), run("success")], "sleeping"),
    ([UP, Started("sla-check", 60.1), Sleeping("sla-check", 120.0)], "sleeping"),
    ([UP, ProcessExited("job", "sla-check", "signal", "")], "backing off"),
    ([UP, Started("sla-check", 60.1), ProcessExited("job", "sla-check", "signal", "")], "backing off"),
    ([UP, ProcessExited("job", "sla-check", "signal", ""), run("lost")], "backing off"),
    ([UP, ProcessExited("job", "sla-check", "signal", ""), UP], "starting"),
    ([UP, ProcessExited("job", "sla-check", "clean", "")], "stopped"),  # told to: at a reload, or in a drain
]


@pytest.mark.parametrize(("events", "state"), STATES)
def test_states(make_job: MakeJob, events: Sequence[Message], state: str) -> None:
    assert told(make_job, *events).state == state


def test_the_process(make_job: MakeJob) -> None:
    up = told(make_job, UP, Started("sla-check", 60.1))
    assert (up.pid, up.process_started, up.running_since) == (12, 50.0, 60.1)
    gone = status.after(up, ProcessExited("job", "sla-check", "clean", ""))
    assert (gone.pid, gone.process_started, gone.running_since) == (None, None, None)
    off = told(make_job, ProcessExited("job", "sla-check", "clean", ""), enabled=False)
    assert off.state == "disabled"


def test_next_fire_and_pause(make_job: MakeJob) -> None:
    found = told(make_job, Sleeping("sla-check", 60.0), Pause("sla-check", True, 60.0))
    assert (found.next_fire, found.paused) == (60.0, True)
    assert not status.after(found, Pause("sla-check", False, 60.0)).paused


FAILURES: list[tuple[list[Outcome], int]] = [
    ([], 0),
    (["http_error"], 1),
    (["http_error", "timeout", "lost", "invalid_response", "unauthorized", "connection_error"], 6),
    (["timeout", "success"], 0),
    (["timeout", "cancelled"], 1),
    (["success", "cancelled"], 0),
]


@pytest.mark.parametrize(("outcomes", "failures"), FAILURES)
def test_consecutive_failures(make_job: MakeJob, outcomes: list[Outcome], failures: int) -> None:
    assert told(make_job, *map(run, outcomes)).consecutive_failures == failures


def test_the_last_run(make_job: MakeJob) -> None:
    found = told(make_job, run("success", 100.0, "fine"), run("timeout", 200.0, "too long"))
    assert (found.last_outcome, found.last_detail, found.last_run, found.last_success) == (
        "timeout",
        "too long",
        200.0,
        100.0,
    )


def test_the_past_comes_from_the_ledger(make_job: MakeJob) -> None:
    past = JobHistory("sla-check", JobRecord(60, 30.0, True, "lost", "why", 50.0, 40.0, 3))
    found = told(make_job, past)
    fields = ("paused", "last_outcome", "last_detail", "last_run", "last_success", "consecutive_failures", "since")
    assert [getattr(found, name) for name in fields] == [True, "lost", "why", 50.0, 40.0, 3, 30.0]


def test_a_process_that_begins_with_a_call_sleeps_after_it(make_job: MakeJob) -> None:
    """A redelivery: it has not said yet until when it sleeps."""
    assert told(make_job, UP, replace(run("success"), next_due=60.0)).state == "sleeping"


def test_a_disabled_job_stays_so_while_it_finishes(make_job: MakeJob) -> None:
    exit_ = ProcessExited("job", "sla-check", "clean", "")
    events = (Started("sla-check", 60.0), replace(run("success"), next_due=120.0), exit_)
    for number in range(1, len(events) + 1):
        found = told(make_job, *events[:number], enabled=False)
        assert (found.state, found.next_fire, found.running_since) == ("disabled", None, None)


def test_slots_that_did_not_run_count_until_one_does(make_job: MakeJob) -> None:
    passed = [Skipped("sla-check", 60, 180, 3, "missed"), Skipped("sla-check", 240, 240, 1, "overlap")]
    others = [
        Skipped("sla-check", 300, 300, 1, "paused"),
        Skipped("sla-check", 301.5, 301.5, 1, "overlap", trigger="manual"),
    ]
    assert told(make_job, UP, *passed, *others).missing == 4
    assert told(make_job, UP, *passed, run("success")).missing == 0


def test_the_usual_duration_is_that_of_successful_runs(make_job: MakeJob) -> None:
    took = [replace(run("success"), duration=seconds) for seconds in (1.0, 1.0, 5.0)]
    assert told(make_job, UP, run("success")).usual_duration is None
    assert told(make_job, UP, *took, replace(run("timeout"), duration=300.0)).usual_duration == 2.0


def test_what_does_not_change_it(make_job: MakeJob) -> None:
    found = told(make_job, UP, run("success"))
    for event in (Heartbeat(1.0), Committed(1, 0.1)):
        assert status.after(found, event) is found


def test_a_definition_that_disables_keeps_the_history_and_the_pause_alone(make_job: MakeJob) -> None:
    old = told(make_job, UP, Pause("sla-check", True, 60.0), Sleeping("sla-check", 60.0), run("timeout", 9.0, "why"))
    new = statuses.of(make_job(description="new", enabled=False))
    kept = statuses.carried_over(old, new, 70.0)
    assert (kept.last_outcome, kept.last_detail, kept.last_run, kept.consecutive_failures) == ("timeout", "why", 9.0, 1)
    assert kept.paused
    assert (kept.unreachable, kept.paused_since) == (True, 60.0)
    blank = {"last_outcome": None, "last_detail": "", "last_run": None, "last_success": None, "paused": False}
    assert replace(kept, **blank, consecutive_failures=0, unreachable=False, paused_since=None) == new


def test_counts_are_not_known_before_the_ledger_tells(make_job: MakeJob) -> None:
    """From 0 they would seem to jump by all that happened before a restart."""
    found = told(make_job, run("lost"), Skipped("sla-check", 1, 1, 1, "missed"), Pause("sla-check", True, 60.0))
    assert found.counts is None
    assert statuses.carried_over(found, statuses.of(make_job(timeout=5.0)), 61.0).counts is None
    past = JobHistory("sla-check", JobRecord(60, counts={"success": 7, "lost": 1}))
    known = status.after(status.after(found, past), run("lost"))
    assert known.counts == {"success": 7, "lost": 2}
    assert statuses.carried_over(known, statuses.of(make_job(timeout=5.0)), 61.0).counts == known.counts


def test_a_new_definition_of_a_running_job_keeps_its_process_too(make_job: MakeJob) -> None:
    """The old process finishes its call before the new one comes."""
    old = told(make_job, UP, Sleeping("sla-check", 60.0), Started("sla-check", 60.1))
    kept = statuses.carried_over(old, statuses.of(make_job(timeout=5.0)), 61.0)
    assert kept == replace(old, timeout=5.0)
    other = statuses.carried_over(old, statuses.of(make_job(schedule=Schedule("@hourly"))), 61.0)
    assert (other.next_fire, other.since) == (None, 61.0)
    assert (other.state, other.pid, other.running_since) == ("running", 12, 60.1)


def test_another_spelling_of_the_schedule_changes_what_is_shown_alone(make_job: MakeJob) -> None:
    old = told(make_job, UP, Sleeping("sla-check", 60.0))
    kept = statuses.carried_over(old, statuses.of(make_job(schedule=Schedule("*/1 * * * *"))), 61.0)
    assert kept == replace(old, schedule="*/1 * * * *")


def test_an_enabled_job_is_expected_to_succeed_from_then_on(make_job: MakeJob) -> None:
    off = told(make_job, enabled=False)
    assert statuses.carried_over(off, statuses.of(make_job()), 61.0).since == 61.0
    assert statuses.carried_over(off, off, 61.0).since is None
