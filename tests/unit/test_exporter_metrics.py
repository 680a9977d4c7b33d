"""Histories of messages and the values of the metrics after them."""

import os

import pytest
from msgspec.structs import replace

from exporter_rig import NOON, Told, job, run, world
from tocsin import __version__
from tocsin.exporter.accept import wants
from tocsin.exporter.metrics import OPENMETRICS, TEXT, format_for
from tocsin.exporter.pieces import at_once
from tocsin.ipc.cluster import Member, Members
from tocsin.ipc.exporter import (
    ConfigLoaded,
    EventsDropped,
    JobRemoved,
    LedgerState,
    LogLinesDropped,
    ProcessExited,
    ProcessUp,
    Started,
    ToExporter,
)
from tocsin.ipc.job import Skipped, Sleeping
from tocsin.ipc.ledger import Committed
from tocsin.ipc.types import EXIT_REASONS, OUTCOMES


class History(Told):
    """`value` is that of a series of the job, or of the daemon when `job_name` is empty."""

    def value(self, name: str, job_name: str = "sla-check", **labels: str) -> float | None:
        labels |= {"job_name": job_name} if job_name else {}
        return self.metrics.registry.get_sample_value(name, labels)

    def names(self, job_name: str = "sla-check") -> set[str]:
        """Of the families that have series of this job."""
        families = self.metrics.registry.collect()
        return {
            family.name for family in families for sample in family.samples if sample.labels.get("job_name") == job_name
        }


def test_a_new_job_is_filled_with_zeros() -> None:
    told = History(*world(job()))
    for outcome in OUTCOMES:
        assert told.value("tocsin_job_runs_total", outcome=outcome) == 0
        assert told.value("tocsin_job_last_run_outcome", outcome=outcome) == 0
    for kind in ("dns", "refused", "unreachable", "tls", "reset", "connect_timeout", "other"):
        assert told.value("tocsin_job_connection_errors_total", kind=kind) == 0
    for status in ("2xx", "3xx", "401", "403", "4xx", "5xx"):
        assert told.value("tocsin_job_responses_total", status=status) == 0
    for reason in ("overlap", "paused", "missed"):
        assert told.value("tocsin_job_slots_not_run_total", reason=reason) == 0
    for reason in EXIT_REASONS:
        assert told.value("tocsin_job_process_exits_total", reason=reason) == 0
    for reason in ("missing", "not_a_number"):
        assert told.value("tocsin_job_reported_errors_total", reason=reason) == 0
    for name in (
        "tocsin_job_retries_total",
        "tocsin_job_duration_seconds_count",
        "tocsin_job_last_run_timestamp_seconds",
        "tocsin_job_last_success_timestamp_seconds",
        "tocsin_job_consecutive_failures",
        "tocsin_job_running",
        "tocsin_job_paused",
    ):
        assert told.value(name) == 0, name
    assert told.value("tocsin_job_reported_total", field="unassigned") == 0
    assert told.value("tocsin_job_reported_value", field="unassigned") == 0


def test_a_job_that_moves_takes_its_gauges_along_and_leaves_its_counters() -> None:
    told = History(*world(job()), Sleeping("sla-check", NOON + 60), run())
    both = told.names()
    status = told.state.jobs["sla-check"].status
    told.tell(replace(status, state="elsewhere", pid=None, next_fire=None))
    left = {family.name: family.type for family in told.metrics.registry.collect() if family.name in told.names()}
    assert left.pop("tocsin_job_info", "gauge") == "gauge"
    assert set(left.values()) == {"counter", "histogram"}
    assert told.value("tocsin_job_runs_total", outcome="success") == 1
    told.tell(run())
    assert told.value("tocsin_job_runs_total", outcome="success") == 2, "of a run here that ends after the move"
    told.tell(replace(told.state.jobs["sla-check"].status, state="starting"))
    assert told.names() == both
    assert told.value("tocsin_job_runs_total", outcome="success") == 2


