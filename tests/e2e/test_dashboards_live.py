"""A real Prometheus scrapes a real exporter and answers every expression of the dashboards and the rules."""

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import exporter_rig as rig
from grafana_files import (
    DASHBOARDS,
    Expression,
    all_expressions,
    dashboard,
    of_dashboard,
    of_rules,
    panels,
    selectors,
)
from harness import Daemon, Endpoint, free_port, until
from prometheus_rig import Prometheus, prometheus
from tocsin.ipc.cluster import Member, Members
from tocsin.ipc.exporter import (
    ConfigLoaded,
    EventsDropped,
    LedgerState,
    LogLinesDropped,
    ProcessExited,
    ProcessUp,
    Started,
    ToExporter,
)
from tocsin.ipc.job import Skipped, Sleeping
from tocsin.ipc.ledger import Committed, LedgerRoom
from tocsin.ipc.types import ERROR_KINDS, EXIT_REASONS, NOT_RUN_REASONS, OUTCOMES, STATUS_CLASSES, Outcome

JOB = "sla-check"  # the one that the dashboard of a job shows
ENOUGH_LATE = 30  # calls: the rule about lateness wants more than 10
# What cannot return a series while the exporter is scraped.
WITHOUT_SERIES = {"rules.yml: TocsinAbsent"}


# What a daemon that is well does not have: an alert, and, of an app without TLS, a certificate.
WITHOUT_CAUSE = {"ALERTS", "tocsin_job_certificate_expiry_timestamp_seconds"}


FLAKY: list[tuple[Outcome, int]] = [("timeout", 1), ("success", 0)] * 6  # each of them scraped


def jobs(now: float) -> list[ToExporter]:
    """A job for each kind of trouble, beside JOB, in which a little of everything happens."""
    return [
        rig.job(JOB),
        rig.job("stalled"),
        rig.job("no-success", last_success=now - 7200),
        rig.job("overlapping"),
        rig.job("flaky"),
        rig.job("paused"),
        rig.job("forgotten"),
        rig.job("off", enabled=False, state="disabled"),
        rig.job("nobodys", state="elsewhere"),
        *(rig.job(f"unreachable-{number}", host="gone.example") for number in range(3)),
        rig.job("no-success-for-now", schedule="0 0 1 1 *", fields=()),
    ]


def beginning(now: float) -> Iterator[ToExporter]:
    """What is true when the first scrape comes: the counters at zero."""
    known = jobs(now)
    yield ConfigLoaded("c0ffee", now - 60)
    yield from known
    yield LedgerState(up=True, backlog=0)
    yield LedgerRoom("sqlite", 4_000_000, 50_000_000)
    yield ProcessUp("ledger", "", 0, now)
    for one in known:
        if isinstance(one, type(rig.job())) and one.enabled and one.state != "elsewhere":
            yield ProcessUp("job", one.name, 0, now)
            yield Sleeping(one.name, now + 30)


