"""Which tools the benchmark runs, with how many jobs, how often."""

import argparse

import pytest

from punctuality.__main__ import KNOWN, options, runs


def chosen(monkeypatch: pytest.MonkeyPatch, *words: str) -> argparse.Namespace:
    monkeypatch.setattr("sys.argv", ["punctuality", *words])
    return options()


def test_every_tool_is_run_with_a_thousand_jobs_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = list(runs(chosen(monkeypatch)))
    assert [run.peer.name for run in plan if run.jobs == 1000] == KNOWN
    assert sum(run.seconds for run in plan) < 80 * 60
    assert all(run.fires >= 4 for run in plan)


def test_quick_is_under_a_quarter_of_an_hour_and_has_what_the_targets_need(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = list(runs(chosen(monkeypatch, "--quick")))
    assert sum(run.seconds for run in plan) < 15 * 60
    needed = {("floor", 1), ("floor", 1000), ("node-cron", 1000), ("tocsin-real", 1000)}
    needed |= {("node-cron-real", 1000)}
    needed |= {("tocsin", jobs) for jobs in (1, 100, 1000)}
    assert needed <= {(run.peer.name, run.jobs) for run in plan}


def test_tools_that_know_minutes_alone_fire_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = list(runs(chosen(monkeypatch, "--tools", "cron,floor", "--sizes", "100", "--period", "15")))
    assert {run.peer.name: run.period for run in plan} == {"cron": 60, "floor": 15}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tools", "tocsin,cronx"], "'cronx' is not one of tocsin-real,"),
        (["--period", "25"], "--period must divide 60"),
        (["--fires", "1"], "--fires must be at least 2"),
    ],
)
def test_what_cannot_be_run_is_said(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        chosen(monkeypatch, *words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