def test_a_run() -> None:
    told = History(*world(job()), Sleeping("sla-check", NOON + 60), Started("sla-check", NOON + 60))
    assert told.value("tocsin_job_running") == 1
    told.tell(
        run(
            due=NOON + 60,
            lateness=0.0003,
            duration=0.2,
            finished=NOON + 61,
            responses=("5xx", "2xx"),
            connection_errors=("refused",),
            retries=2,
            reported={"unassigned": 3.0, "undeclared": 9.0},
        )
    )
    assert told.value("tocsin_job_running") == 0
    assert told.value("tocsin_job_runs_total", outcome="success") == 1
    assert told.value("tocsin_job_last_run_outcome", outcome="success") == 1
    assert told.value("tocsin_job_responses_total", status="5xx") == 1
    assert told.value("tocsin_job_connection_errors_total", kind="refused") == 1
    assert told.value("tocsin_job_retries_total") == 2
    assert told.value("tocsin_job_duration_seconds_sum") == 0.2
    assert told.value("tocsin_job_duration_seconds_bucket", le="0.1") == 0
    assert told.value("tocsin_job_duration_seconds_bucket", le="0.25") == 1
    assert told.value("tocsin_fire_lateness_seconds_bucket", "", le="0.0005") == 1
    assert told.value("tocsin_job_reported_total", field="unassigned") == 3
    assert told.value("tocsin_job_reported_total", field="undeclared") is None
    assert told.value("tocsin_job_last_run_timestamp_seconds") == NOON + 61
    assert told.value("tocsin_job_last_success_timestamp_seconds") == NOON + 61
    told.tell(run(reported={"unassigned": 4.0}))
    assert told.value("tocsin_job_reported_total", field="unassigned") == 7
    assert told.value("tocsin_job_reported_value", field="unassigned") == 4


def test_a_childs_nonsense_is_not_added_up() -> None:
    told = History(*world(job()), run(reported={"unassigned": -1.0}), run(reported={"unassigned": 1e300}))
    assert told.value("tocsin_job_reported_total", field="unassigned") == 0
    assert told.state.jobs["sla-check"].totals == {"unassigned": 0.0}


def test_failures_add_up_and_end() -> None:
    told = History(*world(job()), run(outcome="unauthorized"), run(outcome="timeout"))
    assert told.value("tocsin_job_consecutive_failures") == 2
    assert told.value("tocsin_job_last_run_outcome", outcome="unauthorized") == 0
    assert told.value("tocsin_job_last_run_outcome", outcome="timeout") == 1
    told.tell(run(reported_errors={"unassigned": "missing"}))
    assert told.value("tocsin_job_consecutive_failures") == 0
    assert told.value("tocsin_job_reported_errors_total", reason="missing") == 1


def test_only_what_the_schedule_started_on_time_counts_for_lateness() -> None:
    told = History(
        *world(job()),
        run(trigger="manual", lateness=0.001),
        run(trigger="catch-up", lateness=59.0),
        run(attempt=1, lateness=12.0),  # delivered again
        run(outcome="lost", lateness=None, duration=None),
    )
    assert told.value("tocsin_fire_lateness_seconds_count", "") == 0
    assert told.value("tocsin_job_duration_seconds_count") == 3


def test_slots_that_did_not_run() -> None:
    told = History(*world(job()), Skipped("sla-check", NOON, NOON + 240, 5, "missed"))
    assert told.value("tocsin_job_slots_not_run_total", reason="missed") == 5


