"""From arrivals at the sink to lateness, missed and duplicate fires. Pure; instants are epoch seconds as floats."""

import math
import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EARLY = 0.5  # seconds: a request may come this much before its instant and still be the instant's (timers round)


@dataclass(frozen=True)
class Lateness:
    """Seconds; None when nothing arrived."""

    p50: float | None
    p99: float | None
    max: float | None


@dataclass(frozen=True)
class Fire:
    """What one due instant got. Lateness is in seconds, of the first request of each job."""

    due: float
    lateness: list[float]
    missed: int
    duplicates: int
    unknown: int  # requests of jobs that do not exist


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the least value that `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def lateness(values: Sequence[float]) -> Lateness:
    if not values:
        return Lateness(None, None, None)
    return Lateness(percentile(values, 0.5), percentile(values, 0.99), max(values))


def match(arrivals: Iterable[tuple[int, float]], dues: Sequence[float], jobs: int) -> list[Fire]:
    """Give each (job, arrival) to the last instant that was due by then, and count per job and instant.

    `dues` ascends. What came before the first instant is nobody's; a request that is later than the next instant
    counts as that one's, and as missed for its own: a scheduler that is late by a whole period has lost count.
    """
    calls: dict[float, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for job, at in arrivals:
        index = bisect_right(dues, at + EARLY) - 1
        if index >= 0:
            calls[dues[index]][job].append(at - dues[index])
    fires = []
    for due in dues:
        known = {job: late for job, late in calls[due].items() if 0 <= job < jobs}
        fires.append(
            Fire(
                due,
                sorted(min(late) for late in known.values()),
                missed=jobs - len(known),
                duplicates=sum(len(late) - 1 for late in known.values()),
                unknown=sum(len(late) for job, late in calls[due].items() if job not in known),
            )
        )
    return fires


def together(fires: Sequence[Lateness], jobs: int) -> Lateness:
    """Several instants as one row: the median of each figure over the instants.

    With one job every instant has one value, and the percentiles of one value say nothing: then the instants'
    values are taken together and the figures are theirs.
    """
    if jobs == 1:
        return lateness([fire.p50 for fire in fires if fire.p50 is not None])

    def middle(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    return Lateness(middle(f.p50 for f in fires), middle(f.p99 for f in fires), middle(f.max for f in fires))
