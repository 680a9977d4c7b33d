"""Renders prometheus_client's metrics from cached lines. A series that did not change costs nothing.

The output is byte for byte that of `prometheus_client.generate_latest`. That formats every series at every scrape, and
needs most of a second for a thousand jobs (bench/scrape.py). Both text formats have the same lines of samples, and
different lines around them.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import accumulate
from typing import Any, TypeVar

import prometheus_client
from prometheus_client import utils
from prometheus_client.metrics import MetricWrapperBase

from tocsin.exporter.pieces import PIECE, Work

_T = TypeVar("_T", bound="_Remembered")
_SMALL = {float(number): f"{number}.0" for number in range(1000)}  # most counts of buckets; the library needs 1 µs each
ESCAPED_KEPT = 8192  # label values whose escaped form is cached: those of a few thousand jobs


_any_number: Callable[[float], str] = utils.floatToGoString


def _number(value: float) -> str:
    return _SMALL.get(value) or _any_number(value)


class Memory:
    """The lines of one family: a text for each series, and which of them are out of date."""

    def __init__(self, family: "Family") -> None:
        self.family = family
        self.texts: dict[tuple[str, ...], str] = {}  # by label values, in the order of the registry
        self.changed: set[_Remembered] = set()
        self.fresh: list[_Remembered] = []
        self.pattern: dict[str, Any] = {}  # the attributes of a new series
        self._form = ""

    def settle(self) -> None:
        """Write the lines of new series now, a few at a time: the lines of thousands of jobs would delay a scrape."""
        for series in self.fresh:
            if series in self.changed:  # else it was removed again
                self._write(series)
                self.changed.discard(series)
        self.fresh.clear()

    def _write(self, series: "_Remembered") -> None:
        if not series.form:
            self._form = self._form or self._make_form(series)
            series.form = self._form.format(*map(_escaped, series._labelvalues))
        self.texts[series._labelvalues] = series.form % tuple(map(_number, series.values()))

    def lines(self) -> Work[str]:
        written = 0
        while self.changed:  # others may change or go away whenever this yields
            if written and written % PIECE == 0:
                yield
            if self.changed:
                self._write(self.changed.pop())
                written += 1
        self.fresh.clear()
        return "".join(self.texts.values())

    def forget_form(self) -> None:
        """The family's labels changed."""
        self._form = ""
        self.pattern = {}

    def header(self, openmetrics: bool) -> str:
        name, kind = self.family._name, self.family._type
        text = self.family._documentation.replace("\\", r"\\").replace("\n", r"\n")
        if openmetrics:
            text = text.replace('"', r"\"")
        elif kind == "counter":
            name += "_total"
        return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"

    def _make_form(self, series: "_Remembered") -> str:
        """Return the lines of any series of the family, with {0}, {1}, … for label values and %s for sample values."""
        own = {name: f"{{{position}}}" for position, name in enumerate(self.family._labelnames)}
        lines = []
        for sample in series._child_samples():
            labels = ",".join(f'{name}="{value}"' for name, value in sorted({**own, **sample.labels}.items()))
            lines.append(f"{self.family._name}{sample.name}{f'{{{{{labels}}}}}' if labels else ''} %s\n")
        return "".join(lines)


class _Remembered(MetricWrapperBase):
    """A family that caches its lines. As in prometheus_client, its series are instances of its own class.

    Change a series only by the methods below, and remove series only by `remove` and `clear`.
    """

    memory: Memory | None = None  # of the family
    form = ""  # the lines of this series with %s for the values

    def labels(self: _T, *labelvalues: Any, **labelkwargs: Any) -> _T:
        assert self.memory
        assert not labelkwargs, "give the values in the order of the labels"
        values = tuple(map(str, labelvalues))
        all_series: dict[Any, Any] = self._metrics
        if not (series := all_series.get(values)):
            series = self._new(values)
            all_series[values] = series
            series.touch()
            self.memory.fresh.append(series)
        made: _T = series
        return made

    def _new(self, values: tuple[str, ...]) -> Any:
        """Return a series. The library makes the first one of the family, and checks all names again for each. The
        others are copies of it, because a job has 60 of them."""
        assert self.memory
        if not self.memory.pattern or len(values) != len(self._labelnames):
            self.memory.pattern = dict(vars(super().labels(*values)), memory=self.memory)
        series: Any = object.__new__(type(self))
        for name, value in self.memory.pattern.items():
            setattr(series, name, value)  # vars(series).update would give each series a dictionary of its own
        series._labelvalues = values
        series._metric_init()
        return series

    def remove(self, *labelvalues: Any) -> None:
        assert self.memory
        if series := self._metrics.get(labelvalues):
            self.memory.changed.discard(series)
            self.memory.texts.pop(labelvalues, None)
        super().remove(*labelvalues)

    def clear(self) -> None:
        assert self.memory
        self.memory.changed.clear()
        self.memory.fresh.clear()
        self.memory.texts.clear()
        super().clear()

    def relabel(self, *names: str) -> None:
        """Give the family other labels. Removes all its series."""
        assert self.memory
        self.clear()
        self._labelnames = names
        self.memory.forget_form()

    def values(self) -> tuple[float, ...]:
        """Return the values of the samples, in the order of `_child_samples`."""
        raise NotImplementedError

    def touch(self) -> None:
        """The lines of this series are out of date. A new series gets its place in the registry's order."""
        assert self.memory
        self.memory.changed.add(self)
        self.memory.texts.setdefault(self._labelvalues, "")


class Counter(_Remembered, prometheus_client.Counter):
    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        super().inc(amount, exemplar)
        self.touch()

    def reach(self, total: float) -> None:
        """Set the counter to a total that is kept elsewhere."""
        if total != self._value.get():
            self._value.set(total)
            self.touch()

    def values(self) -> tuple[float, ...]:
        return (self._value._value,)


class Gauge(_Remembered, prometheus_client.Gauge):
    known = 0.0  # the value, which most events do not change; the library needs a lock to read it

    def set(self, value: float) -> None:
        if value != self.known:
            self.known = value
            super().set(value)
            self.touch()

    def values(self) -> tuple[float, ...]:
        return (self._value._value,)


class Histogram(_Remembered, prometheus_client.Histogram):
    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        super().observe(amount, exemplar)
        self.touch()

    def values(self) -> tuple[float, ...]:
        buckets = tuple(accumulate([bucket._value for bucket in self._buckets]))
        return (*buckets, buckets[-1], self._sum._value)


Family = Counter | Gauge | Histogram


def remember(family: Family) -> Memory:
    """Start to cache the lines of a new family."""
    family.memory = Memory(family)
    if not family._labelnames:
        family.touch()
    return family.memory


def render(memories: Iterable[Memory], openmetrics: bool) -> Work[list[bytes]]:
    """Render the families in text format 0.0.4, or in OpenMetrics 1.0.0 without its final `# EOF`. Each family is as of
    one moment. They are not joined, because that would copy 40 MB at once."""
    parts = []
    for one in memories:
        lines = yield from one.lines()
        parts.append((one.header(openmetrics) + lines).encode())
        yield
    return parts


@lru_cache(ESCAPED_KEPT)
def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"").replace("%", "%%")