def test_counts_go_on_from_the_ledger_and_are_not_shown_before() -> None:
    """After a restart: from 0 to what the ledger knows would be an increase that never was."""
    told = History(*world(job(counts=None)), Skipped("sla-check", NOON, NOON, 1, "missed"), run())
    assert told.value("tocsin_job_runs_total", outcome="success") is None
    assert told.value("tocsin_job_slots_not_run_total", reason="missed") is None
    told.tell(job(counts={"success": 500, "missed": 21}))
    assert told.value("tocsin_job_runs_total", outcome="success") == 500
    assert told.value("tocsin_job_runs_total", outcome="timeout") == 0
    assert told.value("tocsin_job_slots_not_run_total", reason="missed") == 21
    told.tell(run(), Skipped("sla-check", NOON, NOON, 2, "missed", at=NOON + 9))
    assert told.value("tocsin_job_runs_total", outcome="success") == 501
    assert told.value("tocsin_job_slots_not_run_total", reason="missed") == 23
    assert told.value("tocsin_job_last_missed_timestamp_seconds") == NOON + 9


@pytest.mark.parametrize(
    ("schedule", "last_run", "own", "failures"),
    [
        ("* * * * *", NOON, 0, 3),
        ("0 * * * *", NOON, 0, 3),
        ("0 */2 * * *", NOON, 0, 1),
        ("@daily", NOON, 0, 1),
        ("0 0 1 * *", NOON, 0, 1),
        ("*/5 9-12 * * *", NOON + 30 * 60, 0, 3),
        ("*/5 9-12 * * *", NOON + 55 * 60, 0, 1),  # the last of the day: the next comes tomorrow
        ("@daily", NOON, 2, 2),
        ("* * * * *", NOON, 1, 1),
    ],
)
def test_how_many_failures_alert(schedule: str, last_run: float, own: int, failures: int) -> None:
    told = History(*world(job(schedule=schedule, alert_after=own)), run(outcome="timeout", finished=last_run + 1))
    assert told.value("tocsin_job_alert_after_failures") == failures


def test_when_the_certificate_of_the_host_expires_and_how_late_the_last_call_was() -> None:
    told = History(*world(job()))
    name = "tocsin_job_certificate_expiry_timestamp_seconds"
    assert told.value(name) is None, "of a call without TLS there is nothing to say"
    told.tell(run(certificate_until="Nov 21 12:00:00 2026 GMT", lateness=0.25))
    assert told.value(name) == NOON
    assert told.value("tocsin_job_last_lateness_seconds") == 0.25
    for nothing in ("", "tomorrow"):
        told.tell(run(certificate_until=nothing, trigger="manual", lateness=9.0))
        assert told.value(name) == NOON
    assert told.value("tocsin_job_last_lateness_seconds") == 0.25
    told.tell(job(enabled=False, state="disabled"))
    assert told.value(name) is None


def test_whether_the_app_answered_and_since_when_it_is_paused() -> None:
    told = History(*world(job()), run(outcome="http_error", status=502))
    assert told.value("tocsin_job_unreachable") == 1
    told.tell(run(outcome="http_error", status=500))
    assert told.value("tocsin_job_unreachable") == 0
    told.tell(job(paused=True, paused_since=NOON))
    assert told.value("tocsin_job_paused_since_timestamp_seconds") == NOON
    told.tell(job())
    assert told.value("tocsin_job_paused_since_timestamp_seconds") == 0


def test_the_jobs_process() -> None:
    told = History(*world(job()))
    told.measure()
    assert told.value("tocsin_job_process_up") == 1
    assert told.value("tocsin_job_process_start_time_seconds") == NOON
    assert (told.value("tocsin_job_process_private_memory_bytes") or 0) > 1e6
    told.tell(ProcessExited("job", "sla-check", "signal", "SIGKILL"))
    told.measure()
    assert told.value("tocsin_job_process_up") == 0
    assert told.value("tocsin_job_process_start_time_seconds") == 0
    assert told.value("tocsin_job_process_private_memory_bytes") == 0
    assert told.value("tocsin_job_process_exits_total", reason="signal") == 1
    assert told.value("tocsin_job_process_exits_total", reason="clean") == 0


def test_next_fire_comes_from_the_schedule_until_the_process_says_it() -> None:
    told = History(job())
    assert told.value("tocsin_job_next_fire_timestamp_seconds") == NOON + 60
    told.tell(Sleeping("sla-check", NOON + 120))
    assert told.value("tocsin_job_next_fire_timestamp_seconds") == NOON + 120


