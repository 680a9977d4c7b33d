"""The dashboards are what Grafana takes: its published schema, ids, grid, units, variables, links."""

import enum
import json
import re
import types
import typing
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana_files import DASHBOARDS, ROOT, dashboard, of_dashboard, panels, selectors
from tocsin.health import MEASURED
from tocsin.ipc.types import OUTCOMES

plugins.register_default_plugins()

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
BESIDE_THE_SCHEMA = {  # what Grafana's own editor writes for Prometheus, and its schema leaves out
    *("definition", "step", "tagKeys", "textFormat", "titleFormat", "useValueForTime"),
}
UNITS = {"none", "short", "s", "bytes", "percentunit", "cpm", "cps", "dateTimeFromNow"}  # ids that Grafana knows
SUFFIXES = {"suffix:down", "suffix:refused"}  # units of one's own
NEUTRAL = {"text", "transparent"}
BUILT_IN = {"__rate_interval", "__range", "__interval", "__url_time_range", "__value", "__field", "__data"}
COLUMNS = 24
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
COMPOSE_GRAFANA = COMPOSE["grafana"]["image"].rpartition(":")[2]

each = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)


def charts(file: Path) -> list[dict[str, Any]]:
    return [panel for panel in panels(dashboard(file)) if panel["type"] != "row"]


# ---- the published schema -----------------------------------------------------------------------------------


def unknown(given: Any, kept: Any, path: str = "") -> list[str]:
    """What of the JSON the schema's own reader dropped or altered."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            fault
            for key, value in given.items()
            if value is not None and key not in BESIDE_THE_SCHEMA
            for fault in (unknown(value, kept[key], f"{path}.{key}") if key in kept else [f"{path}.{key} is unknown"])
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        pairs = enumerate(zip(given, kept, strict=True))
        return [fault for at, (one, other) in pairs for fault in unknown(one, other, f"{path}[{at}]")]
    return [] if given == kept else [f"{path} is {given!r}, kept as {kept!r}"]


def misfits(value: Any, hint: Any, path: str = "") -> list[str]:
    """What in a tree of the schema's objects is not of the type that the schema gives it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return [] if type(None) in arguments else [f"{path} is null"]
        tried = [misfits(value, argument, path) for argument in arguments if argument is not type(None)]
        return min(tried, key=len)
    if origin is typing.Literal:
        return [] if value in arguments else [f"{path} is {value!r}, not one of {arguments}"]
    if origin is list:
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [fault for at, one in enumerate(value) for fault in misfits(one, arguments[0], f"{path}[{at}]")]
    if origin is dict:
        if not isinstance(value, dict):
            return [f"{path} is no object"]
        return [fault for key, one in value.items() for fault in misfits(one, arguments[1], f"{path}.{key}")]
    if hint in (object, Any) and not hasattr(value, "to_json"):
        return []
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [] if value in list(hint) else [f"{path} is {value!r}, not one of {[one.value for one in hint]}"]
    if isinstance(value, dict) and hasattr(hint, "from_json"):
        value = hint.from_json(value)
    if hasattr(value, "to_json"):
        if hint not in (object, Any) and not isinstance(value, hint):
            return [f"{path} is {type(value).__name__}, not {hint.__name__}"]
        hints = typing.get_type_hints(type(value))
        return [fault for name, one in hints.items() for fault in misfits(getattr(value, name), one, f"{path}.{name}")]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return []
    if isinstance(value, bool) and hint is int:
        return [f"{path} is {value!r}, not a number"]
    return [] if isinstance(value, hint) else [f"{path} is {value!r}, not {hint}"]


def faults(content: dict[str, Any]) -> list[str]:
    read = Dashboard.from_json(content)
    return unknown(content, json.loads(JSONEncoder().encode(read))) + misfits(read, Dashboard)


