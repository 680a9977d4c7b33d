"""What Grafana's own libraries show on the dashboards, of answers of a real Prometheus: no panel says what is not so.

Two exporters are scraped and told of jobs of every kind. The queries of each panel are asked as Grafana would ask them,
and go through its transformations, overrides, mappings and thresholds (`@grafana/data`).
"""

import copy
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import exporter_rig as rig
import grafana_panels
from grafana_files import DASHBOARDS, RULES, Expression, dashboard
from harness import until
from node_packages import needs_node
from prometheus_rig import Prometheus, prometheus
from tocsin.ipc.exporter import JobStatus, ProcessUp, ToExporter
from tocsin.ipc.job import Sleeping

REPORTED = 69  # unassigned requests in all, in three replies
RANGE = 300  # seconds
STEP = 1
OVERVIEW, OF_A_JOB = "tocsin-overview", "tocsin-job"
UNKNOWN = "–"
# Tiles that have something to say of a Tocsin that does not answer: it is down, or the question goes back in time.
KNOWN_WHILE_DOWN = {
    *("Tocsin", "Alerts firing", "Scrapes", "Success ratio", "Lateness, p99"),
    *("Duration, p90", "Reported in the time range", "Last exit"),
}

pytestmark = needs_node


@dataclass
class Drawn:
    states: dict[str, list[dict[str, Any]]]  # of a dashboard: state -> panels

    def panel(self, state: str, title: str, kind: str = "") -> dict[str, Any]:
        (found,) = [one for one in self.states[state] if one["title"] == title and kind in ("", one["type"])]
        return found

    def tile(self, state: str, title: str) -> str:
        (tile,) = self.panel(state, title, "stat")["tiles"]
        return str(tile["text"])

    def rows(self, state: str, title: str, key: str = "Job") -> dict[str, dict[str, Any]]:
        """The rows of a table by the text of a column, each with its cells by their column."""
        columns = {column["name"]: column["cells"] for column in self.panel(state, title, "table")["columns"]}
        length = len(next(iter(columns.values())))
        rows = [{name: cells[at] for name, cells in columns.items()} for at in range(length)]
        return {row[key]["text"]: row for row in rows}


def jobs(now: float) -> list[JobStatus]:
    well = {"last_outcome": "success", "last_run": now - 30, "last_success": now - 30}
    return [
        rig.job("sla-check", **well, counts={"success": 10}),
        rig.job("daily", schedule="0 0 * * *", fields=()),
        rig.job(
            "failing",
            fields=(),
            last_outcome="http_error",
            last_run=now - 30,
            last_success=now - 7200,
            consecutive_failures=4,
            counts={"success": 1, "http_error": 4},
        ),
        rig.job("paused", fields=(), paused=True, paused_since=now - 60, **well, counts={"success": 2}),
        rig.job("off", enabled=False, state="disabled"),
    ]


def later(now: float) -> Iterator[ToExporter]:
    """What happens between two scrapes."""
    for at, number in enumerate((23.0, 40.0, REPORTED - 63.0)):
        yield rig.run("sla-check", "success", now + at, reported={"unassigned": number}, responses=("2xx",))
    alive = {"pid": os.getpid(), "process_started": now - 60, "next_fire": now + 3600, "state": "sleeping"}
    yield rig.job("sla-check", **alive, last_outcome="success", last_run=now, last_success=now, counts={"success": 13})
    yield rig.job(
        "failing",
        **alive,
        fields=(),
        last_outcome="http_error",
        last_run=now,
        last_success=now - 7200,
        consecutive_failures=5,
        counts={"success": 1, "http_error": 5},
    )


