"""Every expression of dashboards and rules asks for metrics, labels and label values that the exporter has."""

import re
from collections import defaultdict
from dataclasses import replace

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import MatchOp, VectorSelector

import exporter_rig as rig
from grafana_files import Expression, all_expressions, nodes, selectors
from tocsin.exporter.metrics import JOB_STATES
from tocsin.exporter.pieces import at_once
from tocsin.exporter.refusals import REFUSALS
from tocsin.health import MEASURED
from tocsin.ipc.cluster import Member, Members
from tocsin.ipc.exporter import ProcessUp
from tocsin.ipc.ledger import LedgerRoom
from tocsin.ipc.types import (
    ERROR_KINDS,
    EXIT_REASONS,
    NOT_RUN_REASONS,
    OUTCOMES,
    REPORTED_ERRORS,
    STATUS_CLASSES,
    STORE_KINDS,
)

# The label values that the code closes, by metric and label. A `host` or a `job_name` may be anything.
CLOSED = {
    ("tocsin_job_runs_total", "outcome"): OUTCOMES,
    ("tocsin_job_last_run_outcome", "outcome"): OUTCOMES,
    ("tocsin_job_slots_not_run_total", "reason"): NOT_RUN_REASONS,
    ("tocsin_job_responses_total", "status"): STATUS_CLASSES,
    ("tocsin_job_connection_errors_total", "kind"): ERROR_KINDS,
    ("tocsin_job_reported_errors_total", "reason"): REPORTED_ERRORS,
    ("tocsin_job_process_exits_total", "reason"): EXIT_REASONS,
    ("tocsin_ledger_process_exits_total", "reason"): EXIT_REASONS,
    ("tocsin_exporter_refused_requests_total", "reason"): REFUSALS,
    ("tocsin_jobs", "state"): JOB_STATES,
    ("tocsin_job_health", "health"): list(MEASURED),
    ("tocsin_ledger_size_bytes", "store"): STORE_KINDS,
    ("tocsin_ledger_free_bytes", "store"): ("sqlite",),
    ("ALERTS", "alertstate"): ("pending", "firing"),
}
TARGET = {"job", "instance"}  # Prometheus adds these to whatever it scrapes
LABELS = (("team", "billing"),)  # what the rules know of `labels` in the job file
OF_PROMETHEUS = {  # what Prometheus makes itself, with its labels
    "up": set[str](),
    "scrape_duration_seconds": set[str](),
    "scrape_samples_scraped": set[str](),
    "ALERTS": {"alertname", "alertstate", "severity", "job_name", "host"},
    "tocsin:alerts:evaluated": set[str](),
}
OF_A_SUFFIX = re.compile(r"_(bucket|count|sum)$")


@pytest.fixture(scope="module")
def published() -> dict[str, dict[str, set[str]]]:
    """The values of each label of each metric that an exporter with a job publishes."""
    status = rig.job(last_success=rig.NOON, labels=LABELS)
    rooms = [LedgerRoom("sqlite", 1, 1), LedgerRoom("postgresql", 1)]
    nodes = Members("s1", 1, (Member("s1", "one", 1, "live", roster="x"),))
    called = rig.run(certificate_until="Nov 28 12:00:00 2027 GMT")
    told = rig.Told(*rig.world(status), called, *rooms, nodes, ProcessUp("ledger", "", 1, rig.NOON))
    told.measure()
    labels: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(b"".join(at_once(told.metrics.text())).decode()):
        for sample in family.samples:
            metric = labels[sample.name]
            for label, value in sample.labels.items():
                metric[label].add(value)
    return labels


def faults(one: Expression, published: dict[str, dict[str, set[str]]]) -> list[str]:
    """What in an expression the exporter does not have."""
    found = []
    tree = one.parsed()
    known = set(TARGET)
    for selector in selectors(tree):
        metric = selector.name or ""
        if metric not in published and metric not in OF_PROMETHEUS:
            found.append(f"no metric {metric}")
            continue
        labels = TARGET | OF_PROMETHEUS.get(metric, set()) | set(published.get(metric, ()))
        known |= labels
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels:
                found.append(f"{metric} has no label {matcher.name}")
            closed = CLOSED.get((metric, matcher.name))
            many = matcher.op in (MatchOp.Re, MatchOp.NotRe)
            asked = matcher.value.split("|") if many else [matcher.value]
            found += [f"{metric} has no {matcher.name}={one}" for one in asked if closed and one not in closed]
            if many and closed and re.search(r"[.*+?()\[]", matcher.value):
                found.append(f"{metric}: {matcher.name}=~{matcher.value} cannot be checked: list the values")
    for node in nodes(tree):
        if isinstance(node, promql_parser.Call) and node.func.name == "label_replace":
            known.add(node.args[1].val)
    for group in re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right) \(([^)]*)\)", one.text):
        found += [f"no metric here has the label {label}" for label in re.findall(r"\w+", group) if label not in known]
    return found


@pytest.mark.parametrize("one", all_expressions(), ids=lambda one: one.where)
def test_the_exporter_has_what_is_asked_for(one: Expression, published: dict[str, dict[str, set[str]]]) -> None:
    assert faults(one, published) == []


def test_closed_label_sets_are_published_whole(published: dict[str, dict[str, set[str]]]) -> None:
    """So that what is checked against the messages is true of the exporter, and a series exists before its event."""
    for (metric, label), values in CLOSED.items():
        if metric in OF_PROMETHEUS:
            continue
        assert published[metric][label] == set(values), metric