@each
def test_the_published_schema_takes_it(file: Path) -> None:
    assert faults(dashboard(file)) == []


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("grphTooltip",), 1, "grphTooltip is unknown"),
        (("refresh",), 30, "refresh is 30, not"),
        (("panels", 1, "gridPos", "width"), 3, "width is unknown"),
        (("panels", 1, "gridPos", "w"), "wide", "w is 'wide', not"),
        (("panels", 1, "options", "colourMode"), "none", "colourMode is unknown"),
        (("panels", 1, "options", "colorMode"), "loud", "color_mode is 'loud', not one of"),
        (("panels", 1, "targets", 0, "query"), "up", "query is unknown"),
        (("panels", 1, "targets", 0, "format"), "heat", "format_val is 'heat', not one of"),
        (("templating", "list", 0, "type"), "source", "type_val is 'source', not one of"),
    ],
)
def test_what_is_not_of_the_schema_is_found(path: tuple[str | int, ...], value: Any, fault: str) -> None:
    content = dashboard(DASHBOARDS[0])
    place: Any = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert any(fault in one for one in faults(content)), faults(content)


# ---- what the schema does not say ---------------------------------------------------------------------------


def test_both_dashboards_are_there() -> None:
    assert [file.stem for file in DASHBOARDS] == ["tocsin-job", "tocsin-overview"]
    for file in DASHBOARDS:
        content = dashboard(file)
        assert (content["uid"], content["id"], content["tags"]) == (file.stem, None, ["tocsin"])
        assert content["schemaVersion"] >= 41


@each
def test_ids_are_unique(file: Path) -> None:
    ids = [panel["id"] for panel in panels(dashboard(file))]
    assert len(set(ids)) == len(ids)
    for panel in charts(file):
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs), panel["title"]


@each
def test_panels_stay_on_the_grid_and_off_each_other(file: Path) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard(file)["panels"]]
    for title, at in places:
        assert at["x"] >= 0, title
        assert at["w"] > 0, title
        assert at["h"] > 0, title
        assert at["x"] + at["w"] <= COLUMNS, title
    for (one, a), (other, b) in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{one} lies over {other}"


@each
def test_rows_are_filled_and_follow_each_other(file: Path) -> None:
    """Grafana moves panels up into free places: what has gaps looks different from what the file says."""
    cells = {
        (x, y)
        for panel in dashboard(file)["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    }
    height = 1 + max(y for _, y in cells)
    assert [(x, y) for y in range(height) for x in range(COLUMNS) if (x, y) not in cells] == []


@each
def test_every_panel_says_what_it_shows_in_which_unit(file: Path) -> None:
    for panel in charts(file):
        assert panel["title"]
        assert len(panel["description"]) > 15, panel["title"]
        assert panel["description"].endswith((".", "`")), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        set_elsewhere = [
            prop["value"]
            for override in panel["fieldConfig"]["overrides"]
            for prop in override["properties"]
            if prop["id"] == "unit"
        ]
        assert {defaults["unit"], *set_elsewhere} <= UNITS | SUFFIXES, panel["title"]
        if panel["type"] == "heatmap":
            assert panel["options"]["yAxis"]["unit"] == "s", panel["title"]
            assert panel["options"]["cellValues"]["unit"] == defaults["unit"] == "cpm", panel["title"]


@each
def test_every_query_goes_to_the_chosen_datasource(file: Path) -> None:
    content = dashboard(file)
    asking = [*charts(file), *(target for panel in charts(file) for target in panel["targets"])]
    asking += [variable for variable in content["templating"]["list"] if variable["type"] == "query"]
    asking += [one for one in content["annotations"]["list"] if not one.get("builtIn")]
    assert len(asking) > 20
    assert [one for one in asking if one["datasource"] != DATASOURCE] == []


@each
def test_variables_are_defined_in_order_and_used_ones_exist(file: Path) -> None:
    content = dashboard(file)
    variables = content["templating"]["list"]
    assert [(one["name"], one["type"]) for one in variables] == [
        ("datasource", "datasource"),
        ("instance", "query"),
        ("job", "query"),
        ("pages", "textbox"),
    ]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([content["panels"], content["links"], content["annotations"]])))
    assert used <= {one["name"] for one in variables} | BUILT_IN
    (instance,) = [one for one in variables if one["name"] == "instance"]
    assert instance["multi"]
    assert instance["includeAll"]
    for one in of_dashboard(file):  # a chosen set comes as a regular expression
        assert not re.search(r'="\$instance"', one.text.replace("=~", "~")), one.where


