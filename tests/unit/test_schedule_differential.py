"""Schedule against the minute-by-minute oracle, and against cronsim, on expressions made from fixed seeds."""

from __future__ import annotations

import random
import re
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError

from cron_oracle import Oracle, Window, every, unix
from tocsin.schedule import Schedule, ScheduleError

pytestmark = pytest.mark.slow

SEED = 20_260_329
EXPRESSIONS = 2_600
DAY = 86_400

# By zone: a date and by how many minutes the wall clock moves within a day of its beginning in UTC.
CHANGES = {
    "America/New_York": [("2025-03-09", 60), ("2025-11-02", -60)],
    "Europe/London": [("2025-03-30", 60), ("1971-10-31", -60)],
    "Europe/Berlin": [("1980-04-06", 60), ("2025-10-26", -60)],
    "Australia/Lord_Howe": [("2025-04-06", -30), ("2025-10-05", 30)],
    "America/Santiago": [("2025-04-06", -60), ("2025-09-07", 60)],  # at midnight
    "Pacific/Apia": [("2011-12-30", 1440), ("2012-04-01", -60)],  # a day that never was
    "Asia/Kolkata": [("1942-09-01", 60), ("1945-10-14", -60), ("2024-02-29", 0)],
    "Antarctica/Troll": [("2025-03-30", 120), ("2025-10-26", -120)],
    "Africa/Casablanca": [("2025-02-23", -60), ("2025-04-06", 60)],  # Ramadan
    "Europe/Dublin": [("2025-03-30", 60), ("2025-10-26", -60)],  # negative DST: winter is the exception
    "Africa/Cairo": [("2025-04-25", 60), ("2025-10-30", -60)],  # at midnight
    "UTC": [("2024-02-29", 0), ("2024-12-31", 0)],
    # changes of the standard offset
    "America/Caracas": [("2007-12-09", -30), ("2016-05-01", 30)],
    "Asia/Pyongyang": [("2015-08-15", -30), ("2018-05-05", 30)],
    "Europe/Moscow": [("2014-10-26", -60)],
    "Pacific/Kwajalein": [("1993-08-21", 1440)],
}
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def around(zone: str, day: str, moved: int) -> Window:
    """Seven hours on both sides of the change, or of midnight in UTC where there is none."""
    middle = unix(day)
    if moved:
        ((middle, minutes),) = Window(zone, middle - DAY, middle + DAY).changes
        assert minutes == moved, (zone, day)
    return Window(zone, middle - 7 * 3600, middle + 7 * 3600)


