"""From a benchmark's raw results to targets, tables and the picture."""

import copy
from typing import Any
from xml.etree import ElementTree

import pytest

from punctuality.plot import plot
from punctuality.report import text_of
from punctuality.summary import ms, row, rows, targets


def result(tool: str, jobs: int, p99: float, cpu: float, asleep: float = 1e9) -> dict[str, Any]:
    """Three instants; the first is two and a half times as late, and what the sink's process saw ten times."""

    def fire(times: float) -> dict[str, Any]:
        late = {"p50": p99 / 2 * times, "p99": p99 * times, "max": p99 * 2 * times}
        seen = {name: value * 10 for name, value in late.items()}
        more = {"due": 0, "missed": 1, "duplicates": 0, "unknown": 0, "cpu": cpu * times, "sink_cpu": 0.01}
        return {"arrived": late, "seen": seen, **more}

    memory = {"asleep": asleep, "after": asleep * 2}
    more = {"about": f"about {tool}", "cold": True, "period": 20, **memory}
    return {"tool": tool, "jobs": jobs, "fires": [fire(2.5), fire(1), fire(1)], **more}


def run() -> dict[str, Any]:
    return {
        "machine": {"cores": "2"},
        "command": "--quick",
        "absent": {"cron": "cron is not here\n(apt-get install cron)"},
        "results": [
            result("floor", 1, 0.0001, 0.0001),
            result("tocsin", 1, 0.00015, 0.001, 0.06e9),
            result("floor", 1000, 0.045, 0.05),
            result("tocsin", 100, 0.02, 0.1),
            result("tocsin", 1000, 0.1, 1.1, 0.4e9),
            result("tocsin-real", 1000, 0.2, 1.2, 0.7e9),
            result("node-cron-real", 1000, 8.0, 2.4),
            result("croner-real", 1000, 4.0, 2.4),
            result("node-cron", 1000, 0.8, 2.4),
            result("croner", 1000, 0.6, 2.0),
        ],
    }


def test_a_row_is_the_median_of_the_warm_instants_and_apart_from_it_the_cold_one() -> None:
    one = row(result("tocsin", 1000, 0.1, 1.1))
    assert (one.warm.p50, one.warm.p99, one.warm.max) == (0.05, 0.1, 0.2)
    assert one.cold is not None
    assert one.cold.p99 == pytest.approx(0.25)
    assert one.cpu == 1.1  # per thousand fires, and there are a thousand
    assert one.missed == 3
    assert row(result("tocsin", 100, 0.1, 0.11)).cpu == pytest.approx(1.1)
    assert row({**result("tocsin", 1000, 0.1, 1.1, 0.4e9), "cold": False}).cold is None


def test_targets_say_what_holds() -> None:
    found = targets(rows(run()))
    assert [one.held for one in found] == [True] * 12
    assert found[0].measured == "200 ms against 4,000 ms (croner-real): 0.05×"  # the best peer, not the first
    assert found[4].measured == "0.075 ms against 0.05 ms (floor): 1.50×"
    assert found[5].measured == "100 ms against 600 ms (croner): 0.17×"  # the best on the same path
    assert (found[8].measured, found[10].wanted) == ("0.4 GB", "under 65 MB")


@pytest.mark.parametrize(
    ("tool", "jobs", "change", "broken"),
    [
        ("tocsin-real", 1000, {"p99": 0.201, "cpu": 1.2, "asleep": 0.7e9}, [0]),
        ("tocsin-real", 1000, {"p99": 0.2, "cpu": 1.5, "asleep": 0.7e9}, [2]),
        ("tocsin-real", 1000, {"p99": 0.2, "cpu": 1.2, "asleep": 0.8e9}, [3]),
        ("tocsin", 1, {"p99": 0.00021, "cpu": 0.001, "asleep": 0.06e9}, [4]),
        ("tocsin", 1, {"p99": 0.00015, "cpu": 0.001, "asleep": 0.07e9}, [10]),
        ("tocsin", 1000, {"p99": 0.121, "cpu": 1.1, "asleep": 0.4e9}, [5, 7]),
        ("floor", 1000, {"p99": 0.03, "cpu": 0.05}, [7]),
        ("tocsin", 1000, {"p99": 0.1, "cpu": 1.1, "asleep": 0.8e9}, [8, 9]),
        ("tocsin", 1000, {"p99": 0.1, "cpu": 1.1, "asleep": 0.6e9}, [9]),
        ("tocsin", 100, {"p99": 0.02, "cpu": 0.08}, [11]),
    ],
)
def test_each_target_can_fail(tool: str, jobs: int, change: dict[str, float], broken: list[int]) -> None:
    changed = run()
    changed["results"] = [r for r in changed["results"] if (r["tool"], r["jobs"]) != (tool, jobs)]
    changed["results"].append(result(tool, jobs, **change))
    held = [one.held for one in targets(rows(changed))]
    assert [number for number, one in enumerate(held) if one is False] == broken


def test_the_first_fire_has_a_target_of_its_own() -> None:
    changed = run()
    ours = next(r for r in changed["results"] if (r["tool"], r["jobs"]) == ("tocsin", 1000))
    ours["fires"][0]["arrived"]["p99"] = 0.76  # half of croner's 1.5 s is 0.75 s
    assert targets(rows(changed))[6].held is False
    ours["cold"] = False
    assert targets(rows(changed))[6].held is None


def test_the_first_fire_on_the_real_path_is_held_to_a_warm_one() -> None:
    changed = run()
    ours = next(r for r in changed["results"] if r["tool"] == "tocsin-real")
    ours["fires"][0]["arrived"]["p99"] = 0.61
    assert targets(rows(changed))[1].held is False


def test_what_was_not_measured_is_neither_held_nor_broken() -> None:
    assert {one.held for one in targets([])} == {None}


def table_in(text: str, heading: str) -> list[str]:
    lines = text.split(f"### {heading}\n")[1].split("###")[0].splitlines()
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ")][2:]


def test_the_text_has_every_tool_and_says_who_is_absent_and_why() -> None:
    text = text_of(run())
    assert "| 1,000 jobs, warm: p99 against the best peer's p99 | at most a fifth | 100 ms against 600 ms" in text
    assert "- cron: cron is not here (apt-get install cron)" in text
    assert table_in(text, "1,000 jobs, the real path") == ["**tocsin-real**", "croner-real", "node-cron-real"]
    assert table_in(text, "1,000 jobs, plain") == ["floor", "**tocsin**", "croner", "node-cron"]  # by the warm p99
    assert text.index("the real path") < text.index("plain"), "the headline stands first"
    assert "10 ms of one core" in text


def test_a_target_that_broke_is_not_hidden() -> None:
    changed = copy.deepcopy(run())
    changed["results"][4] = result("tocsin", 1000, 5.0, 9.0)
    assert "**no**" in text_of(changed)


@pytest.mark.parametrize(("value", "text"), [(0.00005, "0.05"), (0.0123, "12.3"), (0.1234, "123"), (12.3456, "12,346")])
def test_milliseconds(value: float, text: str) -> None:
    assert ms(value) == text


def test_the_picture_is_svg_in_the_order_of_the_table() -> None:
    svg = ElementTree.fromstring(plot([one for one in rows(run()) if one.jobs == 1000]))
    names = [e.text for e in svg.iter("{http://www.w3.org/2000/svg}text") if e.get("text-anchor") == "end"]
    assert names == ["floor", "tocsin", "tocsin-real", "croner", "node-cron", "croner-real", "node-cron-real"]
    dots = [float(e.get("cx", "nan")) for e in svg.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(dots) == 14
    assert all(0 < x < 860 for x in dots)