# ---- the success deadline: the second fire after the last success, plus timeout (300 s) and grace (60 s)


def deadline(*history: ToExporter) -> float | None:
    value = History(*history).value("tocsin_job_success_deadline_timestamp_seconds")
    return value - NOON if value else value


def test_deadline_of_a_job_that_never_succeeded_counts_from_now() -> None:
    assert deadline(job()) == 120 + 360
    assert deadline(job(), run(outcome="timeout")) == 120 + 360


def test_deadline_follows_success() -> None:
    assert deadline(job(), run(finished=NOON + 600.5)) == 720 + 360
    assert deadline(job(last_success=NOON - 3600)) == -3600 + 120 + 360


def test_deadline_of_a_weekday_job_spans_the_weekend() -> None:
    friday, day = NOON - 24 * 3600 - 3600, 24 * 3600  # NOON is a Saturday
    weekday = job(schedule="0 11 * * MON-FRI", last_success=friday + 1, timeout=10.0, grace=5.0)
    assert deadline(weekday) == friday - NOON + 4 * day + 15  # Monday is the first, Tuesday the second


def test_deadline_after_a_change_of_schedule_counts_from_then() -> None:
    hourly = job(schedule="@hourly", last_success=NOON - 3000)
    assert deadline(hourly) == 3600 + 360
    assert deadline(hourly, job(last_success=NOON - 3000, since=NOON)) == 120 + 360


def test_deadline_follows_timeout_and_grace() -> None:
    assert deadline(job(), job(timeout=10.0, grace=1.0)) == 120 + 11


def test_deadline_after_a_pause_counts_from_then() -> None:
    paused = job(last_success=NOON - 7200, paused=True)
    resumed = job(last_success=NOON - 7200, since=NOON)
    assert deadline(paused, resumed) == 120 + 360
    assert deadline(resumed) == 120 + 360  # told to a new exporter
    assert deadline(resumed, run(finished=NOON + 600.5)) == 720 + 360


def test_deadline_of_a_job_enabled_again_counts_from_then() -> None:
    off = job(enabled=False, state="disabled", last_success=NOON - 7200)
    assert deadline(off, job(last_success=NOON - 7200, since=NOON)) == 120 + 360


def test_deadline_of_a_job_whose_past_is_told_late() -> None:
    assert deadline(job(), job(last_success=NOON - 60)) == 60 + 360


def test_what_was_dropped_is_told_as_a_sum() -> None:
    """From the parent's start: what a new exporter hears first was dropped before its time."""
    told = History(LogLinesDropped(3), EventsDropped(0), LogLinesDropped(3), EventsDropped(4), EventsDropped(5))
    assert told.value("tocsin_log_lines_dropped_total", "") == 0
    assert told.value("tocsin_events_dropped_total", "") == 5


# ---- jobs come, change and go


def test_a_removed_job_leaves_nothing() -> None:
    told = History(*world(job(), job("other")), run(), JobRemoved("sla-check"), run())
    assert told.names() == set()
    assert told.value("tocsin_job_runs_total", "other", outcome="success") == 0
    told.assert_equal()


def test_a_disabled_job_shows_its_info_only() -> None:
    told = History(*world(job()), run(), job(enabled=False, state="disabled", consecutive_failures=5))
    assert told.names() == {"tocsin_job_info"}
    told.tell(job())
    assert told.value("tocsin_job_runs_total", outcome="success") == 0


