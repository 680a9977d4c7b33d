"""Instants as text: RFC 3339 in UTC, everywhere the same; as servers write them; and how far to trust a clock."""

import email.utils
import time
from datetime import UTC, datetime

# An instant that has a fate already and is further ahead than this means that the clock stood wrong and was set back:
# count from now again. (cron(8) draws the same line.) No slot runs twice for it: the ledger denies one that ran.
CLOCK_SET_BACK = 3 * 3600.0


def rfc3339(seconds: float, *, milliseconds: bool = False) -> str:
    """A Unix time to the millisecond; whole seconds without a fraction unless `milliseconds` asks for one."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    form = "milliseconds" if milliseconds or moment.microsecond else "seconds"
    return moment.isoformat(timespec=form).replace("+00:00", "Z")


def from_http(date: str) -> float:
    """The Unix time of an HTTP date, in any of its forms (RFC 9110, 5.6.7): without a zone it is in UTC. Raises
    ValueError, OverflowError."""
    moment = email.utils.parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def began() -> float:
    """The Unix time at which this machine was started, by the clock as it stands: another one after a restart of the
    machine, and after every step of the clock (CLOCK_BOOTTIME of clock_gettime(2) has none)."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
