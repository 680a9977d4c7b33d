"""Write Grafana's provisioned alert rules from the Prometheus rules, which alone can be unit-tested.

    python scripts/grafana_alerts.py            write grafana/provisioning/alerting/tocsin.yaml
    python scripts/grafana_alerts.py --check    exit code 1 when that file is not what would be written
    python scripts/grafana_alerts.py --runbooks https://wiki.example.org/tocsin.md
                                                before that, have every runbook_url begin with this in the rules

A Prometheus rule fires for every series its expression returns, whatever the value: `up == 0` returns 0. In
Grafana a condition must be non-zero, hence the two expressions behind each query, the same that Grafana's own
importer of Prometheus rules makes. No series means that all is well: `noDataState: OK`. A query that fails
is not an alert of its own kind: `execErrState: Error`.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "grafana/prometheus/rules.yml"
PROVISIONED = ROOT / "grafana/provisioning/alerting/tocsin.yaml"

DATASOURCE = "tocsin-prometheus"  # the uid in provisioning/datasources/prometheus.yaml
FOLDER = "Tocsin"
QUERY_RANGE = 600  # seconds: of no effect on an instant query, but Grafana asks for it
HEADER = """\
# Generated from grafana/prometheus/rules.yml by `python scripts/grafana_alerts.py`: change the rules there.
# Where these go is the operator's to say: ../../examples/notification-policies.yaml shows how.

"""


class CannotTranslate(Exception):
    """A Prometheus rule that has no equal in Grafana, or that its provisioning would alter."""


def provisioned(rules: dict[str, Any]) -> dict[str, Any]:
    """Grafana's provisioning file for the content of a Prometheus rules file. Raises CannotTranslate.

    Recording rules are left out: they stay with Prometheus, and no alert here needs one."""
    groups = [_group(group) for group in rules["groups"]]
    return {"apiVersion": 1, "groups": [group for group in groups if group["rules"]]}


def _group(group: dict[str, Any]) -> dict[str, Any]:
    return {
        "orgId": 1,
        "name": group["name"],
        "folder": FOLDER,
        "interval": group["interval"],
        "rules": [_rule(rule) for rule in group["rules"] if "record" not in rule],
    }


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    name = rule["alert"]
    for label, value in rule.get("labels", {}).items():
        if "$" in value:  # Grafana replaces $x in labels by an environment variable, in silence
            raise CannotTranslate(f"cannot translate {name}: label {label} holds a $: {value}")
    return {
        "uid": uid(name),
        "title": name,
        "condition": "C",
        "data": _data(rule["expr"]),
        "noDataState": "OK",
        "execErrState": "Error",
        "for": rule.get("for", "0s"),
        **({"keep_firing_for": rule["keep_firing_for"]} if "keep_firing_for" in rule else {}),
        "missing_series_evals_to_resolve": 1,  # resolved as soon as the series is gone, as in Prometheus
        "annotations": {key: _annotation(name, text) for key, text in rule["annotations"].items()},
        "labels": dict(rule.get("labels", {})),
        "isPaused": False,
    }


def uid(alert: str) -> str:
    """`TocsinJobStalled` -> `tocsin-job-stalled`: stable, so that Grafana keeps the alert's state."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", alert).lower()


def _annotation(alert: str, text: str) -> str:
    if "${" in text:  # recent versions of Grafana replace ${x} in annotations by an environment variable
        raise CannotTranslate(f"cannot translate {alert}: an annotation holds ${{: {text}")
    return re.sub(r"\$value\b", "$values.A.Value", text)  # in Grafana $value is a text that lists all values


def _data(expr: str) -> list[dict[str, Any]]:
    return [
        _node("A", DATASOURCE, {"expr": expr, "instant": True, "range": False, "editorMode": "code"}),
        _node("B", "__expr__", {"type": "math", "expression": "is_number($A) || is_nan($A) || is_inf($A)"}),
        _node(
            "C",
            "__expr__",
            {
                "type": "threshold",
                "expression": "B",
                "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
            },
        ),
    ]


def _node(ref_id: str, datasource: str, model: dict[str, Any]) -> dict[str, Any]:
    kind = "__expr__" if datasource == "__expr__" else "prometheus"
    return {
        "refId": ref_id,
        "relativeTimeRange": {"from": QUERY_RANGE, "to": 0},
        "datasourceUid": datasource,
        "model": {"refId": ref_id, "datasource": {"type": kind, "uid": datasource}, **model},
    }


class _Readable(yaml.SafeDumper):
    """Expressions of several lines as blocks, lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)


def text(rules: str) -> str:
    """The provisioning file as it is to stand, for the text of the rules file. Raises CannotTranslate."""
    content = provisioned(yaml.safe_load(rules))
    return HEADER + yaml.dump(content, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=120)


def with_runbooks(rules: str, base: str) -> str:
    """The text of the rules file with another page behind every runbook_url; the anchors stay."""
    return re.sub(r"(?<=runbook_url: )\S+(?=#)", lambda _: base, rules)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write Grafana's alert rules from the Prometheus rules.")
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    parser.add_argument("--runbooks", metavar="URL", help="the page that every runbook_url is to point into")
    given = parser.parse_args(arguments)
    check = given.check
    if given.runbooks is not None:
        base = given.runbooks.rstrip("#")
        if not re.fullmatch(r"https?://[^\s#]+", base):
            raise SystemExit(
                f"{base!r} is not a URL for --runbooks: use for example https://wiki.example.org/tocsin.md"
            )
        RULES.write_text(with_runbooks(RULES.read_text(), base))
    wanted = text(RULES.read_text())
    shown = PROVISIONED.relative_to(ROOT)
    if not check:
        PROVISIONED.write_text(wanted)
    elif not PROVISIONED.exists() or PROVISIONED.read_text() != wanted:
        raise SystemExit(f"{shown} differs from the rules: run `python scripts/grafana_alerts.py`")


if __name__ == "__main__":
    main()
