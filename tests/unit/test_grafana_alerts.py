"""Grafana's alert rules are those of Prometheus, and provisioning does not alter them on the way."""

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana_files import RECORDING, ROOT, RULES, recording_rules, rules

_spec = spec_from_file_location("grafana_alerts", ROOT / "scripts/grafana_alerts.py")
assert _spec
assert _spec.loader
grafana_alerts = module_from_spec(_spec)
_spec.loader.exec_module(grafana_alerts)

PROVISIONING = ROOT / "grafana/provisioning"
CONTENT: dict[str, Any] = yaml.safe_load(grafana_alerts.PROVISIONED.read_text())
TRANSLATED = [rule for group in CONTENT["groups"] for rule in group["rules"]]


def one_rule(**changes: Any) -> dict[str, Any]:
    rule = {"alert": "TocsinX", "expr": "up == 0", "labels": {}, "annotations": {}, **changes}
    return {"groups": [{"name": "g", "interval": "30s", "rules": [rule]}]}


def test_the_provisioned_file_is_what_the_rules_give() -> None:
    grafana_alerts.main(["--check"])


def test_check_tells_of_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "tocsin.yaml"
    monkeypatch.setattr(grafana_alerts, "ROOT", tmp_path)
    monkeypatch.setattr(grafana_alerts, "PROVISIONED", copy)
    with pytest.raises(SystemExit, match=r"tocsin.yaml differs from the rules: run"):
        grafana_alerts.main(["--check"])
    grafana_alerts.main([])
    grafana_alerts.main(["--check"])
    copy.write_text(copy.read_text().replace("> 120", "> 121"))
    with pytest.raises(SystemExit, match="differs"):
        grafana_alerts.main(["--check"])


def test_runbooks_may_stand_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    for name, value in (("ROOT", tmp_path), ("RULES", tmp_path / "rules.yml"), ("PROVISIONED", tmp_path / "g.yaml")):
        monkeypatch.setattr(grafana_alerts, name, value)
    with pytest.raises(SystemExit, match="'wiki' is not a URL for --runbooks"):
        grafana_alerts.main(["--runbooks", "wiki"])
    assert (tmp_path / "rules.yml").read_text() == RULES.read_text()
    grafana_alerts.main(["--runbooks", r"https://wiki.example.org/a\1.md"])
    for file in (tmp_path / "rules.yml", tmp_path / "g.yaml"):
        text = file.read_text()
        assert text.count(r"runbook_url: https://wiki.example.org/a\1.md#tocsindown") == 1
        assert "runbooks.example" not in text
    grafana_alerts.main(["--check"])


def test_every_alert_is_there_with_its_expression_its_wait_and_its_labels() -> None:
    assert [(rule["title"], rule["data"][0]["model"]["expr"], rule["for"], rule["labels"]) for rule in TRANSLATED] == [
        (rule["alert"], rule["expr"], rule.get("for", "0s"), rule["labels"]) for rule in rules()
    ]


def test_uids_are_unique_and_of_the_form_grafana_takes() -> None:
    uids = [rule["uid"] for rule in TRANSLATED]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[a-z-]{1,40}", uid) for uid in uids)
    assert grafana_alerts.uid("TocsinJobNoSuccess") == "tocsin-job-no-success"


@pytest.mark.parametrize("rule", TRANSLATED, ids=lambda rule: str(rule["title"]))
def test_any_series_is_an_alert_and_none_is_none(rule: dict[str, Any]) -> None:
    query, number, threshold = rule["data"]
    assert query["model"]["instant"] is True
    assert number["model"]["expression"] == "is_number($A) || is_nan($A) || is_inf($A)"  # 0 counts as well
    assert threshold["model"]["conditions"] == [{"evaluator": {"type": "gt", "params": [0]}}]
    assert [node["refId"] for node in rule["data"]] == ["A", "B", "C"]
    assert (rule["condition"], threshold["model"]["expression"]) == ("C", "B")
    assert (rule["noDataState"], rule["execErrState"]) == ("OK", "Error")


def test_nothing_is_left_for_provisioning_to_replace_by_environment_variables() -> None:
    for rule in TRANSLATED:
        replaced = {key: value for key, value in rule.items() if key not in ("data", "annotations")}
        assert "$" not in json.dumps(replaced), rule["title"]
        assert "${" not in json.dumps(rule["annotations"]), rule["title"]
        assert not re.search(r"\$value\b", json.dumps(rule["annotations"])), rule["title"]


def test_what_provisioning_would_alter_is_refused() -> None:
    with pytest.raises(grafana_alerts.CannotTranslate, match=r"TocsinX: label team holds a \$"):
        grafana_alerts.provisioned(one_rule(labels={"team": "{{ $labels.team }}"}))
    with pytest.raises(grafana_alerts.CannotTranslate, match="TocsinX: an annotation holds"):
        grafana_alerts.provisioned(one_rule(annotations={"summary": "${HOME}"}))


def test_recording_rules_stay_with_prometheus() -> None:
    given = one_rule()
    given["groups"][0]["rules"].append({"record": "a:b", "expr": "up"})
    given["groups"].append({"name": "h", "interval": "30s", "rules": [{"record": "a:c", "expr": "up"}]})
    assert grafana_alerts.provisioned(given) == grafana_alerts.provisioned(one_rule())
    recorded = {rule["record"] for file in (RULES, RECORDING) for rule in recording_rules(file)}
    assert len(recorded) > 5
    assert not any(name in rule["expr"] for name in recorded for rule in rules()), "Grafana has no recorded series"


def test_the_value_of_an_alert_is_that_of_its_query() -> None:
    given = one_rule(annotations={"summary": "{{ $value | humanizeDuration }} {{ $values.A }}"})
    rule = grafana_alerts.provisioned(given)["groups"][0]["rules"][0]
    assert rule["annotations"]["summary"] == "{{ $values.A.Value | humanizeDuration }} {{ $values.A }}"


def test_alerts_query_the_provisioned_datasource() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources/prometheus.yaml").read_text())["datasources"]
    assert (source["uid"], source["type"]) == (grafana_alerts.DATASOURCE, "prometheus")
    asked = {node["datasourceUid"] for rule in TRANSLATED for node in rule["data"]}
    assert asked == {source["uid"], "__expr__"}


def test_intervals_are_multiples_of_ten_seconds() -> None:
    for group in CONTENT["groups"]:
        assert int(group["interval"].removesuffix("s")) % 10 == 0  # Grafana refuses others


def test_no_notification_policy_is_provisioned() -> None:
    """`policies` replaces the operator's whole tree."""
    for file in PROVISIONING.rglob("*.y*ml"):
        assert not {"policies", "resetPolicies", "contactPoints"} & set(yaml.safe_load(file.read_text())), file
    assert "policies" in yaml.safe_load((ROOT / "grafana/examples/notification-policies.yaml").read_text())
