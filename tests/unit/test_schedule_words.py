"""Schedules in plain English."""

from __future__ import annotations

import dataclasses

import pytest

from test_schedule_differential import Maker
from tocsin.schedule import Schedule, ScheduleError
from tocsin.schedule.grammar import Cron, parse
from tocsin.schedule.words import explain

WORDS = [
    # by real time, wherever one is
    ("* * * * *", "every minute"),
    ("*/1 * * * *", "every minute"),
    ("*/5 * * * *", "every 5 minutes"),
    ("0-59/30 * * * *", "every 30 minutes"),
    ("* * * * * *", "every second"),
    ("*/15 * * * * *", "every 15 seconds"),
    ("30 * * * * *", "at second 30 of every minute"),
    ("5,10 * * * * *", "at seconds 5 and 10 of every minute"),
    ("*/10 */5 * * * *", "every 10 seconds of every 5th minute"),
    ("@every 1s", "every second"),
    ("@every 90s", "every 90 seconds"),
    ("@every 60s", "every minute"),
    ("@every 1h30m", "every 90 minutes"),
    ("@every 1h", "every hour"),
    ("@every 12h", "every 12 hours"),
    ("@every 1d", "every 24 hours"),
    ("@every 7d", "every 7 days"),
    # by the clock of a zone
    ("0 * * * *", "every hour on the hour, UTC"),
    ("5 * * * *", "at minute 5 of every hour, UTC"),
    ("5,35 * * * *", "at minutes 5 and 35 of every hour, UTC"),
    ("0-29 * * * *", "at minutes 0 through 29 of every hour, UTC"),
    ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour, UTC"),
    ("0 */2 * * *", "every 2 hours from midnight, UTC"),
    ("0 9-17 * * *", "every hour from 09:00 to 17:00, UTC"),
    ("0 0-2,20-23 * * *", "at 00:00, 01:00, 02:00, 20:00, 21:00, 22:00 and 23:00, UTC"),
    ("15 */4 * * *", "at 00:15, 04:15, 08:15, 12:15, 16:15 and 20:15 every day, UTC"),
    ("15 */2 * * *", "at minute 15 of every 2nd hour from midnight, UTC"),
    ("15,45 8-18 * * *", "at minutes 15 and 45 of hours 8 through 18, UTC"),
    ("* 2 * * *", "every minute from 02:00 to 02:59, UTC"),
    ("*/5 9-17 * * *", "every 5 minutes from 09:00 to 17:59, UTC"),
    ("*/5 */6 * * *", "every 5 minutes of every 6th hour from midnight, UTC"),
    ("*/5 1,13 * * *", "every 5 minutes of hours 1 and 13, UTC"),
    ("* 30 2 * * *", "every second of minute 30 of hour 2, UTC"),
    ("30 2 * * *", "at 02:30 every day, UTC"),
    ("0,30 9,17 * * *", "at 09:00, 09:30, 17:00 and 17:30 every day, UTC"),
    ("15 30 2 * * *", "at 02:30:15 every day, UTC"),
    # on which days
    ("30 2 * * MON-FRI", "at 02:30 on Monday through Friday, UTC"),
    ("30 2 * * SAT,SUN", "at 02:30 on Saturday and Sunday, UTC"),
    ("30 2 * * 0", "at 02:30 on Sunday, UTC"),
    ("30 2 * * 0-2,5", "at 02:30 on Monday, Tuesday, Friday and Sunday, UTC"),
    ("*/20 * * * MON", "every 20 minutes on Monday, UTC"),
    ("0 0 1 * *", "at 00:00 on the 1st of the month, UTC"),
    ("0 0 1,2,3,11,22 * *", "at 00:00 on the 1st through 3rd, 11th and 22nd of the month, UTC"),
    ("0 0 */2 * *", "at 00:00 on every 2nd day from the 1st of the month, UTC"),
    ("0 0 L * *", "at 00:00 on the last day of the month, UTC"),
    ("0 0 1,L * *", "at 00:00 on the 1st and last day of the month, UTC"),
    ("0 0 15W * *", "at 00:00 on the weekday (Monday to Friday) nearest to the 15th of the month, UTC"),
    ("0 0 LW * *", "at 00:00 on the last weekday (Monday to Friday) of the month, UTC"),
    ("0 0 * * MON#2", "at 00:00 on the second Monday of the month, UTC"),
    ("0 0 * * 5L,5#1,SUN#3", "at 00:00 on the first Friday, the last Friday and the third Sunday of the month, UTC"),
    ("0 0 13 * FRI", "at 00:00 on the 13th of the month and also on Friday, UTC"),
    ("0 0 */2 * MON,TUE", "at 00:00 on every 2nd day from the 1st of the month when that is a Monday or Tuesday, UTC"),
    # in which months
    ("0 0 25 12 *", "at 00:00 on the 25th of December, UTC"),
    ("0 0 1 1-3,7 *", "at 00:00 on the 1st of January through March and July, UTC"),
    ("0 0 * JUN-AUG *", "at 00:00 every day in June through August, UTC"),
    ("* * * 7 *", "every minute every day in July, UTC"),
    ("0 0 * 7 MON", "at 00:00 on Monday in July, UTC"),
    ("0 0 13 7 FRI", "at 00:00 on the 13th of July and also on Friday in July, UTC"),
    ("0 0 * 2 MON#1", "at 00:00 on the first Monday of February, UTC"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "words"), WORDS)
def test_words(expression: str, words: str) -> None:
    assert Schedule(expression).words == words


def test_the_zone_is_named_where_it_matters() -> None:
    assert Schedule("*/5 * * * *", "Asia/Kolkata").words == "every 5 minutes"
    assert Schedule("@every 90s", "Asia/Kolkata").words == "every 90 seconds"
    assert Schedule("0 * * * *", "Asia/Kolkata").words == "every hour on the hour, Asia/Kolkata"


def test_different_meanings_have_different_words() -> None:
    maker = Maker(7)
    meanings: dict[str, Cron] = {}
    for _ in range(5_000):
        try:
            plan = parse(maker.expression())
        except ScheduleError:
            continue
        assert isinstance(plan, Cron)
        plan = dataclasses.replace(plan, fixed=False)  # the DST rule is not part of the words
        assert meanings.setdefault(explain(plan, "UTC"), plan) == plan
    assert len(meanings) > 4_000
