"""The rendering that remembers says byte for byte what prometheus_client's own says."""

import gc
import random
import weakref
from collections.abc import Callable, Iterable

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter_rig import HOSTILE, NOON, Told, generate_openmetrics, job, rendered, run, world
from tocsin.exporter.pieces import at_once
from tocsin.exporter.render import Counter, Gauge, Histogram, remember
from tocsin.ipc.exporter import JobRemoved, ProcessExited, ProcessUp, ToExporter
from tocsin.ipc.job import Skipped, Sleeping
from tocsin.ipc.types import NOT_RUN_REASONS, OUTCOMES

_parse_openmetrics: Callable[[str], Iterable[Metric]] = parse_openmetrics


def test_empty_and_filled() -> None:
    told = Told()
    told.assert_equal()
    told.tell(*world(job(), job("other", fields=()), job("off", enabled=False, state="disabled")))
    told.assert_equal()
    told.assert_equal()  # from memory


def test_hostile_label_values() -> None:
    told = Told(*world(job(schedule=HOSTILE, timezone="%d{1}", host='a"\\b\n%', method="{}")))
    told.assert_equal()
    told.tell(job(schedule="@hourly", host=HOSTILE))
    told.assert_equal()


def test_values_of_every_size() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("g", 'A\\B\n"C"', ["x"], registry=registry)
    counter = Counter("c_total", "Help", registry=registry)
    histogram = Histogram("h", "Help", ["b", "z"], registry=registry, buckets=(0.1, 1e7))
    memories = [remember(gauge), remember(counter), remember(histogram)]
    for value in (0.0, -1.5, 1e-9, 123456.7, 1234567.0, 1.5e21, float("inf"), float("-inf"), float("nan"), 3.0):
        gauge.labels("v").set(value)
        counter.inc(abs(value) if value == value else 0.25)
        histogram.labels("1", "2").observe(value)
        assert rendered(memories, openmetrics=False) == generate_latest(registry)
        assert rendered(memories, openmetrics=True) + b"# EOF\n" == generate_openmetrics(registry)


def test_series_taken_away_and_made_again_are_shown_last() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("g", "Help", ["x"], registry=registry)
    memory = remember(gauge)
    for name in "abc":
        gauge.labels(name).set(1)
    assert rendered([memory], openmetrics=False) == generate_latest(registry)
    gauge.remove("a")
    gauge.remove("never made")
    gauge.labels("a").set(2)
    assert rendered([memory], openmetrics=False) == generate_latest(registry)
    gauge.clear()
    gauge.labels("d").set(3)
    assert rendered([memory], openmetrics=False) == generate_latest(registry)


@pytest.mark.parametrize("seed", range(5))
def test_random_histories(seed: int) -> None:
    chance = random.Random(seed)
    names = [f"job-{number}" for number in range(12)]
    told = Told(*world(*[job(name) for name in names[:6]]))
    for step in range(300):
        name = chance.choice(names)
        due = NOON + 60 * step
        reported = {"unassigned": chance.choice([0.0, 1.0, 2.5])}
        events: list[ToExporter] = [
            job(name, enabled=chance.random() < 0.8, fields=chance.choice([(), ("unassigned",), ("a", "b")])),
            JobRemoved(name),
            Sleeping(name, due),
            run(name, chance.choice(OUTCOMES), due, duration=chance.choice([None, 0.3, 700.0]), reported=reported),
            Skipped(name, due, due + 120, 3, chance.choice(NOT_RUN_REASONS)),
            job(name, paused=chance.random() < 0.5, since=due),
            ProcessUp("job", name, 1, due),
            ProcessExited("job", name, "signal", ""),
        ]
        told.tell(chance.choice(events))
        if step % 10 == 0:
            told.assert_equal()
    told.assert_equal()


def test_the_whole_parses() -> None:
    told = Told(*world(job()), run())
    text = list(parse_text(b"".join(at_once(told.metrics.text())).decode()))
    families = list(_parse_openmetrics(b"".join(at_once(told.metrics.openmetrics())).decode()))
    assert {family.name for family in families} == {family.name for family in text}
    assert not any(sample.name.endswith("_created") for family in families for sample in family.samples)


def test_new_series_are_written_ahead_of_the_scrape() -> None:
    told = Told(*world(job(), job("gone")), JobRemoved("gone"))
    memories = told.metrics.families.memories

    def left() -> int:
        return sum(memory.family._labelnames != () for memory in memories for _ in memory.changed)

    assert left() > 50
    told.metrics.settle()
    assert left() == 0
    told.assert_equal()
    told.tell(run(), JobRemoved("a"))
    told.metrics.settle()
    told.assert_equal()


def test_what_a_removed_job_leaves_needs_no_collector() -> None:
    """The exporter keeps the collector away from known jobs, so nothing of them may be part of a cycle."""
    told = Told(*world(job()), run(reported={"rows": 1.0}))
    families = [memory.family for memory in told.metrics.families.memories if memory.family._labelnames]
    series = [weakref.ref(one) for family in families for one in family._metrics.values()]
    del families
    before = sum(one() is not None for one in series)
    known = weakref.ref(told.metrics._series["sla-check"])
    gc.disable()
    try:
        told.tell(JobRemoved("sla-check"))
        rendered(told.metrics.families.memories, openmetrics=False)
        assert known() is None
        left = [one._name for ref in series if (one := ref()) and "sla-check" in one._labelvalues]
    finally:
        gc.enable()
    assert before > 50
    assert not left
