"""Instants as text: RFC 3339 in UTC, everywhere the same."""

from datetime import UTC, datetime


def rfc3339(seconds: float, *, milliseconds: bool = False) -> str:
    """A Unix time to the millisecond; whole seconds without a fraction unless `milliseconds` asks for one."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    form = "milliseconds" if milliseconds or moment.microsecond else "seconds"
    return moment.isoformat(timespec=form).replace("+00:00", "Z")
