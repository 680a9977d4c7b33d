"""Every panel is of the type that Grafana's own schema gives it, its overrides included."""

import copy
from typing import Any

import pytest

import grafana_panels
from grafana_files import DASHBOARDS, dashboard
from node_packages import needs_node
from test_grafana_dashboards import COMPOSE_GRAFANA

pytestmark = [pytest.mark.system, needs_node]

CHARTS = [panel for file in DASHBOARDS for panel in grafana_panels.charts(dashboard(file))]
# Where, what, and what tsc says of it: one fault in a copy of a panel of that type.
PLANTED: list[tuple[str, tuple[str | int, ...], Any, str]] = [
    ("stat", ("options", "colourMode"), "none", "colourMode"),
    ("stat", ("options", "colorMode"), "loud", '"loud"'),
    ("stat", ("fieldConfig", "defaults", "custom", "width"), 3, "width"),
    ("stat", ("fieldConfig", "defaults", "thresholds", "steps", 0, "value"), "0", "number"),
    ("stat", ("fieldConfig", "defaults", "decimal"), 2, "decimal"),
    ("table", ("options", "showHead"), True, "showHead"),
    ("table", ("fieldConfig", "defaults", "custom", "cellOptions", "type"), "colour-text", '"colour-text"'),
    ("table", ("fieldConfig", "overrides", 0, "properties", 0, "id"), "linkz", '"linkz"'),
    (
        "table",
        ("fieldConfig", "overrides", 1, "properties", 1),
        {"id": "custom.width", "value": "wide"},
        "custom.width",
    ),
    ("table", ("fieldConfig", "overrides", 0, "matcher", "id"), "byNames", '"byNames"'),
    ("table", ("transformations", 1, "options", "renameByNames"), {}, "never"),
    ("state-timeline", ("options", "rowHeight"), "tall", "number"),
    ("state-timeline", ("fieldConfig", "defaults", "custom", "drawStyle"), "bars", "drawStyle"),
    ("timeseries", ("fieldConfig", "defaults", "custom", "drawStyle"), "boxes", '"boxes"'),
    ("timeseries", ("options", "legend", "displayMode"), "lists", '"lists"'),
    ("timeseries", ("options", "legend", "calc"), [], "calc"),
    ("heatmap", ("options", "color", "scale"), "log", '"log"'),
    ("bargauge", ("options", "displayMode"), "bars", '"bars"'),
    ("stat", ("type",), "stats", '"stats"'),
]


def test_every_panel_is_of_the_type_that_the_schema_gives_it() -> None:
    assert len(CHARTS) > 60
    assert grafana_panels.type_faults(CHARTS) == []


def test_each_planted_fault_is_found() -> None:
    planted = []
    for at, (kind, path, value, _) in enumerate(PLANTED):
        panel = copy.deepcopy(next(one for one in CHARTS if one["type"] == kind))
        place: Any = panel
        for step in path[:-1]:
            place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
        if isinstance(place, list) and path[-1] == len(place):
            place.append(value)
        else:
            place[path[-1]] = value
        panel["title"] = f"planted {at}"
        planted.append(panel)
    found = grafana_panels.type_faults(planted)
    for at, (_, path, _, words) in enumerate(PLANTED):
        said = [one for one in found if one.startswith(f"planted {at}: ")]
        assert any(words in one for one in said), f"{path}: {said}"


def test_the_libraries_are_those_of_the_grafana_that_compose_starts() -> None:
    wanted = grafana_panels.packages()
    assert {name: wanted[name] for name in ("@grafana/data", "@grafana/schema")} == {
        "@grafana/data": COMPOSE_GRAFANA,
        "@grafana/schema": COMPOSE_GRAFANA,
    }
