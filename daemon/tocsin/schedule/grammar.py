"""Turns the text of a schedule into its meaning.

The grammar is stricter than that of any cron, so that everything it accepts means the same to everybody. It refuses,
with a reason, what other programs silently read as something else (`3-3`, `22-2`, `H`, 30 February).
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass

from tocsin.schedule.elsewhere import rewritten
from tocsin.schedule.fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, Refused, shown

LONGEST_EXPRESSION = 256  # characters: no schedule needs more, and reading one takes far less than a millisecond
LONGEST_INTERVAL = 366 * 86_400  # seconds: an interval past a year is a mistake in the unit
LAST = -1  # in `Cron.nth`: the last such weekday of the month
LAST_WEEKDAY = 31  # in `Cron.nearest`: LW

_SHOWN_EXPRESSION = 40  # characters of the input in a message
_LEAP_YEAR = 2000
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_INTERVAL = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_UNITS = (86_400, 3600, 60, 1)


class ScheduleError(ValueError):
    """A schedule or zone that cannot be read, or an instant out of range. Says why, and what to use instead."""


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval in seconds. Its instants are its multiples since 1970-01-01T00:00:00Z."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Cron:
    """The values that a cron expression allows. Two expressions with the same meaning are equal."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]  # 0 is Sunday
    last_day: bool  # L, besides `days`
    nearest: int | None  # 15W: the weekday (Monday to Friday) nearest to that day of the month
    nth: tuple[tuple[int, int], ...]  # MON#2 is (1, 2), 5L is (5, LAST); empty if weekdays are not counted
    fixed: bool  # neither minute nor hour starts with a star (Debian's cron(8))
    both: bool  # a day must match day-of-month and day-of-week; otherwise one is enough

    @property
    def every_day(self) -> bool:
        return self.any_day and self.any_weekday and self.months == MONTH.all

    @property
    def any_day(self) -> bool:
        return self.days == DAY.all and self.nearest is None

    @property
    def any_weekday(self) -> bool:
        return self.weekdays == WEEKDAY.all and not self.nth


def parse(expression: str) -> Cron | Every:
    """Return the meaning of the expression. Raises ScheduleError."""
    try:
        return _parse(expression)
    except Refused as refused:
        what = shown(expression, _SHOWN_EXPRESSION)
        raise ScheduleError(f"cannot read schedule {what}: {refused}") from None


def normalized(expression: str) -> str:
    """Write a valid expression in one way: single spaces, nicknames in lower case, names in capitals."""
    text = " ".join(expression.split())
    return text.lower() if text.startswith("@") else text.upper()


def _parse(expression: object) -> Cron | Every:
    if not isinstance(expression, str):
        raise Refused("a schedule is text, such as '*/5 * * * *'")
    if len(expression) > LONGEST_EXPRESSION:
        raise Refused(f"{len(expression)} characters; a schedule has at most {LONGEST_EXPRESSION}")
    strange = next((c for c in expression if not (" " <= c <= "~" or c == "\t")), None)
    if strange is not None:
        raise Refused(f"the character {strange!a} is not allowed: use plain ASCII on one line")
    plain, zone = rewritten(expression)
    if zone:
        apart = f'timezone = "{zone}" (--timezone {zone})'
        raise Refused(f"the zone is a separate setting: use {shown(plain, _SHOWN_EXPRESSION)} with {apart}")
    words = expression.split()
    if plain.split() != words:
        raise Refused(f"this is another program's syntax: use {shown(plain, _SHOWN_EXPRESSION)}")
    if words and words[0].startswith("@"):
        return _nickname(words[0].lower(), words[1:])
    if len(words) == 6:
        try:
            return _cron(*words)
        except Refused as refused:
            raise Refused(f"{refused} (the first of six fields is the second)") from None
    if len(words) != 5:
        what = f"it has {len(words)} field{'s' * (len(words) != 1)}" if words else "it is empty"
        raise Refused(f"{what}: use five (minute hour day-of-month month day-of-week) or six, second first")
    return _cron("0", *words)


def _nickname(name: str, rest: list[str]) -> Cron | Every:
    if name == "@every":
        return _interval(" ".join(rest))
    if name not in _NICKNAMES:
        known = ", ".join(_NICKNAMES)
        raise Refused(f"there is no {shown(name)}: use one of {known} or '@every 90s'")
    if rest:
        raise Refused(f"{name} must be the whole schedule, without {shown(' '.join(rest))}")
    return _cron("0", *_NICKNAMES[name].split())