def troubles(now: float) -> Iterator[ToExporter]:
    """What happens between two scrapes: everything that a panel or an alert looks for."""
    yield Started(JOB, now)
    for at, outcome in enumerate(OUTCOMES):
        yield rig.run(
            JOB,
            outcome,
            now + at,
            responses=(*STATUS_CLASSES, STATUS_CLASSES[0]),
            connection_errors=ERROR_KINDS,
            retries=len(STATUS_CLASSES) + len(ERROR_KINDS),
            reported={"unassigned": 30.0},
            reported_errors={"unassigned": "missing"},
        )
    here = Member("s1", "here", 1, "live", roster="x", clock_off=5.0)
    yield Members("s1", 1, (here, Member("s2", "other", 1, "live", roster="y"), Member("s3", "lost", 2, "dead")))
    soon = time.strftime("%b %d %H:%M:%S %Y GMT", time.gmtime(now + 10 * 86_400))
    for at in range(4):
        yield rig.run(JOB, "unauthorized", now + 10 + at, responses=("401",), certificate_until=soon)
    for why in NOT_RUN_REASONS:
        yield Skipped(JOB, now, now, 1, why)
        yield Skipped("overlapping", now, now, 5, why)
    for at in range(ENOUGH_LATE):
        yield rig.run("late", due=now + at, lateness=8.0)  # of no job that there is: lateness has no job label
    for name in ("unreachable-0", "unreachable-1", "unreachable-2"):
        yield rig.run(name, "timeout", now)
    for reason in (*EXIT_REASONS, *EXIT_REASONS):
        yield ProcessExited("job", JOB, reason, "")
        yield ProcessExited("ledger", "", reason, "")
    paused = {"paused": True, "paused_since": now - 60}
    yield rig.job("paused", **paused, last_outcome="unauthorized", last_success=now - 7200, consecutive_failures=5)
    yield rig.job("forgotten", paused=True, paused_since=now - 2 * 86_400)
    yield Sleeping("stalled", now - 600)
    yield Committed(1, 0.002)
    for count in (0, 2):
        yield EventsDropped(count)
        yield LogLinesDropped(count)
    yield ConfigLoaded("decaf", now)
    yield ConfigLoaded("broken", now, error="cannot read it")
    yield LedgerState(up=False, backlog=3, detail="disk full")


