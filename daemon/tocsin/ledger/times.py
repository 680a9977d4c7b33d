"""Turns the times of a run and its attempts into columns of a store, and reads them back."""

from typing import Any

import msgspec

from tocsin.ipc.history import Row
from tocsin.ipc.job import Finished
from tocsin.ipc.tried import Parts, Tried

COLUMNS = ("lookup_us", "connect_us", "tls_us", "first_byte_us", "armed", "tries")
_NONE = dict.fromkeys(COLUMNS)
_decode = msgspec.json.Decoder(tuple[Tried, ...]).decode


def columns(run: Finished) -> dict[str, Any]:
    """Return the times of the run's last attempt, and the number of attempts."""
    parts = run.parts
    if parts is None:
        return _NONE
    values = parts.lookup, parts.connect, parts.tls, parts.first_byte, int(parts.ahead), run.retries + 1
    return dict(zip(COLUMNS, values, strict=True))


def attempts(text: str) -> tuple[Tried, ...]:
    """Read a column `attempts`."""
    return _decode(text) if text else ()


def with_times(values: dict[str, Any], **more: Any) -> Row:
    """Make a row of the columns of `Row`, of the COLUMNS, and of `attempts` and `reported`, which are JSON."""
    lookup, connect, tls, first_byte, armed, tries = (values.pop(name) for name in COLUMNS)
    parts = None if armed is None else Parts(lookup, connect, tls, first_byte, None, bool(armed))
    reported = values.pop("reported")
    return Row(
        **values | more | {"attempts": attempts(values["attempts"])},
        parts=parts,
        tries=tries or 0,
        reported=msgspec.json.decode(reported) if isinstance(reported, str) else reported or {},
    )
