"""What the tests of grafana/ share: the expressions of dashboards and rules, and where each one stands."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

ROOT = Path(__file__).resolve().parent.parent
DASHBOARDS = sorted((ROOT / "grafana/dashboards").glob("*.json"))
RULES = ROOT / "grafana/prometheus/rules.yml"
RECORDING = ROOT / "grafana/prometheus/recording.rules.yml"


@dataclass(frozen=True)
class Expression:
    where: str  # for the reader of a failure
    text: str  # as it stands in the file, with Grafana's variables
    legend: str = ""  # the template that names the series
    panel: str = ""  # the type of the panel

    def filled_in(self, **variables: str) -> str:
        """The expression as Grafana would send it, given the values of its variables."""
        return re.sub(r"\$\{?(\w+)\}?", lambda match: variables[match[1]], self.text)

    def filled(self, instance: str = "a:9911", job: str = "sla-check") -> str:
        times = {"__rate_interval": "1m", "__range": "5m", "__interval": "15s"}
        return self.filled_in(instance=instance, job=job, **times)

    def parsed(self, instance: str = "a:9911", job: str = "sla-check") -> promql_parser.Expr:
        tree: promql_parser.Expr = promql_parser.parse(self.filled(instance, job))
        return tree


def nodes(tree: promql_parser.Expr) -> list[promql_parser.Expr]:
    """An expression and all that it is made of."""
    found: list[promql_parser.Expr] = []
    promql_parser.walk(tree, found.append)
    return found


def selectors(tree: promql_parser.Expr) -> list[promql_parser.VectorSelector]:
    return [node for node in nodes(tree) if isinstance(node, promql_parser.VectorSelector)]


def dashboard(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def panels(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels of a dashboard, those of folded rows included."""
    found = []
    for panel in content["panels"]:
        found += [panel, *panel.get("panels", [])]
    return found


def of_dashboard(file: Path) -> Iterator[Expression]:
    content = dashboard(file)
    for panel in panels(content):
        for target in panel.get("targets", []):
            where = f"{file.name}: {panel['title']}: {target['refId']}"
            yield Expression(where, target["expr"], target.get("legendFormat", ""), panel["type"])
    for annotation in content["annotations"]["list"]:
        if "expr" in annotation:
            legend = annotation["titleFormat"] + annotation["textFormat"]
            yield Expression(f"{file.name}: annotation {annotation['name']}", annotation["expr"], legend)


def rules() -> list[dict[str, Any]]:
    """The alerts."""
    return [rule for rule in _rules(RULES) if "alert" in rule]


def recording_rules(file: Path) -> list[dict[str, Any]]:
    return [rule for rule in _rules(file) if "record" in rule]


def _rules(file: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def of_rules() -> Iterator[Expression]:
    for rule in rules():
        yield Expression(f"{RULES.name}: {rule['alert']}", rule["expr"], " ".join(rule["annotations"].values()))
    for file in (RULES, RECORDING):
        for rule in recording_rules(file):
            yield Expression(f"{file.name}: {rule['record']}", rule["expr"])


def all_expressions() -> list[Expression]:
    return [*(one for file in DASHBOARDS for one in of_dashboard(file)), *of_rules()]
