"""Instants as text (RFC 3339 in UTC), HTTP dates, and when to distrust the clock."""

import email.utils
import time
from datetime import UTC, datetime

# An instant that has a fate already and is further ahead than this means that the clock stood wrong and was set back:
# count from now again. (cron(8) draws the same line.) No slot runs twice for it: the ledger denies one that ran.
CLOCK_SET_BACK = 3 * 3600.0


def rfc3339(seconds: float, *, milliseconds: bool = False) -> str:
    """Write a Unix time, to the millisecond. Whole seconds have no fraction unless `milliseconds` is set."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    form = "milliseconds" if milliseconds or moment.microsecond else "seconds"
    return moment.isoformat(timespec=form).replace("+00:00", "Z")


def from_http(date: str) -> float:
    """Read an HTTP date in any of its forms (RFC 9110, 5.6.7) as Unix time. Without a zone it is in UTC. Raises
    ValueError and OverflowError."""
    moment = email.utils.parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def boottime() -> float:
    """Seconds since this machine was started, those in which it slept among them: no clock that is set changes them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def began() -> float:
    """Return the Unix time of this machine's start, by its current clock. It changes with a restart of the machine, and
    when the clock is set (CLOCK_BOOTTIME of clock_gettime(2) does not change then)."""
    return time.time() - boottime()
