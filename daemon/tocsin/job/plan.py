"""Which slot is next, and what became of those that passed: a pure function of the schedule and the clock.

The next due instant follows from the last *scheduled* one, never from now, so that nothing falls between.
"""

from typing import Literal, Protocol

import msgspec

from tocsin.ipc.types import NotRunReason
from tocsin.timestamps import CLOCK_SET_BACK


class Due(Protocol):
    """The part of `tocsin.schedule.Schedule` that is needed here; instants in whole Unix seconds."""

    def next_due(self, after: int) -> int: ...
    def latest(self, after: int, until: int) -> int | None: ...
    def count(self, after: int, until: int) -> int: ...


class Passed(msgspec.Struct, frozen=True):
    """A run of slots that will not run."""

    first: int
    last: int
    count: int
    reason: NotRunReason


class Plan(msgspec.Struct, frozen=True):
    passed: Passed | None
    due: int
    late: bool  # the slot's instant has passed already


def passed_between(schedule: Due, after: int, until: int, reason: NotRunReason) -> Passed | None:
    """The slots in (after, until] as one run of passed ones."""
    last = schedule.latest(after, until) if until > after else None
    if last is None:
        return None
    return Passed(schedule.next_due(after), last, schedule.count(after, last), reason)


def plan(schedule: Due, last: int, now: float, grace: float, catch_up: Literal["last", "all", "none"]) -> Plan:
    """The slot to run next, given that all up to `last` are accounted for.

    Of slots whose instant has passed, those within `grace` may still run: the latest, all in turn, or none.
    """
    if last > now + CLOCK_SET_BACK:
        last = int(now)
    latest = schedule.latest(last, int(now)) if now > last else None
    if latest is None:
        return Plan(None, schedule.next_due(last), late=False)
    if catch_up == "none" or now - latest > grace:
        first_to_run = None
    elif catch_up == "last":
        first_to_run = latest
    else:
        first_to_run = schedule.next_due(max(last, _before(now - grace)))
    if first_to_run is None:
        return Plan(passed_between(schedule, last, latest, "missed"), schedule.next_due(latest), late=False)
    return Plan(passed_between(schedule, last, first_to_run - 1, "missed"), first_to_run, late=True)


def _before(instant: float) -> int:
    """The last whole second strictly before an instant."""
    whole = int(instant)
    return whole - 1 if whole == instant else whole