def answers(server: Prometheus, content: dict[str, Any], instance: str, job: str) -> grafana_panels.Answers:
    """What Prometheus says to each query of a dashboard, by panel and query."""
    now = time.time()
    variables = {"__rate_interval": "4s", "__range": f"{RANGE}s", "__interval": f"{STEP}s"}
    found: grafana_panels.Answers = {}
    for panel in grafana_panels.charts(content):
        found[str(panel["id"])] = {}
        for target in panel["targets"]:
            text = Expression("", target["expr"]).filled_in(instance=instance, job=job, **variables)
            if target["instant"]:
                result = server.ask("query", query=text, time=f"{now}")["result"]
            else:
                times = {"start": f"{now - RANGE}", "end": f"{now}", "step": f"{STEP}"}
                result = server.ask("query_range", query=text, **times)["result"]
            found[str(panel["id"])][target["refId"]] = result
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, grafana_panels.Answers]]:
    """dashboard -> state -> the answers."""
    folder = tmp_path_factory.mktemp("drawn")
    contents = {file.stem: dashboard(file) for file in DASHBOARDS}
    found: dict[str, dict[str, grafana_panels.Answers]] = {OVERVIEW: {}, OF_A_JOB: {}}
    now = time.time()
    with rig.exporter(folder / "a.log") as a, rig.exporter(folder / "b.log") as b:
        instance, other = f"127.0.0.1:{a.port}", f"127.0.0.1:{b.port}"

        def look(state: str, server: Prometheus, chosen: str, job: str = "sla-check") -> None:
            found[OF_A_JOB][state] = answers(server, contents[OF_A_JOB], chosen, job)
            found[OVERVIEW][state] = answers(server, contents[OVERVIEW], chosen, ".*")

        for one in (a, b):
            known = jobs(now)
            one.send(*rig.world(*known, now=now))
            one.send(*(Sleeping(job.name, now + 3600) for job in known if job.enabled))
            one.send(ProcessUp("ledger", "", one.process.pid, now))
        until(lambda: a.metric('tocsin_job_process_up{job_name="failing"}'), "the exporter to know the jobs")
        (folder / "plain").mkdir()
        with (
            prometheus(folder, [instance, other]) as server,
            prometheus(folder / "plain", [instance], rules=()) as plain,
        ):
            scraped = f'count_over_time(tocsin_job_paused{{instance="{instance}", job_name="failing"}}[5m]) > 4'
            until(lambda: server.series(scraped) and plain.series(scraped), "a few scrapes")
            a.send(*later(time.time()))
            told = f'tocsin_job_consecutive_failures{{instance="{instance}", job_name="failing"}} == 5'
            until(lambda: server.series(told), told)
            until(lambda: server.series('ALERTS{alertname="TocsinJobFailing", alertstate="firing"}'), "an alert")
            again = "increase(tocsin_job_reported_total[3s]) == 0"  # later than all windows that hold the replies
            until(lambda: server.series(again), again)
            look("up", server, instance)
            for job in ("daily", "failing", "paused", "off"):
                found[OF_A_JOB][job] = answers(server, contents[OF_A_JOB], instance, job)
            look("two", server, ".*")
            look("rules elsewhere", plain, instance)
            a.stop()
            until(lambda: server.series(f'up{{instance="{instance}"}} == 0'), "the scrapes to fail")
            look("down", server, instance)
            look("one of two down", server, ".*")
            look("no such instance", server, "elsewhere:9911")
    (folder / "answers.json").write_text(json.dumps(found))  # for who wants to draw them
    return found


@pytest.fixture(scope="module")
def overview(seen: dict[str, dict[str, grafana_panels.Answers]]) -> Drawn:
    return drawn(OVERVIEW, seen[OVERVIEW])


@pytest.fixture(scope="module")
def of_a_job(seen: dict[str, dict[str, grafana_panels.Answers]]) -> Drawn:
    return drawn(OF_A_JOB, seen[OF_A_JOB])


def drawn(name: str, states: dict[str, grafana_panels.Answers], content: dict[str, Any] | None = None) -> Drawn:
    (file,) = [file for file in DASHBOARDS if file.stem == name]
    return Drawn(grafana_panels.drawn(content or dashboard(file), states))


# ---- of all states --------------------------------------------------------------------------------------------