class Maker:
    """Random expressions over all of the grammar, of the kind that the windows above tell apart."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def expression(self) -> str:
        pick = self.random.random()
        if pick < 0.01:
            names = "@hourly @daily @midnight @weekly @monthly @yearly @annually"
            return self.random.choice(names.split())
        fields = [self.field(0, 59, often=(0, 30, 59)), self.field(0, 23, often=(0, 1, 2, 3, 23))]
        fields += self.days()
        if pick < 0.3:
            fields.insert(0, self.field(0, 59, often=(0, 30)))
        return (" " * self.random.choice((1, 1, 1, 2))).join(fields)

    def days(self) -> list[str]:
        day, month, weekday = "*", "*", "*"
        pick = self.random.random()
        if self.random.random() < 0.15:
            month = self.field(1, 12, MONTHS)
        if pick < 0.45:
            pass
        elif pick < 0.57:
            day = self.field(1, 31)
        elif pick < 0.69:
            weekday = self.field(0, 6, WEEKDAYS)
        elif pick < 0.85:
            day, weekday = self.field(1, 31), self.field(0, 6, WEEKDAYS)
        elif pick < 0.90:
            days = [str(self.random.randint(1, 31)) for _ in range(self.random.randint(0, 2))]
            day = ",".join(self.random.sample([*days, "L"], len(days) + 1))
            weekday = self.random.choice(["*", "?", self.field(0, 6, WEEKDAYS)])
        elif pick < 0.94:
            day = self.random.choice(["LW", f"{self.random.randint(1, 28)}W"])
        else:
            weekday = ",".join(self.counted() for _ in range(self.random.randint(1, 3)))
        open_day = self.random.choice("****?")
        return [open_day if day == "*" else day, month, open_day if weekday == "*" else weekday]

    def counted(self) -> str:
        name = self.random.choice([*map(str, range(8)), *WEEKDAYS])
        return name + self.random.choice(["#1", "#2", "#3", "#4", "#5", "L"])

    def field(self, low: int, high: int, names: list[str] | None = None, often: tuple[int, ...] = ()) -> str:
        if self.random.random() < 0.25:
            return "*"
        count = self.random.choice((1, 1, 1, 1, 2, 2, 3))
        return ",".join(self.item(low, high, names, often) for _ in range(count))

    def item(self, low: int, high: int, names: list[str] | None, often: tuple[int, ...]) -> str:
        number: Callable[[], int] = lambda: self.random.choice((*often, self.random.randint(low, high)))  # noqa: E731
        pick = self.random.random()
        if pick < 0.2:
            return f"*/{self.random.randint(1, high - low + 1)}"
        if pick < 0.55:
            return self.spelt(number(), low, names)
        if pick < 0.62:
            return f"{self.spelt(number(), low, names)}/{self.random.randint(1, high - low + 1)}"
        first = self.random.choice([n for n in (number(), low) if n < high] or [low])
        last = self.random.randint(first + 1, high)
        if names is WEEKDAYS and self.random.random() < 0.2:
            last = 7
        step = f"/{self.random.randint(1, high - low + 1)}" if pick > 0.8 else ""
        return f"{self.spelt(first, low, names)}-{self.spelt(last, low, names)}{step}"

    def spelt(self, number: int, low: int, names: list[str] | None) -> str:
        if names and number - low < len(names) and self.random.random() < 0.5:
            name = names[number - low]
            return self.random.choice([name, name.lower(), name.capitalize()])
        if names is WEEKDAYS and number == 0 and self.random.random() < 0.3:
            return "0"
        return self.random.choice([str(number), f"{number:02}"])


def points(window: Window, source: random.Random) -> list[int]:
    """Where to ask: on both sides of the change, inside what it repeats, and anywhere."""
    asked = [window.start, source.randint(window.start, window.end)]
    for instant, moved in window.changes:
        asked += [instant - 1, instant, instant + source.randint(1, abs(moved) * 60)]
    return [min(instant, window.end) for instant in asked]


def differences(schedule: Schedule, expected: list[int], window: Window, source: random.Random) -> list[str]:
    """What Schedule says otherwise than the oracle in this window."""
    found = []
    asked = points(window, source)
    for after in asked:
        place = bisect_right(expected, after)
        due = schedule.next_due(after)
        if place < len(expected):
            if due != expected[place]:
                found.append(f"next_due({after}) = {due}, expected {expected[place]}")
        elif due <= window.end:
            found.append(f"next_due({after}) = {due}, expected none until {window.end}")
    until = source.randint(asked[-1], window.end)
    for after, end in ((window.start, window.end), (asked[-1], until)):
        count = bisect_right(expected, end) - bisect_right(expected, after)
        if (counted := schedule.count(after, end)) != count:
            found.append(f"count({after}, {end}) = {counted}, expected {count}")
    if source.random() < 0.1:  # finding the latest asks for many, so it is checked for fewer
        before = expected[: bisect_right(expected, until)]
        if (latest := schedule.latest(window.start, until)) != (before[-1] if before else None):
            found.append(f"latest({window.start}, {until}) = {latest}, expected {before[-1:]}")
    return found


def readable(expression: str) -> bool:
    """False for what never fires, once the oracle agrees."""
    try:
        Schedule(expression)
    except ScheduleError as error:
        why = str(error)
    else:
        return True
    assert "would never fire" in why
    oracle = Oracle(expression)
    with_leap_day = range(unix("2000-01-01"), unix("2004-01-01"), DAY)
    assert not any(oracle.on(datetime.fromtimestamp(t, UTC).date()) for t in with_leap_day), expression
    return False


def test_around_every_kind_of_change() -> None:
    began = time.process_time()
    source = random.Random(SEED)
    maker = Maker(SEED)
    windows = {zone: [around(zone, *change) for change in changes] for zone, changes in CHANGES.items()}
    tally: Counter[str] = Counter()
    wrong = []
    while tally["expressions"] < EXPRESSIONS:
        expression = maker.expression()
        if not readable(expression):
            continue
        oracle = Oracle(expression)
        tally["expressions"] += 1
        for zone, choices in windows.items():
            window = choices[tally["expressions"] % len(choices)]
            expected = oracle.due(window)
            tally["windows"] += 1
            tally["instants"] += len(expected)
            schedule = Schedule(expression, zone)
            wrong += [f"{expression} {zone}: {line}" for line in differences(schedule, expected, window, source)]
    print(  # the size of the evidence, shown by -s
        f"\n{tally['expressions']} expressions, {len(windows)} zones, {tally['windows']} windows,"
        f" {tally['instants']} due instants: {len(wrong)} differences, {time.process_time() - began:.1f} s"
    )
    assert wrong == []


def test_every_instant_of_a_window() -> None:
    """The same, walked from each due instant to the next, for fewer expressions."""
    maker = Maker(SEED + 1)
    windows = [around(zone, *change) for zone, changes in CHANGES.items() for change in changes]
    walked = 0
    for number in range(300):
        expression = maker.expression()
        if not readable(expression):
            continue
        window = windows[number % len(windows)]
        expected = Oracle(expression).due(window)[:400]
        schedule = Schedule(expression, window.zone)
        due, found = window.start, []
        for _ in expected:
            due = schedule.next_due(due)
            found.append(due)
        assert found == expected, (expression, window.zone)
        walked += len(found)
    assert walked > 10_000


def test_the_days_of_a_year() -> None:
    """Long windows for the rules of days: L, W, #, and when two day fields meet or add up."""
    source = random.Random(SEED + 2)
    maker = Maker(SEED + 2)
    window = Window("UTC", unix("2023-12-31"), unix("2025-01-02"))
    for _ in range(500):
        times = f"{source.randint(0, 59)} {source.randint(0, 23)}"
        expression = " ".join([times, *maker.days()])
        if not readable(expression):
            continue
        expected = Oracle(expression).due(window)
        found = differences(Schedule(expression), expected, window, source)
        assert found == [], expression


