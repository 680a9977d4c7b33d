"""What the parent remembers of a job between its processes."""

from collections.abc import Callable

import pytest

from ledger_rig import T, ask, finished, skipped
from tocsin.config import Job
from tocsin.ipc.job import Finished, Release, Skipped
from tocsin.ipc.ledger import JobHistory
from tocsin.parent.jobs import Seat, was_forgotten


def test_a_lost_run_is_kept_until_its_delivery_has_a_fate() -> None:
    """Whoever dies, or is told to stop, before the call leaves it to the next process."""
    seat = Seat(accounted=T + 30, redelivery=ask(T, attempt=1))
    for body in (ask(T + 60), finished(T + 60), ask(T, attempt=1), Release("a", T, 1, "s1/1"), finished(T)):
        seat.record(body)
        assert seat.redelivery == ask(T, attempt=1)


@pytest.mark.parametrize("fate", [finished(T, attempt=1), skipped(T, T, 1)])
def test_it_is_delivered_once(fate: Finished | Skipped) -> None:
    seat = Seat(accounted=T, redelivery=ask(T, attempt=1))
    seat.record(fate)
    assert seat.redelivery is None


def test_a_release_frees_its_slot_but_not_one_that_has_its_fate() -> None:
    seat = Seat(accounted=T + 30)
    seat.record(Release("a", T, 1, "s1/1"))
    assert seat.accounted == T + 30
    seat.record(Release("a", T + 30, 0, "s1/1"))
    assert seat.accounted == T + 29


def test_a_clock_that_stood_ahead_is_followed_back() -> None:
    seat = Seat(accounted=T + 86400)
    seat.record(ask(T, attempt=1))
    seat.record(ask(T + 86400 - 3 * 3600))
    assert seat.accounted == T + 86400, "a redelivery, and a change for daylight saving time, say nothing of the clock"
    seat.record(ask(T))
    assert seat.accounted == T


LATE = T + 120 + 300 + 60  # the second fire of a minute job, its timeout and its grace


@pytest.mark.parametrize(
    ("past", "now", "forgotten"),
    [
        (JobHistory("a", T, last_success=T, since=T - 900), LATE + 1, True),
        (JobHistory("a", T, last_success=T, since=T - 900), LATE, False),
        (JobHistory("a", T, last_success=T - 900, since=T), LATE, False),
        (JobHistory("a", T, since=T), LATE + 1, True),
        (JobHistory("a", T, last_success=T, last_outcome="timeout", consecutive_failures=1), LATE + 1, False),
        (JobHistory("a", T, last_success=T, last_outcome="lost", consecutive_failures=1), LATE + 1, True),
        (JobHistory("a", T, last_success=T, last_outcome="lost", consecutive_failures=2), LATE + 1, False),
        (JobHistory("a", T, last_success=T, last_outcome="cancelled"), LATE + 1, True),
    ],
)
def test_a_job_that_nobody_ran_is_no_failing_one(
    make_job: Callable[..., Job], past: JobHistory, now: float, forgotten: bool
) -> None:
    assert was_forgotten(make_job(timeout=300.0, grace=60.0), past, now) == forgotten