def colored_without_a_value(one: Drawn) -> list[str]:
    found = []
    for state, panels in one.states.items():
        for panel in panels:
            shown = [(panel["title"], tile) for tile in panel.get("tiles", []) if panel["type"] == "stat"]
            shown += [
                (f"{panel['title']}: {column['name']}", cell)
                for column in panel.get("columns", [])
                if column["colored"] != "auto"
                for cell in column["cells"]
            ]
            found += [f"{state}: {title}" for title, cell in shown if not cell["known"] and not cell["neutral"]]
    return found


def test_what_has_no_value_has_no_colour(overview: Drawn, of_a_job: Drawn) -> None:
    assert colored_without_a_value(overview) == []
    assert colored_without_a_value(of_a_job) == []


def test_what_has_no_value_says_only_that(overview: Drawn, of_a_job: Drawn) -> None:
    for one in (overview, of_a_job):
        said = {
            (state, panel["title"], tile["text"])
            for state, panels in one.states.items()
            for panel in panels
            for tile in panel.get("tiles", [])
            if not tile["known"]
        }
        assert said
        assert {text for _, _, text in said} == {UNKNOWN}, said
        for panels in one.states.values():
            for panel in panels:
                values = [tile["text"] for tile in panel.get("tiles", [])]
                values += [cell["text"] for column in panel.get("columns", []) for cell in column["cells"]]
                assert "NaN" not in values, panel["title"]


def lost_overrides(one: Drawn) -> set[str]:
    """Columns and series that an override names and no state has; of a table with rows, that any state lacks."""
    named: dict[str, bool] = {}
    for panels in one.states.values():
        for panel in panels:
            rows = any(column["cells"] for column in panel.get("columns", []))
            for name, there in panel["overrides"].items():
                key = f"{panel['title']}: {name}"
                named[key] = there and named.get(key, True) if rows else named.get(key, False) or there
    return {key for key, there in named.items() if not there}


def test_every_override_finds_its_column(overview: Drawn, of_a_job: Drawn) -> None:
    assert lost_overrides(overview) == set()
    assert lost_overrides(of_a_job) == set()


def test_no_column_bears_the_name_of_its_query(overview: Drawn, of_a_job: Drawn) -> None:
    for one in (overview, of_a_job):
        for state, panels in one.states.items():
            for panel in panels:
                names = [column["name"] for column in panel.get("columns", []) if column["cells"]]
                assert not any(name.startswith(("Value", "Time")) for name in names), (
                    f"{state}: {panel['title']}: {names}"
                )