def test_a_changed_job_keeps_its_counts() -> None:
    told = History(*world(job()), run(reported={"unassigned": 3.0}))
    changed = job(schedule="@hourly", method="GET", fields=("unassigned", "breached"), last_outcome="success")
    told.tell(replace(changed, counts={"success": 1}))
    assert told.value("tocsin_job_runs_total", outcome="success") == 1
    assert told.value("tocsin_job_reported_total", field="unassigned") == 3
    assert told.value("tocsin_job_reported_total", field="breached") == 0
    labels = {"timezone": "UTC", "host": "app.example"}
    assert told.value("tocsin_job_info", schedule="@hourly", method="GET", **labels) == 1
    assert told.value("tocsin_job_info", schedule="* * * * *", method="POST", **labels) is None
    told.tell(job(fields=("breached",)))
    assert told.value("tocsin_job_reported_total", field="unassigned") is None
    assert told.value("tocsin_job_reported_value", field="unassigned") is None


def test_what_is_restored_from_the_ledger() -> None:
    told = History(job(last_outcome="timeout", last_run=NOON - 5, last_success=NOON - 60, consecutive_failures=2))
    assert told.value("tocsin_job_last_run_outcome", outcome="timeout") == 1
    assert told.value("tocsin_job_last_run_timestamp_seconds") == NOON - 5
    assert told.value("tocsin_job_last_success_timestamp_seconds") == NOON - 60
    assert told.value("tocsin_job_consecutive_failures") == 2


# ---- the daemon


def test_config() -> None:
    told = History(ConfigLoaded("aaa", NOON), ConfigLoaded("bbb", NOON + 60))
    assert told.value("tocsin_config_info", "", hash="aaa") is None
    assert told.value("tocsin_config_info", "", hash="bbb") == 1
    told.tell(ConfigLoaded("ccc", NOON + 90, error="tocsin.toml: is not TOML"))
    assert told.value("tocsin_config_info", "", hash="bbb") == 1
    assert told.value("tocsin_config_last_reload_successful", "") == 0
    assert told.value("tocsin_config_last_reload_success_timestamp_seconds", "") == NOON + 60


def test_number_of_jobs_by_state() -> None:
    told = History(*world(job("a"), job("b"), job("c", paused=True), job("d", enabled=False, state="disabled")))
    told.measure()
    assert told.value("tocsin_jobs", "", state="enabled") == 2
    assert told.value("tocsin_jobs", "", state="paused") == 1
    assert told.value("tocsin_jobs", "", state="disabled") == 1


def test_ledger_and_drops() -> None:
    told = History(
        LedgerState(up=False, backlog=7),
        Committed(1, 0.003),
        EventsDropped(0),
        LogLinesDropped(1),
        EventsDropped(2),
        LogLinesDropped(4),
        ProcessUp("ledger", "", os.getpid(), NOON),
    )
    assert told.value("tocsin_ledger_up", "") == 0
    assert told.value("tocsin_ledger_backlog", "") == 7
    assert told.value("tocsin_ledger_commit_seconds_bucket", "", le="0.005") == 1
    assert told.value("tocsin_events_dropped_total", "") == 2
    assert told.value("tocsin_log_lines_dropped_total", "") == 3
    assert b"\ntocsin_ledger_process_resident_memory_bytes " in b"".join(at_once(told.metrics.text()))
    told.tell(LedgerState(up=True, backlog=0), ProcessExited("ledger", "", "signal", "SIGKILL"))
    assert told.value("tocsin_ledger_up", "") == 1
    assert told.value("tocsin_ledger_process_exits_total", "", reason="signal") == 1
    assert b"\ntocsin_ledger_process_resident_memory_bytes " not in b"".join(at_once(told.metrics.text()))
    assert b"\ntocsin_parent_process_resident_memory_bytes " in b"".join(at_once(told.metrics.text()))
    assert f'version="{__version__}"' in b"".join(at_once(told.metrics.text())).decode()


