"""How values are written on the pages: the filters of the templates."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from tocsin.exporter.state import Slot
from tocsin.health import pause_in_words
from tocsin.ipc.fates import FATES, Fate
from tocsin.schedule.zones import load_zone
from tocsin.units import duration, size


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _at(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if seconds is not None else "never"


def _at_ms(seconds: float) -> str:
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03} UTC"


def _us(value: int | None) -> str:
    return duration(None if value is None else value / 1e6, none="–")


def _seconds(value: float | None) -> str:
    return duration(value, none="–")


def _in_zone(seconds: float, zone: str) -> str | None:
    """Write the instant in a zone other than UTC. None for UTC, and if this process cannot read the zone."""
    try:
        moment = datetime.fromtimestamp(seconds, load_zone(zone))
    except ValueError:
        return None
    return None if zone in ("UTC", "Etc/UTC") else f"{moment:%Y-%m-%d %H:%M:%S} {zone}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "…", "!", "?")) else ".")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"


def _fate(fate: Fate) -> str:
    return FATES[fate].words


def _told(slots: list[Slot]) -> str:
    """The tooltip of neighbouring slots with the same fate."""
    first, last = slots[0], slots[-1]
    count = sum(slot.count for slot in slots)
    if count == 1:
        why = f": {first.detail}" if first.detail else ""
        return f"{_fate(first.fate)}, {_at(first.due)}{why}"
    return f"{count} × {_fate(first.fate)}, {_at(first.due)} to {_at(last.last)}"


def _among(slots: Iterable[Slot]) -> str:
    """Describe a strip in words."""
    counts = Counter[Fate]()
    for slot in slots:
        counts[slot.fate] += slot.count
    return ", ".join(f"{count} {_fate(fate)}" for fate, count in counts.most_common()) or "nothing yet"


FILTERS = {
    "at": _at,
    "at_ms": _at_ms,
    "in_zone": _in_zone,
    "sentence": _sentence,
    "size": size,
    "seconds": _seconds,
    "us": _us,
    "number": _number,
    "fate": _fate,
    "instant": _instant,
    "told": _told,
    "among": _among,
    "pause": pause_in_words,
}