def test_the_dashboard_of_a_job_asks_for_its_instance_only() -> None:
    """Another instance may have a job of that name."""
    (file,) = [file for file in DASHBOARDS if file.stem == "tocsin-job"]
    for one in of_dashboard(file):
        for selector in selectors(one.parsed(instance="this:9911")):
            asked = [matcher.value for matcher in selector.matchers.matchers if matcher.name == "instance"]
            assert asked == ["this:9911"], one.where


@each
def test_rates_follow_the_scrape_interval(file: Path) -> None:
    """A fixed range below four scrapes shows gaps on a slow Prometheus."""
    for one in of_dashboard(file):
        if "annotation" not in one.where:
            assert not re.search(r"\[\d", one.text), one.where


@each
def test_links_lead_to_the_other_dashboard_and_to_the_status_page(file: Path) -> None:
    content = dashboard(file)
    urls = [link["url"] for link in content["links"]]
    other = next(one.stem for one in DASHBOARDS if one != file)
    assert urls[0] == f"/d/{other}?${{datasource:queryparam}}&${{instance:queryparam}}"
    assert urls[1].startswith("${pages}/")
    for url in re.findall(r'"url": "([^"]+)"', json.dumps(content)):
        found = re.fullmatch(r"/d/([\w-]+)\?(.+)|\$\{pages\}/(jobs/\$\{[\w.]+\})?", url)
        assert found, url
        if found[1]:
            assert found[1] in {one.stem for one in DASHBOARDS}, url
            names = {pair.split("=")[0] for pair in found[2].split("&") if "=" in pair}
            assert names <= {"var-datasource", "var-instance", "var-job"}, url


@each
def test_outcomes_have_the_names_and_numbers_of_the_messages(file: Path) -> None:
    shown = 0
    for panel in charts(file):
        for target in panel["targets"]:
            if "* tocsin_job_last_run_outcome" not in target["expr"]:
                continue
            shown += 1
            numbers = re.findall(r'(\d) \* tocsin_job_last_run_outcome\{[^}]*outcome="(\w+)"\}', target["expr"])
            assert numbers == [(str(at), outcome) for at, outcome in enumerate(OUTCOMES, start=1)]
            mappings = panel["fieldConfig"]["defaults"].get("mappings") or [
                one
                for override in panel["fieldConfig"]["overrides"]
                if override["matcher"]["options"] == "Last outcome"
                for prop in override["properties"]
                if prop["id"] == "mappings"
                for one in prop["value"]
            ]
            assert {key: one["text"] for key, one in mappings[0]["options"].items()} == {
                "0": "no run yet",
                **dict(numbers),
            }
    assert shown


def test_healths_have_the_names_and_the_order_of_the_pages() -> None:
    (file,) = [file for file in DASHBOARDS if file.stem == "tocsin-job"]
    (panel,) = [panel for panel in charts(file) if panel["title"] == "Health"]
    numbers = re.findall(r'(\d) \* \(tocsin_job_health\{[^}]*health="(\w+)"\}', panel["targets"][0]["expr"])
    worst_first = list(MEASURED)
    assert numbers == [(str(at), health) for at, health in enumerate(worst_first, start=1)]
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert {key: one["text"] for key, one in mapping["options"].items()} == dict(numbers)


@each
def test_tables_name_columns_that_their_queries_have(file: Path) -> None:
    for panel in charts(file):
        if panel["type"] != "table":
            continue
        (organize,) = [one["options"] for one in panel["transformations"] if one["id"] == "organize"]
        queries = {f"Value #{target['refId']}" for target in panel["targets"]}
        named = {*organize["renameByName"], *organize["excludeByName"]}
        assert {name for name in named if name.startswith("Value")} == queries, panel["title"]
        shown = set(organize["renameByName"].values())
        overridden = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        assert overridden <= shown, panel["title"]


