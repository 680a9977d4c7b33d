"""Instants as text: RFC 3339 in UTC, everywhere the same; and as servers write them."""

import email.utils
from datetime import UTC, datetime


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
