"""How long Schedule.next_due takes, count and latest over a year, and a refusal: python bench/schedule_next.py"""

from __future__ import annotations

import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))  # from a checkout, installed or not

from tocsin.schedule import Schedule, ScheduleError

ZONE = "Europe/Berlin"
START = 1_767_225_600  # 2026-01-01T00:00:00Z
YEAR = 365 * 86_400
INSTANTS = 5_000
EXPRESSIONS = [
    "* * * * *",
    "*/5 * * * *",
    "0 * * * *",
    "30 2 * * *",
    "30 2 * * MON-FRI",
    "0 0 1 * *",
    "0 0 13 * FRI",
    "0 9 * * MON#1",
    "0 9 LW * *",
    "0 0 29 2 *",
    "*/10 * * * * *",
    "@every 90s",
]
REFUSED = ["3-3 * * * *", "0 0 * * SUN-SUN", "22-2 * * * *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "9" * 5000 + " * * * *"]


def microseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1000


def refused(expression: str) -> None:
    try:
        Schedule(expression, ZONE)
    except ScheduleError:
        return
    raise AssertionError(f"{expression} was not refused")


def main() -> None:
    print(f"{'µs':20}{'read':>9}{'next p50':>10}{'p99':>9}{'count/year':>12}{'latest/year':>13}")
    for expression in EXPRESSIONS:
        read = microseconds(partial(Schedule, expression, ZONE))
        schedule = Schedule(expression, ZONE)
        durations, due = [], START
        for _ in range(INSTANTS):
            began = time.perf_counter_ns()
            following = schedule.next_due(due)
            durations.append((time.perf_counter_ns() - began) / 1000)
            due = following if following < START + 50 * YEAR else START
        cuts = statistics.quantiles(durations, n=100)
        count = microseconds(partial(schedule.count, START, START + YEAR))
        latest = microseconds(partial(schedule.latest, START, START + YEAR))
        print(f"{expression:20}{read:9.0f}{cuts[49]:10.1f}{cuts[98]:9.1f}{count:12.0f}{latest:13.0f}")

    for expression in REFUSED:
        took = microseconds(partial(refused, expression))
        print(f"{expression if len(expression) < 20 else expression[:16] + '…':20}{took:9.0f} refused")

    tracemalloc.start()
    schedules = [Schedule(f"{n % 60} {n % 24} * * MON-FRI", ZONE) for n in range(1000)]
    print(f"{tracemalloc.get_traced_memory()[0] / len(schedules):.0f} bytes a schedule")


if __name__ == "__main__":
    main()