# ---- what is shown of nothing -------------------------------------------------------------------------------


@each
def test_no_value_has_no_colour_and_no_cause(file: Path) -> None:
    """Grafana gives the colour of the first step to whatever has no value."""
    for panel in charts(file):
        defaults = panel["fieldConfig"]["defaults"]
        colored = panel["type"] in ("stat", "table", "state-timeline")
        everywhere = [defaults["thresholds"]] if colored else []
        everywhere += [
            prop["value"]
            for override in panel["fieldConfig"]["overrides"]
            for prop in override["properties"]
            if prop["id"] == "thresholds"
        ]
        for thresholds in everywhere:
            assert thresholds["steps"][0]["value"] is None
            assert thresholds["steps"][0]["color"] in NEUTRAL, panel["title"]
        if colored or panel["type"] == "bargauge":
            assert defaults["noValue"] == "–", f"{panel['title']}: its query cannot know why it has no value"
        if panel["type"] == "stat" and panel["options"]["colorMode"] == "background":
            grounds = [*everywhere[0]["steps"], *(one for m in defaults["mappings"] for one in m["options"].values())]
            assert "text" not in {one["color"] for one in grounds}, f"{panel['title']}: as a background it is bright"


@each
def test_counts_of_overlapping_windows_are_not_called_counts(file: Path) -> None:
    """increase() over $__rate_interval, at steps that are shorter than it, shows each event several times."""
    for panel in charts(file):
        assert "interval" not in panel["description"].replace("interval of its schedule", ""), panel["title"]
        for target in panel["targets"]:
            if "timestamp(increase(" not in target["expr"]:
                assert not re.search(r"increase\([^()]*\[\$__rate_interval", target["expr"]), panel["title"]
            if panel["type"] == "timeseries" and "rate(" in target["expr"] and "quantile" not in target["expr"]:
                assert panel["fieldConfig"]["defaults"]["unit"] in ("cpm", "cps"), panel["title"]
            if "histogram_quantile" in target["expr"]:  # of no event at all it is not a number
                assert target["expr"].rstrip(")").endswith(">= 0"), panel["title"]
        if panel["type"] == "timeseries":
            assert "sum" not in panel["options"]["legend"]["calcs"], panel["title"]


@each
def test_a_screen_of_1350_pixels_cuts_nothing_off(file: Path) -> None:
    column = (1350 - 100) / COLUMNS  # pixels, beside the menu
    for panel in charts(file):
        if panel["type"] == "stat":
            # A letter of the title takes 7.3 pixels, the padding of a panel 24, and the sign of its description 16.
            assert len(panel["title"]) * 7.3 + 40 <= panel["gridPos"]["w"] * column, panel["title"]
        if panel["type"] == "timeseries":  # a table below the chart shows two rows of a dozen
            assert panel["options"]["legend"]["displayMode"] == "list", panel["title"]
        if panel["type"] == "table" and panel["options"]["sortBy"]:
            (organize,) = [one["options"] for one in panel["transformations"] if one["id"] == "organize"]
            order = sorted(organize["indexByName"], key=organize["indexByName"].__getitem__)
            shown = [organize["renameByName"].get(name, name) for name in order]
            assert shown.index(panel["options"]["sortBy"][0]["displayName"]) < 4, panel["title"]


def test_provisioning_looks_where_compose_mounts() -> None:
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/tocsin.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert provider["allowUiUpdates"] is False
    mounts = dict(one.split(":")[:2] for one in COMPOSE["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    # One by one: a mount over the whole folder would hide `plugins`, which Grafana then misses at each start.
    folders = {f"./grafana/provisioning/{folder.name}" for folder in (ROOT / "grafana/provisioning").iterdir()}
    assert folders == {place for place in mounts if place.startswith("./grafana/provisioning")}
    assert all(mounts[place] == f"/etc/grafana{place.removeprefix('./grafana')}" for place in folders)
