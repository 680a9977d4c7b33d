"""Turns a cron expression and a zone into due instants.

croniter follows the local wall clock, without offsets and gaps. This module decides what a wall time means in real
time, across every change of the zone's offset, by the rule of Debian's cron(8):

- A *fixed* job (neither minute nor hour starts with `*`) whose time falls into a gap runs once, at the first instant
  after it. If local time is repeated, it runs only the first time.
- Every other job follows real time: it does not run in the gap, and runs twice in the repeated time.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta

from croniter import croniter

from tocsin.schedule.grammar import LAST, Cron, Every, ScheduleError, normalized, parse
from tocsin.schedule.words import explain
from tocsin.schedule.zones import Span, load_zone, span_at

__all__ = ["Schedule", "ScheduleError", "same"]

_DAY = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
# Instants outside are refused: datetime ends with the year 9999, and a search may cover decades.
_FIRST = int((datetime(10, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
_END = int((datetime(9900, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
_LONGEST_WAIT = 50  # years: 29 February on a given weekday comes at least every 40 years (2100 is not a leap year)


class Schedule:
    """When a job is due. Immutable, and equal to any schedule with the same meaning in the same zone.

    Use it in one thread at a time, because croniter keeps its position.

    >>> Schedule("30 2 * * MON-FRI", "Europe/Berlin").words
    'at 02:30 on Monday through Friday, Europe/Berlin'
    """

    __slots__ = (
        *("_cron", "_every_day", "_expression", "_known", "_meaning", "_per_day", "_plan", "_span"),
        *("_timezone", "_zone"),
    )

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        """Raises ScheduleError for an invalid expression or an unknown zone."""
        self._meaning = _meaning(expression, timezone)
        self._plan = self._meaning[0]
        self._expression = normalized(expression)
        self._zone = load_zone(timezone)
        self._timezone = timezone
        self._span = Span(0, 0, 0, 0)
        self._known = 0, 0  # nothing is due between these two instants
        if isinstance(self._plan, Cron):
            self._cron = _walker(self._plan)
            self._every_day = self._plan.every_day
            self._per_day = len(self._plan.hours) * len(self._plan.minutes) * len(self._plan.seconds)

    @property
    def expression(self) -> str:
        """The expression, with single spaces and names in capitals."""
        return self._expression

    @property
    def timezone(self) -> str:
        return self._timezone

    @property
    def text(self) -> str:
        """Expression and zone, which `same` compares with another schedule's."""
        return f"{self._expression} {self._timezone}"

    @property
    def words(self) -> str:
        """The schedule in plain English."""
        return explain(self._plan, self._timezone)

    def next(self, after: datetime) -> datetime:
        """Return the first due instant strictly after an aware datetime, in UTC. ScheduleError if it is naive."""
        if after.utcoffset() is None:
            raise ScheduleError(f"cannot tell what is due after {after.isoformat()}: it has no zone or offset")
        return _EPOCH + self.next_due((after - _EPOCH) // _SECOND) * _SECOND

    def next_due(self, after: int) -> int:
        """Return the first due instant strictly after `after`, both in Unix seconds. The last answer is cached."""
        known_after, known = self._known
        if not known_after <= after < known:
            known = self._next_due(after)
            self._known = after, known
        return known

    def _next_due(self, after: int) -> int:
        if not _FIRST <= after < _END:
            raise ScheduleError(f"cannot tell what is due after {after}: outside the years 10 to 9899")
        plan = self._plan
        if isinstance(plan, Every):
            return (after // plan.seconds + 1) * plan.seconds
        span = self._span
        if not span.start <= after < span.end:
            span = self._span = span_at(self._zone, after)
        wall = after + span.offset
        if plan.fixed:
            wall = max(wall, span.start + span.before - 1)  # not in the repeated hour of autumn
        match = self._match(wall)
        while match - span.offset >= span.end:
            end = span.end
            span = span_at(self._zone, end)
            reached = end + span.offset - 1
            if plan.fixed:
                if match <= reached:
                    return end  # the time is in the gap
            elif not wall <= reached < match:  # the clock went back before `wall`, or forward past `match`
                wall, match = reached, self._match(reached)
        return match - span.offset

    def latest(self, after: int, until: int) -> int | None:
        """Return the last due instant in (after, until], or None. Unix seconds."""
        latest = self.next_due(after)
        if latest > until:
            return None
        none_after = until
        while latest < none_after:
            middle = (latest + none_after) // 2
            due = self.next_due(middle)
            if due <= until:
                latest = due
            else:
                none_after = middle
        return latest

    def count(self, after: int, until: int) -> int:
        """Count the due instants in (after, until]. Unix seconds. The result is exact."""
        if until <= after:
            return 0
        if not _FIRST <= after < until < _END:
            raise ScheduleError(f"cannot count from {after} to {until}: outside the years 10 to 9899")
        plan = self._plan
        if isinstance(plan, Every):
            return until // plan.seconds - after // plan.seconds
        total = 0
        instant = after + 1
        while instant <= until:
            span = span_at(self._zone, instant)
            end = min(span.end, until + 1)
            low = instant + span.offset
            if plan.fixed:
                passed = span.start + span.before  # the wall clock's reading before this span
                if instant == span.start and self._walls(plan, passed, low) and not self._walls(plan, low, low + 1):
                    total += 1  # one run for all times in the gap
                low = max(low, passed)
            total += self._walls(plan, low, end + span.offset)
            instant = end
        return total

    def _match(self, wall: int) -> int:
        """Return the first matching wall-clock second after `wall`, both counted as if the wall clock were UTC.

        For most jobs every day matches. Then only the time of day is looked up, in a tenth of croniter's time.
        """
        assert isinstance(self._plan, Cron)
        if not self._every_day:
            return int(self._cron.get_next(float, start_time=float(wall)))
        day, second = divmod(wall + 1, _DAY)
        return day * _DAY + _first_time(self._plan, second)

    def _walls(self, plan: Cron, low: int, high: int) -> int:
        """Count the matching wall-clock seconds in [low, high)."""
        if low >= high:
            return 0
        if plan.every_day:
            return self._times_before(plan, high) - self._times_before(plan, low)
        total = 0
        wall = self._match(low - 1)
        while wall < high:
            day = wall - wall % _DAY
            total += self._times_before(plan, min(high - day, _DAY)) - self._times_before(plan, max(low - day, 0))
            wall = self._match(day + _DAY - 1)
        return total

    def _times_before(self, plan: Cron, wall: int) -> int:
        """Count the matching times of day before `wall`, as if every day matched."""
        days, second = divmod(wall, _DAY)
        hour, second = divmod(second, 3600)
        minute, second = divmod(second, 60)
        count = bisect_left(plan.hours, hour) * len(plan.minutes)
        if hour in plan.hours:
            count += bisect_left(plan.minutes, minute)
        count *= len(plan.seconds)
        if hour in plan.hours and minute in plan.minutes:
            count += bisect_left(plan.seconds, second)
        return days * self._per_day + count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return self._meaning == other._meaning

    def __hash__(self) -> int:
        return hash(self._meaning)

    def __repr__(self) -> str:
        return f"Schedule({self._expression!r}, {self._timezone!r})"


def same(one: str, other: str) -> bool:
    """Whether two schedules mean the same. Each is given as its `Schedule.text`. A text that is not a schedule (empty
    for a disabled job, or from another version of Tocsin) is the same only as itself."""
    if one == other:
        return True
    try:
        return _meaning(*one.rpartition(" ")[::2]) == _meaning(*other.rpartition(" ")[::2])
    except ScheduleError:
        return False


def _meaning(expression: str, timezone: str) -> tuple[Cron | Every, str]:
    """Two schedules with the same meaning are the same. The zone of an interval does not matter."""
    plan = parse(expression)
    return plan, "" if isinstance(plan, Every) else timezone


def _first_time(plan: Cron, second: int) -> int:
    """Return the first matching second of the day at or after `second`. On the next day it is beyond the day's end."""
    hour, rest = divmod(second, 3600)
    minute, second = divmod(rest, 60)
    if hour in plan.hours:
        if minute in plan.minutes and second <= plan.seconds[-1]:
            return hour * 3600 + minute * 60 + plan.seconds[bisect_left(plan.seconds, second)]
        if minute < plan.minutes[-1]:
            return hour * 3600 + plan.minutes[bisect_left(plan.minutes, minute + 1)] * 60 + plan.seconds[0]
    later = bisect_left(plan.hours, hour + 1)
    hour = plan.hours[later] if later < len(plan.hours) else 24 + plan.hours[0]
    return hour * 3600 + plan.minutes[0] * 60 + plan.seconds[0]


def _walker(plan: Cron) -> croniter:
    """Use croniter with the values that our grammar read. Of croniter's own grammar only lists of numbers are used."""

    def listed(values: tuple[int, ...], size: int) -> str:
        return "*" if len(values) == size else ",".join(map(str, values))

    days = listed(plan.days, 31)
    if plan.nearest is not None:
        days = f"{plan.nearest}W"
    elif plan.last_day:
        days = f"{days},L".lstrip(",")
    weekdays = listed(plan.weekdays, 7)
    if plan.nth:
        weekdays = ",".join(f"L{day}" if n == LAST else f"{day}#{n}" for day, n in plan.nth)
    fields = [listed(plan.minutes, 60), listed(plan.hours, 24), days, listed(plan.months, 12), weekdays]
    if plan.seconds != (0,):
        fields.insert(0, listed(plan.seconds, 60))
    return croniter(
        " ".join(fields),
        0.0,
        day_or=not plan.both,
        second_at_beginning=True,
        max_years_between_matches=_LONGEST_WAIT,
    )