def test_every_label_with_closed_values_is_checked(published: dict[str, dict[str, set[str]]]) -> None:
    free = {"job_name", "schedule", "timezone", "method", "host", "field", "version", "python", "hash", "le", "team"}
    free |= {"node"}
    for metric, labels in published.items():
        assert {label for label in labels if (metric, label) not in CLOSED} <= free, metric


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tocsin_job_runs", "no metric tocsin_job_runs"),
        ('tocsin_job_runs_total{job="x", name="y"}', "tocsin_job_runs_total has no label name"),
        ('tocsin_job_runs_total{outcome="ok"}', "tocsin_job_runs_total has no outcome=ok"),
        ('tocsin_job_runs_total{outcome!~"success|canceled"}', "tocsin_job_runs_total has no outcome=canceled"),
        ('tocsin_job_responses_total{status=~"4.."}', "tocsin_job_responses_total has no status=4.."),
        ("sum by (name) (tocsin_job_running)", "no metric here has the label name"),
        ("up unless on (job_name) up", "no metric here has the label job_name"),
    ],
)
def test_what_the_exporter_lacks_is_found(text: str, fault: str, published: dict[str, dict[str, set[str]]]) -> None:
    assert fault in faults(Expression("here", text), published)


def quantiles(tree: promql_parser.Expr) -> list[promql_parser.Expr]:
    """The second arguments of histogram_quantile."""
    calls = [node for node in nodes(tree) if isinstance(node, promql_parser.Call)]
    return [call.args[1] for call in calls if call.func.name == "histogram_quantile"]


def keeps_le(tree: promql_parser.Expr) -> bool:
    for node in nodes(tree):
        if isinstance(node, promql_parser.AggregateExpr):
            by = node.modifier and node.modifier.type == promql_parser.AggModifierType.By
            if (by and node.modifier and "le" in node.modifier.labels) is not True:
                return False
    return all((selector.name or "").endswith("_bucket") for selector in selectors(tree))


def test_le_survives_to_histogram_quantile() -> None:
    asked = [(one.where, tree) for one in all_expressions() for tree in quantiles(one.parsed())]
    assert len(asked) > 10
    assert [where for where, tree in asked if not keeps_le(tree)] == []
    lost = Expression(
        "here", "histogram_quantile(0.9, sum by (job_name) (rate(tocsin_job_duration_seconds_bucket[5m])))"
    )
    assert not keeps_le(quantiles(lost.parsed())[0])
    assert not keeps_le(quantiles(replace(lost, text="histogram_quantile(0.9, rate(up[5m]))").parsed())[0])


TOTAL = re.compile(
    r"last_over_time\((?P<counter>\w+_total\{[^}]*\})\[5m\]\)"
    r" - \((?P=counter) offset 5m or min_over_time\((?P=counter)\[5m\]\)\) unless resets\((?P=counter)\[5m\]\) > 0\n"
    r"  or increase\((?P=counter)\[5m\]\)"
)


def without_totals(text: str) -> str:
    """An exact total over the range is the last value less the first, and increase(), which extrapolates, only where
    the counter was reset meanwhile. It must say so of one counter alone."""
    return TOTAL.sub(lambda match: f"increase({match['counter']}[5m])", text)


def test_totals_are_exact() -> None:
    """increase() makes 69 of 66 when the range is short; a sum over its overlapping windows made 273."""
    shown = [one for one in all_expressions() if re.search(r"last_over_time\(\w+_total", one.text)]
    assert len(shown) >= 5
    assert all(len(TOTAL.findall(one.filled())) == one.text.count("last_over_time") for one in shown)
    for one in all_expressions():
        if "[$__range])" in one.text and "increase(" in one.text and one not in shown:
            assert "/ (sum(increase(" in one.text or "_quantile(" in one.text, f"{one.where}: a total that is none"


def test_counters_are_read_through_a_rate_and_gauges_are_not() -> None:
    """The value of a counter means nothing: it begins anew with every start of the exporter."""
    cumulative = re.compile(r"_(total|bucket|count|sum)$")
    for one in all_expressions():
        found = nodes(promql_parser.parse(without_totals(one.filled())))
        ranges = [node.vector_selector.name or "" for node in found if isinstance(node, promql_parser.MatrixSelector)]
        instants = [node.name or "" for node in found if isinstance(node, VectorSelector)]
        for name in ranges:
            instants.remove(name)  # it is visited as well
        assert not any(map(cumulative.search, instants)), one.where
        for node in found:
            if isinstance(node, promql_parser.Call):
                ranges_read = [arg for arg in node.args if isinstance(arg, promql_parser.MatrixSelector)]
                for name in [one_range.vector_selector.name or "" for one_range in ranges_read]:
                    assert (node.func.name in ("rate", "increase")) == bool(cumulative.search(name)), one.where


def test_every_metric_has_a_panel(published: dict[str, dict[str, set[str]]]) -> None:
    """But for those of prometheus_client about processes, and the hash of the job file."""
    shown = {
        OF_A_SUFFIX.sub("", selector.name or "") for one in all_expressions() for selector in selectors(one.parsed())
    }
    published_families = {OF_A_SUFFIX.sub("", name) for name in published}
    silent = {name for name in published_families - shown if not re.match(r"(tocsin_(parent|ledger)_)?process_", name)}
    assert silent - {"tocsin_notifications_waiting"} == {"tocsin_config_info"}  # the first: until a panel shows it