@pytest.mark.parametrize("seconds", [1, 7, 60, 90, 3600, 5400, 86_400])
def test_intervals(seconds: int) -> None:
    window = around("Europe/Berlin", "2025-10-26", -60)
    schedule = Schedule(f"@every {seconds}s", "Europe/Berlin")
    assert differences(schedule, every(seconds, window), window, random.Random(SEED)) == []


@dataclass(frozen=True)
class Difference:
    """Where cronsim is known to differ, with an example: expression, zone, after which instant."""

    why: str
    applies: Callable[[str, str], bool]
    example: tuple[str, str, str]


def wildcard(expression: str) -> bool:
    minute, hour = expression.split()[:2]
    return minute.startswith("*") or hour.startswith("*")


KNOWN_DIFFERENCES = [
    Difference(
        "nicknames are unknown to it",
        lambda expression, _: expression.startswith("@"),
        ("@daily", "UTC", "2025-01-01"),
    ),
    Difference(
        "so is the question mark",
        lambda expression, _: "?" in expression,
        ("0 0 ? * MON", "UTC", "2025-01-01"),
    ),
    Difference(
        "of W it knows LW only",
        lambda expression, _: re.search(r"\dW", expression) is not None,
        ("0 0 15W * *", "UTC", "2025-01-01"),
    ),
    Difference(
        "the last Friday is 5L to it, not FRIL",
        lambda expression, _: re.search(r"[A-Z]{3}L", expression) is not None,
        ("0 0 * * FRIL", "UTC", "2025-01-01"),
    ),
    Difference(
        "its week goes on to 7, so that 1/2 takes in Sunday",
        lambda expression, _: re.search(r"(^|,)\w+/", expression.split()[-1]) is not None,
        ("0 0 * * 1/2", "UTC", "2025-01-04"),
    ),
    Difference(
        "expressions with seconds are all by real time to it",
        lambda expression, _: len(expression.split()) == 6,
        ("0 30 2 * * *", "Europe/Berlin", "2025-03-29T12:00"),
    ),
    Difference(
        "it walks real time in whole hours, and so loses its step where the clock moves by half of one",
        lambda expression, zone: (
            zone in ("Australia/Lord_Howe", "America/Caracas", "Asia/Pyongyang") and wildcard(expression)
        ),
        ("* 3 * * *", "Australia/Lord_Howe", "2025-10-04T14:00"),
    ),
    Difference(
        "a day that has no midnight begins with the hour after it, and that hour counts as 0",
        lambda expression, zone: (
            zone in ("Africa/Cairo", "America/Santiago", "Pacific/Apia", "Pacific/Kwajalein") and wildcard(expression)
        ),
        ("* 0 * * FRI", "Africa/Cairo", "2025-04-24T20:00"),
    ),
]


def by_cronsim(expression: str, zone: str, after: int, count: int) -> list[int] | None:
    """The next instants, or None where it cannot read the expression."""
    try:
        other = CronSim(expression, datetime.fromtimestamp(after, ZoneInfo(zone)))
    except CronSimError:
        return None
    return [int(next(other).timestamp()) for _ in range(count)]


def by_schedule(expression: str, zone: str, after: int, count: int) -> list[int]:
    schedule = Schedule(expression, zone)
    found = [after]
    for _ in range(count):
        found.append(schedule.next_due(found[-1]))
    return found[1:]


@pytest.mark.parametrize("known", KNOWN_DIFFERENCES, ids=lambda known: known.why)
def test_cronsim_differs_where_it_is_known_to(known: Difference) -> None:
    expression, zone, after = known.example
    assert known.applies(expression, zone)
    assert by_cronsim(expression, zone, unix(after), 3) != by_schedule(expression, zone, unix(after), 3)


def test_cronsim_agrees_on_the_rest() -> None:
    maker = Maker(SEED + 3)
    windows = [around(zone, *change) for zone, changes in CHANGES.items() for change in changes]
    agreed, wrong = 0, []
    for number in range(2_000):
        expression, window = maker.expression().upper(), windows[number % len(windows)]
        if any(known.applies(expression, window.zone) for known in KNOWN_DIFFERENCES):
            continue
        if readable(expression):
            ours = by_schedule(expression, window.zone, window.start, 6)
            theirs = by_cronsim(expression, window.zone, window.start, 6)
            if ours != theirs:
                wrong.append(f"{expression} {window.zone}: {ours}, cronsim {theirs}")
            agreed += 1
    assert wrong == []
    assert agreed > 600
