"""One field of a cron expression: turns its text into the values that it allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SHOWN_VALUE = 18  # characters of a value in a message


class Refused(Exception):
    """Why the text is not a schedule, for the message."""


def shown(text: object, most: int = _SHOWN_VALUE) -> str:
    """Quote input for a message: short, on one line, printable."""
    whole = text if isinstance(text, str) else repr(text)
    short = whole if len(whole) <= most else whole[: most - 1] + "…"
    return "'" + "".join(c if c.isprintable() else "·" for c in short) + "'"


@dataclass(frozen=True, slots=True)
class Field:
    """The lowest and highest number of a field, and the names that it has for numbers."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)

    @property
    def all(self) -> tuple[int, ...]:
        return tuple(range(self.low, self.high + 1))

    def values(self, text: str) -> tuple[int, ...]:
        """Return the values that lists, ranges, steps and `*` allow, in order. Raises Refused."""
        items = text.upper().split(",")
        if "*" in items and len(items) > 1:
            raise Refused(f"{self.name} {shown(text)}: '*' already means every {self.name}, without a list")
        return tuple(sorted({self.wrapped(value) for item in items for value in self._item(item)}))

    def number(self, text: str, item: str) -> int:
        """Return the value of a text in capitals. Raises Refused, which names `item`."""
        if text in self.names:
            return self.names[text]
        if re.fullmatch("[0-9]{1,2}", text) and self.low <= int(text) <= self._highest:
            return int(text)
        right = f"{self.low} to {self._highest}"
        if self.names:
            right += f" or {min(self.names, key=self.names.__getitem__)} to {list(self.names)[-1]}"
        if not text:
            raise Refused(f"{self.name} {shown(item)}: a number is missing ({right})")
        if "?" in text:
            raise Refused(f"{self.name} {shown(item)}: '?' must be the whole field, and only a day field: use '*'")
        if re.match(r"[HR](\(|$)", text):
            raise Refused(f"{self.name} {shown(item)}: hashed and random values are not supported: use {right}")
        raise Refused(f"{self.name} {shown(item)}: use {right}")

    def wrapped(self, value: int) -> int:
        """Sunday may be written as 7, which means 0."""
        return self.low if value > self.high else value

    @property
    def _highest(self) -> int:
        return 7 if self is WEEKDAY else self.high

    def _item(self, item: str) -> range:
        base, slash, step_text = item.partition("/")
        step = self._step(step_text, item) if slash else 1
        if base == "*":
            return range(self.low, self.high + 1, step)
        low_text, dash, high_text = base.partition("-")
        low = self.number(low_text, item)
        if not dash:
            # 5/15 is 5-59/15, as in Quartz, croniter and cronsim. So 59/15 is only minute 59.
            last = max(low, self.high) if slash else low
            return range(low, last + 1, step)
        high = self.number(high_text, item)
        if low >= high:
            meant = self._meant(low, high, low_text)
            raise Refused(f"{self.name} {shown(item)}: a range goes from low to high: use {meant}")
        return range(low, high + 1, step)

    def _step(self, text: str, item: str) -> int:
        most = self.high - self.low + 1
        if re.fullmatch("[0-9]{1,2}", text) and 1 <= int(text) <= most:
            return int(text)
        hint = ""
        if text.isdigit() and text.strip("0"):
            hint = "; for an interval that does not fit, use '@every 90m'"
        raise Refused(f"{self.name} {shown(item)}: a step is a number from 1 to {most}{hint}")

    def _meant(self, low: int, high: int, low_text: str) -> str:
        """Suggest 22-23,0-2 for 22-2."""
        if low == high:
            return low_text
        if self is WEEKDAY and high == 0:
            return f"{low}-7"
        runs = [(low, self.high), (self.low, high)]
        return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs if a <= b)


def _numbered(first: int, *names: str) -> dict[str, int]:
    return {name: number for number, name in enumerate(names, first)}


SECOND = Field("second", 0, 59)
MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day-of-month", 1, 31)
MONTH = Field(
    "month",
    1,
    12,
    _numbered(1, "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
WEEKDAY = Field("day-of-week", 0, 6, _numbered(0, "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
