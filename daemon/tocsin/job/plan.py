"""Decides which slot is next, and what becomes of those that passed: a pure function of the schedule and the clock.

The next due instant follows from the last *scheduled* one, never from now, so that no slot is lost in between.
"""

from collections.abc import Iterator
from typing import Literal, Protocol

import msgspec

from tocsin.ipc.types import NotRunReason
from tocsin.timestamps import CLOCK_SET_BACK


class Due(Protocol):
    """The part of `tocsin.schedule.Schedule` that is used here. Instants are whole Unix seconds."""

    def next_due(self, after: int) -> int: ...
    def latest(self, after: int, until: int) -> int | None: ...
    def count(self, after: int, until: int) -> int: ...


class Passed(msgspec.Struct, frozen=True):
    """A series of slots that will not run."""

    first: int
    last: int
    count: int
    reason: NotRunReason


class Plan(msgspec.Struct, frozen=True):
    passed: Passed | None
    due: int
    late: bool  # the slot's instant has passed


def passed_between(schedule: Due, after: int, until: int, reason: NotRunReason) -> Passed | None:
    """Return the slots in (after, until] as one series, or None if there are none."""
    last = schedule.latest(after, until) if until > after else None
    if last is None:
        return None
    return Passed(schedule.next_due(after), last, schedule.count(after, last), reason)


def passed_in_pause(schedule: Due, accounted: int, now: float, pause: tuple[float, float]) -> Iterator[Passed]:
    """Yield the slots that passed up to `now`, or to the end of the pause: those from before it, which were missed, and
    then those of the pause itself."""
    began, ends = pause
    until = before(ends) if ends <= now else int(now)
    if passed := passed_between(schedule, accounted, min(before(began), until), "missed"):
        accounted = passed.last
        yield passed
    if passed := passed_between(schedule, accounted, until, "paused"):
        yield passed


def plan(schedule: Due, accounted: int, now: float, grace: float, catch_up: Literal["last", "all", "none"]) -> Plan:
    """Return the slot to run next, when all up to `accounted` (Unix seconds) are accounted for.

    Slots whose instant has passed may still run within `grace`: the latest, all in turn, or none.
    """
    if accounted > now + CLOCK_SET_BACK:
        accounted = int(now)
    latest = schedule.latest(accounted, int(now)) if now > accounted else None
    if latest is None:
        return Plan(None, schedule.next_due(accounted), late=False)
    if catch_up == "none" or now - latest > grace:
        first_to_run = None
    elif catch_up == "last":
        first_to_run = latest
    else:
        first_to_run = schedule.next_due(max(accounted, before(now - grace)))
    if first_to_run is None:
        return Plan(passed_between(schedule, accounted, latest, "missed"), schedule.next_due(latest), late=False)
    return Plan(passed_between(schedule, accounted, first_to_run - 1, "missed"), first_to_run, late=True)


def before(instant: float) -> int:
    """Return the last whole second strictly before an instant."""
    whole = int(instant)
    return whole - 1 if whole == instant else whole
