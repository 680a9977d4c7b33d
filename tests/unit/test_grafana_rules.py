"""The Prometheus rules: they load, they fire when they should and only then, and each has its runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana_files import RECORDING, ROOT, RULES, recording_rules, rules

pytestmark = pytest.mark.system

RUNBOOK = ROOT / "docs/alerts.md"
PROMETHEUS = ROOT / "grafana/prometheus"
RULES_TESTS = sorted(PROMETHEUS.glob("rules*_test.yml"))
RECORDING_TEST = PROMETHEUS / "recording.rules_test.yml"
EXAMPLES = ROOT / "grafana/examples"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("promtool")
    assert tool, "promtool is missing; `make test` says how to install it"
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, timeout=120)


def test_promtool_takes_the_rules_and_the_config() -> None:
    for file in (RULES, RECORDING):
        checked = promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))
        assert checked.returncode == 0, checked.stderr
    checked = promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert checked.returncode == 0, checked.stderr


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    tested = promtool("test", "rules", *map(str, RULES_TESTS))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_recorded_series_is_tested() -> None:
    tested = promtool("test", "rules", str(RECORDING_TEST))
    assert tested.returncode == 0, tested.stdout + tested.stderr
    asked = RECORDING_TEST.read_text()
    assert [rule["record"] for rule in recording_rules(RECORDING) if rule["record"] not in asked] == []


@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        ("unless on (instance, job_name) tocsin_job_paused == 1", ""),
        ("or 0 * count by (instance) (tocsin_build_info)", "or vector(0)"),
        ('outcome!="cancelled"}[1d])) > 0', 'outcome!="cancelled"}[1d]))'),
        ("sum by (instance, outcome)", "max by (instance, outcome)"),
        ("sum by (instance, reason)", "max by (instance, reason)"),
        ("[5m]))) >= 0", "[5m])))"),
    ],
)
def test_the_tests_of_recorded_series_notice_a_broken_rule(sound: str, broken: str, tmp_path: Path) -> None:
    text = RECORDING.read_text()
    assert sound in text
    (tmp_path / RECORDING.name).write_text(text.replace(sound, broken))
    (tmp_path / "test.yml").write_text(RECORDING_TEST.read_text())
    assert promtool("test", "rules", str(tmp_path / "test.yml")).returncode != 0


def test_the_example_of_an_alert_on_what_a_job_reports() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", str(EXAMPLES / "reported.rules.yml"))
    assert checked.returncode == 0, checked.stderr
    tested = promtool("test", "rules", str(EXAMPLES / "reported.rules_test.yml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "tocsin_job_reported" not in RULES.read_text(), "what a job reports is good or bad as its owner says"


@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        ("unless on (instance, job_name) tocsin_job_running == 1", ""),
        ("        for: 1m  # a Prometheus that has just started has not scraped anything yet\n", ""),
        ('unless on () up{job="tocsin"} == 0', ""),
        ("_count[15m])) > 10", "_count[15m])) > 20"),
        ("_count[15m])) > 10", "_count[15m])) > 5"),
        (">= tocsin_job_alert_after_failures", ">= 2"),
        (">= tocsin_job_alert_after_failures", ">= 3"),
        ("time() - (tocsin_job_last_missed_timestamp_seconds > 0) < 900\n              or", ""),
        ("          ) >= 3\n", "          ) >= 2\n"),
        (
            "time() - tocsin_job_last_run_timestamp_seconds < 300",
            "time() - tocsin_job_last_run_timestamp_seconds < 3e9",
        ),
        ("[4m])) > 0", "[15m])) > 0"),
        ("        for: 90s", "        for: 30s"),
        ("unless on (instance, job_name) tocsin_job_paused_until_timestamp_seconds > 0", ""),
        (
            "last_over_time(tocsin_job_certificate_expiry_timestamp_seconds[2d])",
            "tocsin_job_certificate_expiry_timestamp_seconds",
        ),
        ("tocsin_ledger_free_bytes < 104857600", "tocsin_ledger_free_bytes < 524288000"),
        (
            "[4m])) > 0\n            and on (instance, job_name) tocsin_job_paused == 0",
            "[4m])) > 0",
        ),
        ("and on (instance, job_name) tocsin_job_paused == 0", ""),
    ],
)
def test_the_tests_of_the_rules_notice_a_broken_rule(sound: str, broken: str, tmp_path: Path) -> None:
    """Of the changed rules alone, with all that is asked of them: all rules would take ten times as long."""
    text = RULES.read_text()
    assert sound in text
    changed = [
        (good, bad) for good, bad in zip(rules(), _rules(text.replace(sound, broken)), strict=True) if good != bad
    ]
    names = {good["alert"] for good, _ in changed}
    tests = []
    for number, file in enumerate(RULES_TESTS):
        content = yaml.load(file.read_text(), yaml.BaseLoader)  # 0x120 is no number here; it makes texts alone
        for one in content["tests"]:
            asked = [case for case in one.get("alert_rule_test", []) if case["alertname"] in names]
            silent = [case for case in one.get("promql_expr_test", []) if "exp_samples" not in case]
            one |= {"alert_rule_test": asked, "promql_expr_test": silent}
        content["tests"] = [one for one in content["tests"] if one["alert_rule_test"] or one["promql_expr_test"]]
        tests.append(tmp_path / f"{number}.yml")
        tests[-1].write_text(yaml.safe_dump(content))
    results = []
    for versions in zip(*changed, strict=True):
        (tmp_path / "rules.yml").write_text(
            yaml.safe_dump({"groups": [{"name": "changed", "interval": "30s", "rules": list(versions)}]})
        )
        assert promtool("check", "rules", str(tmp_path / "rules.yml")).returncode == 0
        results.append(promtool("test", "rules", *map(str, tests)))
    assert results[0].returncode == 0, results[0].stdout
    assert results[1].returncode != 0


def _rules(text: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"] if "alert" in rule]


def test_each_alert_is_seen_to_fire_in_the_tests() -> None:
    tests = [one for file in RULES_TESTS for one in yaml.safe_load(file.read_text())["tests"]]
    fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", []) if "exp_alerts" in case}
    assert fired == {rule["alert"] for rule in rules()}


def test_each_alert_has_a_severity_and_a_summary_that_says_where_and_what_next() -> None:
    for rule in rules():
        name, summary = rule["alert"], rule["annotations"]["summary"]
        assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"}), name
        where = "{{ $labels.node }}" if "without (instance)" in rule["expr"] else "{{ $labels.instance }}"
        assert name in ("TocsinAbsent", "TocsinJobFilesDiffer", "TocsinJobsUnowned") or where in summary, name
        if "job_name" in rule["expr"] and "(instance, host)" not in rule["expr"]:
            assert "$labels.job_name }}" in summary, name
        assert re.search(r"\b(Look|Compare|Try|Ask|lists|names|says|ends)\b", summary), name


def test_each_alert_has_its_section_in_the_runbook_and_each_section_its_alert() -> None:
    titles = re.findall(r"^## (Tocsin\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert titles == [rule["alert"] for rule in rules()]
    for rule in rules():
        base, anchor = rule["annotations"]["runbook_url"].split("#")
        assert (base, anchor) == ("https://runbooks.example/tocsin/alerts.md", rule["alert"].lower())


def test_an_alert_of_a_job_has_the_host_by_which_that_of_the_host_inhibits_it() -> None:
    of_jobs = [rule for rule in rules() if "job_name" in rule["expr"] and "by (instance, host)" not in rule["expr"]]
    assert len(of_jobs) == 9
    for rule in of_jobs:
        assert "group_left (host" in rule["expr"], rule["alert"]


def test_a_section_of_the_runbook_says_the_same_four_things() -> None:
    for section in re.split(r"^## (?=Tocsin)", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
        said = re.findall(r"^\*\*([^*]+)\.\*\*", section, re.MULTILINE)
        assert said == ["It means", "Look first", "Usual causes", "Do"], section.splitlines()[0]


def test_the_runbook_names_only_commands_that_there_are() -> None:
    commands = set(re.findall(r"`tocsin (\w+)", RUNBOOK.read_text() + RULES.read_text()))
    from tocsin.cli import main  # here, for it loads the whole daemon

    assert commands <= set(main.commands), commands - set(main.commands)


def test_the_example_for_alertmanager_names_alerts_that_there_are() -> None:
    example = yaml.safe_load((ROOT / "grafana/examples/alertmanager.yml").read_text())
    alerts = [rule["alert"] for rule in rules()]
    for rule in example["inhibit_rules"]:
        for (matcher,) in (rule["source_matchers"], rule["target_matchers"]):
            name, pattern = re.fullmatch(r'(\w+)=~?"(.+)"', matcher).groups()  # type: ignore[union-attr]
            assert name == "alertname"
            assert all(any(re.fullmatch(part, alert) for alert in alerts) for part in _alternatives(pattern)), matcher
        assert "instance" in rule["equal"]


def _alternatives(pattern: str) -> list[str]:
    """`TocsinJob(A|B)|TocsinC` -> TocsinJobA, TocsinJobB, TocsinC."""
    found = []
    for part in re.findall(r"(?:[^|(]|\([^)]*\))+", pattern):
        head, _, inner = part.partition("(")
        found += [head + word for word in inner.rstrip(")").split("|")]
    return found


def test_the_table_of_outages_names_tests_that_there_are() -> None:
    named = set(re.findall(r"`(test_\w+)`", RUNBOOK.read_text()))
    live = set(re.findall(r"^def (test_\w+)", (ROOT / "tests/e2e/test_alerts_live.py").read_text(), re.MULTILINE))
    assert named == live
