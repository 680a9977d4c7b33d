"""Describes a schedule in plain English, for people who read it at night."""

from __future__ import annotations

from tocsin.schedule.grammar import LAST, Cron, Every

_MOST_TIMES = 6  # times of day that are named one by one; more are described
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_COUNTS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", LAST: "last"}
_UNITS = ((2 * 86_400, 86_400, "day"), (3600, 3600, "hour"), (60, 60, "minute"), (1, 1, "second"))


def explain(plan: Cron | Every, timezone: str) -> str:
    """Describe the schedule. Names the zone if it matters."""
    if isinstance(plan, Every):
        return _interval(plan.seconds)
    days = _days(plan)
    if days is None:
        days = "every day" if _named_times(plan) else ""
    words = " ".join(filter(None, (_time(plan), days)))
    plain_minutes = len(plan.minutes) == 60 or _step(plan.minutes, 60) is not None
    if plan.every_day and len(plan.hours) == 24 and plain_minutes:
        return words
    return f"{words}, {timezone}"


def _interval(seconds: int) -> str:
    for least, unit, name in _UNITS:
        if seconds >= least and seconds % unit == 0:
            return _every(seconds // unit, name)
    raise AssertionError(seconds)


def _every(n: int, name: str) -> str:
    return f"every {name}" if n == 1 else f"every {n} {name}s"


def _named_times(plan: Cron) -> list[str]:
    """Return the times of day, if there are few enough to name them."""
    if len(plan.hours) * len(plan.minutes) * len(plan.seconds) > _MOST_TIMES:
        return []
    return [
        f"{hour:02}:{minute:02}" + (f":{second:02}" if plan.seconds != (0,) else "")
        for hour in plan.hours
        for minute in plan.minutes
        for second in plan.seconds
    ]


def _time(plan: Cron) -> str:
    if times := _named_times(plan):
        return "at " + _list(times)
    if plan.seconds == (0,):
        if plan.minutes == (0,):
            return _on_the_hour(plan.hours)
        return _minutes(plan.minutes, plan.hours)
    return _seconds(plan)


def _on_the_hour(hours: tuple[int, ...]) -> str:
    if len(hours) == 24:
        return "every hour on the hour"
    if step := _step(hours, 24):
        return f"every {step} hours from midnight"
    first, last = hours[0], hours[-1]
    if _runs(hours):
        return f"every hour from {first:02}:00 to {last:02}:00"
    return "at " + _list([f"{hour:02}:00" for hour in hours])


def _minutes(minutes: tuple[int, ...], hours: tuple[int, ...]) -> str:
    if len(minutes) == 60:
        return f"every minute{_during(hours)}"
    if step := _step(minutes, 60):
        return f"every {step} minutes{_during(hours)}"
    return f"at {_numbered('minute', minutes)}{_of_hours(hours)}"


def _seconds(plan: Cron) -> str:
    if len(plan.seconds) == 60:
        second = "every second"
    elif step := _step(plan.seconds, 60):
        second = f"every {step} seconds"
    else:
        second = f"at {_numbered('second', plan.seconds)}"
    often = not second.startswith("at ")
    if len(plan.minutes) == 60:
        return second + ("" if often else " of every minute") + _during(plan.hours)
    if step := _step(plan.minutes, 60):
        return f"{second} of every {_ordinal(step)} minute{_during(plan.hours)}"
    return f"{second} of {_numbered('minute', plan.minutes)}{_of_hours(plan.hours)}"


def _during(hours: tuple[int, ...]) -> str:
    if len(hours) == 24:
        return ""
    if _runs(hours) or len(hours) == 1:
        return f" from {hours[0]:02}:00 to {hours[-1]:02}:59"
    return _of_hours(hours)


def _of_hours(hours: tuple[int, ...]) -> str:
    if len(hours) == 24:
        return " of every hour"
    if step := _step(hours, 24):
        return f" of every {_ordinal(step)} hour from midnight"
    return f" of {_numbered('hour', hours)}"


def _days(plan: Cron) -> str | None:
    """Say on which days, or None for all days."""
    if plan.every_day:
        return None
    months = _list(_grouped(plan.months, [_MONTHS[month - 1] for month in plan.months]))
    of_month = "of the month" if len(plan.months) == 12 else f"of {months}"
    in_month = "" if len(plan.months) == 12 else f" in {months}"
    day = None if plan.any_day else _day_of_month(plan)
    if plan.any_weekday:
        return f"on {day} {of_month}" if day else f"every day{in_month}"
    if plan.nth:
        in_order = sorted(plan.nth, key=lambda day: (day[0] or 7, list(_COUNTS).index(day[1])))
        counted = [f"the {_COUNTS[n]} {_WEEKDAYS[weekday]}" for weekday, n in in_order]
        return f"on {_list(counted)} {of_month}"
    order = tuple(sorted(weekday or 7 for weekday in plan.weekdays))  # in words, the week begins on Monday
    names = [_WEEKDAYS[weekday] for weekday in order]
    weekday = _list(_grouped(order, names))
    if day is None:
        return f"on {weekday}{in_month}"
    if plan.both:
        return f"on {day} {of_month} when that is a {_list(names, 'or')}"
    return f"on {day} {of_month} and also on {weekday}{in_month}"


def _day_of_month(plan: Cron) -> str:
    if plan.nearest is not None:
        if plan.nearest > 28:
            return "the last weekday (Monday to Friday)"
        return f"the weekday (Monday to Friday) nearest to the {_ordinal(plan.nearest)}"
    step = _step(plan.days, 31, 1)
    if step and not plan.last_day:
        return f"every {_ordinal(step)} day from the 1st"
    days = _grouped(plan.days, [_ordinal(day) for day in plan.days])
    return "the " + _list([*days, "last day"] if plan.last_day else days)


def _step(values: tuple[int, ...], size: int, low: int = 0) -> int | None:
    """Return the n of `*/n` if it divides the whole evenly. Days of the month never do: there three values suffice."""
    if len(values) < 2:
        return None
    step = values[1] - values[0]
    if step < 2 or values != tuple(range(low, low + size, step)):
        return None
    return step if size % step == 0 or (low == 1 and len(values) > 2) else None


def _runs(values: tuple[int, ...]) -> bool:
    """Whether there are at least three values in a row."""
    return len(values) > 2 and values[-1] - values[0] == len(values) - 1


def _numbered(name: str, values: tuple[int, ...]) -> str:
    if len(values) == 1:
        return f"{name} {values[0]}"
    return f"{name}s {_list(_grouped(values, [str(value) for value in values]))}"


def _grouped(values: tuple[int, ...], names: list[str]) -> list[str]:
    """Return the names of the values. Joins three or more in a row."""
    groups: list[str] = []
    first = 0
    for last, value in enumerate(values):
        if last + 1 < len(values) and values[last + 1] == value + 1:
            continue
        run = names[first : last + 1]
        groups += [f"{run[0]} through {run[-1]}"] if len(run) > 2 else run
        first = last + 1
    return groups


def _list(names: list[str], word: str = "and") -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def _ordinal(n: int) -> str:
    suffix = "th" if n in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"
