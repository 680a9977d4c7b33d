"""Which slot is next and what passed: tables on a plain schedule, and agreement with counting one by one."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.job.plan import Due, Passed, Plan, passed_between, plan
from tocsin.schedule import Schedule
from tocsin.timestamps import CLOCK_SET_BACK

CatchUp = Literal["last", "all", "none"]


class Every:
    """Due at every multiple of `step` seconds; counts how often it is asked."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.asked = 0

    def next_due(self, after: int) -> int:
        self.asked += 1
        return (after // self.step + 1) * self.step

    def latest(self, after: int, until: int) -> int | None:
        self.asked += 1
        last = until // self.step * self.step
        return last if last > after else None

    def count(self, after: int, until: int) -> int:
        self.asked += 1
        return max(0, until // self.step - after // self.step)


def missed(first: int, last: int, count: int) -> Passed:
    return Passed(first, last, count, "missed")


# due at 60, 120, 180 …; (last, now, grace, catch_up) -> plan
PLANS: list[tuple[int, float, float, CatchUp, Plan]] = [
    # nothing has passed
    (60, 60.0, 60, "last", Plan(None, 120, False)),
    (60, 119.99, 60, "last", Plan(None, 120, False)),
    (120, 119.9, 60, "last", Plan(None, 180, False)),  # asked for ahead of its instant
    # one has passed: within grace, on its edge, beyond it
    (60, 120.0, 60, "last", Plan(None, 120, True)),
    (60, 179.9, 60, "last", Plan(None, 120, True)),
    (60, 179.9, 59.95, "last", Plan(None, 120, True)),
    (60, 179.9, 59, "last", Plan(missed(120, 120, 1), 180, False)),
    (60, 120.0, 0, "last", Plan(None, 120, True)),
    (60, 120.1, 0, "last", Plan(missed(120, 120, 1), 180, False)),
    # several: the latest, all within grace, or none
    (60, 310.0, 60, "last", Plan(missed(120, 240, 3), 300, True)),
    (60, 310.0, 60, "all", Plan(missed(120, 240, 3), 300, True)),
    (60, 310.0, 70, "all", Plan(missed(120, 180, 2), 240, True)),
    (60, 310.0, 130, "all", Plan(missed(120, 120, 1), 180, True)),
    (60, 310.0, 190, "all", Plan(None, 120, True)),
    (60, 310.0, 10_000, "all", Plan(None, 120, True)),
    (60, 310.5, 70, "all", Plan(missed(120, 240, 3), 300, True)),
    (60, 310.0, 10_000, "last", Plan(missed(120, 240, 3), 300, True)),
    (60, 310.0, 60, "none", Plan(missed(120, 300, 4), 360, False)),
    (60, 310.0, 9, "all", Plan(missed(120, 300, 4), 360, False)),
    # the clock was set back: wait for the first instant after the last one …
    (3600, 1000.0, 60, "last", Plan(None, 3660, False)),
    (3600 + int(CLOCK_SET_BACK), 3600.0, 60, "all", Plan(None, 3660 + int(CLOCK_SET_BACK), False)),
    # … unless it stood so far ahead that it must have been wrong
    (3600 + int(CLOCK_SET_BACK), 3600.5, 60, "all", Plan(None, 3660 + int(CLOCK_SET_BACK), False)),
    (3601 + int(CLOCK_SET_BACK), 3600.5, 60, "all", Plan(None, 3660, False)),
    (10**9, 3600.5, 60, "none", Plan(None, 3660, False)),
]


@pytest.mark.parametrize(("last", "now", "grace", "catch_up", "right"), PLANS)
def test_plans(last: int, now: float, grace: float, catch_up: CatchUp, right: Plan) -> None:
    assert plan(Every(60), last, now, grace, catch_up) == right
    assert plan(Schedule("* * * * *"), last, now, grace, catch_up) == right


@pytest.mark.parametrize(
    ("after", "until", "right"),
    [
        (0, 0, None),
        (0, 59, None),
        (60, 30, None),
        (60, 60, None),
        (59, 60, (60, 60, 1)),
        (0, 200, (60, 180, 3)),
    ],
)
def test_passed_between(after: int, until: int, right: tuple[int, int, int] | None) -> None:
    for schedule in (Every(60), Schedule("* * * * *")):
        found = passed_between(schedule, after, until, "overlap")
        assert found == (None if right is None else Passed(*right, "overlap"))


@pytest.mark.parametrize("catch_up", ["last", "all", "none"])
def test_ten_years_of_seconds_are_not_counted_one_by_one(catch_up: CatchUp) -> None:
    year = 366 * 86400
    schedule = Every(1)
    found = plan(schedule, 0, 10.0 * year, 60, catch_up)
    assert schedule.asked < 10
    assert found.passed is not None
    assert found.passed.count + {"last": 1, "all": 61, "none": 0}[catch_up] == 10 * year


schedules = st.one_of(
    st.builds(Every, st.integers(1, 4000)),
    st.sampled_from([Schedule("*/5 * * * *"), Schedule("30 2 * * *", "Europe/Berlin"), Schedule("*/20 * * * * *")]),
)
START = 1_774_700_000  # shortly before a spring gap in Berlin


@given(
    schedules,
    st.integers(0, 300_000),
    st.floats(-11_000, 200_000),
    st.sampled_from([0.0, 0.5, 59.0, 3600.0, 1e6]),
    st.sampled_from(["last", "all", "none"]),
)
def test_a_plan_is_what_counting_one_by_one_finds(
    schedule: Due, offset: int, ahead: float, grace: float, catch_up: CatchUp
) -> None:
    last = START + offset
    now = last + ahead
    passed: list[int] = []
    due = schedule.next_due(last)
    while due <= now and len(passed) < 3000:
        passed.append(due)
        due = schedule.next_due(due)
    if len(passed) == 3000:
        return
    if ahead < -CLOCK_SET_BACK:
        assert plan(schedule, last, now, grace, catch_up).due == schedule.next_due(int(now))
        return
    within = [one for one in passed if now - one <= grace]
    runs: dict[CatchUp, list[int]] = {"none": [], "last": within[-1:], "all": within}
    run = runs[catch_up]
    not_run = [one for one in passed if one not in run]
    found = plan(schedule, last, now, grace, catch_up)
    assert found.due == (run[0] if run else due)
    assert found.late == bool(run)
    assert found.due > last
    if not_run:
        assert found.passed == missed(not_run[0], not_run[-1], len(not_run))
    else:
        assert found.passed is None
