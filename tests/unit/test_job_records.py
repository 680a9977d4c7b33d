"""What the parent remembers of a job between its processes."""

from collections.abc import Callable

import pytest

from ledger_rig import T, ask, finished, skipped
from tocsin.config import Job
from tocsin.ipc.job import Finished, Release, Skipped
from tocsin.ipc.record import JobRecord
from tocsin.parent.supervised import SupervisedJob, was_forgotten


def test_a_lost_run_is_kept_until_its_delivery_has_a_fate() -> None:
    """Whoever dies, or is told to stop, before the call leaves it to the next process."""
    one = SupervisedJob(JobRecord(T + 30), redelivery=ask(T, attempt=1))
    for body in (ask(T + 60), finished(T + 60), ask(T, attempt=1), Release("a", T, 1, "s1/1"), finished(T)):
        one.follow(body)
        assert one.redelivery == ask(T, attempt=1)


@pytest.mark.parametrize("fate", [finished(T, attempt=1), skipped(T, T, 1)])
def test_it_is_delivered_once(fate: Finished | Skipped) -> None:
    one = SupervisedJob(JobRecord(T), redelivery=ask(T, attempt=1))
    one.follow(fate)
    assert one.redelivery is None


LATE = T + 120 + 300 + 60  # the second fire of a minute job, its timeout and its grace


@pytest.mark.parametrize(
    ("record", "now", "forgotten"),
    [
        (JobRecord(T, last_success=T, since=T - 900), LATE + 1, True),
        (JobRecord(T, last_success=T, since=T - 900), LATE, False),
        (JobRecord(T, last_success=T - 900, since=T), LATE, False),
        (JobRecord(T, since=T), LATE + 1, True),
        (JobRecord(T, last_success=T, last_outcome="timeout", consecutive_failures=1), LATE + 1, False),
        (JobRecord(T, last_success=T, last_outcome="lost", consecutive_failures=1), LATE + 1, True),
        (JobRecord(T, last_success=T, last_outcome="lost", consecutive_failures=2), LATE + 1, False),
        (JobRecord(T, last_success=T, last_outcome="cancelled"), LATE + 1, True),
    ],
)
def test_a_job_that_nobody_ran_is_no_failing_one(
    make_job: Callable[..., Job], record: JobRecord, now: float, forgotten: bool
) -> None:
    assert was_forgotten(make_job(timeout=300.0, grace=60.0), record, now) == forgotten
