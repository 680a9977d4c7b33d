"""next, next_due, latest and count: their contract, their limits, their speed."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cron_oracle import unix
from test_schedule_differential import CHANGES, Maker, readable
from tocsin.schedule import Schedule, ScheduleError, same

DAY = 86_400
YEAR = 366 * DAY


# Any expression, and a moment within three days of a change of its zone.
expressions = st.integers(0, 2**32).map(lambda seed: Maker(seed).expression()).filter(readable)
intervals = st.integers(1, YEAR).map(lambda seconds: f"@every {seconds}s")
moments = st.sampled_from([(zone, unix(day)) for zone, changes in CHANGES.items() for day, _ in changes]).flatmap(
    lambda at: st.tuples(st.just(at[0]), st.integers(at[1] - 3 * DAY, at[1] + 3 * DAY))
)


@settings(deadline=None, max_examples=200)
@given(st.one_of(expressions, intervals), moments, st.integers(0, 60), st.integers(-1, 1), st.data())
def test_count_and_latest_are_what_walking_finds(
    expression: str, moment: tuple[str, int], steps: int, off: int, data: st.DataObject
) -> None:
    zone, after = moment
    schedule = Schedule(expression, zone)
    walked = [after]
    for _ in range(steps + 1):
        walked.append(schedule.next_due(walked[-1]))
    assert walked == sorted(set(walked)), "each is strictly after the one before"
    # until a due instant, a second before it or after it, or anywhere before the next
    until = data.draw(st.sampled_from([walked[-2] + off, data.draw(st.integers(walked[-2], walked[-1] - 1))]))
    due = [instant for instant in walked[1:] if instant <= until]
    assert schedule.count(after, until) == len(due)
    assert schedule.latest(after, until) == (due[-1] if due else None)


@settings(deadline=None, max_examples=100)
@given(expressions, moments, st.lists(st.integers(0, 3 * YEAR), min_size=2, max_size=2))
def test_counts_add_up(expression: str, moment: tuple[str, int], lengths: list[int]) -> None:
    zone, start = moment
    middle, end = start + lengths[0], start + lengths[0] + lengths[1]
    schedule = Schedule(expression, zone)
    assert schedule.count(start, middle) + schedule.count(middle, end) == schedule.count(start, end)
    latest = schedule.latest(start, end)
    if latest is None:
        assert schedule.count(start, end) == 0
    else:
        assert schedule.count(latest, end) == 0
        assert schedule.count(latest - 1, latest) == 1


@settings(deadline=None, max_examples=100)
@given(expressions, moments, st.timedeltas(timedelta(0), timedelta(seconds=1)), st.integers(-23, 23))
def test_next_is_next_due_for_datetimes(
    expression: str, moment: tuple[str, int], fraction: timedelta, hours: int
) -> None:
    zone, after = moment
    schedule = Schedule(expression, zone)
    precise = datetime.fromtimestamp(after, timezone(timedelta(hours=hours))) + fraction
    due = schedule.next(precise)
    assert due.tzinfo is UTC
    assert due > precise
    assert due.timestamp() == schedule.next_due(after + int(fraction == timedelta(seconds=1)))


def test_strictly_after() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    schedule = Schedule("0 12 * * *")
    assert schedule.next(noon - timedelta(microseconds=1)) == noon
    assert schedule.next(noon) == noon + timedelta(days=1)
    assert schedule.next(noon + timedelta(microseconds=1)) == noon + timedelta(days=1)


def test_before_1970() -> None:
    assert Schedule("30 2 * * *").next_due(-1) == 2 * 3600 + 1800
    assert Schedule("30 2 * * *").next_due(-DAY) == -DAY + 2 * 3600 + 1800
    assert Schedule("@every 90s").next_due(-100) == -90
    assert Schedule("0 0 1 1 *").next(datetime(1899, 5, 5, tzinfo=UTC)) == datetime(1900, 1, 1, tzinfo=UTC)


def test_empty_stretches_of_time() -> None:
    for schedule in (Schedule("* * * * *"), Schedule("@every 1m")):
        assert schedule.count(60, 60) == schedule.count(120, 60) == 0
        assert schedule.latest(60, 60) is schedule.latest(120, 60) is schedule.latest(60, 119) is None
        assert schedule.count(59, 60) == schedule.count(60, 120) == 1
        assert schedule.latest(59, 60) == 60


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("0 0 * * MON-FRI", 262),
        ("59 23 * * MON-FRI", 262),
        ("0,59 0,23 * * MON-FRI", 4 * 262),
        ("* * * * * MON", 53 * DAY),
        ("0 0 1-7 * *", 12 * 7),
        ("0 0 */2 2,3 *", 15 + 16),
    ],
)
def test_days_in_a_row_are_counted(expression: str, count: int) -> None:
    start = unix("2024-01-01") - 1  # a leap year that begins on a Monday
    assert Schedule(expression).count(start, start + YEAR) == count


def test_the_rarest_schedules() -> None:
    def years(expression: str, after: str, count: int) -> list[int]:
        schedule, due, found = Schedule(expression), unix(after), []
        for _ in range(count):
            due = schedule.next_due(due)
            found.append(datetime.fromtimestamp(due, UTC).year)
        assert schedule.count(unix(after), due) == count
        assert schedule.latest(unix(after), due + DAY) == due
        return found

    assert years("0 0 29 2 *", "2090-01-01", 4) == [2092, 2096, 2104, 2108]
    assert years("0 0 29 2 */7", "2080-01-01", 3) == [2088, 2128, 2156]  # and a Sunday
    assert years("0 0 * 2 MON#5", "2080-01-01", 2) == [2112, 2140]
    assert years("0 0 31 * */7", "2026-06-01", 3) == [2027, 2027, 2028]


@pytest.mark.parametrize("expression", ["* * * * *", "@every 1h"])
def test_out_of_reach(expression: str) -> None:
    schedule = Schedule(expression)
    last = unix("9899-12-31T23:59") + 59
    assert schedule.next_due(last) == last + 1
    first = unix("0010-01-01")
    assert schedule.next_due(first) == first + (60 if expression.startswith("*") else 3600)
    assert schedule.count(first, first + DAY) >= 24
    for instant in (last + 1, 10**18, first - 1, -(10**18)):
        with pytest.raises(ScheduleError, match=rf"after {instant}: outside the years 10 to 9899"):
            schedule.next_due(instant)
    with pytest.raises(ScheduleError, match=r"cannot count from 0 to \d+: outside the years 10 to 9899"):
        schedule.count(0, last + 1)
    with pytest.raises(ScheduleError, match="outside the years 10 to 9899"):
        schedule.next(datetime.max.replace(tzinfo=UTC))


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(ScheduleError) as refusal:
        Schedule("* * * * *").next(datetime(2026, 1, 1))  # noqa: DTZ001
    assert str(refusal.value) == "cannot tell what is due after 2026-01-01T00:00:00: it has no zone or offset"


ZONES = [
    ("Berlin", "'Berlin': no such zone; did you mean Europe/Berlin?"),
    ("europe/berlin", "'europe/berlin': no such zone; did you mean Europe/Berlin?"),
    ("New York", "'New York': no such zone; did you mean America/New_York?"),
    ("Europe/Berln", "'Europe/Berln': no such zone; did you mean Europe/Berlin"),
    ("Mars/Phobos", "'Mars/Phobos': no such zone: use an IANA name such as UTC or Europe/Berlin"),
    ("", "'': no such zone: use an IANA name such as UTC or Europe/Berlin"),
    ("../etc/passwd", "'../etc/passwd': no such zone: use"),
    ("/etc/localtime", "'/etc/localtime': no such zone: use"),
    ("localtime", "'localtime': no such zone: use"),
    ("Europe", "'Europe': no such zone;"),
    ("right/Europe/Berlin", "'right/Europe/Berlin': no such zone;"),
    ("UTC\x00", "'UTC·': no such zone;"),
    ("UTC\n", "'UTC·': no such zone; did you mean UTC?"),
    ("x" * 5000, "'" + "x" * 39 + "…': no such zone:"),
    (None, "'None': no such zone;"),
]


@pytest.mark.parametrize(("name", "why"), ZONES, ids=[str(name)[:20] for name, _ in ZONES])
def test_an_unknown_zone_is_refused_with_the_nearest(name: str, why: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        Schedule("* * * * *", name)
    assert str(refusal.value).startswith(f"cannot read timezone {why}")


def test_a_schedule_is_a_value() -> None:
    schedule = Schedule(" 30  2 * * mon-FRI", "Europe/Berlin")
    assert (schedule.expression, schedule.timezone) == ("30 2 * * MON-FRI", "Europe/Berlin")
    assert Schedule("@Every  90S").expression == "@every 90s"
    assert repr(schedule) == "Schedule('30 2 * * MON-FRI', 'Europe/Berlin')"
    assert schedule == Schedule("30 2 * * 1-5", "Europe/Berlin") != Schedule("30 2 * * 1-5", "Europe/Paris")
    assert schedule != "30 2 * * MON-FRI"
    assert len({schedule, Schedule("30 2 * * 1-5", "Europe/Berlin"), Schedule("30 2 * * 1-5")}) == 2
    assert copy.deepcopy(schedule) == schedule
    for name in ("expression", "timezone", "words", "more"):
        with pytest.raises(AttributeError):
            setattr(schedule, name, "UTC")


@pytest.mark.parametrize(("one", "other", "expected"), [
    ("* * * * * UTC", "*/1 * * * * UTC", True),
    ("0 0 * * 0 UTC", "@weekly UTC", True),
    ("0 0 * * 0 UTC", "0 0 0 * * 7 UTC", True),
    ("@every 90s UTC", "@every 1m30s Asia/Tokyo", True),
    ("0 9 * * * UTC", "0 9 * * * Europe/Berlin", False),
    ("0 9 * * * UTC", "0 9 * * MON UTC", False),
    ("0 * * * * Europe/Berlin", "0 0-23 * * * Europe/Berlin", False),  # one follows real time, one the clock
    ("", "", True),
    ("", "* * * * * UTC", False),
    ("of a later version", "* * * * * UTC", False),
    ("of a later version", "of a later version", True),
])  # fmt: skip
def test_the_same_by_meaning(one: str, other: str, expected: bool) -> None:
    assert same(one, other) is expected
    assert same(other, one) is expected


def test_the_text_of_a_schedule_is_the_same_as_the_schedule() -> None:
    schedule = Schedule("*/5 9-17 * * mon-fri", "Europe/Berlin")
    assert schedule.text == "*/5 9-17 * * MON-FRI Europe/Berlin"
    assert same(schedule.text, Schedule("0-59/5 9-17 * * 1-5", "Europe/Berlin").text) is False, "its minute is fixed"
    assert same(schedule.text, Schedule("*/5 9-17 * * 1-5", "Europe/Berlin").text)


def test_asking_changes_no_answer() -> None:
    schedule = Schedule("30 2 * * *", "Europe/Berlin")
    moments = [unix("2026-03-29"), unix("2050-01-01"), unix("1999-10-31"), unix("2026-03-29T01:00")]
    fresh = [Schedule("30 2 * * *", "Europe/Berlin").next_due(moment) for moment in moments]
    assert [schedule.next_due(moment) for moment in moments * 2] == fresh * 2


@pytest.mark.parametrize("expression", ["* * * * * *", "*/7 * * * * MON-FRI", "0 0 * * *", "@every 1s"])
def test_a_year_is_counted_at_once(expression: str) -> None:
    schedule = Schedule(expression, "Europe/Berlin")
    start = unix("2024-01-01")
    count = schedule.count(start, start + YEAR)
    latest = schedule.latest(start, start + YEAR)
    assert count >= 366
    assert latest is not None
    assert latest > start + YEAR - 4 * DAY


def test_every_second_of_fifty_years_is_counted_at_once() -> None:
    assert Schedule("* * * * * *", "Europe/Berlin").count(0, 50 * YEAR) == 50 * YEAR


def test_every_second_of_a_year_is_counted() -> None:
    start = unix("2024-01-01")
    assert Schedule("* * * * * *", "Europe/Berlin").count(start, start + YEAR) == YEAR
    assert Schedule("* * * * *", "Europe/Berlin").count(start, start + YEAR) == YEAR // 60
