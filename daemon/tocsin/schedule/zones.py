"""Time zones: reads their names, and finds the spans of time in which an offset stays the same."""

from __future__ import annotations

from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from tocsin.schedule.fields import shown
from tocsin.schedule.grammar import ScheduleError

NO_DATA = (
    "this machine has no time zone data: install tzdata, as a system package or from PyPI "
    "(apt-get install tzdata, apk add tzdata, pip install tzdata)"
)
_DAY = 86_400
_NOT_NAMES = {"localtime", "posixrules", "Factory"}  # files next to the zones
_BLOCK = 25  # bits: changes are looked up for 2**25 s at a time, a little more than a year
_PROBE = 1 << 17  # seconds (36 h) between probes of the offset: in tzdata every offset lasted at least 95 h
_BLOCKS_KEPT = 512  # about 300 bytes each, shared by all schedules: three for each zone in use


def load_zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name. Raises ScheduleError, which suggests similar names."""
    try:
        # right/ counts leap seconds, which Unix time does not have. A machine's own zone differs on the next machine.
        if name.startswith(("right/", "posix/")) or name in _NOT_NAMES:
            raise ValueError
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError, AttributeError, TypeError):
        raise ScheduleError(f"cannot read timezone {shown(name, 40)}: {_nearest(name)}") from None


def _nearest(name: object) -> str:
    """Say why there is no such zone, and suggest zones with a similar name or city."""
    zones: dict[str, str] = {}
    names = available_timezones() - _NOT_NAMES
    if not names:
        return NO_DATA
    for zone in sorted(names):
        zones.setdefault(zone.rsplit("/", 1)[-1].lower(), zone)
        zones[zone.lower()] = zone
    wanted = str(name)[:40].strip().lower().replace(" ", "_")
    near = [wanted] if wanted in zones else get_close_matches(wanted, zones, n=3, cutoff=0.7)
    if near:
        return f"no such zone; did you mean {' or '.join(dict.fromkeys(zones[key] for key in near))}?"
    return "no such zone: use an IANA name such as UTC or Europe/Berlin"


class Span(NamedTuple):
    """A span of time, [start, end) in Unix seconds, in which the zone's offset stays the same."""

    start: int
    end: int
    offset: int  # local minus UTC, in seconds
    before: int  # the offset until `start`; equal to `offset` if only the lookup begins there


def span_at(zone: ZoneInfo, instant: int) -> Span:
    """Return the span around an instant, up to the changes on both sides or the ends of the lookup."""
    block = instant >> _BLOCK
    start, end = (block - 1) << _BLOCK, (block + 2) << _BLOCK
    offset = _offset(zone, instant)
    before = offset
    for near in (block - 1, block, block + 1):
        for at, old in _changes(zone, near):
            if at > instant:
                return Span(start, at, offset, before)
            start, before = at, old
    return Span(start, end, offset, before)


@lru_cache(maxsize=_BLOCKS_KEPT)
def _changes(zone: ZoneInfo, block: int) -> tuple[tuple[int, int], ...]:
    """Return the offset's changes after the block's start, up to its end: each instant, and the offset until then."""
    changes = []
    low = block << _BLOCK
    old = _offset(zone, low)
    for high in range(low + _PROBE, (block + 1 << _BLOCK) + 1, _PROBE):
        new = _offset(zone, high)
        if new != old:
            same, changed = low, high
            while changed - same > 1:
                middle = (same + changed) // 2
                if _offset(zone, middle) == old:
                    same = middle
                else:
                    changed = middle
            changes.append((changed, old))
        low, old = high, new
    return tuple(changes)


def _offset(zone: ZoneInfo, instant: int) -> int:
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    assert offset is not None
    return offset.days * _DAY + offset.seconds
