"""What is due, found the slow way: walk real minutes as vixie-cron does and look at the clock on the wall.

Written from crontab(5) and cron(8) of Debian, without croniter and without Tocsin's grammar, so that an error
in either shows as a difference. It trusts its input: only expressions that are right go in.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = 60
RUN_UP = 26 * 3600  # seconds walked before a window, to know how far the wall clock had come

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ["", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


@dataclass
class Window:
    """The minutes of (start, end] as a wall clock shows them; both ends are whole minutes in Unix seconds."""

    zone: str
    start: int
    end: int
    # hours of real time, in order: the local date and hour, and for each minute in it: instant, minute of the
    # hour, whether the wall clock had shown this minute before
    hours: list[tuple[date, int, list[tuple[int, int, bool]]]] = field(default_factory=list)
    # where the wall clock jumped ahead: the first instant after, and the minutes it never showed
    gaps: list[tuple[int, list[datetime]]] = field(default_factory=list)
    changes: list[tuple[int, int]] = field(default_factory=list)  # instant, minutes by which the clock moved

    def __post_init__(self) -> None:
        zone = ZoneInfo(self.zone)
        highest = previous = None
        for instant in range(self.start - RUN_UP, self.end + 2 * MINUTE, MINUTE):
            wall = datetime.fromtimestamp(instant, zone).replace(tzinfo=None)
            assert wall.second == 0, f"{self.zone} had an odd offset then"
            if previous is None or highest is None:
                highest = previous = wall
            moved = (wall - previous) // timedelta(minutes=1) - 1
            if instant >= self.start:
                if moved:
                    self.changes.append((instant, moved))
                if moved > 0:
                    unseen = [previous + timedelta(minutes=n) for n in range(1, moved + 1)]
                    self.gaps.append((instant, unseen))
                hour = (wall.date(), wall.hour)
                if not self.hours or self.hours[-1][:2] != hour or moved:
                    self.hours.append((*hour, []))
                self.hours[-1][2].append((instant, wall.minute, wall <= highest))
            highest, previous = max(highest, wall), wall


class Oracle:
    """One cron expression of five or six fields, or a nickname for one."""

    def __init__(self, expression: str) -> None:
        fields = NICKNAMES.get(expression.lower(), expression).upper().split()
        second = fields.pop(0) if len(fields) == 6 else "0"
        minute, hour, self.day, month, self.weekday = fields
        self.seconds = sorted(allowed(second, 0, 59, []))
        self.minutes = allowed(minute, 0, 59, [])
        self.hours = allowed(hour, 0, 23, [])
        self.months = allowed(month, 1, 12, MONTHS)
        # cron(8): "jobs that run at a specific time" are those whose minute and hour do not start with a star
        self.at_specific_times = minute[0] != "*" and hour[0] != "*"
        # crontab(5): "if both fields are restricted (i.e., don't start with *), the command will be run when
        # either field matches the current time"
        self.either_day = not (self.day[0] in "*?" or self.weekday[0] in "*?")
        self._dates: dict[date, bool] = {}

    def due(self, window: Window) -> list[int]:
        """All due instants of (start, end]."""
        found = set(self._walk(window))
        return sorted(instant for instant in found if window.start < instant <= window.end)

    def _walk(self, window: Window) -> Iterator[int]:
        for day, hour, minutes in window.hours:
            if hour in self.hours and self.on(day):
                for instant, minute, seen_before in minutes:
                    if minute in self.minutes and not (seen_before and self.at_specific_times):
                        yield from (instant + second for second in self.seconds)
        if self.at_specific_times:
            for after_gap, unseen in window.gaps:
                if any(self._shown(wall) for wall in unseen):
                    yield after_gap

    def _shown(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self.on(wall.date())

    def on(self, day: date) -> bool:
        """Whether the date suits month, day-of-month and day-of-week."""
        if day not in self._dates:
            by_day, by_weekday = suits_day(self.day, day), suits_weekday(self.weekday, day)
            either = by_day or by_weekday
            both = by_day and by_weekday
            self._dates[day] = day.month in self.months and (either if self.either_day else both)
        return self._dates[day]


def every(seconds: int, window: Window) -> list[int]:
    """The instants of a fixed interval, second by second."""
    return [instant for instant in range(window.start + 1, window.end + 1) if instant % seconds == 0]


def allowed(text: str, low: int, high: int, names: list[str]) -> set[int]:
    """The numbers that a field names."""
    numbers: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = (number(end, names) for end in span.split("-"))
        else:
            first = last = number(span, names)
            if step:
                last = max(first, high)
        numbers.update(range(first, last + 1, int(step or "1")))
    return numbers


def number(text: str, names: list[str]) -> int:
    return names.index(text) if text in names else int(text)


def suits_day(text: str, day: date) -> bool:
    length = monthrange(day.year, day.month)[1]
    if text == "?":
        return True
    if text.endswith("W"):
        wanted = length if text == "LW" else int(text[:-1])
        return day.day == min(working_days(day.year, day.month), key=lambda n: abs(n - wanted))
    if "L" in text.split(",") and day.day == length:
        return True
    plain = ",".join(item for item in text.split(",") if item != "L")
    return bool(plain) and day.day in allowed(plain, 1, 31, [])


@cache
def working_days(year: int, month: int) -> list[int]:
    return [n for n in range(1, monthrange(year, month)[1] + 1) if date(year, month, n).weekday() < 5]


def suits_weekday(text: str, day: date) -> bool:
    weekday = day.isoweekday() % 7
    if text == "?":
        return True
    if "#" not in text and "L" not in text:
        return weekday in {n % 7 for n in allowed(text, 0, 6, WEEKDAYS)}
    for item in text.split(","):
        name, _, which = item.partition("#")
        if number(name.removesuffix("L"), WEEKDAYS) % 7 != weekday:
            continue
        same = [n for n in range(1, 32) if n % 7 == day.day % 7 and n <= monthrange(day.year, day.month)[1]]
        if item.endswith("L"):
            if day.day == same[-1]:
                return True
        elif day.day in same[int(which) - 1 : int(which)]:
            return True
    return False


def unix(text: str) -> int:
    """2026-03-29 or 2026-03-29T01:00 in UTC, as Unix seconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