def _interval(text: str) -> Every:
    parts = _INTERVAL.fullmatch(text.lower())
    if not text or parts is None:
        raise Refused(f"interval {shown(text)}: use whole seconds, minutes, hours or days: 90s, 1h30m, 2d")
    seconds = sum(int(n or 0) * unit for n, unit in zip(parts.groups(), _UNITS, strict=True))
    if not 1 <= seconds <= LONGEST_INTERVAL:
        raise Refused(f"interval {shown(text)}: must be at least 1s and at most {LONGEST_INTERVAL // 86_400}d")
    return Every(seconds)


def _cron(second: str, minute: str, hour: str, day: str, month: str, weekday: str) -> Cron:
    seconds, minutes, hours = SECOND.values(second), MINUTE.values(minute), HOUR.values(hour)
    day, weekday = ("*" if text == "?" else text.upper() for text in (day, weekday))
    days, last_day, nearest = _days(day)
    months = MONTH.values(month)
    weekdays, nth = _weekdays(weekday)
    # croniter ignores the other day field with these.
    if nearest is not None and weekday != "*":
        raise Refused(f"day-of-month {shown(day)} needs '*' in day-of-week, not {shown(weekday)}")
    if nth and day != "*":
        raise Refused(f"day-of-week {shown(weekday)} needs '*' in day-of-month, not {shown(day)}")

    # vixie-cron: if one day field starts with a star, both must match; otherwise one is enough.
    both = day.startswith("*") or weekday.startswith("*")
    longest_month = max(monthrange(_LEAP_YEAR, m)[1] for m in months)
    if not both and (days == DAY.all or weekdays == WEEKDAY.all):
        days, weekdays, both = DAY.all, WEEKDAY.all, True
    if not last_day and days[0] > longest_month:
        if both:
            raise Refused(f"it would never fire: no month of {shown(month)} has day-of-month {shown(day)}")
        days, both = DAY.all, True  # April has no 31st: only the weekdays matter
    return Cron(
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=weekdays,
        last_day=last_day and days != DAY.all,
        nearest=nearest,
        nth=nth,
        fixed=not (minute.startswith("*") or hour.startswith("*")),
        both=both,
    )


def _days(text: str) -> tuple[tuple[int, ...], bool, int | None]:
    """Return the days of the month: their numbers, whether the last day is one, and the day of `15W`."""
    if text == "LW":
        return DAY.all, False, LAST_WEEKDAY
    if text.endswith("W"):
        day = DAY.number(text[:-1], text)
        if day > 28:
            raise Refused(f"day-of-month {shown(text)}: not in every month; for the last Monday to Friday use LW")
        return DAY.all, False, day
    if "W" in text:
        raise Refused(f"day-of-month {shown(text)}: W must follow a single day, alone in its field: 15W or LW")
    items = text.split(",")
    numbers = [item for item in items if item != "L"]
    if any("L" in item for item in numbers):
        raise Refused(f"day-of-month {shown(text)}: L is the last day, alone or in a list: L or 1,15,L")
    return (DAY.values(",".join(numbers)) if numbers else ()), len(numbers) < len(items), None


def _weekdays(text: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Return the days of the week, and those that are counted within the month."""
    items = text.split(",")
    counted = [item for item in items if "#" in item or item.endswith("L")]
    if not counted:
        return WEEKDAY.values(text), ()
    if len(counted) < len(items):
        raise Refused(f"day-of-week {shown(text)}: '#' and 'L' cannot be combined with plain weekdays: use two jobs")
    return WEEKDAY.all, tuple(sorted({_counted(item) for item in counted}))


def _counted(item: str) -> tuple[int, int]:
    if item == "L":
        raise Refused("day-of-week 'L': name the weekday, for example 5L, the last Friday of the month")
    if item.endswith("L"):
        return WEEKDAY.wrapped(WEEKDAY.number(item[:-1], item)), LAST
    name, _, which = item.partition("#")
    if which not in ("1", "2", "3", "4", "5"):
        raise Refused(f"day-of-week {shown(item)}: after '#', say which one of the month it is, 1 to 5")
    return WEEKDAY.wrapped(WEEKDAY.number(name, item)), int(which)
