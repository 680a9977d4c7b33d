"""Gaps and folds: what a fixed job and a wildcard job do at each kind of change, instant by instant."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tocsin.schedule import Schedule

# Expression, zone, after and what is due, all in local time; a trailing "+" is the second pass of a fold.
GAPS = [
    # one hour, at 02:00
    ("30 2 * * *", "Europe/Berlin", "2025-03-30 01:59", ["2025-03-30 03:00", "2025-03-31 02:30"]),
    ("30 2 * * *", "Europe/Berlin", "2025-03-30 03:00", ["2025-03-31 02:30"]),
    ("59 2 * * *", "Europe/Berlin", "2025-03-29 02:59", ["2025-03-30 03:00", "2025-03-31 02:59"]),
    ("0 3 * * *", "Europe/Berlin", "2025-03-29 03:00", ["2025-03-30 03:00", "2025-03-31 03:00"]),
    ("59 1 * * *", "Europe/Berlin", "2025-03-29 03:00", ["2025-03-30 01:59", "2025-03-31 01:59"]),
    ("0-59 2 * * *", "Europe/Berlin", "2025-03-29 02:59", ["2025-03-30 03:00", "2025-03-31 02:00"]),
    ("0-59/30 1-4 * * *", "Europe/Berlin", "2025-03-30 01:15", ["2025-03-30 01:30", "2025-03-30 03:00",
                                                                "2025-03-30 03:30", "2025-03-30 04:00"]),
    ("30 2 30 3 *", "Europe/Berlin", "2025-01-01 00:00", ["2025-03-30 03:00", "2026-03-30 02:30"]),
    ("30 2 * * SUN#5", "Europe/Berlin", "2025-03-01 00:00", ["2025-03-30 03:00", "2025-06-29 02:30"]),
    ("30 2 * * SAT", "Europe/Berlin", "2025-03-29 12:00", ["2025-04-05 02:30"]),
    ("* * * * *", "Europe/Berlin", "2025-03-30 01:58", ["2025-03-30 01:59", "2025-03-30 03:00"]),
    ("30 */2 * * *", "Europe/Berlin", "2025-03-30 00:00", ["2025-03-30 00:30", "2025-03-30 04:30"]),
    ("* 2 30 3 *", "Europe/Berlin", "2025-01-01 00:00", ["2026-03-30 02:00"]),
    ("10 30 2 * * *", "Europe/Berlin", "2025-03-29 12:00", ["2025-03-30 03:00", "2025-03-31 02:30:10"]),
    ("* 30 2 * * *", "Europe/Berlin", "2025-03-29 12:00", ["2025-03-30 03:00", "2025-03-31 02:30"]),
    ("0 * 2 * * *", "Europe/Berlin", "2025-03-29 12:00", ["2025-03-31 02:00"]),
    ("59 59 2 * * *", "Europe/Berlin", "2025-03-29 12:00", ["2025-03-30 03:00", "2025-03-31 02:59:59"]),
    ("59 59 */2 * * *", "Europe/Berlin", "2025-03-30 01:00", ["2025-03-30 04:59:59", "2025-03-30 06:59:59"]),
    ("0 0 */3 * * *", "Europe/Berlin", "2025-03-30 01:00", ["2025-03-30 03:00", "2025-03-30 06:00"]),
    # half an hour, two hours, midnight, Ramadan's end, a new standard time, a day
    ("0,15,30 2 * * *", "Australia/Lord_Howe", "2025-10-05 00:00", ["2025-10-05 02:30", "2025-10-06 02:00"]),
    ("*/15 2 * * *", "Australia/Lord_Howe", "2025-10-05 00:00", ["2025-10-05 02:30", "2025-10-05 02:45"]),
    ("30 1,2,4 * * *", "Antarctica/Troll", "2025-03-30 00:00", ["2025-03-30 03:00", "2025-03-30 04:30"]),
    ("0 0 * * *", "Africa/Cairo", "2025-04-24 23:59", ["2025-04-25 01:00", "2025-04-26 00:00"]),
    ("0 0 25 * *", "Africa/Cairo", "2025-04-24 12:00", ["2025-04-25 01:00", "2025-05-25 00:00"]),
    ("0 * * * *", "Africa/Cairo", "2025-04-24 23:00", ["2025-04-25 01:00", "2025-04-25 02:00"]),
    ("30 0 * * SUN", "America/Santiago", "2025-09-06 12:00", ["2025-09-07 01:00", "2025-09-14 00:30"]),
    ("30 2 * * *", "Africa/Casablanca", "2025-04-05 12:00", ["2025-04-06 03:00", "2025-04-07 02:30"]),
    ("30 1 * * *", "Europe/Dublin", "2025-03-29 12:00", ["2025-03-30 02:00", "2025-03-31 01:30"]),
    ("45 2 * * *", "America/Caracas", "2016-04-30 12:00", ["2016-05-01 03:00", "2016-05-02 02:45"]),
    ("45 23 * * *", "Asia/Pyongyang", "2018-05-04 12:00", ["2018-05-05 00:00", "2018-05-05 23:45"]),
    ("0 12 * * *", "Pacific/Apia", "2011-12-29 12:00", ["2011-12-31 00:00", "2011-12-31 12:00"]),
    ("0 12 30 12 *", "Pacific/Apia", "2011-01-01 00:00", ["2011-12-31 00:00", "2012-12-30 12:00"]),
    ("0 0,12 * * *", "Pacific/Apia", "2011-12-29 12:00", ["2011-12-31 00:00", "2011-12-31 12:00"]),
    ("0 */12 * * *", "Pacific/Apia", "2011-12-29 12:00", ["2011-12-31 00:00", "2011-12-31 12:00"]),
    ("0 12 * * FRI", "Pacific/Apia", "2011-12-24 00:00", ["2011-12-31 00:00", "2012-01-06 12:00"]),
    ("0 12 * * *", "Pacific/Kwajalein", "1993-08-20 12:00", ["1993-08-22 00:00", "1993-08-22 12:00"]),
]  # fmt: skip

FOLDS = [
    ("30 2 * * *", "Europe/Berlin", "2025-10-26 02:29", ["2025-10-26 02:30", "2025-10-27 02:30"]),
    ("30 2 * * *", "Europe/Berlin", "2025-10-26 02:00+", ["2025-10-27 02:30"]),
    ("0 3 * * *", "Europe/Berlin", "2025-10-26 02:59", ["2025-10-26 03:00", "2025-10-27 03:00"]),
    ("0-59/30 2 * * *", "Europe/Berlin", "2025-10-26 00:00",
     ["2025-10-26 02:00", "2025-10-26 02:30", "2025-10-27 02:00"]),
    ("0-59/30 1-3 * * *", "Europe/Berlin", "2025-10-26 02:29+", ["2025-10-26 03:00", "2025-10-26 03:30"]),
    ("10 30 2 * * *", "Europe/Berlin", "2025-10-26 00:00", ["2025-10-26 02:30:10", "2025-10-27 02:30:10"]),
    ("30 * * * *", "Europe/Berlin", "2025-10-26 02:00",
     ["2025-10-26 02:30", "2025-10-26 02:30+", "2025-10-26 03:30"]),
    ("*/30 2 * * *", "Europe/Berlin", "2025-10-26 02:30",
     ["2025-10-26 02:00+", "2025-10-26 02:30+", "2025-10-27 02:00"]),
    ("0 */2 * * *", "Europe/Berlin", "2025-10-26 01:00",
     ["2025-10-26 02:00", "2025-10-26 02:00+", "2025-10-26 04:00"]),
    ("* * * * *", "Europe/Berlin", "2025-10-26 02:58", ["2025-10-26 02:59", "2025-10-26 02:00+"]),
    ("0 * 2 * * *", "Europe/Berlin", "2025-10-26 02:59", ["2025-10-26 02:00+", "2025-10-26 02:01+"]),
    ("45 1 * * *", "Australia/Lord_Howe", "2025-04-06 00:00", ["2025-04-06 01:45", "2025-04-07 01:45"]),
    ("45 * * * *", "Australia/Lord_Howe", "2025-04-06 01:00",
     ["2025-04-06 01:45", "2025-04-06 01:45+", "2025-04-06 02:45"]),
    ("30 1,2 * * *", "Antarctica/Troll", "2025-10-26 00:00",
     ["2025-10-26 01:30", "2025-10-26 02:30", "2025-10-27 01:30"]),
    ("30 23 * * *", "America/Santiago", "2025-04-05 00:00", ["2025-04-05 23:30", "2025-04-06 23:30"]),
    ("30 23 * * SAT", "America/Santiago", "2025-04-05 23:30", ["2025-04-12 23:30"]),
    ("30 * * * SAT", "America/Santiago", "2025-04-05 23:00",
     ["2025-04-05 23:30", "2025-04-05 23:30+", "2025-04-12 00:30"]),
    ("0 0 * * *", "America/Santiago", "2025-04-05 23:59", ["2025-04-06 00:00", "2025-04-07 00:00"]),
    ("59 23 30 10 *", "Africa/Cairo", "2025-01-01 00:00", ["2025-10-30 23:59", "2026-10-30 23:59"]),
    ("30 2 * * *", "Africa/Casablanca", "2025-02-22 12:00", ["2025-02-23 02:30", "2025-02-24 02:30"]),
    ("30 1 * * *", "Europe/Dublin", "2025-10-25 12:00", ["2025-10-26 01:30", "2025-10-27 01:30"]),
    ("30 2 * * *", "Europe/London", "1971-10-30 12:00", ["1971-10-31 02:30", "1971-11-01 02:30"]),
    ("30 1 * * *", "Europe/Moscow", "2014-10-25 12:00", ["2014-10-26 01:30", "2014-10-27 01:30"]),
    ("45 23 * * *", "Asia/Pyongyang", "2015-08-14 12:00", ["2015-08-14 23:45", "2015-08-15 23:45"]),
]  # fmt: skip


def instant(local: str, zone: str) -> int:
    time = datetime.fromisoformat(local.rstrip("+")).replace(tzinfo=ZoneInfo(zone), fold=local.endswith("+"))
    assert time.astimezone(UTC).astimezone(time.tzinfo).replace(fold=0) == time.replace(fold=0), "no such time"
    return int(time.timestamp())


@pytest.mark.parametrize(("expression", "zone", "after", "due"), GAPS + FOLDS)
def test_due(expression: str, zone: str, after: str, due: list[str]) -> None:
    schedule = Schedule(expression, zone)
    expected = [instant(local, zone) for local in due]
    begin = found = instant(after, zone)
    for number, wanted in enumerate(expected, 1):
        found = schedule.next_due(found)
        shown = datetime.fromtimestamp(found, ZoneInfo(zone))
        assert found == wanted, f"due {shown}, expected {due[number - 1]}"
        # the other two answers agree, at the very second
        assert schedule.count(begin, wanted) == number
        assert schedule.count(begin, wanted - 1) == number - 1
        assert schedule.latest(begin, wanted) == wanted
        assert schedule.latest(begin, wanted - 1) == (expected[number - 2] if number > 1 else None)


@pytest.mark.parametrize("hours", [23, 25])
def test_an_interval_knows_no_zone(hours: int) -> None:
    day = "2025-03-30" if hours == 23 else "2025-10-26"
    begin, end = (instant(f"{day} {time}", "Europe/Berlin") for time in ("00:00", "23:59"))
    assert Schedule("@every 30m", "Europe/Berlin").count(begin, end) == hours * 2 - 1
    assert Schedule("*/30 * * * *", "Europe/Berlin").count(begin, end) == hours * 2 - 1
    assert Schedule("0-59/30 0-23 * * *", "Europe/Berlin").count(begin, end) == (23 if hours == 25 else 22) * 2 + 1