@dataclass
class Scene:
    prometheus: Prometheus
    instance: str

    def fill_in(self, one: Expression) -> str:
        job = JOB if one.where.startswith("tocsin-job") else ".*"
        times = {"__rate_interval": "1m", "__range": "5m", "__interval": "1s"}
        return one.filled_in(instance=self.instance, job=job, **times)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An exporter to which everything has happened, scraped before and after; beside it a target that is down."""
    folder = tmp_path_factory.mktemp("live")
    now = time.time()
    with rig.exporter(folder / "exporter.log") as exporter:
        pid = exporter.process.pid  # stands for the processes of ledger and jobs: one that lives and has memory
        alive = [replace_pid(message, pid) for message in beginning(now)]
        exporter.send(*alive)
        until(lambda: exporter.metric(f'tocsin_job_process_up{{job_name="{JOB}"}}'), "the exporter to know the job")
        instance = f"127.0.0.1:{exporter.port}"
        with prometheus(folder, [instance, f"127.0.0.1:{free_port()}"]) as server:
            seen = f'count_over_time(tocsin_job_paused{{instance="{instance}", job_name="{JOB}"}}[5m]) > 2'
            until(lambda: server.series(seen), "a few scrapes")
            for outcome, failures in FLAKY:
                exporter.send(rig.run("flaky", outcome, now))
                shown = f'tocsin_job_consecutive_failures{{job_name="flaky"}} == {failures}'
                until(lambda shown=shown: server.series(shown), shown)  # type: ignore[misc]
            exporter.send(*troubles(now))
            exporter.send(ProcessUp("ledger", "", pid, now), ProcessUp("job", JOB, pid, now))
            exporter.send(Started(JOB, now))
            yield Scene(server, instance)


def replace_pid(message: ToExporter, pid: int) -> ToExporter:
    return ProcessUp(message.process, message.job, pid, message.now) if isinstance(message, ProcessUp) else message


def labels_of(legend: str) -> set[str]:
    """The labels that a legend or the text of an alert fills in."""
    return set(re.findall(r"\{\{\s*(?:with )?(?:\$labels\.)?([a-z_]\w*)\s*\}\}", legend)) - {"end", "else"}


@pytest.mark.parametrize("one", all_expressions(), ids=lambda one: one.where)
def test_prometheus_answers_with_series_that_have_the_labels_shown(one: Expression, scene: Scene) -> None:
    text = scene.fill_in(one)
    if one.where in WITHOUT_SERIES:
        assert scene.prometheus.series(text) == []
        return
    series = until(lambda: scene.prometheus.series(text), f"series of {one.where}: {text}")
    optional = {"job_name", "host"} if "annotation" in one.where else set()
    if one.where.endswith("TocsinChildCrashLooping"):
        optional = {"job_name"}  # the ledger's has none
    for labels in series:
        assert labels_of(one.legend) - optional <= set(labels), text


@pytest.mark.parametrize(
    "one", [one for one in all_expressions() if "_quantile" in one.text], ids=lambda one: one.where
)
def test_quantiles_come_out_as_numbers(one: Expression, scene: Scene) -> None:
    """Without `le`, or over the wrong series, histogram_quantile returns nothing or NaN."""
    text = scene.fill_in(one)

    def numbers() -> list[float]:
        return [value for row in scene.prometheus.result(text) if math.isfinite(value := float(row["value"][1]))]

    assert until(numbers, f"a number from {text}")


def counts(scene: Scene) -> dict[str, list[float]]:
    """What the panels of the overview that count jobs in trouble show; nothing is an empty list."""
    overview = next(file for file in DASHBOARDS if file.stem == "tocsin-overview")
    expressions = {one.where.split(": ")[1]: one for one in of_dashboard(overview) if one.panel == "stat"}
    return {
        title: [float(row["value"][1]) for row in scene.prometheus.result(scene.fill_in(expressions[title]))]
        for title in ("Failing jobs", "Overdue", "Unauthorized")
    }


def test_paused_jobs_are_not_counted_as_trouble(scene: Scene) -> None:
    expected = {"Failing jobs": [4.0], "Overdue": [1.0], "Unauthorized": [1.0]}
    until(lambda: counts(scene) == expected, f"{expected}")


def test_heatmaps_get_one_series_for_each_bucket(scene: Scene) -> None:
    heatmaps = [one for file in DASHBOARDS for one in of_dashboard(file) if one.panel == "heatmap"]
    assert len(heatmaps) == 3
    for one in heatmaps:
        series = until(lambda one=one: scene.prometheus.series(scene.fill_in(one)), one.where)  # type: ignore[misc]
        assert all(set(labels) == {"le"} for labels in series), one.where
        assert {"+Inf", "5.0" if {"le": "5.0"} in series else "5"} <= {labels["le"] for labels in series}, one.where


def test_the_state_timeline_has_the_number_of_the_outcome(scene: Scene) -> None:
    for file in DASHBOARDS:
        (timeline,) = [one for one in of_dashboard(file) if one.panel == "state-timeline" and "outcome" in one.text]

        def shown(one: Expression = timeline) -> dict[str, float]:
            rows = scene.prometheus.result(scene.fill_in(one))
            return {row["metric"]["job_name"]: float(row["value"][1]) for row in rows}

        until(lambda shown=shown: shown()[JOB] == 1 + OUTCOMES.index("unauthorized"), file.stem)  # type: ignore[misc]
        if file.stem == "tocsin-overview":
            assert shown()["unreachable-1"] == 1 + OUTCOMES.index("timeout")
            assert shown()["stalled"] == 0
            assert "off" not in shown()  # a disabled job has no outcome


def test_tables_find_their_columns_in_the_series(scene: Scene) -> None:
    for file in DASHBOARDS:
        for panel in panels(dashboard(file)):
            if panel["type"] != "table":
                continue
            queries = [Expression(file.name, target["expr"]) for target in panel["targets"]]
            found = {
                label
                for one in queries
                for labels in until(lambda one=one: scene.prometheus.series(scene.fill_in(one)), panel["title"])  # type: ignore[misc]
                for label in labels
            }
            (organize,) = [one["options"] for one in panel["transformations"] if one["id"] == "organize"]
            assert {name for name in organize["renameByName"] if not name.startswith("Value")} == found


def test_variables_list_the_instances_and_the_jobs(scene: Scene) -> None:
    for file in DASHBOARDS:
        queries = [one["definition"] for one in dashboard(file)["templating"]["list"] if one["type"] == "query"]
        listed = []
        for query in queries:
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()  # type: ignore[union-attr]
            text = scene.fill_in(Expression(file.name, selector))
            listed.append(set(scene.prometheus.ask(f"label/{label}/values", **{"match[]": text})))
        assert scene.instance in listed[0]
        assert len(listed[0]) == 2  # the one that is down as well
        assert {JOB, "off", "paused"} <= listed[1]


def test_alerts_without_a_wait_fire_and_name_their_job(scene: Scene) -> None:
    """The rules as Prometheus evaluates them, from a scrape to the text that reaches a person."""

    def firing() -> dict[str, str]:
        alerts = scene.prometheus.ask("alerts")["alerts"]
        return {
            f"{one['labels']['alertname']} {one['labels'].get('job_name', '')}": one["annotations"]["summary"]
            for one in alerts
            if one["state"] == "firing"
        }

    expected = {
        f"TocsinJobFailing {JOB}",
        "TocsinJobOverlapping overlapping",
        "TocsinJobFlaky flaky",
        f"TocsinChildCrashLooping {JOB}",
        "TocsinChildCrashLooping ",
        "TocsinSlotsMissed overlapping",
        "TocsinPauseForgotten forgotten",
    }
    until(lambda: expected <= set(firing()), f"{expected} to fire")
    assert firing()[f"TocsinJobFailing {JOB}"].startswith(f"{JOB} on {scene.instance} failed ")
    assert not any(name.endswith((" paused", " off", " no-success-for-now")) for name in firing())


def test_no_alert_is_near_for_jobs_that_are_well(scene: Scene) -> None:
    well = {"paused", "off", "no-success-for-now"}
    for one in of_rules():
        named = {labels.get("job_name") for labels in scene.prometheus.series(scene.fill_in(one))}
        assert not well & named, one.where


# ---- a whole daemon -------------------------------------------------------------------------------------------

EVERY_SECOND = f"""
[jobs.{JOB}]
schedule = "* * * * * *"
path = "/api/cron/sla-check"
totals = {{ unassigned = "unassignedCount" }}
[jobs.off]
schedule = "@daily"
path = "/off"
enabled = false
"""


def test_a_running_daemon_has_every_series_that_is_asked_for(tmp_path: Path) -> None:
    endpoint = Endpoint()
    endpoint.start()
    daemon = Daemon(tmp_path, endpoint)
    daemon.write(EVERY_SECOND)
    instance = f"127.0.0.1:{daemon.port}"
    asked = {
        str(selector).removesuffix(" offset 5m")  # which there cannot be yet
        for one in all_expressions()
        for selector in selectors(one.parsed(instance, JOB))
        if selector.name not in WITHOUT_CAUSE and not (selector.name or "").startswith("tocsin_cluster_")
    }
    assert len(asked) > 50
    daemon.start()
    try:
        with prometheus(tmp_path, [instance]) as server:
            for selector in sorted(asked):
                until(lambda selector=selector: server.series(selector), selector)  # type: ignore[misc]
            scene = Scene(server, instance)
            for file in DASHBOARDS:
                for one in of_dashboard(file):
                    scene.prometheus.series(scene.fill_in(one))  # of what did not happen there may be none
            runs = f'increase(tocsin_job_runs_total{{job_name="{JOB}", outcome="success"}}[1m]) > 1'
            until(lambda: server.series(runs), "successful runs")
            found = server.ask("alerts")["alerts"]
            assert [one["labels"] for one in found if one["state"] == "firing"] == []
            assert set(map(tuple, counts(scene).values())) == {(0.0,)}
            daemon.stop()
            gone = f'up{{instance="{instance}"}} == 0'
            until(lambda: server.series(gone), "the scrapes to fail")
            assert server.series("tocsin_job_info") == []
            assert set(map(tuple, counts(scene).values())) == {()}, "no data is no zero"
    finally:
        daemon.cleanup()
        endpoint.stop()
