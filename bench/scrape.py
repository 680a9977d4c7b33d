"""Renders the metrics of many jobs: Tocsin's rendering beside prometheus_client's generate_latest.

Both render the same registry, and the bytes are compared each time. Then each long answer is made, and its longest
piece is shown: so long can it hold up the others. Run: python bench/scrape.py [JOBS]
"""

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Generator
from itertools import count
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))  # from a checkout, installed or not

from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from tocsin.config.access import Access
from tocsin.exporter.metrics import Metrics
from tocsin.exporter.pieces import at_once
from tocsin.exporter.render import render
from tocsin.exporter.replies import Request
from tocsin.exporter.routes import Routes
from tocsin.exporter.state import State
from tocsin.ipc.exporter import JobStatus, ProcessUp, Started, ToExporter
from tocsin.ipc.job import Finished, Sleeping

NOON = 1_795_262_400.0
ROUNDS = 7
T = TypeVar("T")
PATHS = ("/metrics", "/", "/api/jobs", "/readyz")


def defined(number: int) -> JobStatus:
    return JobStatus(
        name=f"job-{number}",
        schedule="* * * * *",
        timezone="UTC",
        words="every minute",
        method="POST",
        url="https://app.example/api/cron/job",
        host="app.example",
        enabled=True,
        description="",
        timeout=300.0,
        grace=60.0,
        fields=("unassigned",),
        state="starting",
    )


def fired(number: int, due: float) -> list[ToExporter]:
    """One successful run, with its own lateness and duration."""
    duration = 0.01 + (number * 7919 % 1000) / 500
    end = Finished(
        job=f"job-{number}",
        due=due,
        run_id="",
        trigger="schedule",
        attempt=0,
        outcome="success",
        started=due,
        finished=due + duration,
        lateness=number / 1e6,
        duration=duration,
        reported={"unassigned": float(number % 7)},
        responses=("2xx",),
    )
    return [Started(f"job-{number}", due), end, Sleeping(f"job-{number}", due + 60)]


class Bench:
    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.metrics = Metrics()
        self.state = State(NOON, 0.0)
        self.due = NOON

    def tell(self, messages: list[ToExporter]) -> None:
        for message in messages:
            self.metrics.hear(message, self.state.hear(message, 0.0), NOON)

    def define(self) -> None:
        for number in range(self.jobs):
            self.tell([defined(number), ProcessUp("job", f"job-{number}", os.getpid(), NOON)])

    def fire(self, share: float) -> None:
        self.due += 60
        for number in range(int(self.jobs * share)):
            self.tell(fired(number, self.due))

    def measure(self) -> None:
        self.state.want_memory(0.0)
        at_once(self.metrics.measure(at_once(self.state.judged(NOON, 0.0))))

    def compare(self, what: str, before: Callable[[], None], rounds: int = ROUNDS) -> None:
        """Median milliseconds of both renderings in both formats, each after `before`."""
        families = self.metrics.families
        registry = families.registry
        library: Callable[..., bytes] = openmetrics.generate_latest
        theirs_in = {False: lambda: generate_latest(registry), True: lambda: library(registry)}
        took: dict[tuple[bool, str], list[float]] = {}
        for _ in range(rounds):
            for is_openmetrics, theirs in theirs_in.items():
                before()
                seconds, parts = timed(lambda: at_once(render(families.memories, is_openmetrics)))  # noqa: B023
                took.setdefault((is_openmetrics, "tocsin"), []).append(seconds)
                seconds, expected = timed(theirs)
                took.setdefault((is_openmetrics, "prometheus_client"), []).append(seconds)
                assert b"".join(parts) + (b"# EOF\n" if is_openmetrics else b"") == expected, "the bytes differ"
        for (is_openmetrics, whose), times in took.items():
            form = "OpenMetrics" if is_openmetrics else "text"
            print(f"{what:<28} {form:<12} {whose:<18} {statistics.median(times) * 1000:8.1f} ms")


def pieces(bench: Bench, routes: Routes, share: float) -> None:
    """Print the processor time of each answer after runs of that share of the jobs, and the longest piece of it."""
    gc.collect()
    gc.freeze()  # as the exporter does
    for path in PATHS:
        bench.fire(share)
        work = routes.answer(Request("GET", path, host="127.0.0.1"))
        assert isinstance(work, Generator)
        took, is_over = [], False
        while not is_over:
            began = time.process_time()
            is_over = next(work, True) is True
            took.append((time.process_time() - began) * 1000)
        what = f"{path}, {share:.0%} fired"
        print(f"{what:<28} {sum(took):8.1f} ms in {len(took)} pieces, the longest {max(took):.1f} ms")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def main() -> None:
    bench = Bench(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    seconds, _ = timed(bench.define)
    print(f"{bench.jobs} jobs defined in {seconds * 1000:.0f} ms")
    families = bench.metrics.families
    seconds, _ = timed(lambda: at_once(render(families.memories, openmetrics=False)))
    print(f"rendered for the first time in {seconds * 1000:.0f} ms, once in the life of a process")
    text = generate_latest(bench.metrics.registry)
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    print(f"{series} series, {len(text) / 1e6:.1f} MB; the bytes of both are equal\n")
    bench.compare("nothing changed", lambda: None)
    bench.compare("a quarter of the jobs fired", lambda: bench.fire(0.25))
    bench.compare("every job fired", lambda: bench.fire(1))
    print()
    ticks = count(step=10)  # seconds: nothing is shared with the answer before
    routes = Routes(bench.state, bench.metrics, "127.0.0.1", Access(), lambda: NOON, lambda: next(ticks), b"key")
    for share in (1, 0, 0.25, 1):
        pieces(bench, routes, share)
    seconds, _ = timed(bench.measure)
    print(f"\nmemory of {bench.jobs} processes read in {seconds * 1000:.1f} ms, at every scrape")


if __name__ == "__main__":
    main()
