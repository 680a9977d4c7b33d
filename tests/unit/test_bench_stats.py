"""The benchmark's sums: percentiles, and which request belongs to which instant."""

import pytest

from punctuality.measure import not_before
from punctuality.stats import Lateness, lateness, match, percentile, together


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([5.0], 0.5, 5.0),
        ([5.0], 0.99, 5.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0], 0.51, 2.0),
        ([float(n) for n in range(1000, 0, -1)], 0.5, 500.0),
        ([float(n) for n in range(1000, 0, -1)], 0.99, 990.0),
        ([float(n) for n in range(1, 11)], 0.99, 10.0),
        ([3.0, 1.0, 2.0], 0.0, 1.0),
    ],
)
def test_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_nothing_arrived() -> None:
    assert lateness([]) == Lateness(None, None, None)


def test_each_request_belongs_to_the_last_instant_that_was_due() -> None:
    first, second = match([(0, 100.25), (1, 100.5), (0, 121.0), (1, 119.75)], [100.0, 120.0], jobs=2)
    assert first.lateness == [0.25, 0.5]
    assert second.lateness == [-0.25, 1.0]  # a quarter of a second early is early, not 19.75 s late
    assert [first.missed, first.duplicates, second.missed, second.duplicates] == [0, 0, 0, 0]


def test_half_a_second_is_the_most_one_may_be_early() -> None:
    (early,) = match([(0, 99.5)], [100.0], jobs=1)
    assert early.lateness == [-0.5]
    (never,) = match([(0, 99.25)], [100.0], jobs=1)
    assert (never.lateness, never.missed) == ([], 1)  # it came before the first instant: nobody's


def test_missed_and_duplicate_fires_are_counted_for_each_job_and_instant() -> None:
    arrivals = [(0, 10.0), (0, 11.0), (0, 12.0), (2, 10.5), (0, 20.0), (1, 20.0), (2, 20.0)]
    first, second = match(arrivals, [10.0, 20.0], jobs=3)
    assert (first.missed, first.duplicates) == (1, 2)
    assert first.lateness == [0.0, 0.5]  # the first request of each job is the fire
    assert (second.missed, second.duplicates) == (0, 0)


def test_a_request_late_by_a_period_is_missed_and_counts_twice() -> None:
    first, second = match([(0, 31.0), (0, 32.0)], [10.0, 30.0], jobs=1)
    assert (first.missed, first.duplicates) == (1, 0)
    assert (second.missed, second.duplicates) == (0, 1)


def test_requests_of_jobs_that_do_not_exist_are_neither() -> None:
    (fire,) = match([(0, 10.0), (7, 10.0), (-1, 10.0)], [10.0], jobs=1)
    assert (fire.missed, fire.duplicates, fire.unknown) == (0, 0, 2)


def test_instants_together_are_the_median_of_each_figure() -> None:
    fires = [Lateness(1.0, 9.0, 10.0), Lateness(2.0, 7.0, 30.0), Lateness(3.0, 8.0, 20.0)]
    assert together(fires, jobs=100) == Lateness(2.0, 8.0, 20.0)


def test_an_instant_without_any_request_does_not_hide_the_others() -> None:
    assert together([Lateness(None, None, None), Lateness(1.0, 2.0, 3.0)], jobs=100) == Lateness(1.0, 2.0, 3.0)
    assert together([], jobs=100) == Lateness(None, None, None)


def test_with_one_job_the_values_of_the_instants_are_taken_together() -> None:
    fires = [Lateness(float(n), float(n), float(n)) for n in range(1, 101)]
    assert together(fires, jobs=1) == Lateness(50.0, 99.0, 100.0)


@pytest.mark.parametrize(
    ("epoch", "instant"), [(0.0, 100), (99.9, 100), (100.0, 100), (100.1, 120), (120.0, 120), (161.0, 180)]
)
def test_a_slow_start_is_measured_from_the_next_instant(epoch: float, instant: int) -> None:
    assert not_before(epoch, 100, 20) == instant
