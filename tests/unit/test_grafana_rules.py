"""The Prometheus rules: they load, they fire when they should and only then, and each has its runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from grafana_files import ROOT, RULES, rules

pytestmark = pytest.mark.system

RUNBOOK = ROOT / "docs/alerts.md"
PROMETHEUS = ROOT / "grafana/prometheus"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("promtool")
    assert tool, "promtool is missing; `make test` says how to install it"
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, timeout=120)


def test_promtool_takes_the_rules_and_the_config() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert checked.returncode == 0, checked.stderr
    checked = promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert checked.returncode == 0, checked.stderr


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    tested = promtool("test", "rules", str(PROMETHEUS / "rules_test.yml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        ("unless on (instance, job_name) tocsin_job_running == 1", ""),
        ("        for: 1m  # a Prometheus that has just started has not scraped yet\n", ""),
        ('unless on () up{job="tocsin"} == 0', ""),
        ("_count[15m])) > 10", "_count[15m])) > 20"),
        ("_count[15m])) > 10", "_count[15m])) > 5"),
        ("tocsin_job_consecutive_failures >= 3", "tocsin_job_consecutive_failures >= 2"),
        ("> 3\n          and on (instance, job_name) tocsin_job_paused == 0\n          or", "> 3\n          or"),
        ("and on (instance, job_name) tocsin_job_paused == 0", ""),
    ],
)
def test_the_tests_of_the_rules_notice_a_broken_rule(sound: str, broken: str, tmp_path: Path) -> None:
    text = RULES.read_text()
    assert sound in text
    (tmp_path / "rules.yml").write_text(text.replace(sound, broken))
    shutil.copy(PROMETHEUS / "rules_test.yml", tmp_path)
    assert promtool("check", "rules", str(tmp_path / "rules.yml")).returncode == 0
    assert promtool("test", "rules", str(tmp_path / "rules_test.yml")).returncode != 0


def test_each_alert_is_seen_to_fire_in_the_tests() -> None:
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", []) if "exp_alerts" in case}
    assert fired == {rule["alert"] for rule in rules()}


def test_each_alert_has_a_severity_and_a_summary_that_says_where_and_what_next() -> None:
    for rule in rules():
        name, summary = rule["alert"], rule["annotations"]["summary"]
        assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"}), name
        assert name == "TocsinAbsent" or "{{ $labels.instance }}" in summary, name
        if "job_name" in rule["expr"] and "(instance, host)" not in rule["expr"]:
            assert "$labels.job_name }}" in summary, name
        assert re.search(r"\b(Look|Compare|Try|Ask|lists|names|says)\b", summary), name


def test_each_alert_has_its_section_in_the_runbook_and_each_section_its_alert() -> None:
    titles = re.findall(r"^## (Tocsin\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert titles == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"


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