def test_planted_faults_are_found(seen: dict[str, dict[str, grafana_panels.Answers]]) -> None:
    (file,) = [file for file in DASHBOARDS if file.stem == OVERVIEW]
    content = copy.deepcopy(dashboard(file))
    by_title = {f"{panel['type']} {panel['title']}": panel for panel in grafana_panels.charts(content)}
    by_title["stat Success ratio"]["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] = "red"
    table = by_title["table Jobs"]["fieldConfig"]
    del table["defaults"]["thresholds"]  # Grafana's own begin with green
    table["overrides"][0]["matcher"]["options"] = "Jobs"
    for override in table["overrides"]:
        override["properties"] = [one for one in override["properties"] if one["id"] != "thresholds"]
    faulty = drawn(OVERVIEW, seen[OVERVIEW], content)
    found = colored_without_a_value(faulty)
    assert "no such instance: Success ratio" in found
    assert {"up: Jobs: Last outcome", "up: Jobs: Failures in a row"} <= set(found)
    assert lost_overrides(faulty) == {"Jobs: Jobs"}


# ---- of each ---------------------------------------------------------------------------------------------------


def test_a_tocsin_that_is_up(overview: Drawn, of_a_job: Drawn) -> None:
    shown = {title: overview.tile("up", title) for title in ("Tocsin", "Ledger", "Job file", "Failing jobs", "Overdue")}
    assert shown == {"Tocsin": "up", "Ledger": "up", "Job file": "applied", "Failing jobs": "1", "Overdue": "1"}
    assert of_a_job.tile("up", "Last outcome") == "success"
    assert "ago" in of_a_job.tile("up", "Last success")
    rows = overview.rows("up", "Jobs")
    assert {name: row["Health"]["text"] for name, row in rows.items()} == {
        "sla-check": "well",
        "daily": "new",
        "failing": "overdue",
        "paused": "paused",
        "off": UNKNOWN,
    }
    assert rows["failing"]["Failures in a row"]["text"] == "5"


def test_a_tocsin_that_is_down_is_all_that_is_known_of_it(overview: Drawn, of_a_job: Drawn) -> None:
    for one in (overview, of_a_job):
        assert one.tile("down", "Tocsin") == "1 down"
        for panel in one.states["down"]:
            if panel["type"] == "stat" and panel["title"] not in KNOWN_WHILE_DOWN:
                assert [tile["text"] for tile in panel["tiles"]] == [UNKNOWN], panel["title"]
    assert overview.tile("one of two down", "Tocsin") == "1 down"
    assert overview.tile("one of two down", "Ledger") == "up"
    assert overview.tile("no such instance", "Tocsin") == UNKNOWN


def test_a_daily_job_that_has_not_run_yet_is_not_in_trouble(of_a_job: Drawn) -> None:
    shown = {
        title: of_a_job.tile("daily", title)
        for title in ("Last outcome", "Last run", "Last success", "Success ratio", "Failures")
    }
    assert shown == {
        "Last outcome": "no run yet",
        "Last run": "never",
        "Last success": "never",
        "Success ratio": UNKNOWN,
        "Failures": "0",
    }
    assert of_a_job.tile("daily", "Health") == "new"


def test_a_job_that_fails_one_that_is_paused_and_one_that_is_off(of_a_job: Drawn) -> None:
    assert of_a_job.tile("failing", "Last outcome") == "http_error"
    assert of_a_job.tile("failing", "Failures") == "5"
    assert of_a_job.tile("paused", "Paused") == "paused"
    assert of_a_job.tile("paused", "Left to succeed") == UNKNOWN
    for panel in of_a_job.states["off"]:
        if panel["type"] == "stat" and panel["title"] not in ("Tocsin", "Schedule"):
            assert [tile["text"] for tile in panel["tiles"]] == [UNKNOWN], panel["title"]


def test_totals_are_true(overview: Drawn, of_a_job: Drawn) -> None:
    assert of_a_job.tile("up", "Reported in the time range") == f"{REPORTED}"
    (bar,) = overview.panel("up", "Reported in the time range")["tiles"]
    assert bar["text"] == f"{REPORTED}"
    assert overview.tile("up", "Slots missed") == "0"


def test_two_instances_add_up(overview: Drawn, of_a_job: Drawn) -> None:
    assert overview.tile("two", "Tocsin") == "up"
    assert overview.tile("two", "Failing jobs") == "2"
    healths = {tile["title"]: tile["text"] for tile in overview.panel("two", "Jobs", "stat")["tiles"]}
    assert healths == {"well": "2", "new": "2", "overdue": "2", "paused": "2"}
    columns = {column["name"]: column["cells"] for column in overview.panel("two", "Jobs", "table")["columns"]}
    assert len(columns["Job"]) == 10
    assert len({cell["text"] for cell in columns["Instance"]}) == 2
    assert [tile["text"] for tile in of_a_job.panel("two", "Last outcome")["tiles"]] == ["success", "success"]


def test_alerts_that_are_evaluated_elsewhere_are_not_zero(overview: Drawn) -> None:
    assert int(overview.tile("up", "Alerts firing")) > 0
    assert overview.tile("rules elsewhere", "Alerts firing") == UNKNOWN
    assert RULES.name in overview_description("Alerts firing")


def overview_description(title: str) -> str:
    (file,) = [file for file in DASHBOARDS if file.stem == OVERVIEW]
    return next(
        str(panel["description"]) for panel in grafana_panels.charts(dashboard(file)) if panel["title"] == title
    )