@pytest.mark.parametrize(
    "accept",
    [
        # Prometheus 2.5, 2.22, 2.42, 3.x, and 3.x with native histograms: what they got, they get
        "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text; version=0.0.1; charset=utf-8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
        "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        "application/openmetrics-text",
        'APPLICATION/OpenMetrics-Text ; Version="1.0.0" ; Q=0.001',
        "text/plain, application/openmetrics-text",
        "text/plain;q=0, application/openmetrics-text;q=0.1",
        "text/plain;q=0, */*",
        "text/*;q=0.3, application/*;q=0.4",
    ],
)
def test_openmetrics_for_who_wants_it(accept: str) -> None:
    assert format_for(accept) == OPENMETRICS


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",  # a browser
        "text/plain;version=0.0.4",
        "text/plain, application/openmetrics-text;q=0",
        "text/plain, application/openmetrics-text;q=0.9",
        "application/openmetrics-text;q=0.000, */*;q=0.1",
        "application/openmetrics-text;version=1.0.0;q=0, application/openmetrics-text;q=0, text/plain",
        "application/openmetrics-text;version=1.0.0;q=0, application/openmetrics-text, text/plain",
        "application/openmetrics-text;version=2.0.0, */*;q=0.1",
        "application/openmetrics-text;q=2, text/plain;q=0.1",  # no weight: the range is malformed
        "application/openmetrics-text;q=nan",
        "application/openmetrics-textual",
        "application/json",
        "application/json, application/openmetrics-text;q=0",
        "garbage;;,,=;",
    ],
)
def test_plain_text_for_all_others(accept: str) -> None:
    assert format_for(accept) == TEXT


@pytest.mark.parametrize("accept", ["*/*;q=0", "text/plain;q=0", "text/plain;q=0,application/openmetrics-text;q=0.0"])
def test_who_refuses_both_formats_gets_none(accept: str) -> None:
    assert format_for(accept) is None


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html", True),
        ("text/html;level=1;q=0.5", True),
        ("text/html;q=0, */*", False),
        ("*/*", False),
        ("text/html-not", False),
    ],
)
def test_html_for_who_names_it(accept: str, html: bool) -> None:
    assert wants(accept, "text/html") == html


def test_labels_of_the_job_file_are_labels_of_the_info() -> None:
    told = History(*world(job("a", labels=(("team", "billing"),)), job("b")))

    own = {"schedule": "* * * * *", "timezone": "UTC", "method": "POST", "host": "app.example"}
    assert told.value("tocsin_job_info", "a", **own, team="billing") == 1
    assert told.value("tocsin_job_info", "b", **own, team="") == 1
    told.assert_equal()
    told.tell(job("b", labels=(("app", "web"), ("team", "ops"))))
    assert told.value("tocsin_job_info", "a", **own, team="billing", app="") == 1
    assert told.value("tocsin_job_info", "b", **own, team="ops", app="web") == 1
    assert told.value("tocsin_job_info", "b", **own, team="") is None
    told.assert_equal()
    told.tell(job("b"), ConfigLoaded("other", NOON))
    assert told.value("tocsin_job_info", "b", **own, team="") == 1, "a label that nobody has any more is gone"
    told.tell(JobRemoved("a"), ConfigLoaded("third", NOON))
    assert told.value("tocsin_job_info", "b", **own) == 1
    told.assert_equal()


def test_the_nodes_that_share_the_ledger() -> None:
    told = History()
    one = Member("s1", "one", 1, "live", roster="x", clock_off=0.2)
    two = Member("s2", "two", 1, "live", roster="y", clock_off=-1.5)
    told.tell(Members("s1", 1, (one, two)))
    assert told.value("tocsin_cluster_node_up", "", node="two") == 1
    assert told.value("tocsin_cluster_clock_offset_seconds", "", node="two") == -1.5
    assert told.value("tocsin_cluster_job_files", "") == 2
    told.tell(Members("s1", 1, (one, replace(two, state="dead"))))
    assert told.value("tocsin_cluster_node_up", "", node="two") == 0
    assert told.value("tocsin_cluster_job_files", "") == 1
    told.tell(Members("s1", 1, (one,)))
    assert told.value("tocsin_cluster_node_up", "", node="two") is None
    assert told.value("tocsin_cluster_node_up", "", node="one") == 1
